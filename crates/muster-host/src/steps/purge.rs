//! What a reset removes for good. It goes on where something cannot be removed, and names that at the end.

use std::io;

use muster_plan::{Purge, network_link, paths};
use muster_saga::Residue;

use super::pods::is_volume;
use super::{Files, Machine, io_error};
use crate::HostError;
use crate::disk::{Disk, Kind};
use crate::process::Processes;
use crate::services::Services;

/// Mounts may lie over each other: so often is looked again.
const ROUNDS: usize = 8;

impl<D: Disk, S: Services, P: Processes> Machine<D, S, P> {
    /// Removes; what could not be removed is named. Fails only when nothing can be done at all any more.
    pub(super) async fn purge(&self, what: &Purge) -> Result<Vec<Residue>, HostError> {
        let files = Files(&self.disk);
        match what {
            Purge::Pods { endpoint } => self.remove_pods(endpoint, &[]).await,
            Purge::Mounts { below } => self.unmount_below(below),
            Purge::Contents { dir } => named(files.empty(dir), dir),
            Purge::File { path } => named(files.remove_whatever(path), path),
            Purge::PodLogs => {
                let mut left = named(files.remove_pod_logs(), paths::POD_LOGS)?;
                left.extend(named(files.remove_container_logs(), paths::CONTAINER_LOGS)?);
                Ok(left)
            }
            Purge::NetworkPlugins => self.purge_plugins().await,
            Purge::Firewall => match self.kernel.clear_filters().await {
                Ok(()) => Ok(Vec::new()),
                Err(HostError::PowerLost) => Err(HostError::PowerLost),
                Err(error) => Ok(vec![remains(
                    "the packet filter's chains",
                    &error,
                    "iptables-save | grep -e KUBE- -e CNI-",
                )]),
            },
        }
    }

    /// What a purge would remove now, one word for each thing.
    pub(super) async fn preview(&self, what: &Purge) -> Result<Vec<String>, HostError> {
        match what {
            Purge::NetworkPlugins => {
                let mut found = Vec::new();
                for dir in [paths::CNI_CONF_DIR, paths::CNI_STATE_DIR] {
                    let names = Files(&self.disk).names(dir)?;
                    found.extend(names.into_iter().map(|name| format!("{dir}/{name}")));
                }
                let links = self.kernel.links();
                found.extend(links.iter().filter_map(|name| {
                    let owner = network_link(name)?;
                    Some(format!("interface {name} ({owner})"))
                }));
                Ok(found)
            }
            Purge::Firewall => self.kernel.filters().await,
            other => Ok(vec![other.description()]),
        }
    }

    /// The deepest first. What is in use stays, and so does what is no volume of a kubelet.
    fn unmount_below(&self, below: &str) -> Result<Vec<Residue>, HostError> {
        let mut failed = Vec::new();
        for _ in 0..ROUNDS {
            let mounts = self
                .disk
                .mount_points()
                .map_err(io_error("list the mounts below", below))?;
            let mounts: Vec<String> = mounts.into_iter().filter(|path| is_volume(path)).collect();
            let mut progress = false;
            failed.clear();
            for path in mounts.iter().rev() {
                match self.disk.unmount(path) {
                    Ok(()) => progress = true,
                    // Its twin in a shared namespace went with another.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    Err(error) => match io_error("unmount", path)(error) {
                        HostError::PowerLost => return Err(HostError::PowerLost),
                        error => failed.push(remains(
                            &format!("mount at {path}"),
                            &error,
                            &format!("umount {path}"),
                        )),
                    },
                }
            }
            if !progress {
                break;
            }
        }
        Ok(failed)
    }

    async fn purge_plugins(&self) -> Result<Vec<Residue>, HostError> {
        let files = Files(&self.disk);
        let mut left = Vec::new();
        for dir in [paths::CNI_CONF_DIR, paths::CNI_STATE_DIR] {
            left.extend(named(files.empty(dir), dir)?);
        }
        for name in self.kernel.links() {
            if network_link(&name).is_none() {
                continue;
            }
            match self.kernel.remove_link(&name).await {
                Ok(()) => {}
                Err(HostError::PowerLost) => return Err(HostError::PowerLost),
                Err(error) => left.push(remains(
                    &format!("interface {name}"),
                    &error,
                    &format!("ip link delete dev {name}"),
                )),
            }
        }
        Ok(left)
    }
}

/// A refusal of the file system is something that is left; only a lost machine is an error.
fn named(result: Result<Vec<Residue>, HostError>, path: &str) -> Result<Vec<Residue>, HostError> {
    match result {
        Err(HostError::PowerLost) => Err(HostError::PowerLost),
        Err(error) => Ok(vec![remains(path, &error, &format!("rm -r {path}"))]),
        good => good,
    }
}

fn remains(what: &str, error: &HostError, remedy: &str) -> Residue {
    Residue {
        what: what.to_owned(),
        why: error.to_failure().message,
        remedy: remedy.to_owned(),
    }
}

impl<D: Disk> Files<'_, D> {
    fn kind(&self, path: &str) -> Result<Option<Kind>, HostError> {
        let stat = self.0.stat(path).map_err(io_error("look at", path))?;
        Ok(stat.map(|stat| stat.kind))
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, HostError> {
        match self.kind(dir)? {
            Some(Kind::Dir) => self.0.list(dir).map_err(io_error("list", dir)),
            _ => Ok(Vec::new()),
        }
    }

    /// A directory that is a link is emptied where it leads to, as `/var/lib/kubelet` is moved to a larger disk so.
    fn empty(&self, dir: &str) -> Result<Vec<Residue>, HostError> {
        match self.kind(dir)? {
            Some(Kind::Dir) => self.sweep_all(dir),
            Some(Kind::Link) => {
                let target = self.0.link_target(dir).map_err(io_error("read", dir))?;
                let plain =
                    crate::disk::is_plain(&target) && self.kind(&target)? == Some(Kind::Dir);
                if plain {
                    self.sweep_all(&target)
                } else {
                    Ok(Vec::new())
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    fn remove_whatever(&self, path: &str) -> Result<Vec<Residue>, HostError> {
        match self.kind(path)? {
            None => Ok(Vec::new()),
            Some(Kind::Dir) => {
                let mut left = Vec::new();
                self.remove_dir_if_there(path, &mut left)?;
                Ok(left)
            }
            Some(_) => self.remove_if_there(path).map(|()| Vec::new()),
        }
    }

    /// Directories `NAMESPACE_POD_UID`, as a kubelet names them.
    fn remove_pod_logs(&self) -> Result<Vec<Residue>, HostError> {
        let mut left = Vec::new();
        for name in self.names(paths::POD_LOGS)? {
            let parts: Vec<&str> = name.split('_').collect();
            if parts.len() == 3 && parts.iter().all(|part| !part.is_empty()) {
                let dir = format!("{}/{name}", paths::POD_LOGS);
                left.extend(self.empty(&dir)?);
                left.extend(self.remove_whatever(&dir)?);
            }
        }
        Ok(left)
    }

    /// Links that lead to the logs of pods.
    fn remove_container_logs(&self) -> Result<Vec<Residue>, HostError> {
        for name in self.names(paths::CONTAINER_LOGS)? {
            let path = format!("{}/{name}", paths::CONTAINER_LOGS);
            let leads_there = self.kind(&path)? == Some(Kind::Link)
                && self
                    .0
                    .link_target(&path)
                    .is_ok_and(|target| target.starts_with(paths::POD_LOGS));
            if leads_there {
                self.remove_if_there(&path)?;
            }
        }
        Ok(Vec::new())
    }
}

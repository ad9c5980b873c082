//! How each step is observed, done and taken back, over the elementary ports.
//!
//! One `match` from step to deed, with no `if` about policy.

mod claims;
mod files;
mod kernel;
mod kubelet;
mod pods;
mod purge;

use std::io;
use std::sync::Arc;

use muster_identity::Secret;
use muster_plan::paths::{self, Root};
use muster_plan::{Actor, Process, Purge, SecretBag, Step};
use muster_saga::Residue;
use serde_json::Value;

use crate::disk::{Disk, is_plain};
use crate::kernel::Kernel;
use crate::pods::Pods;
use crate::process::{Processes, Spawn};
use crate::services::Services;
use crate::{HostError, Prior, ProcessHealth};

pub(crate) use files::Files;

/// No file that is read back is larger.
const MAX_READ: usize = 1 << 20;
/// A kubelet of ours that was started again this often does not come up any more.
const MAX_RESTARTS: u32 = 3;

/// A machine as four ports.
pub(crate) struct Machine<D, S, P> {
    pub(crate) root: Root,
    pub(crate) disk: D,
    pub(crate) services: S,
    pub(crate) processes: P,
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) kernel: Box<dyn Kernel>,
}

/// Names the path and the deed in an error.
pub(crate) fn io_error(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_owned();
    move |source| {
        if source
            .get_ref()
            .is_some_and(|inner| inner.is::<PowerIsOff>())
        {
            return HostError::PowerLost;
        }
        HostError::Io {
            action,
            path,
            source,
        }
    }
}

/// What a simulated disk says when its power is off.
#[derive(Debug, thiserror::Error)]
#[error("the power is off")]
pub(crate) struct PowerIsOff;

fn plain(path: &str) -> Result<&str, HostError> {
    if is_plain(path) {
        Ok(path)
    } else {
        Err(HostError::BadPath {
            path: path.to_owned(),
        })
    }
}

fn unit_path(unit: &str) -> String {
    format!("{}/{unit}", paths::UNIT_DIR)
}

fn not_for_hosts(step: &Step) -> HostError {
    HostError::NotAHostStep {
        step: step.description(),
    }
}

impl<D: Disk, S: Services, P: Processes> Machine<D, S, P> {
    pub(crate) async fn observe(&self, step: &Step) -> Result<Prior, HostError> {
        let files = Files(&self.disk);
        match step {
            Step::MakeDir { path, .. } => files.observe_dir(plain(path)?),
            Step::ClaimDir { path, .. } => files.observe_claim(plain(path)?),
            Step::ClaimPods { endpoint } => self.observe_pods(endpoint).await,
            Step::WriteFile { path, .. }
            | Step::WriteSecret { path, .. }
            | Step::WriteMade { path, .. }
            | Step::Symlink { path, .. } => files.observe(plain(path)?),
            Step::InstallUnit { unit, .. } => files.observe(plain(&unit_path(unit))?),
            Step::EnableService { unit }
            | Step::StartService { unit }
            | Step::StopService { unit } => {
                let fact = self.services.state(unit).await?;
                Ok(Prior::Service {
                    active: fact.active,
                    enabled: fact.enabled,
                })
            }
            Step::SpawnSupervised { pidfile, .. } => {
                let state = self.processes.state(plain(pidfile)?).await?;
                Ok(Prior::Process {
                    running: state.supervisor,
                })
            }
            Step::LoadModule { name } => {
                self.only_machine(step)?;
                Ok(Prior::Module {
                    loaded: self.kernel.has_module(name),
                })
            }
            Step::SetSysctl { key, .. } => {
                self.only_machine(step)?;
                self.observe_setting(key)
            }
            Step::SwapOff {} => {
                self.only_machine(step)?;
                Ok(Prior::Swaps {
                    devices: self.kernel.swaps()?,
                })
            }
            Step::Discard { .. } | Step::AwaitKubelet { .. } | Step::Purge { .. } => {
                Ok(Prior::Nothing)
            }
            // The cluster's: see `Step::actor`.
            _ => Err(not_for_hosts(step)),
        }
    }

    pub(crate) async fn perform(
        &self,
        id: &str,
        step: &Step,
        prior: &Prior,
        secrets: &SecretBag,
    ) -> Result<Value, HostError> {
        let files = Files(&self.disk);
        match step {
            Step::MakeDir { path, mode } | Step::ClaimDir { path, mode } => {
                files.make_dirs(plain(path)?, *mode, prior)?;
            }
            // The record of what was there is all there is to it.
            Step::ClaimPods { .. } => {}
            Step::WriteFile {
                path,
                mode,
                content,
            } => {
                files.replace(id, plain(path)?, *mode, content.as_bytes(), prior)?;
            }
            Step::WriteSecret { path, secret } => {
                let missing = || HostError::MissingSecret { name: *secret };
                let content = secrets.get(*secret).ok_or_else(missing)?;
                files.replace(id, plain(path)?, 0o600, content.expose(), prior)?;
            }
            Step::WriteMade { path, mode, secret } => {
                let missing = || HostError::MissingSecret { name: *secret };
                let content = secrets.get(*secret).ok_or_else(missing)?;
                if !content.expose().is_empty() {
                    files.replace(id, plain(path)?, *mode, content.expose(), prior)?;
                }
            }
            Step::Discard { path } => files.remove_if_there(plain(path)?)?,
            Step::Symlink { path, target } => files.relink(id, plain(path)?, target, prior)?,
            Step::InstallUnit { unit, content } => {
                let path = unit_path(unit);
                files.replace(id, plain(&path)?, 0o644, content.as_bytes(), prior)?;
                self.services.reload().await?;
            }
            Step::EnableService { unit } => {
                if !matches!(prior, Prior::Service { enabled: true, .. }) {
                    self.services.set_enabled(unit, true).await?;
                }
            }
            Step::StopService { unit } => {
                if !matches!(prior, Prior::Service { active: false, .. }) {
                    self.services.stop(unit).await?;
                }
            }
            Step::StartService { unit } => self.services.start(unit).await?,
            Step::SpawnSupervised {
                name,
                executable,
                argv,
                pidfile,
                log,
            } => {
                let (pidfile, log) = (plain(pidfile)?, plain(log)?);
                self.processes
                    .spawn(Spawn {
                        name,
                        executable,
                        argv,
                        pidfile,
                        log,
                    })
                    .await?;
            }
            Step::LoadModule { name } => {
                self.only_machine(step)?;
                self.kernel.load_module(name).await?;
            }
            Step::SetSysctl { key, value } => {
                self.only_machine(step)?;
                self.kernel.set(key, value)?;
            }
            Step::SwapOff {} => {
                self.only_machine(step)?;
                self.swap_off().await?;
            }
            Step::Purge { what } => {
                if matches!(what, Purge::NetworkPlugins | Purge::Firewall) {
                    self.only_machine(step)?;
                }
                // What is left is what a reset has to tell at its end.
                return Ok(serde_json::json!(self.purge(what).await?));
            }
            Step::AwaitKubelet {
                healthz_port,
                process,
                seconds,
            } => {
                self.await_kubelet(*healthz_port, process, *seconds).await?;
            }
            // The cluster's: see `Step::actor`.
            _ => return Err(not_for_hosts(step)),
        }
        Ok(Value::Null)
    }

    pub(crate) async fn undo(
        &self,
        id: &str,
        step: &Step,
        prior: &Prior,
    ) -> Result<Vec<Residue>, HostError> {
        let files = Files(&self.disk);
        match (step, prior) {
            (Step::MakeDir { path, .. }, prior) => files.remove_made_dirs(plain(path)?, prior),
            (Step::ClaimDir { path, .. }, prior) => files.sweep(plain(path)?, prior),
            (Step::ClaimPods { endpoint }, Prior::Pods { ids, mounts }) => {
                self.give_back_pods(endpoint, ids, mounts).await
            }
            (
                Step::WriteFile { path, .. }
                | Step::WriteSecret { path, .. }
                | Step::WriteMade { path, .. }
                | Step::Symlink { path, .. },
                prior,
            ) => files.restore(id, plain(path)?, prior).map(|()| Vec::new()),
            (Step::InstallUnit { unit, .. }, prior) => {
                files.restore(id, plain(&unit_path(unit))?, prior)?;
                self.services.reload().await?;
                Ok(Vec::new())
            }
            (Step::EnableService { unit }, Prior::Service { enabled: false, .. }) => self
                .services
                .set_enabled(unit, false)
                .await
                .map(|()| Vec::new()),
            (Step::StopService { unit }, Prior::Service { active: true, .. }) => {
                self.services.start(unit).await.map(|()| Vec::new())
            }
            (Step::StartService { unit }, Prior::Service { active: false, .. }) => {
                self.services.stop(unit).await.map(|()| Vec::new())
            }
            (Step::SpawnSupervised { pidfile, .. }, Prior::Process { running: false }) => self
                .processes
                .stop(plain(pidfile)?)
                .await
                .map(|()| Vec::new()),
            (Step::LoadModule { name }, Prior::Module { loaded: false }) => self.unload(name).await,
            (Step::SetSysctl { key, .. }, Prior::Setting { value }) => self
                .restore_setting(key, value.as_deref())
                .map(|()| Vec::new()),
            (Step::SwapOff {}, Prior::Swaps { devices }) => self.swap_on(devices).await,
            (step, _) if step.actor() == Actor::Cluster => Err(not_for_hosts(step)),
            // It was so before, or leaves no trace.
            _ => Ok(Vec::new()),
        }
    }

    /// Below another root there is no kernel of its own to change.
    fn only_machine(&self, step: &Step) -> Result<(), HostError> {
        if self.root.is_machine() {
            return Ok(());
        }
        Err(not_for_hosts(step))
    }

    /// What a purge would remove now.
    pub(crate) async fn preview_purge(&self, what: &Purge) -> Result<Vec<String>, HostError> {
        self.preview(what).await
    }

    /// The names in a directory; `None` when there is none.
    pub(crate) fn list(&self, path: &str) -> Result<Option<Vec<String>>, HostError> {
        match self.disk.list(plain(path)?) {
            Ok(names) => Ok(Some(names)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(io_error("list", path)(error)),
        }
    }

    pub(crate) fn read(&self, path: &str) -> Result<Option<Secret<Vec<u8>>>, HostError> {
        match self.disk.read(plain(path)?, MAX_READ) {
            Ok(content) => Ok(Some(Secret::new(content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", path)(error)),
        }
    }

    /// Whether a process of the node runs, and how often it was started again.
    pub(crate) async fn vitals(&self, process: &Process) -> Result<(bool, u32), HostError> {
        match process {
            Process::Service { unit } => self.services.vitals(unit).await,
            Process::Supervised { pidfile, .. } => {
                let state = self.processes.state(plain(pidfile)?).await?;
                Ok((state.supervisor && state.child, state.restarts))
            }
        }
    }

    pub(crate) async fn log_tail(&self, process: &Process) -> String {
        match process {
            Process::Service { unit } => self.services.log_tail(unit).await,
            Process::Supervised { log, .. } => self.processes.log_tail(log).await,
        }
    }

    pub(crate) async fn health(&self, process: &Process) -> Result<ProcessHealth, HostError> {
        let (running, restarts) = self.vitals(process).await?;
        Ok(ProcessHealth {
            running,
            restarts,
            log_tail: self.log_tail(process).await,
        })
    }

    /// Another saga on this machine may still need its own: only what is empty goes.
    pub(crate) fn forget_backups(&self) -> Result<(), HostError> {
        Files(&self.disk).remove_if_empty(paths::BACKUP_DIR)
    }
}

//! A simulated machine: a file tree, services and processes in memory, with the power cut anywhere.
//!
//! It runs the very algorithms of the real host over its own elementary operations. Each of those is counted, can be
//! the one before which the power goes, and leaves what a disk would leave: a file being written stays half-written.

mod disk;
mod kernel;
mod services;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use muster_identity::Secret;
use muster_plan::paths::{self, Root};
use muster_plan::{
    CriSocket, Facts, FileFact, Process, Purge, SecretBag, ServiceManager, Step, UnitFact,
};
use muster_saga::Residue;
use parking_lot::Mutex;

use crate::disk::is_plain;
pub use crate::prior::Attributes;
use crate::steps::Machine;
use crate::{Host, HostError, Prior, ProcessHealth, Receipt, Subject, Swap};

use disk::SimDisk;
use kernel::SimKernel;
use services::SimServices;

/// What stands at a path of a simulated machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Dir {
        /// Its mode.
        mode: u32,
    },
    /// A file.
    File {
        /// Its content.
        content: Vec<u8>,
        /// Its owner, mode and time.
        attributes: Attributes,
    },
    /// A symbolic link.
    Link {
        /// What it points at.
        target: String,
    },
}

/// Everything about a simulated machine that a step may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// The file tree.
    pub tree: BTreeMap<String, Entry>,
    /// The services.
    pub units: BTreeMap<String, UnitFact>,
    /// The pods in the container runtime.
    pub pods: BTreeSet<String>,
    /// The pid files of supervised processes that run.
    pub running: BTreeSet<String>,
    /// What the kernel was told.
    pub kernel: KernelState,
}

/// What a simulated kernel was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelState {
    /// Modules that are loaded.
    pub modules: BTreeSet<String>,
    /// Settings by their path below `/proc/sys`.
    pub settings: BTreeMap<String, String>,
    /// Swap in use.
    pub swaps: BTreeSet<Swap>,
    /// Network interfaces.
    pub links: BTreeSet<String>,
    /// The packet filter's chains with known owners.
    pub filters: BTreeSet<String>,
}

#[derive(Default)]
struct Faults {
    operations: u64,
    power_off_at: Option<u64>,
    off: bool,
    /// Steps that fail, and whether they do so after their deed.
    failing: BTreeMap<String, bool>,
    /// Steps that cannot be taken back.
    stuck: BTreeSet<String>,
    /// The kubelet ends as soon as it is started.
    kubelet_ends: bool,
    /// A kubelet that is started runs this pod, with a volume mounted there.
    pod: Option<(String, String)>,
    mounts: BTreeSet<String>,
    /// Mounts that are in use.
    busy: BTreeSet<String>,
    /// Images that no registry has.
    missing_images: BTreeSet<String>,
    clock: i64,
}

struct Inside {
    world: Mutex<World>,
    faults: Mutex<Faults>,
    facts: Mutex<Facts>,
    /// Runs in the tree when a kubelet is started: what a kubelet writes by itself.
    on_kubelet: Mutex<Option<Box<KubeletEffect>>>,
}

type KubeletEffect = dyn Fn(&mut BTreeMap<String, Entry>) + Send;

/// A simulated machine. Clones are the same machine.
#[derive(Clone)]
pub struct SimHost {
    inside: Arc<Inside>,
    machine: Arc<Machine<SimDisk, SimServices, SimServices>>,
}

impl SimHost {
    /// A machine without a service manager and with a bare file tree.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        let mut world = World::default();
        for dir in [
            "/etc",
            "/run",
            "/var",
            "/var/lib",
            "/var/log",
            "/etc/systemd",
            paths::UNIT_DIR,
        ] {
            world.tree.insert(dir.into(), Entry::Dir { mode: 0o755 });
        }
        let inside = Arc::new(Inside {
            world: Mutex::new(world),
            faults: Mutex::default(),
            facts: Mutex::new(Facts::plain(hostname, Timestamp::UNIX_EPOCH)),
            on_kubelet: Mutex::new(None),
        });
        let machine = Arc::new(Machine {
            root: Root::new("/"),
            disk: SimDisk(Arc::clone(&inside)),
            services: SimServices(Arc::clone(&inside)),
            processes: SimServices(Arc::clone(&inside)),
            pods: Arc::new(SimServices(Arc::clone(&inside))),
            kernel: Box::new(SimKernel(Arc::clone(&inside))),
        });
        Self { inside, machine }
    }

    /// Everything that a step may change, without the directory of the journal and the backups.
    #[must_use]
    pub fn snapshot(&self) -> World {
        let mut world = self.inside.world.lock().clone();
        world
            .tree
            .retain(|path, _| !path.starts_with(paths::STATE_DIR));
        world
    }

    /// Everything, to look at or to change.
    pub fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.inside.world.lock())
    }

    /// The facts that do not follow from the world.
    pub fn with_facts(&self, act: impl FnOnce(&mut Facts)) {
        act(&mut self.inside.facts.lock());
    }

    /// Puts a file there, and the directories it needs.
    pub fn put_file(&self, path: &str, mode: u32, content: &[u8]) {
        assert!(is_plain(path), "{path}");
        let mut world = self.inside.world.lock();
        let mut dir = crate::disk::parent(path);
        while dir != "/" {
            world
                .tree
                .entry(dir.to_owned())
                .or_insert(Entry::Dir { mode: 0o755 });
            dir = crate::disk::parent(dir);
        }
        let attributes = Attributes {
            mode,
            uid: 7,
            gid: 8,
            modified: 1_000,
            modified_nanos: 5,
        };
        let entry = Entry::File {
            content: content.to_vec(),
            attributes,
        };
        world.tree.insert(path.to_owned(), entry);
    }

    /// Makes it a machine with systemd and a kubelet's unit.
    pub fn install_system_kubelet(&self, active: bool) {
        self.with_facts(|facts| {
            facts.service_manager = ServiceManager::Systemd;
            facts
                .binaries
                .insert("kubelet".into(), "/usr/bin/kubelet".into());
            facts.cri_sockets.push(muster_plan::CriSocket {
                path: "/var/run/containerd/containerd.sock".into(),
                answers: true,
                ..Default::default()
            });
        });
        self.with_world(|world| {
            let fact = UnitFact {
                exists: true,
                enabled: false,
                active,
            };
            world.units.insert(paths::KUBELET_UNIT.into(), fact);
        });
    }

    /// What a kubelet writes by itself when it is started.
    pub fn on_kubelet(&self, effect: impl Fn(&mut BTreeMap<String, Entry>) + Send + 'static) {
        *self.inside.on_kubelet.lock() = Some(Box::new(effect));
    }

    /// A mount that an undo must leave alone.
    pub fn mount(&self, path: &str) {
        self.inside.faults.lock().mounts.insert(path.to_owned());
    }

    /// A mount that cannot be unmounted, as somebody uses it.
    pub fn mount_is_busy(&self, path: &str) {
        self.inside.faults.lock().busy.insert(path.to_owned());
    }

    /// What is mounted.
    #[must_use]
    pub fn mounts(&self) -> BTreeSet<String> {
        self.inside.faults.lock().mounts.clone()
    }

    /// Lets the machine's own kubelet run a pod as soon as it is started, with a volume mounted at `volume`.
    pub fn kubelet_runs_pod(&self, id: &str, volume: &str) {
        self.inside.faults.lock().pod = Some((id.to_owned(), volume.to_owned()));
    }

    /// An image that cannot be pulled.
    pub fn miss_image(&self, image: &str) {
        let mut faults = self.inside.faults.lock();
        faults.missing_images.insert(image.to_owned());
    }

    /// Makes a step fail: before its deed, or after it.
    pub fn fail_step(&self, id: &str, after_deed: bool) {
        self.inside
            .faults
            .lock()
            .failing
            .insert(id.to_owned(), after_deed);
    }

    /// Makes the undo of a step fail, or no longer.
    pub fn fail_undo(&self, id: &str, fails: bool) {
        let mut faults = self.inside.faults.lock();
        if fails {
            faults.stuck.insert(id.to_owned());
        } else {
            faults.stuck.remove(id);
        }
    }

    /// Lets the kubelet end as soon as it is started.
    pub fn kubelet_ends(&self, ends: bool) {
        self.inside.faults.lock().kubelet_ends = ends;
    }

    /// Elementary operations made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.inside.faults.lock().operations
    }

    /// Cuts the power before elementary operation number `at`; `None` brings the machine back up. What was running
    /// as a supervised process is gone then; enabled services are started.
    pub fn lose_power_at(&self, at: Option<u64>) {
        let mut faults = self.inside.faults.lock();
        faults.power_off_at = at;
        if at.is_none() {
            faults.off = false;
        }
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.inside.faults.lock().off
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.inside.faults.lock().off = true;
    }

    /// Counts an elementary operation of somebody whom the machine asked for something, such as a change in its cluster:
    /// also before those the power may go. Says whether it is still on.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.inside.operation().is_ok()
    }

    /// Whether a kubelet runs, as whatever.
    #[must_use]
    pub fn kubelet_runs(&self) -> bool {
        let world = self.inside.world.lock();
        !world.running.is_empty()
            || [paths::KUBELET_UNIT, paths::MUSTER_KUBELET_UNIT]
                .iter()
                .any(|unit| world.units.get(*unit).is_some_and(|fact| fact.active))
    }

    /// What the machine's programs were told to do wrong.
    fn made_to_fail(&self, id: &str, after_deed: bool) -> Result<(), HostError> {
        if self.inside.faults.lock().failing.get(id) == Some(&after_deed) {
            return Err(HostError::MadeToFail {
                step: id.to_owned(),
            });
        }
        Ok(())
    }
}

impl Inside {
    /// Counts one elementary operation, unless the power is off or goes now.
    fn operation(&self) -> Result<(), crate::steps::PowerIsOff> {
        let mut faults = self.faults.lock();
        if faults.off || faults.power_off_at == Some(faults.operations) {
            faults.off = true;
            return Err(crate::steps::PowerIsOff);
        }
        faults.operations += 1;
        faults.clock += 1;
        Ok(())
    }
}

fn seen_at(world: &World, path: &str) -> Option<FileFact> {
    Some(match world.tree.get(path)? {
        Entry::File { content, .. } => FileFact::File {
            size: content.len() as u64,
        },
        Entry::Dir { .. } => FileFact::Dir { entries: 0 },
        Entry::Link { .. } => FileFact::Symlink,
    })
}

#[async_trait]
impl Host for SimHost {
    async fn gather(&self) -> Result<Facts, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        let mut facts = self.inside.facts.lock().clone();
        let world = self.inside.world.lock();
        facts.units = world.units.clone();
        facts.modules.extend(world.kernel.modules.iter().cloned());
        facts.sysctls.extend(world.kernel.settings.clone());
        facts.swap = world
            .kernel
            .swaps
            .iter()
            .map(|swap| swap.device.clone())
            .collect();
        facts.kubelet_mounts = self.inside.faults.lock().mounts.iter().cloned().collect();
        let watched = paths::WATCHED.iter();
        let seen = watched.filter_map(|path| Some(((*path).to_owned(), seen_at(&world, path)?)));
        facts.files.extend(seen);
        Ok(facts)
    }

    async fn gather_for(&self, subject: &Subject) -> Result<Facts, HostError> {
        let mut facts = self.gather().await?;
        let world = self.inside.world.lock();
        let further = subject.paths.iter();
        let seen = further.filter_map(|path| Some((path.clone(), seen_at(&world, path)?)));
        facts.files.extend(seen);
        Ok(facts)
    }

    async fn observe(&self, step: &Step) -> Result<Prior, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.machine.observe(step).await
    }

    async fn perform(
        &self,
        id: &str,
        step: &Step,
        prior: &Prior,
        secrets: &SecretBag,
    ) -> Result<Receipt, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.made_to_fail(id, false)?;
        let receipt = self.machine.perform(id, step, prior, secrets).await?;
        self.made_to_fail(id, true)?;
        Ok(receipt)
    }

    async fn undo(&self, id: &str, step: &Step, prior: &Prior) -> Result<Vec<Residue>, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        if self.inside.faults.lock().stuck.contains(id) {
            return Err(HostError::MadeToFail {
                step: id.to_owned(),
            });
        }
        self.machine.undo(id, step, prior).await
    }

    async fn preview(&self, what: &Purge) -> Result<Vec<String>, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.machine.preview_purge(what).await
    }

    async fn list(&self, path: &str) -> Result<Option<Vec<String>>, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.machine.list(path)
    }

    async fn read(&self, path: &str) -> Result<Option<Secret<Vec<u8>>>, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.machine.read(path)
    }

    async fn cri_socket(&self, path: &str) -> Option<CriSocket> {
        let facts = self.inside.facts.lock();
        facts
            .cri_sockets
            .iter()
            .find(|socket| socket.path == path)
            .cloned()
    }

    async fn pull_image(
        &self,
        _endpoint: &str,
        image: &str,
        _if_not_present: bool,
    ) -> Result<(), String> {
        let missing = self.inside.faults.lock().missing_images.contains(image);
        if missing {
            Err("there is no such image".into())
        } else {
            Ok(())
        }
    }

    async fn health(&self, process: &Process) -> Result<ProcessHealth, HostError> {
        if self.is_off() {
            return Err(HostError::PowerLost);
        }
        self.machine.health(process).await
    }

    async fn forget_backups(&self) -> Result<(), HostError> {
        self.machine.forget_backups()
    }

    fn root(&self) -> &Root {
        &self.machine.root
    }
}

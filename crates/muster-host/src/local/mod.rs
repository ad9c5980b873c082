//! This machine, below a root directory.
//!
//! With `/` as root it has the machine's service manager; below another directory it has none, as no service manager
//! knows of it.

mod commands;
pub(crate) mod cri;
mod disk;
mod kernel;
mod openrc;
mod processes;
mod systemd;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use muster_identity::Secret;
use muster_plan::paths::Root;
use muster_plan::{CriSocket, Facts, Process, Purge, SecretBag, ServiceManager, Step};
use muster_saga::Residue;

use crate::gather;
use crate::services::Services;
use crate::steps::Machine;
use crate::{Host, HostError, Prior, ProcessHealth, Receipt, Subject};

use disk::RealDisk;
pub(crate) use disk::mounts_below;
use openrc::OpenRc;
use processes::RealProcesses;
use systemd::Systemd;

/// The programs that a local host calls. For machines that keep them elsewhere, and for tests.
#[derive(Clone, Debug)]
pub struct LocalPrograms {
    /// `systemctl`
    pub systemctl: PathBuf,
    /// `journalctl`
    pub journalctl: PathBuf,
    /// `rc-service`
    pub rc_service: PathBuf,
    /// `rc-update`
    pub rc_update: PathBuf,
}

impl Default for LocalPrograms {
    fn default() -> Self {
        Self {
            systemctl: "systemctl".into(),
            journalctl: "journalctl".into(),
            rc_service: "rc-service".into(),
            rc_update: "rc-update".into(),
        }
    }
}

/// This machine, below a root directory.
pub struct LocalHost {
    machine: Arc<Machine<RealDisk, LocalServices, RealProcesses>>,
}

/// The service manager that was found.
pub(crate) enum LocalServices {
    Systemd(Systemd),
    OpenRc(OpenRc),
    None,
}

impl LocalHost {
    /// This machine below `root`, with the service manager that runs here if `root` is the machine's own.
    #[must_use]
    pub fn new(root: Root) -> Self {
        let manager = if root.is_machine() {
            gather::service_manager()
        } else {
            ServiceManager::None
        };
        Self::with(root, manager, LocalPrograms::default())
    }

    /// The same with a given service manager and given programs.
    #[must_use]
    pub fn with(root: Root, manager: ServiceManager, programs: LocalPrograms) -> Self {
        let services = match manager {
            ServiceManager::Systemd => LocalServices::Systemd(Systemd::new(programs)),
            ServiceManager::OpenRc => LocalServices::OpenRc(OpenRc::new(programs)),
            ServiceManager::None => LocalServices::None,
        };
        let machine = Machine {
            disk: RealDisk::new(root.clone()),
            processes: RealProcesses::new(root.clone()),
            root,
            services,
            pods: Arc::new(cri::Cri),
            kernel: Box::new(kernel::RealKernel),
        };
        Self {
            machine: Arc::new(machine),
        }
    }

    fn manager(&self) -> ServiceManager {
        match &self.machine.services {
            LocalServices::Systemd(_) => ServiceManager::Systemd,
            LocalServices::OpenRc(_) => ServiceManager::OpenRc,
            LocalServices::None => ServiceManager::None,
        }
    }
}

#[async_trait]
impl Host for LocalHost {
    async fn gather(&self) -> Result<Facts, HostError> {
        let manager = self.manager();
        let subject = Subject::default();
        gather::facts(
            &self.machine.root,
            manager,
            &self.machine.services,
            &subject,
        )
        .await
    }

    async fn gather_for(&self, subject: &Subject) -> Result<Facts, HostError> {
        let manager = self.manager();
        gather::facts(&self.machine.root, manager, &self.machine.services, subject).await
    }

    async fn observe(&self, step: &Step) -> Result<Prior, HostError> {
        self.machine.observe(step).await
    }

    async fn perform(
        &self,
        id: &str,
        step: &Step,
        prior: &Prior,
        secrets: &SecretBag,
    ) -> Result<Receipt, HostError> {
        self.machine.perform(id, step, prior, secrets).await
    }

    async fn undo(&self, id: &str, step: &Step, prior: &Prior) -> Result<Vec<Residue>, HostError> {
        self.machine.undo(id, step, prior).await
    }

    async fn preview(&self, what: &Purge) -> Result<Vec<String>, HostError> {
        self.machine.preview_purge(what).await
    }

    async fn list(&self, path: &str) -> Result<Option<Vec<String>>, HostError> {
        self.machine.list(path)
    }

    async fn read(&self, path: &str) -> Result<Option<Secret<Vec<u8>>>, HostError> {
        self.machine.read(path)
    }

    async fn cri_socket(&self, path: &str) -> Option<CriSocket> {
        gather::cri_socket(path).await
    }

    async fn pull_image(
        &self,
        endpoint: &str,
        image: &str,
        if_not_present: bool,
    ) -> Result<(), String> {
        cri::pull(endpoint, image, if_not_present).await
    }

    async fn health(&self, process: &Process) -> Result<ProcessHealth, HostError> {
        self.machine.health(process).await
    }

    async fn forget_backups(&self) -> Result<(), HostError> {
        self.machine.forget_backups()
    }

    fn root(&self) -> &Root {
        &self.machine.root
    }
}

#[async_trait]
impl Services for LocalServices {
    async fn state(&self, unit: &str) -> Result<muster_plan::UnitFact, HostError> {
        match self {
            Self::Systemd(systemd) => systemd.state(unit).await,
            Self::OpenRc(openrc) => openrc.state(unit).await,
            Self::None => Ok(muster_plan::UnitFact::default()),
        }
    }

    async fn states(&self, units: &[&str]) -> Result<Vec<muster_plan::UnitFact>, HostError> {
        match self {
            Self::Systemd(systemd) => systemd.states(units).await,
            Self::OpenRc(openrc) => openrc.states(units).await,
            Self::None => Ok(vec![muster_plan::UnitFact::default(); units.len()]),
        }
    }

    async fn restarts(&self, unit: &str) -> Result<u32, HostError> {
        match self {
            Self::Systemd(systemd) => systemd.restarts(unit).await,
            Self::OpenRc(openrc) => openrc.restarts(unit).await,
            Self::None => Ok(0),
        }
    }

    async fn vitals(&self, unit: &str) -> Result<(bool, u32), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.vitals(unit).await,
            Self::OpenRc(openrc) => openrc.vitals(unit).await,
            Self::None => Ok((false, 0)),
        }
    }

    async fn start(&self, unit: &str) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.start(unit).await,
            Self::OpenRc(openrc) => openrc.start(unit).await,
            Self::None => Err(none("start", unit)),
        }
    }

    async fn stop(&self, unit: &str) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.stop(unit).await,
            Self::OpenRc(openrc) => openrc.stop(unit).await,
            Self::None => Err(none("stop", unit)),
        }
    }

    async fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.set_enabled(unit, enabled).await,
            Self::OpenRc(openrc) => openrc.set_enabled(unit, enabled).await,
            Self::None => Err(none("enable", unit)),
        }
    }

    async fn reload(&self) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.reload().await,
            Self::OpenRc(_) | Self::None => Ok(()),
        }
    }

    async fn log_tail(&self, unit: &str) -> String {
        match self {
            Self::Systemd(systemd) => systemd.log_tail(unit).await,
            Self::OpenRc(_) | Self::None => String::new(),
        }
    }
}

fn none(action: &'static str, unit: &str) -> HostError {
    HostError::NoServiceManager {
        action,
        unit: unit.to_owned(),
    }
}

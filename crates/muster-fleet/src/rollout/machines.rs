//! From a host of a fleet to a machine that takes commands, and what makes machines that are not there yet.
//!
//! Two ports, so that a run can be tried against machines in memory. Connections are kept for a host as long as it is
//! worked on, and opened again after they broke.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::HostSpec;
use muster_ssh::Machine;
use parking_lot::Mutex;

use super::fault::ids;

/// Opens machines.
#[async_trait]
pub trait Machines: Send + Sync + 'static {
    /// A machine for a host. `address` goes before the host's own, for machines that were just made.
    ///
    /// # Errors
    /// When it cannot be reached, with an id, a cure and whether another attempt may help.
    async fn open(
        &self,
        host: &HostSpec,
        address: Option<&str>,
    ) -> Result<Arc<dyn Machine>, StageFailure>;
}

/// Takes in what is being done.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Makes and unmakes machines.
#[async_trait]
pub trait Provisioner: Send + Sync + 'static {
    /// Makes the machine of a host, also when some of it is there already. Tells `tell` what it is doing.
    ///
    /// # Errors
    /// When it is not there as asked.
    async fn create(&self, host: &HostSpec, tell: Tell<'_>) -> Result<Made, StageFailure>;

    /// Unmakes it, also when nothing is there.
    ///
    /// # Errors
    /// When some of it may still be there.
    async fn destroy(&self, host: &HostSpec) -> Result<(), StageFailure>;
}

/// A machine that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// Where it is, when that was not known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// For fleets whose machines all exist.
#[derive(Clone, Copy, Debug)]
pub struct NoProvisioner;

#[async_trait]
impl Provisioner for NoProvisioner {
    async fn create(&self, host: &HostSpec, _: Tell<'_>) -> Result<Made, StageFailure> {
        let provider = host.settings.provider.as_str();
        Err(StageFailure::terminal(
            ids::PROVIDER_FAILED,
            format!("nothing here makes machines by {provider}"),
        ))
    }

    async fn destroy(&self, host: &HostSpec) -> Result<(), StageFailure> {
        self.create(host, &|_| {}).await.map(drop)
    }
}

/// The open machines of a run.
pub(crate) struct Connections {
    machines: Arc<dyn Machines>,
    open: Mutex<HashMap<u32, Arc<dyn Machine>>>,
}

impl Connections {
    pub(crate) fn new(machines: Arc<dyn Machines>) -> Self {
        Self {
            machines,
            open: Mutex::default(),
        }
    }

    /// The machine of a host, by the connection that stands or a new one.
    pub(crate) async fn get(
        &self,
        index: u32,
        host: &HostSpec,
        address: Option<&str>,
    ) -> Result<Arc<dyn Machine>, StageFailure> {
        let known = self.open.lock().get(&index).cloned();
        if let Some(machine) = known {
            return Ok(machine);
        }
        let machine = self.machines.open(host, address).await?;
        self.open.lock().insert(index, Arc::clone(&machine));
        Ok(machine)
    }

    /// A connection that may be broken is not used again.
    pub(crate) fn forget(&self, index: u32) {
        self.open.lock().remove(&index);
    }

    /// Ends the connection of a host that nothing more is done to.
    pub(crate) async fn close(&self, index: u32) {
        let machine = self.open.lock().remove(&index);
        if let Some(machine) = machine {
            machine.close().await;
        }
    }
}

//! The port of a machine: facts, and one step at a time.
//!
//! Two honest implementations exist: this machine below a root directory, and a simulated one. Another (over SSH)
//! only has to pass the conformance suite.

use async_trait::async_trait;
use muster_identity::Secret;
use muster_plan::paths::Root;
use muster_plan::{CriSocket, Facts, Process, Purge, SecretBag, Step};
use muster_saga::Residue;

use crate::{HostError, Prior};

/// What a deed gave, for the journal: empty for every host step so far, as an undo needs only what was there before.
pub type Receipt = serde_json::Value;

/// How a process of the node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessHealth {
    /// It runs.
    pub running: bool,
    /// How often it was started again by a supervisor of ours or by the service manager, where that counts.
    pub restarts: u32,
    /// The end of its log.
    pub log_tail: String,
}

/// What a machine is looked at for, where that is known: facts that depend on it are gathered too.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The node's name, which should resolve.
    pub node_name: Option<String>,
    /// Host and port of the API server, to which there should be a way.
    pub api: Option<(String, u16)>,
    /// The path of a CRI socket besides the usual ones.
    pub cri_socket: Option<String>,
    /// Further paths of the node whose presence matters.
    pub paths: Vec<String>,
}

/// A machine.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Everything that is known of it. Changes nothing.
    async fn gather(&self) -> Result<Facts, HostError>;

    /// The same, and what depends on the subject.
    async fn gather_for(&self, subject: &Subject) -> Result<Facts, HostError> {
        let mut facts = self.gather().await?;
        if let Some(path) = &subject.cri_socket
            && !facts.cri_sockets.iter().any(|socket| socket.path == *path)
        {
            facts.cri_sockets.extend(self.cri_socket(path).await);
        }
        Ok(facts)
    }

    /// What is there before a step. The caller makes it durable before [`Host::perform`].
    async fn observe(&self, step: &Step) -> Result<Prior, HostError>;

    /// Does a step. Doing it again, also after a power cut in the middle, leads to the same end.
    ///
    /// `id` is the step's name in its saga: it names the backup of what is replaced.
    async fn perform(
        &self,
        id: &str,
        step: &Step,
        prior: &Prior,
        secrets: &SecretBag,
    ) -> Result<Receipt, HostError>;

    /// Takes a step back, whether it was done, half done or not done. Taking it back again changes nothing.
    async fn undo(&self, id: &str, step: &Step, prior: &Prior) -> Result<Vec<Residue>, HostError>;

    /// What a purge would remove now, one word for each thing. Changes nothing.
    async fn preview(&self, what: &Purge) -> Result<Vec<String>, HostError>;

    /// The names in a directory of the node; `None` when there is none.
    async fn list(&self, path: &str) -> Result<Option<Vec<String>>, HostError>;

    /// A small file of the node, or `None` when there is none. It may hold a key.
    async fn read(&self, path: &str) -> Result<Option<Secret<Vec<u8>>>, HostError>;

    /// A CRI socket at a place of somebody's choice; `None` when there is no socket.
    async fn cri_socket(&self, path: &str) -> Option<CriSocket>;

    /// Pulls an image through the container runtime at a CRI socket, unless it is there and that is enough. Words for
    /// people where it fails.
    async fn pull_image(
        &self,
        endpoint: &str,
        image: &str,
        if_not_present: bool,
    ) -> Result<(), String>;

    /// How a process of the node is doing.
    async fn health(&self, process: &Process) -> Result<ProcessHealth, HostError>;

    /// Removes the backups of replaced files: the saga ended well, or was taken back.
    async fn forget_backups(&self) -> Result<(), HostError>;

    /// What stands for `/`.
    fn root(&self) -> &Root;
}

//! Machines over SSH: [`SshClient`] opens them, and shares what machines have in common (jump hosts, few helpers at once).
//!
//! Everything runs in this process: hundreds of machines are tasks and sockets, not processes.

mod agent;
mod connection;
mod credentials;
mod dial;
mod guard;
mod jump;
mod login;
mod session;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::carrier::Carrier;
use crate::{
    Command, Exit, Machine, MachineError, OnLine, SshOptions, SshTarget, Upload, Uploaded,
    dialogue, upload,
};
use jump::Jumps;
use session::SshCarrier;

/// How many `ssh -G` run at once.
const RESOLVERS: usize = 8;
/// How many connections talk to the agent at once: it answers one after the other.
const AGENT_TALKS: usize = 8;

/// Opens machines over SSH. Cheap to clone; clones share their jump hosts.
#[derive(Debug, Clone)]
pub struct SshClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: SshOptions,
    resolvers: Semaphore,
    agent_talks: Semaphore,
    jumps: Jumps,
}

impl SshClient {
    /// A client. Nothing is opened yet.
    pub fn new(options: SshOptions) -> Self {
        let inner = Inner {
            options,
            resolvers: Semaphore::new(RESOLVERS),
            agent_talks: Semaphore::new(AGENT_TALKS),
            jumps: Jumps::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a connection to a machine: resolves its settings, passes its jump hosts, checks its key, logs in.
    ///
    /// Dropping the future gives everything back. It ends within the time-outs of the options, or of the settings.
    ///
    /// # Errors
    /// Whatever stood in the way, told apart.
    pub async fn connect(&self, target: &SshTarget) -> Result<SshMachine, MachineError> {
        let connection = connection::open(Arc::clone(&self.inner), target.clone(), None).await?;
        let carrier = SshCarrier::new(target.label().to_owned(), connection, target.sudo.clone());
        Ok(SshMachine { carrier })
    }
}

/// A machine over SSH: one connection, in which any number of commands run side by side (eight at a time).
#[derive(Debug)]
pub struct SshMachine {
    carrier: SshCarrier,
}

impl SshMachine {
    /// Who we are there.
    pub fn user(&self) -> &str {
        self.carrier.user()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.carrier.connection().is_closed()
    }

    /// How many machines are passed on the way.
    pub fn jumps(&self) -> usize {
        self.carrier.connection().jumps()
    }
}

#[async_trait]
impl Machine for SshMachine {
    fn name(&self) -> &str {
        self.carrier.name()
    }

    async fn run(&self, command: Command, on_line: OnLine<'_>) -> Result<Exit, MachineError> {
        dialogue::run(&self.carrier, command, on_line).await
    }

    async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError> {
        upload::upload(&self.carrier, &upload).await
    }

    async fn close(&self) {
        self.carrier.connection().close().await;
    }
}

#[cfg(test)]
mod tests;

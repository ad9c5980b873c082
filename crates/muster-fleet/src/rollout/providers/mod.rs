//! What makes machines that are not there yet: Vagrant, commands of the user's, network namespaces of this machine.
//!
//! Each makes and unmakes, and may be told to twice. Everything is run on this machine. It refuses to know what a machine
//! is made for.

mod command;
mod local;
mod vagrant;

use async_trait::async_trait;
use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{HostSpec, Provider, Size};
use muster_ssh::{Command, LocalMachine, Machine as _, Output, Sudo};
use tokio::sync::Mutex;

use super::fault::{self, ids};
use super::machines::{Made, NoProvisioner, Provisioner, Tell};

/// Makes machines as their hosts' `provider` says.
#[derive(Debug)]
pub struct Providers {
    here: LocalMachine,
    /// Vagrant works on one machine of a directory at a time.
    vagrant: Mutex<()>,
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            here: LocalMachine::new("this machine", Sudo::Passwordless),
            vagrant: Mutex::default(),
        }
    }
}

#[async_trait]
impl Provisioner for Providers {
    async fn create(&self, host: &HostSpec, tell: Tell<'_>) -> Result<Made, StageFailure> {
        match &host.settings.provider {
            Provider::None => NoProvisioner.create(host, tell).await,
            Provider::Vagrant(settings) => {
                let _turn = self.vagrant.lock().await;
                vagrant::create(self, host, settings, tell).await
            }
            Provider::Command(settings) => command::create(self, host, settings, tell).await,
            Provider::Local(settings) => local::create(self, host, settings).await,
        }
    }

    async fn destroy(&self, host: &HostSpec) -> Result<(), StageFailure> {
        match &host.settings.provider {
            Provider::None => Ok(()),
            Provider::Vagrant(settings) => {
                let _turn = self.vagrant.lock().await;
                vagrant::destroy(self, host, settings).await
            }
            Provider::Command(settings) => command::destroy(self, host, settings).await,
            Provider::Local(settings) => local::destroy(self, host, settings).await,
        }
    }
}

impl Providers {
    /// Runs a command here that has to succeed; `what` completes "cannot …".
    async fn must(&self, command: Command, what: &str) -> Result<Output, StageFailure> {
        let output = self
            .here
            .output(command)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        if output.exit.success() {
            return Ok(output);
        }
        let words = match fault::last_words(&output.stderr) {
            words if words.is_empty() => fault::last_words(&output.stdout),
            words => words,
        };
        Err(failed(format!("cannot {what}: {words} ({})", output.exit)))
    }
}

fn failed(message: String) -> StageFailure {
    StageFailure::terminal(ids::PROVIDER_FAILED, message)
}

/// A text with name, address and size of a machine filled in.
pub(crate) fn filled(host: &HostSpec, text: &str, size: Size) -> String {
    host.fill(text)
        .replace("{cpus}", &size.cpus.to_string())
        .replace("{memory}", &size.memory.to_string())
}

/// The same as variables.
fn with_size(command: Command, host: &HostSpec, size: Size) -> Command {
    command
        .env("MUSTER_NODE_NAME", host.name.as_str())
        .env("MUSTER_NODE_ADDRESS", host.address())
        .env("MUSTER_CPUS", size.cpus.to_string())
        .env("MUSTER_MEMORY_MB", size.memory.to_string())
}

#[cfg(test)]
mod tests;

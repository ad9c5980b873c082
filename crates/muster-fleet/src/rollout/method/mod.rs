//! The ways in which a host is joined and taken back: our own binary, kubeadm, k3s, k0s. One place says for all of them
//! what is run, so that a plan shows what a run does.
//!
//! A token goes over standard input only. It refuses to know which host is worked on when.

mod k0s;
mod k3s;
mod kubeadm;
mod muster;
mod page;

use std::sync::Arc;
use std::time::Duration;

use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{HookCommand, HostMethod, HostSpec};
use muster_ssh::{Command, Machine, Output, OutputLine, Stream};
use serde::{Deserialize, Serialize};

use super::fault::{self, ids};
use super::token::Admission;
pub(crate) use muster::Binaries;
pub(crate) use page::manual;
pub use page::{Deed, deeds};

/// How long a short command on a host may take.
const SHORT: Duration = Duration::from_secs(60);

/// Takes in which phase a join is.
pub(crate) type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// One host, reached, and what is done to it for which run.
#[derive(Clone)]
pub(crate) struct Site {
    /// The run.
    pub(crate) run: String,
    /// The host.
    pub(crate) host: HostSpec,
    /// The machine.
    pub(crate) machine: Arc<dyn Machine>,
    /// Our own program, for hosts that get it.
    pub(crate) binaries: Binaries,
}

/// What was seen of a host before anything was done to it. It is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// It was a node before this run, so the run neither joins it again nor takes it back.
    #[serde(default)]
    pub(crate) was_node: bool,
    /// The version of the program that joins it, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl Site {
    /// Brings what the method needs, and looks at the host.
    pub(crate) async fn prepare(&self) -> Result<Seen, StageFailure> {
        match &self.host.settings.join {
            HostMethod::Muster(method) => muster::prepare(self, method).await,
            HostMethod::Kubeadm(method) => kubeadm::prepare(self, method).await,
            HostMethod::K3s(method) => k3s::prepare(self, method).await,
            HostMethod::K0s(method) => k0s::prepare(self, method).await,
        }
    }

    /// Looks at the host and changes nothing.
    pub(crate) async fn look(&self) -> Result<Vec<String>, StageFailure> {
        let words: Vec<String> = match &self.host.settings.join {
            HostMethod::Muster(method) => muster::glance(self, method),
            HostMethod::Kubeadm(method) => kubeadm::glance(method),
            HostMethod::K3s(method) => k3s::glance(method),
            HostMethod::K0s(method) => k0s::glance(method),
        };
        let command = Command::new(words).as_root().time_limit(SHORT);
        let seen = self
            .must(command, ids::WRONG_BINARY, "look at the host")
            .await?;
        Ok(seen
            .stdout
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect())
    }

    /// Takes back what [`Site::prepare`] brought.
    pub(crate) async fn unprepare(&self) -> Result<(), StageFailure> {
        match &self.host.settings.join {
            HostMethod::Muster(_) => muster::unprepare(self).await,
            HostMethod::Kubeadm(_) | HostMethod::K3s(_) | HostMethod::K0s(_) => Ok(()),
        }
    }

    /// What an attempt leaves would fail the next one, so it is taken back first: kubeadm begins from nothing, the others
    /// go on.
    pub(crate) fn begins_anew(&self) -> bool {
        matches!(self.host.settings.join, HostMethod::Kubeadm(_))
    }

    /// Joins the host.
    pub(crate) async fn join(
        &self,
        seen: &Seen,
        admission: &Admission,
        limit: Duration,
        tell: Tell<'_>,
    ) -> Result<(), StageFailure> {
        let join = Join {
            site: self,
            seen,
            admission,
            limit,
            tell,
        };
        match &self.host.settings.join {
            HostMethod::Muster(method) => muster::join(&join, method).await,
            HostMethod::Kubeadm(method) => kubeadm::join(&join, method).await,
            HostMethod::K3s(method) => k3s::join(&join, method).await,
            HostMethod::K0s(method) => k0s::join(&join, method).await,
        }
    }

    /// Takes the join back on the host, however far it went.
    pub(crate) async fn reset(&self) -> Result<(), StageFailure> {
        match &self.host.settings.join {
            HostMethod::Muster(method) => muster::reset(self, method).await,
            HostMethod::Kubeadm(method) => kubeadm::reset(self, method).await,
            HostMethod::K3s(method) => k3s::reset(self, method).await,
            HostMethod::K0s(method) => k0s::reset(self, method).await,
        }
    }

    /// Runs hooks, one after the other.
    pub(crate) async fn hooks(
        &self,
        hooks: &[HookCommand],
        tell: Tell<'_>,
    ) -> Result<(), StageFailure> {
        for (number, hook) in hooks.iter().enumerate() {
            tell(&format!("hook {}", number + 1));
            let argv = match hook {
                HookCommand::Shell(line) => {
                    vec!["/bin/sh".into(), "-c".into(), self.host.fill(line)]
                }
                HookCommand::Program(words) => {
                    words.iter().map(|word| self.host.fill(word)).collect()
                }
            };
            let what = argv.last().cloned().unwrap_or_default();
            let command = Command::new(argv)
                .as_root()
                .env("MUSTER_NODE_NAME", self.host.name.as_str())
                .env("MUSTER_NODE_ADDRESS", self.host.address());
            let output = self.output(command).await?;
            if !output.exit.success() {
                let message = format!(
                    "the hook {what:?} ended with {}: {}",
                    output.exit,
                    words_of(&output)
                );
                return Err(StageFailure::terminal(ids::HOOK_FAILED, message)
                    .with_cure("run it by hand on the host, and mend it in the fleet file"));
            }
        }
        Ok(())
    }

    async fn output(&self, command: Command) -> Result<Output, StageFailure> {
        self.machine
            .output(command)
            .await
            .map_err(|error| fault::of_machine(&error))
    }

    /// Runs a shell script as root; `$1`… are `words`.
    fn script(&self, script: &str, words: &[&str]) -> Command {
        Command::new(shell(script, words)).as_root()
    }

    /// Runs a script that has to succeed.
    async fn must(&self, command: Command, id: &str, what: &str) -> Result<Output, StageFailure> {
        let output = self.output(command).await?;
        if output.exit.success() {
            return Ok(output);
        }
        Err(StageFailure::terminal(
            id,
            format!("cannot {what}: {} ({})", words_of(&output), output.exit),
        ))
    }
}

/// A shell script as a command; `$1`… are `words`.
fn shell(script: &str, words: &[&str]) -> Vec<String> {
    let argv = ["/bin/sh", "-c", script, "muster"]
        .into_iter()
        .chain(words.iter().copied());
    argv.map(str::to_owned).collect()
}

/// What a join works with.
struct Join<'a> {
    site: &'a Site,
    seen: &'a Seen,
    admission: &'a Admission,
    limit: Duration,
    tell: Tell<'a>,
}

impl Join<'_> {
    fn pins(&self) -> Vec<String> {
        self.admission
            .pins
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Labels that the node may give itself; the others are the coordinator's to set.
    fn own_labels(&self) -> Vec<String> {
        let labels = self.site.host.settings.labels.iter();
        let own = labels.filter(|(key, _)| muster_plan::may_node_set(key));
        own.map(|(key, value)| format!("{key}={value}")).collect()
    }

    fn taints(&self) -> Vec<String> {
        self.site
            .host
            .settings
            .taints
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn filled(&self, texts: &[String]) -> Vec<String> {
        texts.iter().map(|text| self.site.host.fill(text)).collect()
    }

    /// A host that was a node before this run, of a tool that does not say itself of which cluster.
    fn was_node(&self, cure: &str) -> StageFailure {
        StageFailure::terminal(
            ids::JOINED_ELSEWHERE,
            format!("{} was a node before this run began", self.site.host.name),
        )
        .with_cure(cure)
    }
}

/// The last words of a command: what it said on standard error, else what it said at all.
fn words_of(output: &Output) -> String {
    let words = fault::last_words(&output.stderr);
    if words.is_empty() {
        fault::last_words(&output.stdout)
    } else {
        words
    }
}

/// Keeps the end of what a long command says.
#[derive(Default)]
struct Words {
    text: String,
}

impl Words {
    const MOST: usize = 16 * 1024;

    fn take(&mut self, line: &OutputLine) {
        if line.stream == Stream::Stderr || !line.text.is_empty() {
            self.text.push_str(&line.text);
            self.text.push('\n');
        }
        if self.text.len() > 2 * Self::MOST {
            let mut from = self.text.len() - Self::MOST;
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
            self.text.drain(..from);
        }
    }
}

#[cfg(test)]
mod tests;

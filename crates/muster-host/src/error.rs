//! Why a host could not do what it was asked.
//!
//! One enum for all hosts; each variant knows its stable id and what a person can do. Nothing here holds a secret.

use std::io;

use muster_plan::SecretName;
use muster_saga::Failure;

/// Why a host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The file system refused. Look at the cause: rights, room, a read-only mount.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command ended with an error. Its own words say why.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A command did not end in time.
    #[error("`{command}` did not end within {seconds} s")]
    CommandTimeout {
        /// The command line.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// A step needs a secret that nobody supplied. A mistake of the caller.
    #[error("the secret {name:?} is not at hand")]
    MissingSecret {
        /// Which one.
        name: SecretName,
    },
    /// Something else stands where a directory or file belongs: move it away.
    #[error("{path} is {found}, not {wanted}")]
    WrongKind {
        /// Where.
        path: String,
        /// What stands there.
        found: &'static str,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A directory holds more than can be remembered: empty it first.
    #[error("{path} holds more than {limit} entries")]
    TooManyEntries {
        /// Where.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A path is not absolute or leads upwards. A mistake of the caller, or a damaged journal.
    #[error("{path:?} is not a plain absolute path")]
    BadPath {
        /// The path.
        path: String,
    },
    /// There is no service manager that could do it here.
    #[error("no service manager on this machine can {action} {unit}")]
    NoServiceManager {
        /// What was asked for.
        action: &'static str,
        /// The service.
        unit: String,
    },
    /// The kubelet did not come up.
    #[error("the kubelet is not healthy: {reason}{}", shown(.log))]
    KubeletUnhealthy {
        /// What is known.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// The container runtime could not be asked: start it, or name its right socket.
    #[error("the container runtime at {endpoint} cannot be asked for its pods: {reason}")]
    ContainerRuntime {
        /// Its socket.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The step is not a host's to do, or what was remembered does not fit it. A mistake of the caller.
    #[error("this step is not for a host: {step}")]
    NotAHostStep {
        /// The step's description.
        step: String,
    },
    /// The supervised process did not report itself.
    #[error("the {name} did not start{}", shown(.log))]
    NotStarted {
        /// What it is.
        name: String,
        /// The end of its log.
        log: String,
    },
    /// A simulated machine has lost its power.
    #[error("the power is off")]
    PowerLost,
    /// A simulated machine was told to fail here.
    #[error("made to fail at {step}")]
    MadeToFail {
        /// The step.
        step: String,
    },
}

fn shown(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; the end of its log:\n{log}")
    }
}

impl HostError {
    /// A stable kebab-case id of the kind of error.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Io { .. } => "file-system",
            Self::Command { .. } | Self::CommandTimeout { .. } => "command-failed",
            Self::MissingSecret { .. } => "secret-missing",
            Self::WrongKind { .. } | Self::BadPath { .. } => "path-unusable",
            Self::TooManyEntries { .. } => "directory-too-full",
            Self::NoServiceManager { .. } => "no-service-manager",
            Self::KubeletUnhealthy { .. } | Self::NotStarted { .. } => "kubelet-start-failed",
            Self::ContainerRuntime { .. } => "container-runtime",
            Self::NotAHostStep { .. } => "not-a-host-step",
            Self::PowerLost => "power-lost",
            Self::MadeToFail { .. } => "made-to-fail",
        }
    }

    /// What a person can do about it, where there is something.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "Run it as root, or use a root directory that you may write to.".into()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "Free some room and try again.".into()
            }
            Self::WrongKind { path, .. } => format!("Move {path} away and try again."),
            Self::TooManyEntries { path, .. } => format!("Empty {path} first."),
            Self::KubeletUnhealthy { .. } | Self::NotStarted { .. } => {
                "Look at the kubelet's log above; mend the cause and join again.".into()
            }
            Self::ContainerRuntime { .. } => {
                "Start the container runtime, or name its socket with --cri-socket.".into()
            }
            Self::Command { command, .. } => format!("Run it by hand to see more: {command}"),
            _ => return None,
        })
    }

    /// The error with its causes in one line, for the journal and for events.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Failure {
            id: self.id().to_owned(),
            message,
            remedy: self.remedy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_cause_too() {
        let error = HostError::Io {
            action: "write",
            path: "/etc/x".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        let failure = error.to_failure();
        assert_eq!(failure.message, "cannot write /etc/x: permission denied");
        assert!(failure.remedy.unwrap().contains("root"));
    }
}

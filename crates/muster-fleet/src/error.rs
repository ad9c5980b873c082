//! Why a join or a reset failed: one enum with stable ids, documented exit codes, and what to do.
//!
//! The ids of the handshake pass through unchanged, with the handshake's exit codes; ours are in the sixties and
//! seventies.

use std::path::PathBuf;

use muster_handshake::{ErrorKind, HandshakeError};
use muster_host::HostError;
use muster_plan::{Finding, PlanError};
use muster_saga::{Failure, JournalError, ReplayError, Residue};

/// Exit codes of this crate's own errors, for callers who asked for distinct codes. Never reused.
pub mod exit_code {
    /// `preflight-failed`: the machine does not meet what a node needs.
    pub const PREFLIGHT_FAILED: u8 = 60;
    /// `already-joined-elsewhere`: the machine is a node of another cluster or name.
    pub const ALREADY_JOINED_ELSEWHERE: u8 = 61;
    /// `journal-unwritable`: the journal cannot be written or read; nothing more was done.
    pub const JOURNAL_UNWRITABLE: u8 = 62;
    /// `locked`: another join or reset runs on this machine.
    pub const LOCKED: u8 = 63;
    /// `kubelet-start-failed`: the kubelet did not come up.
    pub const KUBELET_START_FAILED: u8 = 64;
    /// `node-not-registered`: the Node object did not appear in time.
    pub const NODE_NOT_REGISTERED: u8 = 65;
    /// `node-not-ready`: the Node did not become Ready in time.
    pub const NODE_NOT_READY: u8 = 66;
    /// `undo-incomplete`: something could not be taken back.
    pub const UNDO_INCOMPLETE: u8 = 67;
    /// `host-failed` and the ids of single host errors: this machine did not do what was asked.
    pub const HOST_FAILED: u8 = 68;
    /// `plan-unusable`: the cluster's configuration cannot be used.
    pub const PLAN_UNUSABLE: u8 = 69;
    /// `interrupted`: somebody asked to stop, and everything was taken back.
    pub const INTERRUPTED: u8 = 70;
    /// `journal-damaged`: the journal contradicts itself or was written by a newer program.
    pub const JOURNAL_DAMAGED: u8 = 71;
    /// `shared-certificates-gone`: no control-plane node has uploaded them, or they have expired.
    pub const SHARED_CERTIFICATES_GONE: u8 = 80;
    /// `certificate-key-wrong`: the certificate key is that of another upload.
    pub const CERTIFICATE_KEY_WRONG: u8 = 81;
    /// `shared-certificates-damaged`: what was uploaded is damaged or incomplete.
    pub const SHARED_CERTIFICATES_DAMAGED: u8 = 82;
    /// `certificate-unusable`: a certificate, key or kubeconfig on the machine is missing or wrong.
    pub const CERTIFICATE_UNUSABLE: u8 = 83;
    /// `control-plane-busy`: other control-plane nodes were joining all the time.
    pub const CONTROL_PLANE_BUSY: u8 = 84;
    /// `etcd-unhealthy`: too few members of etcd answer.
    pub const ETCD_UNHEALTHY: u8 = 85;
    /// `etcd-refused`: etcd does not change its members.
    pub const ETCD_REFUSED: u8 = 86;
    /// `control-plane-unhealthy`: a component did not become healthy, or the API refused an administrator.
    pub const CONTROL_PLANE_UNHEALTHY: u8 = 87;
}

/// What became of the machine after a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// Everything was taken back.
    Undone {
        /// What lies beyond the machine's reach.
        left_behind: Vec<Residue>,
    },
    /// Everything was left as it is, as was asked for.
    Kept,
}

/// Why a join or a reset failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Before anything was changed, the cluster could not be trusted or did not accept us. See its own advice.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// Before anything was changed, checks found errors. Mend them, or ignore them by name.
    #[error("preflight checks failed: {}", ids(.findings))]
    Preflight {
        /// Every finding, also the warnings.
        findings: Vec<Finding>,
    },
    /// The machine is already a node, of another cluster or by another name. Reset it first.
    #[error("this machine is already node {node_name} of {endpoint}")]
    AlreadyJoinedElsewhere {
        /// The name it has.
        node_name: String,
        /// The API server it joined.
        endpoint: String,
    },
    /// A part of a join was asked for by another name than the parts before it. They stay; name it alike, or reset.
    #[error("a join of this machine as node {node_name} was begun")]
    BegunByAnotherName {
        /// The name of the join that was begun.
        node_name: String,
    },
    /// A record could not be made durable or read. Nothing more was done; run it again when the disk is well.
    #[error("the journal cannot be used")]
    Journal {
        /// What the journal said.
        #[source]
        source: JournalError,
    },
    /// The journal contradicts itself. It must be looked at by a person.
    #[error("the journal is damaged")]
    JournalDamaged {
        /// Where.
        #[source]
        source: ReplayError,
    },
    /// Another join or reset runs here. Wait for it.
    #[error("another join or reset is running on this machine ({})", .path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// Our own directory cannot be used.
    #[error("cannot {action} {}", .path.display())]
    StateDir {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The machine could not be looked at.
    #[error(transparent)]
    Host(HostError),
    /// The cluster's answers make no plan.
    #[error("no plan can be made")]
    Plan {
        /// Why.
        #[source]
        source: PlanError,
    },
    /// A step failed.
    #[error("{}", .failure.message)]
    Step {
        /// The step.
        step: String,
        /// Why.
        failure: Failure,
        /// What became of the machine.
        aftermath: Aftermath,
    },
    /// Something could not be taken back.
    #[error("{} could not be taken back{}", count(.left_behind), after(.cause))]
    UndoIncomplete {
        /// What is left, with instructions.
        left_behind: Vec<Residue>,
        /// Why it was to be taken back, when a step had failed.
        cause: Option<Failure>,
    },
    /// Somebody asked to stop.
    #[error("stopped as asked")]
    Interrupted {
        /// What became of the machine.
        aftermath: Aftermath,
    },
}

fn ids(findings: &[Finding]) -> String {
    let fatal = findings.iter().filter(|finding| finding.is_fatal());
    fatal
        .map(|finding| finding.id.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn count(left_behind: &[Residue]) -> String {
    match left_behind.len() {
        1 => "one thing".to_owned(),
        n => format!("{n} things"),
    }
}

fn after(cause: &Option<Failure>) -> String {
    cause.as_ref().map_or_else(String::new, |failure| {
        format!(" after: {}", failure.message)
    })
}

impl JoinError {
    /// The stable kebab-case id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Handshake(error) => error.id(),
            Self::Preflight { .. } => "preflight-failed",
            Self::AlreadyJoinedElsewhere { .. } | Self::BegunByAnotherName { .. } => {
                "already-joined-elsewhere"
            }
            Self::Journal { .. } | Self::StateDir { .. } => "journal-unwritable",
            Self::JournalDamaged { .. } => "journal-damaged",
            Self::Locked { .. } => "locked",
            Self::Host(error) => error.id(),
            Self::Plan { .. } => "plan-unusable",
            Self::Step { failure, .. } => &failure.id,
            Self::UndoIncomplete { .. } => "undo-incomplete",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// The documented exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        exit_code_of(self.id())
    }

    /// What happened and why, in one line: the error and its causes.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        message
    }

    /// What to do now.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Handshake(error) => error.remedy(),
            Self::Preflight { findings } => {
                let fatal: Vec<&Finding> = findings.iter().filter(|f| f.is_fatal()).collect();
                let remedies = fatal.iter().map(|f| format!("{}: {}", f.id, f.remedy));
                remedies.collect::<Vec<_>>().join("\n")
            }
            Self::BegunByAnotherName { .. } => {
                "Give every phase the same name (in a file for --config), or take it back first: `muster reset`.".into()
            }
            Self::AlreadyJoinedElsewhere { .. } => {
                "Take the machine out of its cluster first: `muster reset`.".into()
            }
            Self::Journal { .. } | Self::StateDir { .. } => {
                "See that /var/lib/muster can be written and has room, then run it again: it goes on where it stopped.".into()
            }
            Self::JournalDamaged { .. } => {
                "Use the version of muster that wrote it, or remove by hand what it names and then /var/lib/muster.".into()
            }
            Self::Locked { .. } => "Wait until it has ended.".into(),
            Self::Host(error) => return error.remedy(),
            Self::Plan {
                source: PlanError::ControlPlane { source },
            } => source.remedy(),
            Self::Plan {
                source: PlanError::Patches { .. },
            } => "Correct the patch that is named.".into(),
            Self::Plan { .. } => {
                "Mend the ConfigMap kube-system/kubelet-config on the cluster.".into()
            }
            Self::Step { failure, aftermath, .. } => {
                let kept = "Everything was left as it is: run the join again to go on, or `muster reset` to take it back.";
                match (failure.remedy.clone(), aftermath) {
                    (Some(remedy), Aftermath::Kept) => format!("{remedy} {kept}"),
                    (None, Aftermath::Kept) => kept.into(),
                    (remedy, Aftermath::Undone { .. }) => return remedy,
                }
            }
            Self::UndoIncomplete { left_behind, .. } => {
                let numbered = left_behind.iter().enumerate().map(|(n, residue)| {
                    format!("{}. {} ({}): {}", n + 1, residue.what, residue.why, residue.remedy)
                });
                numbered.collect::<Vec<_>>().join("\n")
            }
            Self::Interrupted { .. } => return None,
        })
    }
}

/// The exit code of an id, ours or the handshake's.
pub(crate) fn exit_code_of(id: &str) -> u8 {
    if let Some(kind) = ErrorKind::ALL.iter().find(|kind| kind.id() == id) {
        return kind.exit_code();
    }
    match id {
        "preflight-failed" => exit_code::PREFLIGHT_FAILED,
        "already-joined-elsewhere" => exit_code::ALREADY_JOINED_ELSEWHERE,
        "journal-unwritable" => exit_code::JOURNAL_UNWRITABLE,
        "locked" => exit_code::LOCKED,
        "kubelet-start-failed" => exit_code::KUBELET_START_FAILED,
        "node-not-registered" => exit_code::NODE_NOT_REGISTERED,
        "node-not-ready" => exit_code::NODE_NOT_READY,
        "undo-incomplete" => exit_code::UNDO_INCOMPLETE,
        "plan-unusable" => exit_code::PLAN_UNUSABLE,
        "interrupted" => exit_code::INTERRUPTED,
        "journal-damaged" => exit_code::JOURNAL_DAMAGED,
        "shared-certificates-gone" => exit_code::SHARED_CERTIFICATES_GONE,
        "certificate-key-wrong" => exit_code::CERTIFICATE_KEY_WRONG,
        "shared-certificates-damaged" => exit_code::SHARED_CERTIFICATES_DAMAGED,
        "certificate-unusable" => exit_code::CERTIFICATE_UNUSABLE,
        "control-plane-busy" => exit_code::CONTROL_PLANE_BUSY,
        "etcd-unhealthy" => exit_code::ETCD_UNHEALTHY,
        "etcd-refused" => exit_code::ETCD_REFUSED,
        "control-plane-unhealthy" => exit_code::CONTROL_PLANE_UNHEALTHY,
        _ => exit_code::HOST_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_handshake_pass_through_and_ours_do_not_collide() {
        assert_eq!(
            exit_code_of("token-unknown"),
            ErrorKind::TokenUnknown.exit_code()
        );
        let ours = exit_code::PREFLIGHT_FAILED..=exit_code::CONTROL_PLANE_UNHEALTHY;
        for kind in ErrorKind::ALL {
            assert!(!ours.contains(&kind.exit_code()), "{kind}");
        }
        assert_eq!(exit_code_of("file-system"), exit_code::HOST_FAILED);
    }

    #[test]
    fn what_is_left_is_a_numbered_list() {
        let residue = |what: &str| Residue {
            what: what.into(),
            why: "busy".into(),
            remedy: format!("umount {what}"),
        };
        let error = JoinError::UndoIncomplete {
            left_behind: vec![residue("/a"), residue("/b")],
            cause: None,
        };
        assert_eq!(
            error.remedy().unwrap(),
            "1. /a (busy): umount /a\n2. /b (busy): umount /b"
        );
        assert_eq!(error.message(), "2 things could not be taken back");
    }
}

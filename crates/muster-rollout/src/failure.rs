//! Why a stage, an undo or a token failed, and whether another attempt may help.
//!
//! The driver's failures come with their ids; those that only the coordinator can see (time, interrupts, policy) are
//! made here and nowhere else.

use std::time::Duration;

use jiff::SignedDuration;
use muster_identity::short_human_duration;
use serde::{Deserialize, Serialize};

/// A failure, as it is journalled and shown. It must not hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StageFailure {
    /// A stable kebab-case id of the kind of failure.
    pub id: String,
    /// What happened.
    pub message: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Whether another attempt may succeed without anybody's help. Others end the host at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// How long the other side asked to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// Whether the token was refused as unknown or expired: it is not used again, and another attempt gets a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub token_refused: bool,
}

/// The ids of the failures that the coordinator itself finds.
pub mod ids {
    /// One attempt had no answer in its time.
    pub const ATTEMPT_TIMED_OUT: &str = "fleet-attempt-timed-out";
    /// A stage with all its attempts took too long.
    pub const STAGE_TIMED_OUT: &str = "fleet-stage-timed-out";
    /// A host took too long altogether.
    pub const HOST_TIMED_OUT: &str = "fleet-host-timed-out";
    /// The run took too long.
    pub const RUN_TIMED_OUT: &str = "fleet-run-timed-out";
    /// The run was interrupted before the host was ready.
    pub const INTERRUPTED: &str = "fleet-interrupted";
    /// The run was stopped at once and can be taken up again.
    pub const STOPPED: &str = "fleet-stopped";
    /// Another coordinator has the run.
    pub const LEASE_LOST: &str = "fleet-lease-lost";
    /// A token was made that is already too old to be used.
    pub const TOKEN_STILLBORN: &str = "fleet-token-too-short";
    /// Failures of other hosts ended the starting.
    pub const STOPPED_STARTING: &str = "fleet-stopped-starting";
    /// Some hosts did not join.
    pub const HOSTS_FAILED: &str = "fleet-hosts-failed";
    /// The run was asked to be taken back.
    pub const TAKEN_BACK: &str = "fleet-taken-back";

    /// All of them.
    pub const ALL: [&str; 11] = [
        ATTEMPT_TIMED_OUT,
        STAGE_TIMED_OUT,
        HOST_TIMED_OUT,
        RUN_TIMED_OUT,
        INTERRUPTED,
        STOPPED,
        LEASE_LOST,
        TOKEN_STILLBORN,
        STOPPED_STARTING,
        HOSTS_FAILED,
        TAKEN_BACK,
    ];
}

impl StageFailure {
    /// A failure that the same attempt would meet again.
    #[must_use]
    pub fn terminal(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            message: message.into(),
            cure: None,
            transient: false,
            retry_after: None,
            token_refused: false,
        }
    }

    /// A failure that may pass by itself.
    #[must_use]
    pub fn transient(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::terminal(id, message)
        }
    }

    /// The same with what a person can do.
    #[must_use]
    pub fn with_cure(self, cure: impl Into<String>) -> Self {
        Self {
            cure: Some(cure.into()),
            ..self
        }
    }

    pub(crate) fn attempt_timed_out(what: &str, after: Duration) -> Self {
        let after = words(after);
        Self::transient(
            ids::ATTEMPT_TIMED_OUT,
            format!("{what} had no answer within {after}"),
        )
        .with_cure("see whether the host is reachable and not overloaded")
    }

    /// Out of time, with what went wrong last, if anything did.
    pub(crate) fn out_of_time(id: &str, what: &str, after: Duration, last: Option<&Self>) -> Self {
        let after = words(after);
        let cause = last.map_or_else(String::new, |last| format!("; last: {}", last.message));
        let failure = Self::terminal(id, format!("{what} was not finished within {after}{cause}"));
        let cure = last.and_then(|last| last.cure.clone());
        failure.with_cure(
            cure.unwrap_or_else(|| "give it more time, or look at the host itself".into()),
        )
    }

    pub(crate) fn interrupted() -> Self {
        Self::terminal(ids::INTERRUPTED, "the run was interrupted").with_cure("start it again")
    }

    pub(crate) fn stopped() -> Self {
        Self::terminal(ids::STOPPED, "the run was stopped at once")
            .with_cure("`muster fleet resume` goes on, `muster fleet undo` takes it back")
    }

    pub(crate) fn lease_lost(holder: Option<&str>) -> Self {
        let holder = holder.map_or_else(String::new, |holder| format!(" to {holder}"));
        Self::terminal(
            ids::LEASE_LOST,
            format!("the run's Lease was lost{holder}; nothing more was done"),
        )
        .with_cure("see who works on this fleet; then `muster fleet resume`")
    }

    pub(crate) fn stopped_starting(reason: &str) -> Self {
        Self::terminal(
            ids::STOPPED_STARTING,
            format!("no host starts any more: {reason}"),
        )
    }

    pub(crate) fn hosts_failed(failed: u32, hosts: u32, why_stopped: Option<&Self>) -> Self {
        let stopped = why_stopped.map_or_else(String::new, |why| format!("; {}", why.message));
        let message = format!("{failed}/{hosts} hosts failed to join{stopped}");
        Self::terminal(ids::HOSTS_FAILED, message)
    }

    pub(crate) fn taken_back() -> Self {
        Self::terminal(ids::TAKEN_BACK, "the run was asked to be taken back")
    }

    pub(crate) fn stillborn() -> Self {
        Self::terminal(
            ids::TOKEN_STILLBORN,
            "the new token had expired when it arrived",
        )
        .with_cure("compare the clocks of this machine and of the control plane")
    }
}

fn words(duration: Duration) -> String {
    short_human_duration(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

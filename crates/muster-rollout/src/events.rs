//! What a run tells whoever watches it: one typed stream, numbered, without secrets.
//!
//! For every `ClusterNodeJoinStarted` exactly one `ClusterNodeJoinCompleted` or `ClusterNodeJoinFailed` follows in the
//! same stream. A run that is taken up again is a new stream (`incarnation`), in which hosts that were in the middle
//! start anew. What is told of a host's end is durable by then. It refuses to know who listens.

use std::sync::Arc;

use jiff::Timestamp;
use muster_identity::TokenId;
use serde::Serialize;

use crate::{Counts, HostIndex, RunId, Stage, StageFailure, Verdict};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The run.
    pub run: RunId,
    /// How often the run had been taken up again when this was told.
    pub incarnation: u32,
    /// 0 for the first of a stream, then one more each.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Whom an event of a host is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostName {
    /// Its place in the plan.
    pub host: HostIndex,
    /// Its name.
    pub name: Arc<str>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// The run begins.
    RunStarted {
        /// How many hosts it has.
        hosts: u32,
    },
    /// The run was taken up again; this is how far it had come.
    RunResumed {
        /// Where its hosts stand.
        counts: Counts,
    },
    /// A token of the run exists.
    TokenMinted {
        /// Its id.
        id: TokenId,
        /// When it ends.
        expires: Timestamp,
    },
    /// No token could be minted.
    TokenMintFailed {
        /// Why.
        failure: StageFailure,
    },
    /// A token of the run is gone.
    TokenRevoked {
        /// Its id.
        id: TokenId,
    },
    /// A token of the run may still be alive.
    TokenRevokeFailed {
        /// Its id.
        id: TokenId,
        /// Why.
        failure: StageFailure,
    },
    /// A number of hosts may start.
    WaveStarted {
        /// Which wave, from 1.
        wave: u32,
        /// How many hosts.
        hosts: u32,
    },
    /// No host starts any more; those at work go on.
    StartingStopped {
        /// Why.
        reason: String,
    },
    /// A host has taken its place and is begun.
    ClusterNodeJoinStarted {
        /// The host.
        #[serde(flatten)]
        host: HostName,
    },
    /// A stage of a host is begun.
    StageStarted {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// The stage.
        stage: Stage,
        /// Which attempt.
        attempt: u32,
    },
    /// What a host is doing within its stage.
    Progress {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// In words.
        phase: String,
    },
    /// A stage of a host, or an undo, failed and is tried again.
    RetryScheduled {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// The stage.
        stage: Stage,
        /// Whether it is the undo of the stage.
        undo: bool,
        /// Which attempt failed.
        attempt: u32,
        /// Not before.
        until: Timestamp,
        /// Why it failed.
        failure: StageFailure,
    },
    /// A host's Node is ready.
    ClusterNodeJoinCompleted {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// Seconds since it was begun.
        seconds: f64,
    },
    /// A host did not become ready.
    ClusterNodeJoinFailed {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// In which stage.
        stage: Stage,
        /// Why.
        failure: StageFailure,
    },
    /// Every attempted host is taken back from here on.
    Unwinding {
        /// Why.
        reason: String,
    },
    /// A host is being taken back.
    UndoStarted {
        /// The host.
        #[serde(flatten)]
        host: HostName,
    },
    /// A host is as it was before.
    UndoCompleted {
        /// The host.
        #[serde(flatten)]
        host: HostName,
    },
    /// A host could not be taken back.
    UndoFailed {
        /// The host.
        #[serde(flatten)]
        host: HostName,
        /// Which stage could not be taken back.
        stage: Stage,
        /// Why.
        failure: StageFailure,
    },
    /// As many hosts at once as this, from here on.
    ConcurrencyChanged {
        /// The limit's name.
        limit: String,
        /// How many at once.
        at_once: u32,
        /// Until when no host starts, because the other side asked for quiet.
        quiet_until: Option<Timestamp>,
    },
    /// The run has ended. Always last.
    RunEnded {
        /// How.
        verdict: Verdict,
    },
}

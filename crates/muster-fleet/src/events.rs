//! What a join or a reset tells while it runs: one closed list, drawn on terminals and printed as JSON lines alike.
//!
//! No event ever holds a secret. Each is one JSON object with the tag `type`.

use std::sync::Arc;

use muster_handshake::Progress;
use muster_plan::{Finding, Phase};
use muster_saga::{Failure, Residue};
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A phase begins.
    PhaseStarted {
        /// The phase.
        phase: Phase,
    },
    /// A phase has ended well.
    PhaseCompleted {
        /// The phase.
        phase: Phase,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// A check found something.
    Finding {
        /// What.
        #[serde(flatten)]
        finding: Finding,
    },
    /// Something happened between this machine and the cluster.
    Handshake {
        /// What, under the tag `event`.
        #[serde(flatten)]
        progress: Progress,
    },
    /// The certificate request waits for somebody's decision. The join goes on by itself afterwards.
    CsrPending {
        /// The request's name.
        name: String,
        /// It is approved and waits to be signed.
        approved: bool,
        /// What somebody should do.
        cure: String,
    },
    /// A step begins.
    StepStarted {
        /// Its name.
        step: String,
        /// Its phase.
        phase: Phase,
        /// What it does.
        description: String,
        /// Above 1 when an earlier run was cut off in it.
        attempt: u32,
    },
    /// A step is done.
    StepDone {
        /// Its name.
        step: String,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// A step failed.
    StepFailed {
        /// Its name.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// A step is taken back.
    StepUndone {
        /// Its name.
        step: String,
        /// How it was taken back.
        description: String,
    },
    /// A step could not be taken back.
    UndoFailed {
        /// Its name.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// Somebody else has to end something first; the join goes on by itself afterwards.
    Waiting {
        /// The node's name.
        node_name: String,
        /// For what.
        reason: String,
    },
    /// An earlier join that was cut off is taken up again.
    Resuming {
        /// The node's name.
        node_name: String,
        /// The API server.
        endpoint: String,
        /// How many steps were done before.
        steps_done: usize,
    },
    /// Everything is being taken back.
    Undoing {
        /// The node's name.
        node_name: String,
        /// Why.
        reason: String,
    },
    /// What would be done, from `--dry-run`.
    Planned {
        /// The steps.
        steps: Vec<PlannedEvent>,
        /// The same as a page for people.
        page: String,
    },
    /// The machine is a node.
    Joined {
        /// The node's name.
        node_name: String,
        /// The API server.
        server: String,
        /// It was one before this call.
        already: bool,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// Everything was taken back.
    Undone {
        /// What lies beyond the machine's reach.
        left_behind: Vec<Residue>,
    },
    /// It has failed.
    Failed {
        /// The stable id of the error.
        id: String,
        /// What happened, and why.
        message: String,
        /// What to do now.
        #[serde(skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
        /// The documented exit code.
        exit_code: u8,
    },
}

/// A step of a plan, as an event tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedEvent {
    /// Its name.
    pub step: String,
    /// Its phase.
    pub phase: Phase,
    /// What it does.
    pub description: String,
    /// How it is taken back.
    pub undo: String,
}

/// Takes events in. Clones lead to the same place. It must not block.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// A sink that hands every event to `take`.
    #[must_use]
    pub fn new(take: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// A sink that nobody looks at.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new(|_| {})
    }

    /// Tells.
    pub fn tell(&self, event: Event) {
        (self.0)(event);
    }

    /// Tells what the handshake told.
    pub(crate) fn tell_progress(&self, progress: Progress) {
        self.tell(match progress {
            Progress::CsrPending {
                name,
                approved,
                cure,
            } => Event::CsrPending {
                name,
                approved,
                cure,
            },
            progress => Event::Handshake { progress },
        });
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn an_event_is_one_flat_object_with_its_type() {
        let finding = Finding::warning("Swap", "swap is on", "switch it off");
        assert_eq!(
            json(&Event::Finding { finding }),
            r#"{"type":"finding","id":"Swap","severity":"warning","message":"swap is on","remedy":"switch it off"}"#
        );
        let progress = Progress::CsrApproved { name: "c".into() };
        assert_eq!(
            json(&Event::Handshake { progress }),
            r#"{"type":"handshake","event":"csr-approved","name":"c"}"#
        );
        let phase = Phase::TlsBootstrap;
        assert_eq!(
            json(&Event::PhaseCompleted {
                phase,
                elapsed_ms: 3
            }),
            r#"{"type":"phase-completed","phase":"tls-bootstrap","elapsed_ms":3}"#
        );
    }

    #[test]
    fn a_pending_request_is_an_event_of_its_own() {
        let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let sink = {
            let seen = Arc::clone(&seen);
            EventSink::new(move |event| seen.lock().push(event))
        };
        sink.tell_progress(Progress::CsrPending {
            name: "c".into(),
            approved: false,
            cure: "kubectl certificate approve c".into(),
        });
        assert!(matches!(&seen.lock()[..], [Event::CsrPending { .. }]));
    }
}

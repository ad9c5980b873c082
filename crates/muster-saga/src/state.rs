//! A saga as the journal tells it: the fold of its entries.
//!
//! `replay` is the only way to a state, and a running saga applies each entry through the same function, so what a
//! crashed saga looks like afterwards is exactly what it looked like before.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Entry, FORMAT_VERSION, Failure, Header, IllegalTransition, Outcome, Record, Residue, SagaEvent,
    SagaStatus, Status, StepId, next, next_saga,
};

/// One step as the journal tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Where it stands.
    pub status: Status,
    /// How often it was begun.
    pub attempts: u32,
    /// What was there before the first attempt.
    pub prior: Option<Value>,
    /// What the deed gave.
    pub receipt: Option<Value>,
    /// Why the deed, or taking it back, failed last.
    pub failure: Option<Failure>,
    /// What lies beyond the reach of its undo.
    pub left_behind: Vec<Residue>,
    /// The number of its first intent: the order in which steps were begun.
    pub begun: Option<u64>,
}

impl StepState {
    fn new() -> Self {
        Self {
            status: Status::Pending,
            attempts: 0,
            prior: None,
            receipt: None,
            failure: None,
            left_behind: Vec::new(),
            begun: None,
        }
    }
}

/// A saga as the journal tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct SagaState {
    header: Header,
    status: SagaStatus,
    steps: BTreeMap<StepId, StepState>,
    reason: Option<String>,
    outcome: Option<Outcome>,
    /// While it retreats: the first entry whose intent counts.
    since: Option<u64>,
    next_seq: u64,
}

/// Why entries do not tell a saga. The journal is damaged or mixed up; nothing must be done on its word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no entry at all.
    #[error("the journal is empty")]
    Empty,
    /// The first entry is no header, or a header stands elsewhere.
    #[error("entry {seq} is not where a header belongs, or is one where none belongs")]
    Header {
        /// The entry.
        seq: u64,
    },
    /// An entry is missing or repeated.
    #[error("entry {found} stands where {expected} belongs")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// An entry was written by a newer program.
    #[error("entry {seq} has format {version}")]
    Version {
        /// The entry.
        seq: u64,
        /// Its version.
        version: u32,
    },
    /// An entry speaks of a step that the header does not have.
    #[error("entry {seq} speaks of the unknown step {step}")]
    UnknownStep {
        /// The entry.
        seq: u64,
        /// The step.
        step: StepId,
    },
    /// An entry contradicts those before it.
    #[error("entry {seq} contradicts those before it")]
    Illegal {
        /// The entry.
        seq: u64,
        /// The contradiction.
        #[source]
        source: IllegalTransition,
    },
}

/// Folds entries, in order, into a state.
///
/// # Errors
/// [`ReplayError`] at the first entry that does not fit.
pub fn replay(entries: &[Entry]) -> Result<SagaState, ReplayError> {
    let (first, rest) = entries.split_first().ok_or(ReplayError::Empty)?;
    let mut state = SagaState::begin(first)?;
    for entry in rest {
        state.apply(entry)?;
    }
    Ok(state)
}

impl SagaState {
    /// The state after the header.
    ///
    /// # Errors
    /// [`ReplayError`] when the entry is no header or not number 0.
    pub fn begin(entry: &Entry) -> Result<Self, ReplayError> {
        check_version(entry)?;
        if entry.seq != 0 {
            return Err(ReplayError::Gap {
                expected: 0,
                found: entry.seq,
            });
        }
        let Record::Header(header) = &entry.record else {
            return Err(ReplayError::Header { seq: entry.seq });
        };
        let steps = header.definition.steps().iter();
        Ok(Self {
            steps: steps
                .map(|step| (step.id.clone(), StepState::new()))
                .collect(),
            header: header.clone(),
            status: SagaStatus::Running,
            reason: None,
            outcome: None,
            since: None,
            next_seq: 1,
        })
    }

    /// Takes one more entry. On error the state is unchanged.
    ///
    /// # Errors
    /// [`ReplayError`] when the entry does not follow.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        check_version(entry)?;
        if entry.seq != self.next_seq {
            return Err(ReplayError::Gap {
                expected: self.next_seq,
                found: entry.seq,
            });
        }
        match &entry.record {
            Record::Header(_) => return Err(ReplayError::Header { seq: entry.seq }),
            Record::Unwind { reason } => {
                self.status = self.saga_event(entry.seq, SagaEvent::Unwind)?;
                self.reason = Some(reason.clone());
                self.outcome = None;
                self.since = None;
            }
            Record::Retreat { reason, since } => {
                self.status = self.saga_event(entry.seq, SagaEvent::Retreat)?;
                self.reason = Some(reason.clone());
                self.since = Some(*since);
            }
            Record::Turned {} => {
                self.status = self.saga_event(entry.seq, SagaEvent::Turn)?;
                self.reason = None;
                self.since = None;
                for step in self.steps.values_mut() {
                    if step.status == Status::Undone {
                        *step = StepState::new();
                    }
                }
            }
            Record::Finished { outcome } => {
                let event = match outcome {
                    Outcome::Done => SagaEvent::FinishDone,
                    Outcome::Undone { .. } => SagaEvent::FinishUndone,
                    Outcome::Stuck { .. } => SagaEvent::FinishStuck,
                };
                self.status = self.saga_event(entry.seq, event)?;
                self.outcome = Some(outcome.clone());
            }
            record => self.apply_step(entry.seq, record)?,
        }
        self.next_seq += 1;
        Ok(())
    }

    fn saga_event(&self, seq: u64, event: SagaEvent) -> Result<SagaStatus, ReplayError> {
        next_saga(self.status, event).map_err(|source| ReplayError::Illegal { seq, source })
    }

    fn apply_step(&mut self, seq: u64, record: &Record) -> Result<(), ReplayError> {
        let Some((id, event)) = record.step_event() else {
            return Err(ReplayError::Header { seq });
        };
        let Some(step) = self.steps.get_mut(id) else {
            return Err(ReplayError::UnknownStep {
                seq,
                step: id.clone(),
            });
        };
        let illegal = |source| ReplayError::Illegal { seq, source };
        let status = next(step.status, event).map_err(illegal)?;
        // A step's record must also fit the direction in which the saga moves.
        let forward = matches!(status, Status::Doing | Status::Done | Status::Failed);
        let allowed = match self.status {
            SagaStatus::Running => forward,
            SagaStatus::Unwinding => !forward,
            SagaStatus::Retreating => !forward && step.begun >= self.since,
            SagaStatus::Done | SagaStatus::Undone | SagaStatus::Stuck => false,
        };
        if !allowed {
            return Err(illegal(IllegalTransition::Step {
                from: step.status,
                event,
            }));
        }
        step.status = status;
        match record {
            Record::Intent { attempt, prior, .. } => {
                step.attempts = *attempt;
                step.begun.get_or_insert(seq);
                step.prior.get_or_insert_with(|| prior.clone());
                step.failure = None;
            }
            Record::Done { receipt, .. } => step.receipt = Some(receipt.clone()),
            Record::Failed { failure, .. } | Record::UndoFailed { failure, .. } => {
                step.failure = Some(failure.clone());
            }
            Record::Undone { left_behind, .. } => step.left_behind.clone_from(left_behind),
            _ => {}
        }
        Ok(())
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the way back, as far as it goes, leads over a step: it was begun, and not before what is taken back.
    #[must_use]
    pub fn is_to_be_taken_back(&self, id: &StepId) -> bool {
        let begun = self.step(id).and_then(|step| step.begun);
        begun.is_some() && begun >= self.since
    }

    /// The first entry whose intent counts, while the saga retreats.
    #[must_use]
    pub fn retreats_to(&self) -> Option<u64> {
        self.since
    }

    /// Where the saga stands.
    #[must_use]
    pub fn status(&self) -> SagaStatus {
        self.status
    }

    /// A step, if the saga has it.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id)
    }

    /// The status of a step; a step that the saga does not have is pending for ever.
    #[must_use]
    pub fn status_of(&self, id: &StepId) -> Status {
        self.steps
            .get(id)
            .map_or(Status::Pending, |step| step.status)
    }

    /// Why it is being, or was, taken back.
    #[must_use]
    pub fn unwind_reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How it ended, when it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The number of the next entry.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.header.started
    }

    /// The step that failed and was not tried again, with its failure: the reason to unwind.
    #[must_use]
    pub fn first_failure(&self) -> Option<(&StepId, &Failure)> {
        self.steps
            .iter()
            .filter(|(_, step)| step.status == Status::Failed)
            .min_by_key(|(_, step)| step.begun)
            .and_then(|(id, step)| step.failure.as_ref().map(|failure| (id, failure)))
    }
}

fn check_version(entry: &Entry) -> Result<(), ReplayError> {
    if entry.version > FORMAT_VERSION {
        return Err(ReplayError::Version {
            seq: entry.seq,
            version: entry.version,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The two transition tables: one for a step, one for the saga as a whole.
//!
//! Every change of status anywhere goes through `next` or `next_saga`; what they refuse cannot happen. They know
//! nothing of time, order or content.

use serde::{Deserialize, Serialize};

/// Where one step stands, as the journal tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing has been recorded: the step has not touched anything.
    Pending,
    /// The intent is durable; the deed may have happened, wholly, partly or not at all.
    Doing,
    /// The deed is finished and its receipt is durable.
    Done,
    /// The deed ended with an error; traces of it may remain.
    Failed,
    /// The intent to take the step back is durable; how far that got is unknown.
    Undoing,
    /// The step's traces are gone.
    Undone,
    /// Taking the step back ended with an error.
    UndoFailed,
}

impl Status {
    /// Every status, for exhaustive tables.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Doing,
        Self::Done,
        Self::Failed,
        Self::Undoing,
        Self::Undone,
        Self::UndoFailed,
    ];

    /// Whether the step may have left something that an undo must look after.
    #[must_use]
    pub fn may_have_traces(self) -> bool {
        matches!(
            self,
            Self::Doing | Self::Done | Self::Failed | Self::Undoing
        )
    }
}

/// What can be recorded about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The deed is about to be done (also written again before a repeated attempt).
    Intent,
    /// The deed was done.
    Done,
    /// The deed ended with an error.
    Failed,
    /// The deed is about to be taken back.
    UndoIntent,
    /// The deed was taken back.
    Undone,
    /// Taking back ended with an error.
    UndoFailed,
}

impl Event {
    /// Every event, for exhaustive tables.
    pub const ALL: [Self; 6] = [
        Self::Intent,
        Self::Done,
        Self::Failed,
        Self::UndoIntent,
        Self::Undone,
        Self::UndoFailed,
    ];
}

/// A record that contradicts the records before it. The journal was damaged or written by something else: the
/// caller must not go on with this saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// A step's record does not follow from the step's status.
    #[error("a step that is {from:?} cannot take {event:?}")]
    Step {
        /// The status before.
        from: Status,
        /// The event that was refused.
        event: Event,
    },
    /// A saga record does not follow from the saga's status.
    #[error("a saga that is {from:?} cannot take {event:?}")]
    Saga {
        /// The status before.
        from: SagaStatus,
        /// The event that was refused.
        event: SagaEvent,
    },
}

/// The status of a step after `event`.
///
/// # Errors
/// [`IllegalTransition::Step`] for every pair that is not in the table.
pub fn next(status: Status, event: Event) -> Result<Status, IllegalTransition> {
    match (status, event) {
        // A repeated intent follows a crash (Doing) or a retry that the caller chose (Failed).
        (Status::Pending | Status::Doing | Status::Failed, Event::Intent) => Ok(Status::Doing),
        (Status::Doing, Event::Done) => Ok(Status::Done),
        (Status::Doing, Event::Failed) => Ok(Status::Failed),
        // Doing: cut off half-way. Undoing: cut off while undoing. UndoFailed: tried again later.
        (
            Status::Doing | Status::Done | Status::Failed | Status::Undoing | Status::UndoFailed,
            Event::UndoIntent,
        ) => Ok(Status::Undoing),
        (Status::Undoing, Event::Undone) => Ok(Status::Undone),
        (Status::Undoing, Event::UndoFailed) => Ok(Status::UndoFailed),
        (from, event) => Err(IllegalTransition::Step { from, event }),
    }
}

/// Where the saga as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SagaStatus {
    /// Steps are being done.
    Running,
    /// Steps are being taken back; no step is done any more.
    Unwinding,
    /// The steps of one run are being taken back; afterwards the saga stands where that run found it.
    Retreating,
    /// Every step is done.
    Done,
    /// Every step is taken back: final.
    Undone,
    /// Taking back ended, and something could not be taken back.
    Stuck,
}

impl SagaStatus {
    /// Every status, for exhaustive tables.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Unwinding,
        Self::Retreating,
        Self::Done,
        Self::Undone,
        Self::Stuck,
    ];

    /// Whether the saga has ended (it may still be unwound unless it is [`SagaStatus::Undone`]).
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Undone | Self::Stuck)
    }
}

/// What can be recorded about the saga as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SagaEvent {
    /// From here on everything is taken back.
    Unwind,
    /// From here on what one run did is taken back.
    Retreat,
    /// What one run did is taken back.
    Turn,
    /// Finished: all done.
    FinishDone,
    /// Finished: all taken back.
    FinishUndone,
    /// Finished: something is left.
    FinishStuck,
}

impl SagaEvent {
    /// Every event, for exhaustive tables.
    pub const ALL: [Self; 6] = [
        Self::Unwind,
        Self::Retreat,
        Self::Turn,
        Self::FinishDone,
        Self::FinishUndone,
        Self::FinishStuck,
    ];
}

/// The status of the saga after `event`.
///
/// # Errors
/// [`IllegalTransition::Saga`] for every pair that is not in the table.
pub fn next_saga(status: SagaStatus, event: SagaEvent) -> Result<SagaStatus, IllegalTransition> {
    match (status, event) {
        (SagaStatus::Running, SagaEvent::FinishDone) => Ok(SagaStatus::Done),
        // Done: a reset of something that once succeeded. Stuck: another try at what was left. Retreating: all of it,
        // after all.
        (
            SagaStatus::Running | SagaStatus::Done | SagaStatus::Stuck | SagaStatus::Retreating,
            SagaEvent::Unwind,
        ) => Ok(SagaStatus::Unwinding),
        (SagaStatus::Running, SagaEvent::Retreat) => Ok(SagaStatus::Retreating),
        (SagaStatus::Retreating, SagaEvent::Turn) => Ok(SagaStatus::Running),
        (SagaStatus::Unwinding, SagaEvent::FinishUndone) => Ok(SagaStatus::Undone),
        (SagaStatus::Unwinding | SagaStatus::Retreating, SagaEvent::FinishStuck) => {
            Ok(SagaStatus::Stuck)
        }
        (from, event) => Err(IllegalTransition::Saga { from, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, written a second time by hand: 7 statuses by 6 events.
    fn expected(status: Status, event: Event) -> Option<Status> {
        use Status as S;
        let row: [Option<S>; 6] = match status {
            S::Pending => [Some(S::Doing), None, None, None, None, None],
            S::Doing => [
                Some(S::Doing),
                Some(S::Done),
                Some(S::Failed),
                Some(S::Undoing),
                None,
                None,
            ],
            S::Done => [None, None, None, Some(S::Undoing), None, None],
            S::Failed => [Some(S::Doing), None, None, Some(S::Undoing), None, None],
            S::Undoing => [
                None,
                None,
                None,
                Some(S::Undoing),
                Some(S::Undone),
                Some(S::UndoFailed),
            ],
            S::Undone => [None; 6],
            S::UndoFailed => [None, None, None, Some(S::Undoing), None, None],
        };
        let column = Event::ALL.iter().position(|e| *e == event).unwrap();
        row[column]
    }

    #[test]
    fn every_pair_of_step_status_and_event_is_decided_by_the_table() {
        for status in Status::ALL {
            for event in Event::ALL {
                match expected(status, event) {
                    Some(to) => assert_eq!(next(status, event), Ok(to), "{status:?} {event:?}"),
                    None => assert_eq!(
                        next(status, event),
                        Err(IllegalTransition::Step {
                            from: status,
                            event
                        })
                    ),
                }
            }
        }
    }

    #[test]
    fn every_pair_of_saga_status_and_event_is_decided_by_the_table() {
        use SagaStatus as S;
        let back = Some(S::Unwinding);
        let table: [(S, [Option<S>; 6]); 6] = [
            (
                S::Running,
                [back, Some(S::Retreating), None, Some(S::Done), None, None],
            ),
            (
                S::Unwinding,
                [None, None, None, None, Some(S::Undone), Some(S::Stuck)],
            ),
            (
                S::Retreating,
                [back, None, Some(S::Running), None, None, Some(S::Stuck)],
            ),
            (S::Done, [back, None, None, None, None, None]),
            (S::Undone, [None; 6]),
            (S::Stuck, [back, None, None, None, None, None]),
        ];
        for (from, row) in table {
            for (event, to) in SagaEvent::ALL.into_iter().zip(row) {
                let expected = to.ok_or(IllegalTransition::Saga { from, event });
                assert_eq!(next_saga(from, event), expected);
            }
        }
    }

    #[test]
    fn an_undone_step_is_final() {
        for event in Event::ALL {
            assert!(next(Status::Undone, event).is_err());
        }
    }
}

//! What may run now: the one function that turns a state into work.
//!
//! It looks at statuses and dependencies only. It does not know whether work runs in turn or side by side: the
//! caller says which steps it is busy with.

use std::collections::BTreeSet;

use crate::{Outcome, Residue, SagaState, SagaStatus, Status, StepId};

/// What the state calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These steps may be done now, in order of preference. Those that stand at `Doing` were cut off and go first.
    Perform(Vec<StepId>),
    /// These steps may be taken back now, the latest begun first.
    Undo(Vec<StepId>),
    /// Nothing new may start until a step in flight ends.
    Wait,
    /// A step failed: the caller records an unwind, tries it again, or leaves everything as it is.
    Decide {
        /// The failed steps.
        failed: Vec<StepId>,
    },
    /// What one run did is taken back: that is to be recorded.
    Turn,
    /// Everything has been tried: this outcome is to be recorded.
    Finish(Outcome),
    /// The outcome is already recorded.
    Finished(Outcome),
}

/// What may run now, besides the steps in `in_flight`.
#[must_use]
pub fn ready(state: &SagaState, in_flight: &BTreeSet<StepId>) -> Next {
    if let (Some(outcome), true) = (state.outcome(), state.status().is_finished()) {
        return Next::Finished(outcome.clone());
    }
    if matches!(
        state.status(),
        SagaStatus::Unwinding | SagaStatus::Retreating
    ) {
        return ready_backward(state, in_flight);
    }
    ready_forward(state, in_flight)
}

fn with_status(state: &SagaState, wanted: Status) -> Vec<StepId> {
    let steps = state.header().definition.steps().iter();
    steps
        .map(|step| &step.id)
        .filter(|id| state.status_of(id) == wanted)
        .cloned()
        .collect()
}

fn ready_forward(state: &SagaState, in_flight: &BTreeSet<StepId>) -> Next {
    let failed = with_status(state, Status::Failed);
    if !failed.is_empty() {
        return if in_flight.is_empty() {
            Next::Decide { failed }
        } else {
            Next::Wait
        };
    }
    let definition = &state.header().definition;
    let interrupted = with_status(state, Status::Doing);
    let fresh = definition.steps().iter().filter(|step| {
        state.status_of(&step.id) == Status::Pending
            && step
                .after
                .iter()
                .all(|id| state.status_of(id) == Status::Done)
    });
    let mut steps: Vec<StepId> = interrupted
        .into_iter()
        .chain(fresh.map(|step| step.id.clone()))
        .collect();
    steps.retain(|id| !in_flight.contains(id));
    if !steps.is_empty() {
        return Next::Perform(steps);
    }
    if in_flight.is_empty() {
        Next::Finish(Outcome::Done)
    } else {
        Next::Wait
    }
}

fn ready_backward(state: &SagaState, in_flight: &BTreeSet<StepId>) -> Next {
    let definition = &state.header().definition;
    let mut steps: Vec<StepId> = definition
        .steps()
        .iter()
        .map(|step| &step.id)
        .filter(|id| state.status_of(id).may_have_traces() && !in_flight.contains(*id))
        .filter(|id| state.is_to_be_taken_back(id))
        .filter(|id| {
            definition
                .dependants(id)
                .all(|step| is_gone(state, &step.id))
        })
        .cloned()
        .collect();
    if !steps.is_empty() {
        steps.sort_by_key(|id| std::cmp::Reverse(state.step(id).and_then(|step| step.begun)));
        return Next::Undo(steps);
    }
    if !in_flight.is_empty() {
        return Next::Wait;
    }
    match outcome_of_unwinding(state) {
        Outcome::Undone { .. } if state.status() == SagaStatus::Retreating => Next::Turn,
        outcome => Next::Finish(outcome),
    }
}

fn is_gone(state: &SagaState, id: &StepId) -> bool {
    matches!(state.status_of(id), Status::Pending | Status::Undone)
}

/// What an unwinding that can go no further has come to. A step below one that could not be taken back stays, as the
/// upper one may still be using it, and is named with that reason.
fn outcome_of_unwinding(state: &SagaState) -> Outcome {
    let mut beyond_reach = Vec::new();
    let mut stuck = Vec::new();
    for spec in state.header().definition.steps().iter().rev() {
        let Some(step) = state.step(&spec.id) else {
            continue;
        };
        if !state.is_to_be_taken_back(&spec.id) {
            continue;
        }
        beyond_reach.extend(step.left_behind.iter().cloned());
        if step.status == Status::UndoFailed {
            let failure = step.failure.as_ref();
            stuck.push(Residue {
                what: spec.description.clone(),
                why: failure.map_or_else(String::new, |f| f.message.clone()),
                remedy: failure
                    .and_then(|f| f.remedy.clone())
                    .unwrap_or_else(|| format!("by hand: {}", spec.undo)),
            });
        } else if step.status.may_have_traces() {
            stuck.push(Residue {
                what: spec.description.clone(),
                why: "something that stands on it could not be taken back".into(),
                remedy: format!("afterwards: {}", spec.undo),
            });
        }
    }
    if stuck.is_empty() {
        return Outcome::Undone {
            left_behind: beyond_reach,
        };
    }
    stuck.extend(beyond_reach);
    Outcome::Stuck { left_behind: stuck }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Definition, Entry, FORMAT_VERSION, Failure, Header, Record, SagaId, StepSpec, replay,
    };
    use jiff::Timestamp;
    use serde_json::Value;

    fn id(name: &str) -> StepId {
        StepId::new(name)
    }

    /// a ← b, a ← c, {b, c} ← d
    fn state(records: Vec<Record>) -> SagaState {
        let step = |name: &str, after: &[&str]| StepSpec {
            id: id(name),
            after: after.iter().copied().map(id).collect(),
            description: format!("does {name}"),
            undo: format!("takes {name} back"),
            content: Value::Null,
        };
        let definition = Definition::new(vec![
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["a"]),
            step("d", &["b", "c"]),
        ])
        .unwrap();
        let header = Record::Header(Header {
            kind: "test".into(),
            id: SagaId::new("s"),
            started: Timestamp::UNIX_EPOCH,
            parameters: Value::Null,
            definition,
        });
        let entries: Vec<Entry> = std::iter::once(header)
            .chain(records)
            .zip(0..)
            .map(|(record, seq)| Entry {
                version: FORMAT_VERSION,
                seq,
                at: Timestamp::UNIX_EPOCH,
                record,
            })
            .collect();
        replay(&entries).unwrap()
    }

    fn did(names: &[&str]) -> Vec<Record> {
        names
            .iter()
            .flat_map(|name| {
                [
                    Record::Intent {
                        step: id(name),
                        attempt: 1,
                        prior: Value::Null,
                    },
                    Record::Done {
                        step: id(name),
                        receipt: Value::Null,
                    },
                ]
            })
            .collect()
    }

    fn unwind() -> Record {
        Record::Unwind {
            reason: "test".into(),
        }
    }

    fn nothing() -> BTreeSet<StepId> {
        BTreeSet::new()
    }

    fn failure() -> Failure {
        Failure {
            id: "broken".into(),
            message: "it broke".into(),
            remedy: Some("mend it".into()),
        }
    }

    #[test]
    fn a_step_waits_for_those_it_stands_on() {
        assert_eq!(
            ready(&state(vec![]), &nothing()),
            Next::Perform(vec![id("a")])
        );
        assert_eq!(
            ready(&state(did(&["a"])), &nothing()),
            Next::Perform(vec![id("b"), id("c")])
        );
        let busy = BTreeSet::from([id("b")]);
        assert_eq!(
            ready(&state(did(&["a"])), &busy),
            Next::Perform(vec![id("c")])
        );
        assert_eq!(
            ready(&state(did(&["a", "c", "b"])), &nothing()),
            Next::Perform(vec![id("d")])
        );
        assert_eq!(
            ready(&state(did(&["a", "b", "c", "d"])), &nothing()),
            Next::Finish(Outcome::Done)
        );
    }

    #[test]
    fn a_step_that_was_cut_off_goes_first() {
        let mut records = did(&["a"]);
        records.push(Record::Intent {
            step: id("c"),
            attempt: 1,
            prior: Value::Null,
        });
        assert_eq!(
            ready(&state(records), &nothing()),
            Next::Perform(vec![id("c"), id("b")])
        );
    }

    #[test]
    fn a_failure_waits_for_its_neighbours_and_then_asks_for_a_decision() {
        let mut records = did(&["a"]);
        records.push(Record::Intent {
            step: id("b"),
            attempt: 1,
            prior: Value::Null,
        });
        records.push(Record::Intent {
            step: id("c"),
            attempt: 1,
            prior: Value::Null,
        });
        records.push(Record::Failed {
            step: id("b"),
            failure: failure(),
        });
        let state = state(records);
        assert_eq!(ready(&state, &BTreeSet::from([id("c")])), Next::Wait);
        assert_eq!(
            ready(&state, &nothing()),
            Next::Decide {
                failed: vec![id("b")]
            }
        );
    }

    #[test]
    fn undo_goes_backwards_in_the_order_of_the_deeds() {
        let mut records = did(&["a", "c", "b"]);
        records.push(unwind());
        // b was begun after c, so b goes first; a must wait for both.
        assert_eq!(
            ready(&state(records), &nothing()),
            Next::Undo(vec![id("b"), id("c")])
        );
    }

    #[test]
    fn what_could_not_be_undone_is_named_with_what_lies_below_it() {
        let mut records = did(&["a", "b"]);
        records.push(unwind());
        records.push(Record::UndoIntent { step: id("b") });
        records.push(Record::UndoFailed {
            step: id("b"),
            failure: failure(),
        });
        let Next::Finish(Outcome::Stuck { left_behind }) = ready(&state(records), &nothing())
        else {
            panic!("must be stuck");
        };
        assert_eq!(left_behind.len(), 2);
        assert_eq!(left_behind[0].what, "does b");
        assert_eq!(left_behind[0].remedy, "mend it");
        assert_eq!(left_behind[1].what, "does a");
        assert_eq!(left_behind[1].remedy, "afterwards: takes a back");
    }
}

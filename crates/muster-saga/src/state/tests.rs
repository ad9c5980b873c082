//! What a replayed journal says, and what it refuses to say.

use super::*;
use crate::{Definition, SagaId, StepSpec};
use proptest::prelude::*;

fn definition(names: &[&str]) -> Definition {
    let steps = names.iter().map(|name| StepSpec {
        id: StepId::new(*name),
        after: Vec::new(),
        description: String::new(),
        undo: String::new(),
        content: Value::Null,
    });
    Definition::new(steps.collect()).unwrap()
}

fn journal(records: Vec<Record>) -> Vec<Entry> {
    let header = Record::Header(Header {
        kind: "test".into(),
        id: SagaId::new("s1"),
        started: Timestamp::UNIX_EPOCH,
        parameters: Value::Null,
        definition: definition(&["a", "b"]),
    });
    std::iter::once(header)
        .chain(records)
        .zip(0..)
        .map(|(record, seq)| Entry {
            version: FORMAT_VERSION,
            seq,
            at: Timestamp::UNIX_EPOCH,
            record,
        })
        .collect()
}

fn id(name: &str) -> StepId {
    StepId::new(name)
}

fn intent(name: &str, prior: &str) -> Record {
    Record::Intent {
        step: id(name),
        attempt: 1,
        prior: prior.into(),
    }
}

#[test]
fn the_first_observation_is_kept_when_an_attempt_is_repeated() {
    let state = replay(&journal(vec![
        intent("a", "nothing was there"),
        Record::Intent {
            step: id("a"),
            attempt: 2,
            prior: "our own half-made file".into(),
        },
    ]))
    .unwrap();
    let step = state.step(&id("a")).unwrap();
    assert_eq!(step.prior, Some("nothing was there".into()));
    assert_eq!(step.attempts, 2);
}

#[test]
fn gaps_strangers_and_second_headers_are_refused() {
    assert_eq!(replay(&[]), Err(ReplayError::Empty));
    let mut gap = journal(vec![intent("a", ""), intent("b", "")]);
    gap.remove(1);
    assert_eq!(
        replay(&gap),
        Err(ReplayError::Gap {
            expected: 1,
            found: 2
        })
    );
    assert!(matches!(
        replay(&journal(vec![intent("x", "")])),
        Err(ReplayError::UnknownStep { seq: 1, .. })
    ));
    let header = journal(vec![])[0].record.clone();
    assert_eq!(
        replay(&journal(vec![header])),
        Err(ReplayError::Header { seq: 1 })
    );
}

#[test]
fn nothing_is_begun_while_the_saga_unwinds_and_nothing_undone_while_it_runs() {
    let unwind = Record::Unwind {
        reason: "test".into(),
    };
    assert!(matches!(
        replay(&journal(vec![unwind, intent("a", "")])),
        Err(ReplayError::Illegal { seq: 2, .. })
    ));
    let done = Record::Done {
        step: id("a"),
        receipt: Value::Null,
    };
    let undo = Record::UndoIntent { step: id("a") };
    assert!(matches!(
        replay(&journal(vec![intent("a", ""), done, undo])),
        Err(ReplayError::Illegal { seq: 3, .. })
    ));
}

#[test]
fn a_newer_entry_stops_the_replay() {
    let mut entries = journal(vec![intent("a", "")]);
    entries[1].version = 9;
    assert_eq!(
        replay(&entries),
        Err(ReplayError::Version { seq: 1, version: 9 })
    );
}

fn any_record() -> impl Strategy<Value = Record> {
    let step = prop_oneof![Just("a"), Just("b"), Just("x")].prop_map(StepId::new);
    let failure = || Failure {
        id: "broken".into(),
        message: "it broke".into(),
        remedy: None,
    };
    (0..8usize, step).prop_map(move |(kind, step)| match kind {
        0 => Record::Intent {
            step,
            attempt: 1,
            prior: Value::Null,
        },
        1 => Record::Done {
            step,
            receipt: Value::Null,
        },
        2 => Record::Failed {
            step,
            failure: failure(),
        },
        3 => Record::Unwind {
            reason: "test".into(),
        },
        4 => Record::UndoIntent { step },
        5 => Record::Undone {
            step,
            left_behind: Vec::new(),
        },
        6 => Record::UndoFailed {
            step,
            failure: failure(),
        },
        _ => Record::Finished {
            outcome: Outcome::Done,
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_of_records_is_refused_or_leaves_a_state_that_replays_to_itself(
        records in prop::collection::vec(any_record(), 0..24)
    ) {
        let mut kept = journal(vec![]);
        let mut state = replay(&kept).unwrap();
        for record in records {
            let entry = Entry {
                version: FORMAT_VERSION,
                seq: state.next_seq(),
                at: Timestamp::UNIX_EPOCH,
                record,
            };
            let before = state.clone();
            match state.apply(&entry) {
                Ok(()) => kept.push(entry),
                Err(_) => prop_assert_eq!(&before, &state, "a refused entry changed the state"),
            }
        }
        prop_assert_eq!(replay(&kept).unwrap(), state);
    }
}

//! The driver against a world of counters: order, durability before deeds, retries, refusals.

use super::*;
use crate::{Definition, SagaId, SagaStatus};

fn id(name: &str) -> StepId {
    StepId::new(name)
}

fn header(names: &[(&str, &[&str])]) -> Header {
    let steps = names.iter().map(|(name, after)| StepSpec {
        id: id(name),
        after: after.iter().copied().map(StepId::new).collect(),
        description: format!("does {name}"),
        undo: format!("takes {name} back"),
        content: Value::Null,
    });
    Header {
        kind: "test".into(),
        id: SagaId::new("s"),
        started: Timestamp::UNIX_EPOCH,
        parameters: Value::Null,
        definition: Definition::new(steps.collect()).unwrap(),
    }
}

fn broken() -> Failure {
    Failure {
        id: "broken".into(),
        message: "it broke".into(),
        remedy: None,
    }
}

/// Runs to the end; `fails` says which deeds and undos ("undo NAME") go wrong. Returns the story and the journal.
fn run(driver: &mut Driver, fails: &[&str], journal: &mut Vec<Entry>) -> (Vec<String>, Halt) {
    let mut story = Vec::new();
    for _ in 0..200 {
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { step } => {
                let bad = fails.contains(&format!("see {}", step.id).as_str());
                let seen = if bad { Err(broken()) } else { Ok(Value::Null) };
                driver.on_observed(seen).unwrap();
            }
            Command::Append(entries) => {
                driver.on_durable(&entries).unwrap();
                journal.extend(entries);
            }
            Command::Perform { step, .. } => {
                story.push(format!("do {}", step.id));
                let bad = fails.contains(&step.id.as_str());
                driver
                    .on_performed(if bad { Err(broken()) } else { Ok(Value::Null) })
                    .unwrap();
            }
            Command::Undo { step, .. } => {
                let name = format!("undo {}", step.id);
                let bad = fails.contains(&name.as_str());
                story.push(name);
                driver
                    .on_undone(if bad { Err(broken()) } else { Ok(vec![]) })
                    .unwrap();
            }
            Command::Halt(halt) => return (story, halt),
        }
    }
    panic!("the driver does not come to an end: {story:?}");
}

const CHAIN: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"])];

#[test]
fn a_deed_is_asked_for_only_after_its_intent_is_durable() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let mut durable: Vec<Entry> = Vec::new();
    let mut writes = 0;
    loop {
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { .. } => driver.on_observed(Ok(Value::Null)).unwrap(),
            Command::Append(entries) => {
                // Asking again before the report changes nothing.
                assert_eq!(
                    driver.next(Timestamp::UNIX_EPOCH),
                    Command::Append(entries.clone())
                );
                driver.on_durable(&entries).unwrap();
                writes += 1;
                durable.extend(entries);
            }
            Command::Perform { step, .. } => {
                assert!(matches!(
                    &durable.last().unwrap().record,
                    Record::Intent { step: recorded, .. } if *recorded == step.id
                ));
                driver.on_performed(Ok(Value::Null)).unwrap();
            }
            Command::Undo { .. } => panic!("nothing failed"),
            Command::Halt(halt) => {
                assert_eq!(halt, Halt::Finished(Outcome::Done));
                break;
            }
        }
    }
    // header, three times intent and done, finished: each done with what follows it
    assert_eq!((durable.len(), writes), (8, 5));
    let numbers: Vec<u64> = durable.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_failure_takes_back_the_failed_step_and_all_before_it_in_reverse() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let (story, halt) = run(&mut driver, &["b"], &mut Vec::new());
    assert_eq!(story, ["do a", "do b", "undo b", "undo a"]);
    assert_eq!(
        halt,
        Halt::Finished(Outcome::Undone {
            left_behind: vec![]
        })
    );
    let reason = driver.state().unwrap().unwind_reason().unwrap();
    assert_eq!(reason, "b failed: it broke");
}

#[test]
fn a_step_that_cannot_be_looked_at_is_not_done_and_all_before_it_is_taken_back() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let (story, halt) = run(&mut driver, &["see b"], &mut Vec::new());
    assert_eq!(story, ["do a", "undo a"]);
    assert_eq!(
        halt,
        Halt::Finished(Outcome::Undone {
            left_behind: vec![]
        })
    );
}

#[test]
fn a_kept_failure_can_be_gone_on_with_or_taken_back() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Keep);
    let mut journal = Vec::new();
    let (story, halt) = run(&mut driver, &["b"], &mut journal);
    assert_eq!(story, ["do a", "do b"]);
    assert_eq!(
        halt,
        Halt::Kept {
            step: id("b"),
            failure: broken()
        }
    );

    let mut on = Driver::resume(&journal, Start::GoOn, OnFailure::Unwind).unwrap();
    let (story, halt) = run(&mut on, &[], &mut journal.clone());
    assert_eq!(story, ["do b", "do c"]);
    assert_eq!(halt, Halt::Finished(Outcome::Done));

    let back = Start::TakeBack {
        reason: "asked for".into(),
    };
    let mut back = Driver::resume(&journal, back, OnFailure::Unwind).unwrap();
    let (story, _) = run(&mut back, &[], &mut journal);
    assert_eq!(story, ["undo b", "undo a"]);
}

#[test]
fn a_finished_saga_can_be_taken_back_and_a_stuck_one_tried_again() {
    let mut journal = Vec::new();
    run(
        &mut Driver::begin(header(CHAIN), OnFailure::Unwind),
        &[],
        &mut journal,
    );
    let back = || Start::TakeBack {
        reason: "reset".into(),
    };
    let mut driver = Driver::resume(&journal, back(), OnFailure::Unwind).unwrap();
    let (story, halt) = run(&mut driver, &["undo b"], &mut journal);
    assert_eq!(story, ["undo c", "undo b"]);
    let Halt::Finished(Outcome::Stuck { left_behind }) = halt else {
        panic!("{halt:?}")
    };
    assert_eq!(left_behind.len(), 2);
    assert_eq!(driver.state().unwrap().status(), SagaStatus::Stuck);

    let mut again = Driver::resume(&journal, back(), OnFailure::Unwind).unwrap();
    let (story, halt) = run(&mut again, &[], &mut journal);
    assert_eq!(story, ["undo b", "undo a"]);
    assert_eq!(
        halt,
        Halt::Finished(Outcome::Undone {
            left_behind: vec![]
        })
    );

    // Once everything is taken back there is nothing more to do.
    let mut over = Driver::resume(&journal, back(), OnFailure::Unwind).unwrap();
    assert_eq!(run(&mut over, &[], &mut journal).0, Vec::<String>::new());
}

#[test]
fn a_report_that_was_not_asked_for_is_refused_and_changes_nothing() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let before = driver.next(Timestamp::UNIX_EPOCH);
    assert!(driver.on_performed(Ok(Value::Null)).is_err());
    assert!(driver.on_undone(Ok(vec![])).is_err());
    assert!(driver.on_observed(Ok(Value::Null)).is_err());
    assert!(driver.unwind("signal").is_err());
    assert_eq!(driver.next(Timestamp::UNIX_EPOCH), before);
}

#[test]
fn a_signal_between_two_steps_takes_everything_back() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let mut story = Vec::new();
    let mut stopped = false;
    loop {
        if stopped {
            driver.unwind("told to stop").unwrap();
            stopped = false;
        }
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { .. } => driver.on_observed(Ok(Value::Null)).unwrap(),
            Command::Append(entries) => driver.on_durable(&entries).unwrap(),
            Command::Perform { step, .. } => {
                story.push(format!("do {}", step.id));
                stopped = step.id == id("b");
                driver.on_performed(Ok(Value::Null)).unwrap();
            }
            Command::Undo { step, .. } => {
                story.push(format!("undo {}", step.id));
                driver.on_undone(Ok(vec![])).unwrap();
            }
            Command::Halt(_) => break,
        }
    }
    assert_eq!(story, ["do a", "do b", "undo b", "undo a"]);
}

#[test]
fn how_a_deed_went_is_written_with_the_next_intent_and_never_left_behind() {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Keep);
    let mut writes: Vec<Vec<Entry>> = Vec::new();
    let halt = loop {
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { .. } => driver.on_observed(Ok(Value::Null)).unwrap(),
            Command::Append(entries) => {
                // One entry fewer is another write.
                assert!(driver.on_durable(&entries[1..]).is_err());
                driver.on_durable(&entries).unwrap();
                writes.push(entries);
            }
            Command::Perform { step, .. } => {
                let bad = step.id == id("b");
                assert_eq!(driver.remainder(), None);
                driver
                    .on_performed(if bad { Err(broken()) } else { Ok(Value::Null) })
                    .unwrap();
            }
            Command::Undo { .. } => panic!("it is kept"),
            Command::Halt(halt) => break halt,
        }
    };
    assert!(matches!(halt, Halt::Kept { .. }));
    let kinds = |entries: &Vec<Entry>| -> Vec<&'static str> {
        let kind = |entry: &Entry| match entry.record {
            Record::Header(_) => "header",
            Record::Intent { .. } => "intent",
            Record::Done { .. } => "done",
            Record::Failed { .. } => "failed",
            _ => "other",
        };
        entries.iter().map(kind).collect()
    };
    let kinds: Vec<_> = writes.iter().map(kinds).collect();
    let wanted: [&[&str]; 4] = [&["header"], &["intent"], &["done", "intent"], &["failed"]];
    assert_eq!(kinds, wanted);
}

/// A first run that did `a` and stopped, and the journal of it.
fn after_a() -> Vec<Entry> {
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Unwind);
    let mut journal = Vec::new();
    loop {
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { step } if step.id == id("b") => {
                if let Some(Command::Append(entries)) = driver.remainder() {
                    journal.extend(entries);
                }
                return journal;
            }
            Command::Observe { .. } => driver.on_observed(Ok(Value::Null)).unwrap(),
            Command::Append(entries) => {
                driver.on_durable(&entries).unwrap();
                journal.extend(entries);
            }
            Command::Perform { .. } => driver.on_performed(Ok(Value::Null)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_retreat_takes_back_what_its_own_run_did_and_a_later_run_goes_on() {
    let mut journal = after_a();
    let mut second = Driver::resume(&journal, Start::GoOn, OnFailure::Retreat).unwrap();
    let (story, halt) = run(&mut second, &["c"], &mut journal);
    assert_eq!(story, ["do b", "do c", "undo c", "undo b"]);
    assert_eq!(
        halt,
        Halt::Retreated {
            left_behind: vec![]
        }
    );
    let state = replay(&journal).unwrap();
    assert_eq!(state.status(), SagaStatus::Running);
    assert_eq!(state.status_of(&id("a")), Status::Done);
    assert_eq!(state.status_of(&id("b")), Status::Pending);
    let mut third = Driver::resume(&journal, Start::GoOn, OnFailure::Retreat).unwrap();
    let (story, halt) = run(&mut third, &[], &mut journal);
    assert_eq!(story, ["do b", "do c"]);
    assert_eq!(halt, Halt::Finished(Outcome::Done));
}

#[test]
fn the_first_run_retreats_to_where_it_began_and_so_takes_all_back() {
    let mut journal = Vec::new();
    let mut driver = Driver::begin(header(CHAIN), OnFailure::Retreat);
    let (story, halt) = run(&mut driver, &["see b"], &mut journal);
    assert_eq!(story, ["do a", "undo a"]);
    assert!(matches!(halt, Halt::Finished(Outcome::Undone { .. })));
}

#[test]
fn a_retreat_that_is_cut_off_anywhere_goes_on_to_its_end_and_then_forward() {
    let mut whole = after_a();
    let first = whole.len();
    let mut second = Driver::resume(&whole, Start::GoOn, OnFailure::Retreat).unwrap();
    run(&mut second, &["c"], &mut whole);
    for cut in first..=whole.len() {
        let mut journal = whole[..cut].to_vec();
        let mut later = Driver::resume(&journal, Start::GoOn, OnFailure::Unwind).unwrap();
        let (story, halt) = run(&mut later, &[], &mut journal);
        assert_eq!(
            halt,
            Halt::Finished(Outcome::Done),
            "cut at {cut}: {story:?}"
        );
        assert!(!story.contains(&"undo a".to_owned()), "cut at {cut}");
        assert_eq!(replay(&journal).unwrap().status(), SagaStatus::Done);
        // Or it is taken back, wherever it was cut off.
        let mut journal = whole[..cut].to_vec();
        let start = Start::TakeBack {
            reason: "test".into(),
        };
        let mut back = Driver::resume(&journal, start, OnFailure::Unwind).unwrap();
        let (story, halt) = run(&mut back, &[], &mut journal);
        assert!(
            matches!(halt, Halt::Finished(Outcome::Undone { .. })),
            "cut at {cut}"
        );
        assert_eq!(
            story.last().map(String::as_str),
            Some("undo a"),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_retreat_that_cannot_end_is_stuck_and_names_its_own_steps_only() {
    let mut journal = after_a();
    let mut second = Driver::resume(&journal, Start::GoOn, OnFailure::Retreat).unwrap();
    let (story, halt) = run(&mut second, &["c", "undo b"], &mut journal);
    assert_eq!(story, ["do b", "do c", "undo c", "undo b"]);
    let Halt::Finished(Outcome::Stuck { left_behind }) = halt else {
        panic!("{halt:?}");
    };
    let left: Vec<&str> = left_behind.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left, ["does b"]);
}

#[test]
fn a_request_to_stop_takes_back_what_the_run_did() {
    let mut journal = after_a();
    let mut second = Driver::resume(&journal, Start::GoOn, OnFailure::Retreat).unwrap();
    while !matches!(second.next(Timestamp::UNIX_EPOCH), Command::Observe { step } if step.id == id("c"))
    {
        match second.next(Timestamp::UNIX_EPOCH) {
            Command::Observe { .. } => second.on_observed(Ok(Value::Null)).unwrap(),
            Command::Append(entries) => {
                second.on_durable(&entries).unwrap();
                journal.extend(entries);
            }
            Command::Perform { .. } => second.on_performed(Ok(Value::Null)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    second.unwind("somebody asked to stop").unwrap();
    let (story, halt) = run(&mut second, &[], &mut journal);
    assert_eq!(story, ["undo b"]);
    assert!(matches!(halt, Halt::Retreated { .. }));
    assert_eq!(replay(&journal).unwrap().status(), SagaStatus::Running);
}

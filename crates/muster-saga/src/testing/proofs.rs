//! The proofs: fail anywhere, repeat anything, crash anywhere.
//!
//! They know the driver and the journal's entries; of the world they know only the [`World`] trait.

#![expect(
    clippy::panic,
    reason = "a proof that does not hold must fail the test that runs it"
)]

use jiff::Timestamp;

use super::{Interruption, World};
use crate::{
    Command, Driver, Entry, Failure, Halt, Header, OnFailure, Outcome, SagaId, Start, StepId,
};

/// What is made to go wrong in one run.
#[derive(Clone, Default)]
struct Trouble {
    /// This step fails before it does anything.
    fails_before: Option<StepId>,
    /// This step does everything and then says it failed.
    fails_after: Option<StepId>,
    /// The machine stops when this many entries are durable (the next one is lost).
    stops_after_entries: Option<usize>,
}

/// Each step, in turn, fails before and after its deed: the world must be as it was.
///
/// # Panics
/// When it is not.
pub fn fails_anywhere_then_clean<W: World>(fresh: impl Fn() -> W) {
    let before = fresh().snapshot();
    let definition = fresh().definition();
    for step in definition.steps() {
        for after_deed in [false, true] {
            let mut trouble = Trouble::default();
            let slot = if after_deed {
                &mut trouble.fails_after
            } else {
                &mut trouble.fails_before
            };
            *slot = Some(step.id.clone());
            let mut world = fresh();
            let mut journal = Vec::new();
            let end = run(
                &mut world,
                begin(definition.clone()),
                &mut journal,
                &trouble,
            );
            let place = format!("{} failed, after its deed: {after_deed}", step.id);
            assert!(
                matches!(end, Some(Halt::Finished(Outcome::Undone { .. }))),
                "{place}: ended with {end:?}"
            );
            assert_eq!(
                world.snapshot(),
                before,
                "{place}: the world is not as it was"
            );
        }
    }
}

/// Each step is done twice and taken back twice: the second time must change nothing, and the end must be the
/// beginning.
///
/// # Panics
/// When it is not.
pub fn repeats_change_nothing<W: World>(fresh: impl Fn() -> W) {
    let mut world = fresh();
    let before = world.snapshot();
    let definition = world.definition();
    let mut done = Vec::new();
    for step in in_order(&definition) {
        let prior = expect(world.observe(step), "observe", &step.id);
        expect(world.perform(step, &prior), "perform", &step.id);
        let once = world.snapshot();
        let receipt = expect(world.perform(step, &prior), "perform again", &step.id);
        assert_eq!(
            world.snapshot(),
            once,
            "{}: the second time changed something",
            step.id
        );
        done.push((step, prior, receipt));
    }
    for (step, prior, receipt) in done.into_iter().rev() {
        expect(world.undo(step, &prior, Some(&receipt)), "undo", &step.id);
        let once = world.snapshot();
        expect(
            world.undo(step, &prior, Some(&receipt)),
            "undo again",
            &step.id,
        );
        assert_eq!(
            world.snapshot(),
            once,
            "{}: the second undo changed something",
            step.id
        );
    }
    assert_eq!(world.snapshot(), before, "the world is not as it was");
}

/// The machine stops before and after every entry of the journal, at every elementary operation, forwards and
/// backwards; each time the saga is resumed, once to go on and once to be taken back.
///
/// # Panics
/// When a resumed saga does not end where an undisturbed one does.
pub fn crash_anywhere_then_resumes<W: World>(fresh: impl Fn() -> W) {
    let before = fresh().snapshot();
    let definition = fresh().definition();
    let mut world = fresh();
    let mut journal = Vec::new();
    let end = run(
        &mut world,
        begin(definition.clone()),
        &mut journal,
        &Trouble::default(),
    );
    assert_eq!(
        end,
        Some(Halt::Finished(Outcome::Done)),
        "the undisturbed saga"
    );
    let ends = Ends {
        before,
        after: world.snapshot(),
    };

    for kept in 0..journal.len() {
        let trouble = Trouble {
            stops_after_entries: Some(kept),
            ..Trouble::default()
        };
        crash_then_resume(&fresh, &trouble, None, &ends);
    }
    for operation in 0..world.operations() {
        crash_then_resume(&fresh, &Trouble::default(), Some(operation), &ends);
    }
    let last = in_order(&definition).last().map(|step| step.id.clone());
    let failing = Trouble {
        fails_after: last,
        ..Trouble::default()
    };
    let mut world = fresh();
    let mut journal = Vec::new();
    run(
        &mut world,
        begin(definition.clone()),
        &mut journal,
        &failing,
    );
    for kept in 0..journal.len() {
        let trouble = Trouble {
            stops_after_entries: Some(kept),
            ..failing.clone()
        };
        crash_then_resume(&fresh, &trouble, None, &ends);
    }
    for operation in 0..world.operations() {
        crash_then_resume(&fresh, &failing, Some(operation), &ends);
    }
}

struct Ends<S> {
    before: S,
    after: S,
}

fn crash_then_resume<W: World>(
    fresh: &impl Fn() -> W,
    trouble: &Trouble,
    power: Option<u64>,
    ends: &Ends<W::Snapshot>,
) {
    for take_back in [false, true] {
        let place = format!(
            "stopped with {:?} entries, power {power:?}, then taken back: {take_back}",
            trouble.stops_after_entries
        );
        let mut world = fresh();
        let definition = world.definition();
        let mut journal = Vec::new();
        world.lose_power_at(power);
        let end = run(&mut world, begin(definition.clone()), &mut journal, trouble);
        world.lose_power_at(None);
        if journal.is_empty() {
            assert_eq!(
                world.snapshot(),
                ends.before,
                "{place}: changed without a record"
            );
            continue;
        }
        if end.is_some() && !take_back {
            continue;
        }
        let start = if take_back {
            Start::TakeBack {
                reason: "proof".into(),
            }
        } else {
            Start::GoOn
        };
        let driver = Driver::resume(&journal, start, OnFailure::Unwind)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        let end = run(&mut world, driver, &mut journal, &Trouble::default());
        match end {
            Some(Halt::Finished(Outcome::Done)) => {
                assert_eq!(world.snapshot(), ends.after, "{place}: half done");
            }
            Some(Halt::Finished(Outcome::Undone { .. })) => {
                assert_eq!(world.snapshot(), ends.before, "{place}: half undone");
            }
            other => panic!("{place}: ended with {other:?}"),
        }
    }
}

fn begin(definition: crate::Definition) -> Driver {
    let header = Header {
        kind: "proof".into(),
        id: SagaId::new("proof"),
        started: Timestamp::UNIX_EPOCH,
        parameters: serde_json::Value::Null,
        definition,
    };
    Driver::begin(header, OnFailure::Unwind)
}

/// Runs until the end, or until the machine stops (`None`).
fn run<W: World>(
    world: &mut W,
    mut driver: Driver,
    journal: &mut Vec<Entry>,
    trouble: &Trouble,
) -> Option<Halt> {
    let reported = |result: Result<(), crate::DriverError>| {
        result.unwrap_or_else(|error| panic!("the driver refused a report: {error}"));
    };
    loop {
        match driver.next(Timestamp::UNIX_EPOCH) {
            Command::Halt(halt) => return Some(halt),
            Command::Append(entries) => {
                // Also between the entries of one write: so did older programs write them.
                for entry in &entries {
                    if trouble.stops_after_entries == Some(journal.len()) {
                        return None;
                    }
                    journal.push(entry.clone());
                }
                reported(driver.on_durable(&entries));
            }
            Command::Observe { step } => {
                let seen = heard(world.observe(&step))?;
                reported(driver.on_observed(seen));
            }
            Command::Perform { step, prior, .. } => {
                let result = if trouble.fails_before.as_ref() == Some(&step.id) {
                    Err(made_to_fail())
                } else {
                    let result = heard(world.perform(&step, &prior))?;
                    if trouble.fails_after.as_ref() == Some(&step.id) {
                        Err(made_to_fail())
                    } else {
                        result
                    }
                };
                reported(driver.on_performed(result));
            }
            Command::Undo {
                step,
                prior,
                receipt,
            } => {
                let result = heard(world.undo(&step, &prior, receipt.as_ref()))?;
                reported(driver.on_undone(result));
            }
        }
    }
}

fn heard<T>(result: Result<T, Interruption>) -> Option<Result<T, Failure>> {
    match result {
        Ok(value) => Some(Ok(value)),
        Err(Interruption::Failed(failure)) => Some(Err(failure)),
        Err(Interruption::PowerLost) => None,
    }
}

fn made_to_fail() -> Failure {
    Failure {
        id: "made-to-fail".into(),
        message: "made to fail".into(),
        remedy: None,
    }
}

fn expect<T>(result: Result<T, Interruption>, verb: &str, id: &StepId) -> T {
    result.unwrap_or_else(|error| panic!("{verb} {id}: {error:?}"))
}

/// The steps in an order that respects their dependencies.
fn in_order(definition: &crate::Definition) -> Vec<&crate::StepSpec> {
    let mut ordered: Vec<&crate::StepSpec> = Vec::new();
    while ordered.len() < definition.steps().len() {
        let next = definition.steps().iter().find(|step| {
            !ordered.iter().any(|o| o.id == step.id)
                && step
                    .after
                    .iter()
                    .all(|id| ordered.iter().any(|o| &o.id == id))
        });
        match next {
            Some(step) => ordered.push(step),
            None => panic!("a definition cannot hold a circle"),
        }
    }
    ordered
}

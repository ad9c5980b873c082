//! From records alone.

use super::desk::{Desk, broken, plan};
use crate::{Ending, EventKind, HostStanding, Record, ReplayError, Resume, Rollout, Stage};

#[test]
fn what_was_in_the_middle_is_begun_again_with_the_next_attempt() {
    let mut desk = Desk::under_way(plan(4, 2));
    desk.join(0);
    desk.bring_to(1, Stage::Join);
    let mut desk = desk.resumed(Resume::GoOn);
    desk.mint();
    let asked: Vec<_> = desk
        .starts
        .iter()
        .map(|a| (a.host, a.stage, a.attempt))
        .collect();
    assert_eq!(asked, [(1, Stage::Join, 2), (2, Stage::Lock, 2)]);
    assert_eq!(desk.started(), [1, 2], "in a new stream they start anew");
    let verdict = desk.finish();
    assert_eq!((verdict.ending, verdict.counts.joined), (Ending::Joined, 4));
}

#[test]
fn undo_takes_back_what_was_attempted_and_nothing_else() {
    let mut desk = Desk::under_way(plan(4, 2));
    desk.join(0);
    desk.bring_to(1, Stage::Join);
    let mut desk = desk.resumed(Resume::Undo);
    let verdict = desk.finish();
    assert_eq!(
        (verdict.ending, verdict.counts.untouched),
        (Ending::Undone, 1)
    );
    assert_eq!(
        desk.undone_stages(1),
        [Stage::Join, Stage::Prepare, Stage::Lock]
    );
    assert_eq!(desk.undone_stages(3), []);
}

#[test]
fn a_run_that_was_going_back_goes_on_going_back() {
    let mut desk = Desk::under_way(plan(2, 2));
    desk.join(1);
    desk.bring_to(0, Stage::Join);
    desk.answer(0, Err(broken()));
    (0..3).for_each(|_| desk.answer_undo(0, Ok(())));
    assert_eq!(desk.undo_of(1), Some(Stage::Join));
    let mut desk = desk.resumed(Resume::GoOn);
    assert_eq!(
        (desk.undo_of(1), desk.undos[0].attempt),
        (Some(Stage::Join), 2)
    );
    assert_eq!(desk.finish().ending, Ending::Undone);
}

#[test]
fn a_run_that_has_ended_ends_again_the_same_way_and_can_still_be_undone() {
    let mut desk = Desk::under_way(plan(2, 2));
    let verdict = desk.finish();
    let standings = |desk: &Desk| -> Vec<HostStanding> {
        desk.rollout.hosts().map(|host| host.standing).collect()
    };
    let desk = desk.resumed(Resume::GoOn);
    assert_eq!(desk.verdict, Some(verdict));
    assert_eq!(standings(&desk), [HostStanding::Joined; 2]);
    assert_eq!(desk.rollout.counts().joined, 2);
    let mut desk = desk.resumed(Resume::Undo);
    let verdict = desk.finish();
    assert_eq!((verdict.ending, verdict.counts.undone), (Ending::Undone, 2));
    let again = desk.resumed(Resume::Undo);
    assert_eq!(again.verdict, Some(verdict));
    assert_eq!(standings(&again), [HostStanding::Undone; 2]);
    let desk = again;
    assert_eq!(
        desk.undone_stages(0),
        [Stage::Lock, Stage::Join, Stage::Prepare]
    );
}

#[test]
fn a_run_that_is_taken_up_says_first_how_far_it_had_come_and_then_what_it_does() {
    let mut desk = Desk::under_way(plan(4, 2));
    desk.join(0);
    desk.bring_to(1, Stage::Join);
    let desk = desk.resumed(Resume::Undo);
    let EventKind::RunResumed { counts } = &desk.events[0] else {
        panic!("{:?}", desk.events);
    };
    assert_eq!((counts.joined, counts.undone, counts.untouched), (1, 0, 1));
    let unwinding = |event: &EventKind| matches!(event, EventKind::Unwinding { .. });
    assert_eq!(desk.events.iter().position(unwinding), Some(1));
    // Cut off again: the way back is told once more, as this stream is a new one.
    let desk = desk.resumed(Resume::GoOn);
    assert!(unwinding(&desk.events[1]), "{:?}", desk.events);
}

#[test]
fn leases_that_a_run_may_hold_are_named_to_the_process_that_takes_it_up() {
    let mut desk = Desk::under_way(plan(4, 2));
    desk.bring_to(0, Stage::Join);
    let desk = desk.resumed(Resume::GoOn);
    let held: Vec<u32> = desk.rollout.locked_hosts().map(|host| host.0).collect();
    assert_eq!(held, [0, 1]);
}

#[test]
fn records_that_do_not_tell_a_run_of_the_plan_are_refused() {
    let mut desk = Desk::under_way(plan(2, 2));
    desk.join(0);
    let resume = |plan, records: Vec<Record>| {
        Rollout::resume(plan, None, records, Resume::GoOn, desk.now).err()
    };
    let records = &desk.records;
    assert_eq!(resume(plan(2, 2), Vec::new()), Some(ReplayError::Empty));
    let other = resume(plan(3, 2), records.clone());
    assert!(matches!(other, Some(ReplayError::OtherPlan { .. })));
    let headless = resume(plan(2, 2), records[1..].to_vec());
    assert_eq!(headless, Some(ReplayError::Illegal { number: 0 }));
    let is_intent = |record: &Record| matches!(record, Record::Host { .. });
    let first = records.iter().position(is_intent).unwrap();
    let mut torn = records.clone();
    torn.remove(first);
    assert!(matches!(
        resume(plan(2, 2), torn),
        Some(ReplayError::Illegal { .. })
    ));
    assert_eq!(resume(plan(2, 2), records.clone()), None);
}

//! The user wants it to end; the Lease or the disk is lost.

use super::desk::{Desk, broken, plan};
use crate::{Ending, EventKind, Input, Keep, Resume, Stage, failure_ids};

#[test]
fn an_interrupt_starts_nobody_lets_those_at_work_reach_a_safe_point_and_takes_them_back() {
    let mut desk = Desk::under_way(plan(5, 2));
    desk.bring_to(0, Stage::Join);
    desk.handle(Input::Interrupt);
    assert_eq!(desk.abandoned, [], "the join is not cut off");
    desk.answer(0, Ok(()));
    assert_eq!(desk.failure_of(0).unwrap().1.id, failure_ids::INTERRUPTED);
    assert_eq!(desk.undo_of(0), Some(Stage::Join));
    let verdict = desk.finish();
    assert_eq!(
        (verdict.ending, verdict.counts.untouched),
        (Ending::Undone, 3)
    );
    assert_eq!(verdict.reason.unwrap().id, failure_ids::INTERRUPTED);
    assert_eq!(desk.rollout.status().tokens, []);
}

#[test]
fn an_interrupt_under_a_policy_that_keeps_lets_joins_come_to_their_end() {
    let mut plan = plan(4, 3);
    plan.policy.keep = Keep::Successes;
    let mut desk = Desk::under_way(plan);
    desk.bring_to(0, Stage::Join);
    desk.bring_to(1, Stage::Ready);
    desk.handle(Input::Interrupt);
    let verdict = desk.finish();
    assert_eq!(verdict.ending, Ending::Kept);
    // One was in its join, one waited for its Node, one was before its join, one never began.
    let counts = verdict.counts;
    assert_eq!((counts.joined, counts.undone), (2, 2));
}

#[test]
fn a_second_interrupt_stops_at_once_and_the_run_can_be_taken_up_again() {
    let mut desk = Desk::under_way(plan(5, 2));
    desk.bring_to(0, Stage::Join);
    desk.handle(Input::Interrupt);
    desk.handle(Input::Interrupt);
    let verdict = desk.verdict.clone().unwrap();
    assert_eq!(verdict.ending, Ending::Stopped);
    assert_eq!(desk.abandoned.len(), 2);
    let ends = |event: &&EventKind| matches!(event, EventKind::ClusterNodeJoinFailed { .. });
    assert_eq!(
        desk.events.iter().filter(ends).count(),
        2,
        "every start has its end"
    );
    assert!(matches!(
        desk.events.last(),
        Some(EventKind::RunEnded { .. })
    ));
    let mut desk = desk.resumed(Resume::GoOn);
    let verdict = desk.finish();
    assert_eq!((verdict.ending, verdict.counts.joined), (Ending::Joined, 5));
}

#[test]
fn an_interrupt_does_not_stop_the_taking_back_but_a_second_one_does() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.answer(0, Err(broken()));
    desk.handle(Input::Interrupt);
    assert_eq!(desk.undo_of(0), Some(Stage::Lock));
    assert_eq!(desk.verdict, None);
    desk.handle(Input::Interrupt);
    assert_eq!(desk.verdict.clone().unwrap().ending, Ending::Stopped);
}

#[test]
fn a_lost_lease_stops_everything_and_nothing_is_done_any_more() {
    let mut desk = Desk::under_way(plan(3, 2));
    desk.handle(Input::LeaseLost {
        holder: Some("another".into()),
    });
    let verdict = desk.verdict.clone().unwrap();
    assert_eq!(verdict.ending, Ending::Stopped);
    let reason = verdict.reason.unwrap();
    assert_eq!(reason.id, failure_ids::LEASE_LOST);
    assert!(reason.message.contains("another"));
    assert_eq!(
        (desk.undos.len(), desk.revokes.len(), desk.abandoned.len()),
        (0, 0, 2)
    );
    desk.wait(9999);
    assert_eq!(
        (desk.undos.len(), desk.revokes.len(), desk.starts.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_record_that_cannot_be_written_stops_the_run_at_once() {
    let mut rollout = crate::Rollout::begin(plan(1, 1), None, super::desk::START).unwrap();
    let first = rollout.next_effect();
    assert!(matches!(first, Some(crate::Effect::Tell(_))));
    rollout.handle(
        Input::RecordFailed { failure: broken() },
        super::desk::START,
    );
    let rest: Vec<_> = std::iter::from_fn(|| rollout.next_effect()).collect();
    let deeds = |effect: &&crate::Effect| matches!(effect, crate::Effect::Mint { .. });
    assert_eq!(rest.iter().filter(deeds).count(), 0);
    assert!(
        matches!(rest.last(), Some(crate::Effect::End(verdict)) if verdict.reason == Some(broken()))
    );
}

//! Attempts, time-outs, and what is told of a host's end.

use super::desk::{Desk, broken, plan, unreachable};
use crate::{EventKind, HostIndex, Input, Receipt, Stage, failure_ids};

#[test]
fn a_terminal_failure_ends_the_host_at_once_and_a_transient_one_is_tried_again() {
    let mut desk = Desk::under_way(plan(2, 2));
    desk.bring_to(0, Stage::Prepare);
    desk.bring_to(1, Stage::Prepare);
    desk.answer(0, Err(broken()));
    desk.answer(1, Err(unreachable()));
    assert_eq!(desk.failure_of(0), Some((Stage::Prepare, broken())));
    assert_eq!(desk.failure_of(1), None);
    desk.wait(2);
    let again = desk.starts.iter().find(|asked| asked.host == 1).unwrap();
    assert_eq!((again.stage, again.attempt), (Stage::Prepare, 2));
}

#[test]
fn attempts_end_with_the_time_of_the_stage_and_the_last_cause_is_named() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Prepare);
    while desk.failure_of(0).is_none() {
        if desk.stage_of(0).is_some() {
            desk.answer(0, Err(unreachable()));
        }
        desk.wait(1);
    }
    let (stage, failure) = desk.failure_of(0).unwrap();
    assert_eq!(
        (stage, failure.id.as_str()),
        (Stage::Prepare, failure_ids::STAGE_TIMED_OUT)
    );
    assert!(
        failure.message.contains("it cannot be reached"),
        "{failure}"
    );
}

#[test]
fn a_node_that_is_never_ready_fails_its_host_after_five_minutes() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Ready);
    desk.wait(299);
    assert_eq!(desk.failure_of(0), None);
    desk.wait(1);
    let (stage, failure) = desk.failure_of(0).unwrap();
    assert_eq!(
        (stage, failure.id.as_str()),
        (Stage::Ready, failure_ids::STAGE_TIMED_OUT)
    );
    assert!(failure.message.contains("5m"), "{failure}");
}

#[test]
fn each_host_waits_for_its_own_node_and_for_no_count() {
    let mut desk = Desk::under_way(plan(3, 3));
    desk.bring_to(1, Stage::Ready);
    desk.answer(1, Ok(()));
    let joined = |event: &EventKind| matches!(event, EventKind::ClusterNodeJoinCompleted { host, .. } if host.host.0 == 1);
    assert!(
        desk.events.iter().any(joined),
        "though no other Node is there"
    );
}

#[test]
fn a_late_answer_of_an_attempt_that_was_given_up_changes_nothing() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Join);
    desk.wait(242);
    assert_eq!(desk.starts[0].attempt, 2);
    for (attempt, result) in [
        (1, Ok(Receipt::Null)),
        (1, Err(broken())),
        (3, Err(broken())),
    ] {
        let before = desk.records.len();
        desk.handle(Input::Ended {
            host: HostIndex(0),
            stage: Stage::Join,
            attempt,
            result,
        });
        assert_eq!(desk.records.len(), before);
    }
    desk.answer(0, Ok(()));
    assert_eq!(desk.stage_of(0), Some(Stage::Ready));
}

#[test]
fn answers_about_hosts_that_are_not_there_change_nothing() {
    let mut desk = Desk::under_way(plan(1, 1));
    let before = desk.records.len();
    let stranger = HostIndex(99);
    desk.handle(Input::Ended {
        host: stranger,
        stage: Stage::Join,
        attempt: 1,
        result: Ok(Receipt::Null),
    });
    desk.handle(Input::Undone {
        host: stranger,
        stage: Stage::Join,
        attempt: 1,
        result: Ok(()),
    });
    desk.handle(Input::Progress {
        host: stranger,
        phase: "lost".into(),
    });
    assert_eq!(desk.records.len(), before);
}

#[test]
fn a_run_that_takes_too_long_ends_its_hosts_and_starts_no_more() {
    let mut plan = plan(3, 1);
    plan.timeouts.run = std::time::Duration::from_secs(100);
    let mut desk = Desk::under_way(plan);
    desk.bring_to(0, Stage::Join);
    desk.wait(100);
    assert_eq!(desk.failure_of(0).unwrap().1.id, failure_ids::RUN_TIMED_OUT);
    let verdict = desk.finish();
    assert_eq!((verdict.counts.undone, verdict.counts.untouched), (1, 2));
    assert_eq!(verdict.reason.unwrap().id, failure_ids::RUN_TIMED_OUT);
}

#[test]
fn a_host_that_takes_too_long_altogether_is_told_apart() {
    let mut plan = plan(1, 1);
    plan.timeouts.host = std::time::Duration::from_secs(100);
    let mut desk = Desk::under_way(plan);
    desk.bring_to(0, Stage::Join);
    desk.wait(100);
    assert_eq!(
        desk.failure_of(0).unwrap().1.id,
        failure_ids::HOST_TIMED_OUT
    );
}

#[test]
fn what_a_deed_gave_is_there_for_later_stages_and_later_processes() {
    let mut desk = Desk::under_way(plan(1, 1));
    let receipt = serde_json::json!({"address": "10.0.0.7"});
    let asked = desk.starts.remove(0);
    desk.handle(Input::Ended {
        host: HostIndex(0),
        stage: asked.stage,
        attempt: asked.attempt,
        result: Ok(receipt.clone()),
    });
    assert_eq!(
        desk.rollout.receipt(HostIndex(0), Stage::Lock),
        Some(&receipt)
    );
    let desk = desk.resumed(crate::Resume::GoOn);
    assert_eq!(
        desk.rollout.receipt(HostIndex(0), Stage::Lock),
        Some(&receipt)
    );
}

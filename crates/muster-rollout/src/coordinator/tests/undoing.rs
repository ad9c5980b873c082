//! The way out: what is taken back, in which order, and what if that cannot be done.

use super::desk::{Desk, broken, plan, unreachable};
use crate::{Ending, EventKind, HostIndex, Input, Manual, Record, Stage, Stuck, failure_ids};

#[test]
fn one_failure_does_not_stop_the_others_and_every_attempted_host_is_taken_back() {
    let mut desk = Desk::under_way(plan(3, 3));
    let verdict = desk.finish_but(|host, stage| (host == 0 && stage == Stage::Join).then(broken));
    assert_eq!(verdict.ending, Ending::Undone);
    assert_eq!(verdict.reason.unwrap().message, "1/3 hosts failed to join");
    assert_eq!((verdict.counts.undone, verdict.counts.joined), (3, 0));
    for host in 0..3 {
        // Of those that had joined too, with their Node objects.
        assert_eq!(
            desk.undone_stages(host),
            [Stage::Join, Stage::Prepare, Stage::Lock]
        );
    }
    let completed =
        |event: &&EventKind| matches!(event, EventKind::ClusterNodeJoinCompleted { .. });
    assert_eq!(desk.events.iter().filter(completed).count(), 2);
}

#[test]
fn a_host_that_was_not_attempted_is_not_taken_back() {
    let mut desk = Desk::under_way(plan(10, 3));
    desk.handle(Input::Interrupt);
    let verdict = desk.finish();
    assert_eq!((verdict.counts.undone, verdict.counts.untouched), (3, 7));
    for host in 3..10 {
        assert_eq!(desk.undone_stages(host), []);
    }
}

#[test]
fn only_what_was_attempted_on_a_host_is_taken_back() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Prepare);
    desk.answer(0, Err(broken()));
    desk.finish();
    assert_eq!(desk.undone_stages(0), [Stage::Prepare, Stage::Lock]);
}

#[test]
fn undoing_has_a_cap_of_its_own() {
    let mut plan = plan(50, 50);
    plan.undo.parallelism = 4;
    let mut desk = Desk::under_way(plan);
    (1..50).for_each(|host| desk.join(host));
    desk.answer(0, Err(broken()));
    let mut most = 0;
    while desk.verdict.is_none() {
        most = most.max(desk.undos.len());
        match desk.undos.first().map(|asked| asked.host) {
            Some(host) => desk.answer_undo(host, Ok(())),
            None => desk.revoke(Ok(())),
        }
    }
    assert_eq!(most, 4);
}

#[test]
fn an_undo_that_fails_is_tried_again_and_one_that_hangs_is_given_up_first() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.answer(0, Err(broken()));
    desk.answer_undo(0, Err(unreachable()));
    desk.wait(2);
    assert_eq!(
        (desk.undo_of(0), desk.undos[0].attempt),
        (Some(Stage::Lock), 2)
    );
    desk.wait(181);
    assert_eq!(desk.abandoned, [(0, Stage::Lock)]);
    assert_eq!(desk.undos[0].attempt, 3);
    assert_eq!(desk.finish().ending, Ending::Undone);
}

#[test]
fn an_undo_that_cannot_be_done_leaves_the_run_stuck_with_what_to_do() {
    let mut plan = plan(2, 2);
    plan.manuals = vec![Manual {
        join: "ssh {name} sudo muster reset --force; kubectl delete node {name}".into(),
        prepare: "ssh {name} sudo rm /var/lib/muster/bin/muster".into(),
        ..Manual::default()
    }];
    let mut desk = Desk::under_way(plan);
    desk.join(1);
    desk.bring_to(0, Stage::Join);
    desk.answer(0, Err(broken()));
    desk.answer_undo(0, Err(broken()));
    // What stands below it stays, as it may be needed; the Lease goes.
    assert_eq!(desk.undo_of(0), Some(Stage::Lock));
    let verdict = desk.finish();
    assert_eq!(verdict.ending, Ending::Stuck);
    assert_eq!((verdict.counts.stuck, verdict.counts.undone), (1, 1));
    let [
        Stuck::Host {
            name,
            stage,
            failure,
            instructions,
        },
    ] = verdict.stuck.as_slice()
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        (name.as_str(), *stage, failure),
        ("w0", Stage::Join, &broken())
    );
    assert_eq!(
        instructions[..],
        [
            "ssh w0 sudo muster reset --force; kubectl delete node w0",
            "ssh w0 sudo rm /var/lib/muster/bin/muster"
        ]
    );
    let mut desk = desk.resumed(crate::Resume::Undo);
    assert_eq!(desk.undo_of(0), Some(Stage::Join), "it is tried again");
    assert_eq!(desk.finish().ending, Ending::Undone);
}

#[test]
fn an_undo_out_of_time_names_the_last_cause() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Join);
    desk.answer(0, Err(broken()));
    while desk.undo_of(0) == Some(Stage::Join) || desk.undos.is_empty() {
        if !desk.undos.is_empty() {
            desk.answer_undo(0, Err(unreachable()));
        }
        desk.wait(1);
    }
    let verdict = desk.finish();
    let Stuck::Host { failure, .. } = &verdict.stuck[0] else {
        panic!("{verdict:?}");
    };
    assert_eq!(failure.id, failure_ids::STAGE_TIMED_OUT);
    assert!(failure.message.contains("it cannot be reached"));
}

#[test]
fn a_machine_that_was_made_is_destroyed_or_kept_as_the_plan_says() {
    for keep_machines in [false, true] {
        let mut plan = plan(1, 1);
        plan.hosts[0].provision = true;
        plan.undo.keep_machines = keep_machines;
        let mut desk = Desk::under_way(plan);
        assert_eq!(desk.stage_of(0), Some(Stage::Provision));
        desk.bring_to(0, Stage::Join);
        desk.answer(0, Err(broken()));
        assert_eq!(desk.finish().ending, Ending::Undone);
        assert_eq!(
            desk.undone_stages(0).contains(&Stage::Provision),
            !keep_machines
        );
    }
}

#[test]
fn a_host_that_stays_gives_its_lease_back() {
    let mut desk = Desk::under_way(plan(2, 2));
    desk.join(0);
    assert_eq!(desk.undo_of(0), None, "all or none is not decided yet");
    desk.join(1);
    assert_eq!(
        (desk.undo_of(0), desk.undo_of(1)),
        (Some(Stage::Lock), Some(Stage::Lock))
    );
    assert_eq!(desk.finish().ending, Ending::Joined);
}

#[test]
fn a_late_answer_of_an_undo_changes_nothing() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Join);
    desk.answer(0, Err(broken()));
    let records = |desk: &Desk| {
        let undone = |record: &&Record| {
            matches!(
                record,
                Record::Host {
                    event: muster_saga::Event::Undone,
                    ..
                }
            )
        };
        desk.records.iter().filter(undone).count()
    };
    desk.handle(Input::Undone {
        host: HostIndex(0),
        stage: Stage::Join,
        attempt: 7,
        result: Ok(()),
    });
    assert_eq!(records(&desk), 0);
    desk.answer_undo(0, Ok(()));
    assert_eq!(records(&desk), 1);
}

//! What stays when others fail, when no more are started, and how many start together.

use super::desk::{Desk, broken, plan};
use crate::{Ending, EventKind, Keep, Share, Stage, Waves};

#[test]
fn successes_stay_if_the_policy_says_so_and_failures_are_taken_back_at_once() {
    let mut plan = plan(3, 3);
    plan.policy.keep = Keep::Successes;
    let mut desk = Desk::under_way(plan);
    desk.bring_to(0, Stage::Join);
    desk.answer(0, Err(broken()));
    assert_eq!(
        desk.undo_of(0),
        Some(Stage::Join),
        "while the others are at work"
    );
    let verdict = desk.finish();
    assert_eq!(verdict.ending, Ending::Kept);
    assert_eq!((verdict.counts.joined, verdict.counts.undone), (2, 1));
    assert_eq!(desk.undone_stages(1), [Stage::Lock]);
}

#[test]
fn enough_successes_stay_and_too_few_do_not() {
    for (failures, ending) in [(1, Ending::Kept), (2, Ending::Undone)] {
        for share in [Share::Hosts(3), Share::Percent(60)] {
            let mut plan = plan(4, 4);
            plan.policy.keep = Keep::AtLeast(share);
            let mut desk = Desk::under_way(plan);
            let verdict = desk
                .finish_but(|host, stage| (host < failures && stage == Stage::Join).then(broken));
            assert_eq!(verdict.ending, ending, "{failures} of 4, {share:?}");
        }
    }
}

#[test]
fn no_host_starts_after_so_many_failures_and_those_at_work_go_on() {
    let mut plan = plan(10, 2);
    plan.policy.keep = Keep::Successes;
    plan.policy.stop_after = Some(2);
    let mut desk = Desk::under_way(plan);
    desk.answer(0, Err(broken()));
    assert_eq!(desk.started(), [0, 1, 2]);
    desk.answer(1, Err(broken()));
    assert_eq!(desk.started(), [0, 1, 2]);
    let verdict = desk.finish();
    assert_eq!((verdict.counts.joined, verdict.counts.untouched), (1, 7));
    let message = verdict.reason.unwrap().message;
    assert_eq!(
        message,
        "2/10 hosts failed to join; no host starts any more: too many hosts failed"
    );
}

#[test]
fn a_canary_goes_first_and_the_others_follow_in_waves() {
    let mut plan = plan(7, 9);
    plan.policy.waves = Some(Waves {
        sizes: vec![Share::Hosts(1), Share::Hosts(3)],
        tolerated: 0,
    });
    let mut desk = Desk::under_way(plan);
    assert_eq!(desk.at_work(), [0]);
    desk.join(0);
    assert_eq!(desk.at_work(), [1, 2, 3]);
    desk.join(1);
    desk.join(2);
    assert_eq!(desk.at_work(), [3]);
    desk.join(3);
    assert_eq!(desk.at_work(), [4, 5, 6]);
    let wave = |event: &EventKind| match event {
        EventKind::WaveStarted { wave, hosts } => Some((*wave, *hosts)),
        _ => None,
    };
    let waves: Vec<_> = desk.events.iter().filter_map(wave).collect();
    assert_eq!(waves, [(1, 1), (2, 3), (3, 3)]);
}

#[test]
fn a_canary_that_fails_spares_the_others() {
    let mut plan = plan(7, 9);
    plan.policy.waves = Some(Waves {
        sizes: vec![Share::Hosts(1), Share::Percent(100)],
        tolerated: 0,
    });
    let mut desk = Desk::under_way(plan);
    desk.answer(0, Err(broken()));
    let verdict = desk.finish();
    assert_eq!(
        (verdict.ending, verdict.counts.untouched),
        (Ending::Undone, 6)
    );
}

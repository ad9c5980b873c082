//! Who works when: caps, quiet times, places that come free.

use std::time::Duration;

use super::desk::{Desk, plan, unreachable};
use crate::{
    Auto, Cap, EventKind, Input, Limit, LimitKey, LimitKind, Pressure, Stage, retry::after,
};

#[test]
fn no_more_hosts_than_the_cap_work_at_once_and_the_next_starts_when_one_has_joined() {
    let mut desk = Desk::under_way(plan(8, 3));
    assert_eq!(desk.at_work(), [0, 1, 2]);
    desk.bring_to(1, Stage::Ready);
    // Whoever waits for its Node has given its place away.
    assert_eq!(desk.at_work(), [0, 1, 2, 3]);
    desk.bring_to(0, Stage::Join);
    assert_eq!(
        desk.started(),
        [0, 1, 2, 3],
        "no barrier, and nobody too many"
    );
}

#[test]
fn a_start_is_told_when_the_place_is_taken_and_not_when_the_host_is_queued() {
    let mut desk = Desk::under_way(plan(2, 1));
    assert_eq!(desk.started(), [0]);
    desk.bring_to(0, Stage::Ready);
    assert_eq!(desk.started(), [0, 1]);
}

#[test]
fn a_cap_larger_than_the_fleet_starts_all() {
    let desk = Desk::under_way(plan(4, 99));
    assert_eq!(desk.at_work(), [0, 1, 2, 3]);
}

#[test]
fn a_hung_host_is_given_up_and_frees_its_place() {
    let mut desk = Desk::under_way(plan(2, 1));
    desk.bring_to(0, Stage::Join);
    desk.wait(241);
    assert_eq!(desk.abandoned, [(0, Stage::Join)]);
    assert_eq!(desk.started(), [0, 1]);
}

#[test]
fn a_host_that_waits_for_another_attempt_gives_its_place_away_and_comes_first_again() {
    let mut desk = Desk::under_way(plan(3, 1));
    desk.bring_to(0, Stage::Prepare);
    desk.answer(0, Err(unreachable()));
    assert_eq!(desk.at_work(), [1]);
    desk.wait(2);
    desk.bring_to(1, Stage::Ready);
    assert!(desk.at_work().contains(&0) && !desk.at_work().contains(&2));
}

#[test]
fn a_jump_host_with_a_cap_holds_up_its_own_hosts_only() {
    let mut plan = plan(6, 5);
    plan.limits.push(Limit {
        kind: LimitKind::JumpHost,
        name: "bastion".into(),
        cap: Cap::Fixed(1),
    });
    for host in &mut plan.hosts[..4] {
        host.limits = vec![LimitKey(1)];
    }
    let desk = Desk::under_way(plan);
    assert_eq!(desk.at_work(), [0, 4, 5]);
}

#[test]
fn retry_after_is_quiet_time_in_which_no_host_starts() {
    let mut desk = Desk::under_way(plan(2, 1));
    desk.handle(Input::Pressure {
        limit: LimitKey::API_SERVER,
        pressure: Pressure::TooManyRequests {
            retry_after: Some(Duration::from_secs(30)),
        },
    });
    desk.bring_to(0, Stage::Ready);
    assert_eq!(desk.started(), [0]);
    desk.wait(29);
    assert_eq!(desk.started(), [0]);
    desk.wait(1);
    assert_eq!(desk.started(), [0, 1]);
}

#[test]
fn auto_grows_with_fine_answers_and_shrinks_when_asked_for_quiet() {
    let mut plan = plan(40, 1);
    plan.limits[0].cap = Cap::Auto(Auto {
        start: 4,
        ..Auto::default()
    });
    let mut desk = Desk::under_way(plan);
    let fine = Pressure::Fine {
        latency: Duration::from_millis(20),
    };
    for _ in 0..20 {
        desk.handle(Input::Pressure {
            limit: LimitKey::API_SERVER,
            pressure: fine,
        });
    }
    let grown = desk.at_work().len();
    assert!(grown > 4, "{grown} at once");
    desk.handle(Input::Pressure {
        limit: LimitKey::API_SERVER,
        pressure: Pressure::TooManyRequests { retry_after: None },
    });
    assert_eq!(desk.rollout.status().limits[0].at_once as usize, grown / 2);
    let told = |event: &EventKind| matches!(event, EventKind::ConcurrencyChanged { .. });
    assert!(desk.events.iter().any(told));
    let now = desk.now;
    assert!(desk.wake.unwrap() > now && desk.wake.unwrap() < after(now, Duration::from_secs(60)));
}

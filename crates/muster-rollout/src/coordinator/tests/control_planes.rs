//! Hosts that become control planes: one after another, before or beside the workers.

use super::desk::{Desk, broken, plan};
use crate::{ControlPlane, Ending, Role, RolloutPlan, Stage};

/// Two workers, then three control-plane hosts.
fn mixed(order: ControlPlane) -> RolloutPlan {
    let mut plan = plan(5, 9);
    plan.hosts[2..]
        .iter_mut()
        .for_each(|host| host.role = Role::ControlPlane);
    plan.policy.control_plane = order;
    plan
}

#[test]
fn control_plane_hosts_come_one_after_another_before_the_workers() {
    let mut desk = Desk::under_way(mixed(ControlPlane::Before));
    for host in 2..5 {
        assert_eq!(desk.at_work(), [host]);
        desk.bring_to(host, Stage::Ready);
        assert_eq!(
            desk.at_work(),
            [host],
            "the next one waits until it is ready"
        );
        desk.join(host);
    }
    assert_eq!(desk.at_work(), [0, 1]);
}

#[test]
fn beside_the_workers_they_still_come_one_after_another() {
    let mut desk = Desk::under_way(mixed(ControlPlane::Beside));
    assert_eq!(desk.at_work(), [0, 1, 2]);
    desk.join(2);
    assert_eq!(desk.at_work(), [0, 1, 3]);
}

#[test]
fn the_next_one_waits_until_one_that_failed_is_gone() {
    let mut desk = Desk::under_way(mixed(ControlPlane::Beside));
    desk.bring_to(2, Stage::Join);
    desk.answer(2, Err(broken()));
    assert_eq!(desk.undo_of(2), Some(Stage::Join));
    assert_eq!(desk.at_work(), [0, 1]);
    while desk.undo_of(2).is_some() {
        desk.answer_undo(2, Ok(()));
    }
    assert_eq!(desk.at_work(), [0, 1, 3]);
}

#[test]
fn workers_do_not_start_when_a_control_plane_host_before_them_failed() {
    let mut desk = Desk::under_way(mixed(ControlPlane::Before));
    desk.bring_to(2, Stage::Join);
    desk.answer(2, Err(broken()));
    let verdict = desk.finish();
    assert_eq!(
        (verdict.ending, verdict.counts.untouched),
        (Ending::Undone, 2)
    );
}

#[test]
fn going_back_the_workers_go_first_and_then_the_control_planes_last_first_one_by_one() {
    let mut desk = Desk::under_way(mixed(ControlPlane::Before));
    (2..5).for_each(|host| desk.join(host));
    desk.join(0);
    desk.answer(1, Err(broken()));
    let mut order = Vec::new();
    while desk.verdict.is_none() {
        let at_work: Vec<u32> = desk.undos.iter().map(|asked| asked.host).collect();
        let leaders = at_work.iter().filter(|host| **host >= 2).count();
        assert!(leaders == 0 || at_work.len() == 1, "{at_work:?}");
        match at_work.first() {
            Some(host) => {
                order.push(*host);
                desk.answer_undo(*host, Ok(()));
            }
            None => desk.revoke(Ok(())),
        }
    }
    order.retain(|host| *host >= 2);
    order.dedup();
    assert_eq!(order, [4, 3, 2]);
}

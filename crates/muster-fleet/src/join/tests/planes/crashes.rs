//! The machine stops at every record and at every elementary operation of a control-plane join, forwards and while it is
//! taken back; changes in the cluster are such operations too, and their answers can be lost.

use super::*;
use crate::testing::Deed;

/// What is done after the machine is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    JoinAgain,
    JoinAsAnother,
    Reset,
}

/// Where the machine stops.
#[derive(Clone, Copy, Debug)]
enum Stop {
    At(Cut),
    Operation(u64),
}

impl Stop {
    fn all(records: u64, operations: u64) -> impl Iterator<Item = Self> {
        let records = (0..records).flat_map(|n| [Cut::Before(n), Cut::After(n)].map(Self::At));
        records.chain((0..operations).map(Self::Operation))
    }

    fn set(self, scene: &Scene) {
        match self {
            Self::At(cut) => scene.store.cut(Some(cut)),
            Self::Operation(operation) => scene.host.lose_power_at(Some(operation)),
        }
    }
}

fn power_on(scene: &Scene) {
    scene.store.cut(None);
    scene.host.lose_power_at(None);
}

async fn then(kind: Kind, scene: &Scene, ends: &Ends, then: Then, place: &str) {
    let fails = |error: JoinError| panic!("{place}: {}", error.message());
    match then {
        Then::JoinAgain => {
            scene
                .join(&kind.options("n1"))
                .await
                .map(drop)
                .unwrap_or_else(fails);
            assert_joined(scene, ends, place);
        }
        Then::JoinAsAnother => {
            scene
                .join(&kind.options("n2"))
                .await
                .map(drop)
                .unwrap_or_else(fails);
            let nodes: Vec<String> = scene.cluster.state().nodes.into_keys().collect();
            assert_eq!(nodes, ["n2"], "{place}");
            scene.reset().await.map(drop).unwrap_or_else(fails);
            assert_before(scene, ends, place);
        }
        Then::Reset => {
            scene.reset().await.map(drop).unwrap_or_else(fails);
            assert_before(scene, ends, place);
        }
    }
}

async fn crash(kind: Kind, ends: &Ends, stop: Stop, and_then: Then) {
    let place = format!("{kind:?} {stop:?} then {and_then:?}");
    if matches!(stop, Stop::At(Cut::Before(0))) && and_then == Then::Reset {
        // Nothing was done; a reset without a journal names files of somebody.
        return;
    }
    let scene = kind.scene();
    stop.set(&scene);
    let first = scene.join(&kind.options("n1")).await;
    let died = scene.host.is_off();
    assert!(died == first.is_err(), "{place}: {first:?}");
    power_on(&scene);
    if died || and_then != Then::JoinAsAnother {
        then(kind, &scene, ends, and_then, &place).await;
    }
}

/// What follows a stop. After operations it takes turns, and the other way round where there are three etcds: so each of
/// both kinds' operations, which are nearly the same, is followed by both.
fn what_follows(kind: Kind, stop: Stop) -> &'static [Then] {
    match stop {
        // Certificates that somebody brought are for one name.
        Stop::At(Cut::Before(_)) if kind != Kind::ExternalCa => {
            &[Then::JoinAgain, Then::Reset, Then::JoinAsAnother]
        }
        Stop::At(_) => &[Then::JoinAgain, Then::Reset],
        Stop::Operation(n) if (n % 2 == 0) == (kind == Kind::StackedAmongThree) => &[Then::Reset],
        Stop::Operation(_) => &[Then::JoinAgain],
    }
}

/// Every stop of one kind of control plane.
async fn everywhere(kind: Kind) {
    let ends = ends(kind).await;
    assert!(ends.records > 30 && ends.operations > 60);
    for stop in Stop::all(ends.records, ends.operations) {
        for and_then in what_follows(kind, stop) {
            crash(kind, &ends, stop, *and_then).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_join_with_stacked_etcd_ends_joined_or_clean() {
    everywhere(Kind::Stacked).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_join_among_three_etcds_ends_joined_or_clean() {
    everywhere(Kind::StackedAmongThree).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_join_with_external_etcd_ends_joined_or_clean() {
    everywhere(Kind::ExternalEtcd).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_join_with_an_external_authority_ends_joined_or_clean() {
    everywhere(Kind::ExternalCa).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_failed_join_is_taken_back_ends_joined_or_clean() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    // The last thing that can fail: everything has been done by then.
    let failing = || {
        let scene = kind.scene();
        scene.cluster.never_ready(true);
        let mut options = kind.options("n1");
        options.request.wait = Wait::Ready;
        options.request.wait_seconds = 1;
        (scene, options)
    };
    let (counted, options) = failing();
    counted.join(&options).await.unwrap_err();
    assert_before(&counted, &ends, "taken back");
    let (records, operations) = (counted.store.writes(), counted.host.operations());
    let back = Stop::all(records, operations).filter(|stop| match stop {
        Stop::At(Cut::Before(n) | Cut::After(n)) => *n >= ends.records - 2,
        Stop::Operation(n) => *n >= ends.operations,
    });
    for stop in back {
        for and_then in what_follows(kind, stop) {
            let place = format!("{stop:?} on the way back, then {and_then:?}");
            let (scene, options) = failing();
            stop.set(&scene);
            scene.join(&options).await.unwrap_err();
            power_on(&scene);
            scene.cluster.never_ready(false);
            then(kind, &scene, &ends, *and_then, &place).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leads_to_no_second_member() {
    let kind = Kind::Stacked;
    let ends = ends(kind).await;
    for deed in [Deed::AddLearner, Deed::Promote, Deed::Mark] {
        let scene = kind.scene();
        let mut options = kind.options("n1");
        options.keep_on_failure = true;
        scene.cluster.refuse(deed, Some(true));
        scene.join(&options).await.unwrap_err();
        scene.cluster.refuse(deed, None);
        scene.join(&kind.options("n1")).await.unwrap();
        assert_joined(&scene, &ends, &format!("{deed:?}"));
    }
}

//! The machine stops at every record and at every elementary operation of a join; what comes next must end joined or
//! clean.

use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

/// What is done after the machine is back.
#[derive(Clone, Copy, Debug)]
enum Then {
    JoinAgain,
    JoinAsAnother,
    Reset,
}

async fn crash(machine: fn() -> SimHost, cut: Option<Cut>, operation: Option<u64>, then: Then) {
    let undisturbed = Scene::on(machine());
    let before = undisturbed.machine();
    let place = format!("{cut:?} {operation:?} then {then:?}");

    let scene = Scene::on(machine());
    scene.store.cut(cut);
    if let Some(operation) = operation {
        scene.host.lose_power_at(Some(operation));
    }
    let first = scene.join(&options("n1")).await;
    let died = scene.host.is_off();
    assert!(died == first.is_err(), "{place}: {first:?}");
    scene.store.cut(None);
    scene.host.lose_power_at(None);

    match then {
        Then::JoinAgain => {
            scene
                .join(&options("n1"))
                .await
                .unwrap_or_else(|e| panic!("{place}: {}", e.message()));
            undisturbed.join(&options("n1")).await.unwrap();
            assert_eq!(
                scene.machine(),
                undisturbed.machine(),
                "{place}: half joined"
            );
            assert_eq!(scene.cluster.nodes(), ["n1"], "{place}");
            assert!(
                scene.cluster.requests() == 1,
                "{place}: another key was made"
            );
        }
        Then::JoinAsAnother if died => {
            scene
                .join(&options("n2"))
                .await
                .unwrap_or_else(|e| panic!("{place}: {}", e.message()));
            undisturbed.join(&options("n2")).await.unwrap();
            assert_eq!(scene.machine(), undisturbed.machine(), "{place}: mixed up");
            assert_eq!(scene.cluster.nodes(), ["n2"], "{place}");
        }
        Then::JoinAsAnother => {}
        Then::Reset => {
            scene
                .reset()
                .await
                .unwrap_or_else(|e| panic!("{place}: {}", e.message()));
            assert_eq!(scene.machine(), before, "{place}: not clean");
            assert_eq!(scene.cluster.nodes(), Vec::<String>::new(), "{place}");
        }
    }
}

/// A machine with files of its own where the join writes.
fn used_machine() -> SimHost {
    let host = SimHost::new("n1");
    host.put_file("/var/lib/kubelet/config.yaml", 0o644, b"somebody's");
    host.put_file(
        "/var/lib/kubelet/pki/kubelet-client.key.tmp",
        0o600,
        b"somebody's",
    );
    host
}

fn bare_machine() -> SimHost {
    SimHost::new("n1")
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_journal_record_ends_joined_or_clean() {
    for machine in [bare_machine, used_machine] {
        let counted = Scene::on(machine());
        counted.join(&options("n1")).await.unwrap();
        let records = counted.store.writes();
        assert!(records > 15, "{records}");
        for record in 0..records {
            for cut in [Cut::Before(record), Cut::After(record)] {
                for then in [Then::JoinAgain, Then::JoinAsAnother, Then::Reset] {
                    // The last record is the joined one: after it the machine is a node of that name.
                    if cut == Cut::After(records - 1) && matches!(then, Then::JoinAsAnother) {
                        continue;
                    }
                    crash(machine, Some(cut), None, then).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_ends_joined_or_clean() {
    for machine in [bare_machine, used_machine] {
        let counted = Scene::on(machine());
        counted.join(&options("n1")).await.unwrap();
        for operation in 0..counted.host.operations() {
            for then in [Then::JoinAgain, Then::Reset] {
                crash(machine, None, Some(operation), then).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_failed_join_is_taken_back_ends_clean_or_joined() {
    let counted = Scene::new();
    counted.cluster.never_registers(true);
    counted.join(&options("n1")).await.unwrap_err();
    let records = counted.store.writes();
    for record in 0..records {
        for cut in [Cut::Before(record), Cut::After(record)] {
            let scene = Scene::new();
            let before = scene.machine();
            scene.cluster.never_registers(true);
            scene.store.cut(Some(cut));
            scene.join(&options("n1")).await.unwrap_err();
            scene.store.cut(None);
            scene.host.lose_power_at(None);
            scene.cluster.never_registers(false);
            scene
                .join(&options("n1"))
                .await
                .unwrap_or_else(|e| panic!("{cut:?}: {e:?}"));
            scene.reset().await.unwrap();
            assert_eq!(scene.machine(), before, "{cut:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_request_never_leads_to_a_second_one() {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    // Every key is another one, so a second key would be a second request.
    let options = || JoinOptions {
        entropy: |bytes| bytes.fill(NEXT.fetch_add(1, Ordering::Relaxed) % 200 + 1),
        ..options("n1")
    };
    let counted = Scene::new();
    counted.join(&options()).await.unwrap();
    let mut asked_before_the_crash = 0;
    for operation in 0..counted.host.operations() {
        let scene = Scene::new();
        scene.host.lose_power_at(Some(operation));
        scene.join(&options()).await.unwrap_err();
        asked_before_the_crash += scene.cluster.requests();
        scene.host.lose_power_at(None);
        scene.join(&options()).await.unwrap();
        assert_eq!(scene.cluster.requests(), 1, "power lost at {operation}");
    }
    assert!(asked_before_the_crash > 10, "{asked_before_the_crash}");
}

#[tokio::test]
async fn a_record_that_cannot_be_written_stops_the_join_at_once() {
    let scene = Scene::new();
    scene.store.cut(Some(Cut::Before(7)));
    let error = scene.join(&options("n1")).await.unwrap_err();
    assert_eq!(error.id(), "journal-unwritable");
    assert_eq!(scene.store.writes(), 7);
}

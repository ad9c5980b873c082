//! The coordinator cut off at every record in turn: what comes of resuming and undoing from the journal alone.

use std::time::Duration;

use muster_rollout::{Ending, Resume};

use super::super::scripted::says;
use super::super::store::FleetDir;
use super::super::{RolloutError, last_run, report};
use super::world::World;

/// How many records the run has written so far; the directory is not locked by anybody then.
async fn records(world: &World) -> usize {
    let Ok(dir) = FleetDir::open(&world.path()) else {
        return 0;
    };
    let journal = dir.journal();
    let count = match last_run(&journal).await {
        Ok(run) => journal.records(&run).await.unwrap().len(),
        Err(_) => 0,
    };
    dir.close().await.unwrap();
    count
}

/// Begins a run and drops it, as a crash would, once `calls` requests reached the API server.
async fn cut_off_after(world: &World, calls: usize) -> bool {
    let api = world.api.clone();
    let cut = async {
        while api.calls().len() < calls {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    };
    tokio::select! {
        outcome = world.join() => {
            outcome.unwrap();
            false
        }
        () = cut => true,
    }
}

async fn world_after(calls: usize) -> (World, bool) {
    let world = World::new(3, "");
    for name in ["w1", "w2", "w3"] {
        let api = world.api.clone();
        let slow = says(0, "")
            .after(Duration::from_millis(2))
            .then(move || api.node(name, true));
        world.host(name).on("join --config", slow);
    }
    let cut = cut_off_after(&world, calls).await;
    // What the dropped run still had on its way ends by itself, as on a machine whose caller is gone.
    tokio::time::sleep(Duration::from_millis(30)).await;
    (world, cut)
}

#[tokio::test]
async fn a_run_that_is_cut_off_anywhere_ends_joined_when_it_is_resumed_and_clean_when_it_is_undone()
{
    let mut cuts = 0;
    for calls in (1..60).step_by(2) {
        for how in [Resume::GoOn, Resume::Undo] {
            let (world, cut) = world_after(calls).await;
            if !cut {
                continue;
            }
            cuts += 1;
            let outcome = match world.take_up(how).await {
                Ok(outcome) => outcome,
                // It was cut off before anything was written.
                Err(RolloutError::NoRun) => {
                    assert_eq!(records(&world).await, 0);
                    continue;
                }
                Err(error) => panic!("after {calls} calls: {error:?}"),
            };
            let (ending, nodes) = match how {
                Resume::GoOn => (Ending::Joined, 3),
                Resume::Undo => (Ending::Undone, 0),
            };
            assert_eq!(
                (outcome.verdict.ending, world.nodes().len()),
                (ending, nodes),
                "{how:?} after {calls} calls: {:?}",
                outcome.verdict
            );
            assert_eq!(world.tokens(), [""; 0], "{how:?} after {calls} calls");
            assert_eq!(world.leases(), [""; 0], "{how:?} after {calls} calls");
        }
    }
    assert!(cuts > 20, "the run was cut off in the middle {cuts} times");
}

#[tokio::test]
async fn the_journal_says_how_far_a_run_came() {
    let (world, _) = world_after(10_000).await;
    let dir = FleetDir::open(&world.path()).unwrap();
    let journal = dir.journal();
    let run = last_run(&journal).await.unwrap();
    let told = report(&journal, &run).await.unwrap();
    assert_eq!(told.counts.joined, 3);
    assert_eq!(told.verdict.unwrap().ending, Ending::Joined);
}

//! The proof: thousands of seeds, and a crash at every record.

use super::*;
use crate::{Ending, Keep, Resume};

fn ends(scene: &Scene) -> Report {
    match play(scene) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn a_fleet_in_fair_weather_joins() {
    let report = ends(&Scene::fair(50, 1));
    assert_eq!(report.verdict.ending, Ending::Joined);
    assert_eq!(report.verdict.counts.joined, 50);
    assert_eq!((report.high_water, report.tokens, report.lives), (3, 1, 1));
}

#[test]
fn the_same_seed_plays_the_same() {
    let play = |seed| {
        let report = ends(&Scene::random(seed));
        (
            report.virtual_time,
            report.inputs,
            report.effects,
            report.records,
            report.verdict,
        )
    };
    for seed in 0..20 {
        assert_eq!(play(seed), play(seed));
    }
}

/// Four tests, so that they run side by side.
fn seeds(from: u64) {
    let play = |seed| play(&Scene::random(seed)).err();
    let violations: Vec<Violation> = (from..from + 500).filter_map(play).collect();
    let first: Vec<String> = violations
        .iter()
        .take(10)
        .map(Violation::to_string)
        .collect();
    assert!(
        violations.is_empty(),
        "{} of 500:\n{}",
        violations.len(),
        first.join("\n")
    );
}

#[test]
fn whatever_happens_nothing_happens_that_must_not_1() {
    seeds(0);
}

#[test]
fn whatever_happens_nothing_happens_that_must_not_2() {
    seeds(500);
}

#[test]
fn whatever_happens_nothing_happens_that_must_not_3() {
    seeds(1000);
}

#[test]
fn whatever_happens_nothing_happens_that_must_not_4() {
    seeds(1500);
}

/// A fleet of fifty, killed after every record in turn.
fn killed_at_every_record(then: Resume, ending: Ending) {
    let mut scene = Scene::fair(50, 3);
    scene.plan.limits[0].cap = crate::Cap::Fixed(20);
    let records = ends(&scene).records;
    for at in 1..=records {
        scene.crashes = vec![Crash {
            at_record: Some(at),
            at_effect: None,
            then,
        }];
        let report = ends(&scene);
        assert_eq!(report.lives, 2, "record {at}");
        // A run that had already ended well is not taken back by being looked at again.
        assert_eq!(report.verdict.ending, ending, "record {at}");
        assert_eq!(report.verdict.stuck, [], "record {at}");
    }
}

#[test]
fn a_run_killed_at_any_record_and_resumed_joins_all() {
    killed_at_every_record(Resume::GoOn, Ending::Joined);
}

#[test]
fn a_run_killed_at_any_record_and_undone_leaves_nothing() {
    killed_at_every_record(Resume::Undo, Ending::Undone);
}

#[test]
fn a_run_cut_off_between_any_two_effects_ends_joined_or_clean() {
    let mut scene = Scene::fair(10, 4);
    let effects = ends(&scene).effects;
    for at in 1..=effects {
        for (then, ending) in [
            (Resume::GoOn, Ending::Joined),
            (Resume::Undo, Ending::Undone),
        ] {
            scene.crashes = vec![Crash {
                at_record: None,
                at_effect: Some(at),
                then,
            }];
            let report = ends(&scene);
            // Before the first record there is nothing to take back: the run begins anew.
            let anew = report.verdict.ending == Ending::Joined && at < 5;
            assert!(
                report.verdict.ending == ending || anew,
                "effect {at}: {:?}",
                report.verdict
            );
            assert_eq!(report.lives, 2);
        }
    }
}

#[test]
fn a_large_fleet_in_bad_weather_keeps_what_joined() {
    let scene = Scene::large(2000, 5);
    assert_eq!(scene.plan.policy.keep, Keep::Successes);
    let report = ends(&scene);
    assert!(
        report.verdict.counts.joined > 1900,
        "{:?}",
        report.verdict.counts
    );
    assert!(
        report.high_water > 50,
        "the cap grows: {}",
        report.high_water
    );
}

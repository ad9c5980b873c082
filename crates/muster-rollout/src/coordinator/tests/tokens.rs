//! Minting, ageing, changing and revoking.

use std::time::Duration;

use muster_identity::TokenId;

use super::desk::{Desk, START, broken, plan, unreachable};
use crate::{
    Ending, EventKind, GivenToken, Record, Resume, Stage, StageFailure, Stuck, failure_ids,
};

fn given(age: u64) -> GivenToken {
    GivenToken {
        id: TokenId::parse("given0").unwrap(),
        created: START - jiff::SignedDuration::from_secs(i64::try_from(age).unwrap()),
        expires: None,
    }
}

#[test]
fn a_fresh_token_is_used_and_none_is_minted() {
    let mut desk = Desk::begin_with(plan(1, 1), Some(given(20 * 3600)));
    desk.bring_to(0, Stage::Join);
    assert_eq!(desk.starts[0].token.as_deref(), Some("given0"));
    let verdict = desk.finish();
    assert_eq!(verdict.ending, Ending::Joined);
    let tokens = desk
        .records
        .iter()
        .filter(|record| matches!(record, Record::Token { .. }));
    assert_eq!(
        tokens.count(),
        0,
        "what the run did not make it does not revoke"
    );
}

#[test]
fn a_stale_token_is_not_used_and_another_one_is_minted_before_any_host_is_touched() {
    let mut desk = Desk::begin_with(plan(2, 2), Some(given(20 * 3600 + 1)));
    assert_eq!((desk.mints.len(), desk.starts.len()), (1, 0));
    let minted = desk.mints[0].0.to_string();
    desk.mint();
    desk.bring_to(0, Stage::Join);
    assert_eq!(desk.starts.last().unwrap().token, Some(minted));
}

#[test]
fn the_id_of_a_token_is_on_record_before_it_is_minted() {
    let desk = Desk::begin(plan(1, 1));
    let expected = &desk.mints[0].0;
    let intended = |record: &Record| matches!(record, Record::Token { id, event: muster_saga::Event::Intent, .. } if id == expected);
    assert!(desk.records.iter().any(intended));
}

#[test]
fn a_run_without_a_token_fails_and_touches_no_host() {
    let mut desk = Desk::begin(plan(3, 3));
    desk.mint_fails(broken());
    let verdict = desk.finish();
    assert_eq!(verdict.ending, Ending::Undone);
    assert_eq!(verdict.reason.unwrap().id, "broken");
    assert_eq!((desk.started().len(), verdict.counts.untouched), (0, 3));
    // Nobody knows what came of the attempt: it is revoked all the same.
    assert!(desk.records.iter().any(|record| matches!(
        record,
        Record::Token {
            event: muster_saga::Event::Undone,
            ..
        }
    )));
}

#[test]
fn minting_is_tried_again_with_the_same_id() {
    let mut desk = Desk::begin(plan(1, 1));
    let first = desk.mints[0].clone();
    desk.mint_fails(unreachable());
    desk.wait(1);
    assert_eq!(desk.mints, [(first.0, 2)]);
}

#[test]
fn a_mint_that_hangs_is_given_up_and_its_late_answer_changes_nothing() {
    let mut desk = Desk::begin(plan(1, 1));
    let (expected, attempt) = desk.mints.remove(0);
    desk.wait(31);
    assert_eq!(desk.mints[0].1, 2);
    desk.handle(crate::Input::Minted {
        expected,
        attempt,
        result: Err(broken()),
    });
    desk.mint();
    assert_eq!(desk.finish().ending, Ending::Joined);
}

#[test]
fn a_run_longer_than_its_token_gets_another_and_late_hosts_use_it() {
    let mut slow = plan(2, 1);
    slow.timeouts.prepare.attempt = Duration::from_secs(9000);
    slow.timeouts.prepare.stage = Duration::from_secs(9000);
    slow.timeouts.host = Duration::from_secs(9000);
    let mut desk = Desk::begin(slow);
    desk.life = Duration::from_secs(3600);
    desk.mint();
    desk.bring_to(0, Stage::Join);
    let old = desk.starts[0].token.clone();
    desk.join(0);
    desk.bring_to(1, Stage::Prepare);
    desk.wait(3100);
    desk.answer(1, Ok(()));
    assert_eq!(desk.mints.len(), 1);
    assert!(
        desk.revokes.is_empty(),
        "the old one goes when the new one is there"
    );
    desk.mint();
    assert_eq!(desk.revokes[0].0.to_string(), old.clone().unwrap());
    let join = desk
        .starts
        .iter()
        .find(|asked| asked.stage == Stage::Join)
        .unwrap();
    assert!(join.token.is_some() && join.token != old);
}

#[test]
fn an_old_token_lives_until_its_last_user_is_done() {
    let mut slow = plan(2, 2);
    slow.timeouts.join.attempt = Duration::from_secs(1500);
    slow.timeouts.join.stage = Duration::from_secs(3000);
    slow.timeouts.prepare.attempt = Duration::from_secs(3000);
    slow.timeouts.prepare.stage = Duration::from_secs(3000);
    slow.timeouts.host = Duration::from_secs(9000);
    let mut desk = Desk::begin(slow);
    desk.life = Duration::from_secs(2400);
    desk.mint();
    desk.bring_to(1, Stage::Prepare);
    desk.bring_to(0, Stage::Join);
    desk.wait(1400);
    desk.bring_to(1, Stage::Prepare);
    desk.answer(1, Ok(()));
    desk.mint();
    assert!(desk.revokes.is_empty(), "w0 still uses it");
    desk.answer(0, Ok(()));
    assert_eq!(desk.revokes.len(), 1);
}

#[test]
fn a_token_that_the_cluster_refuses_is_replaced_once() {
    let mut desk = Desk::under_way(plan(1, 1));
    let refused = || StageFailure {
        token_refused: true,
        ..StageFailure::terminal("token-expired", "the token has expired")
    };
    desk.bring_to(0, Stage::Join);
    let old = desk.starts[0].token.clone();
    desk.answer(0, Err(refused()));
    desk.wait(1);
    desk.mint();
    assert_ne!(desk.starts[0].token, old);
    desk.answer(0, Err(refused()));
    let (stage, failure) = desk.failure_of(0).unwrap();
    assert_eq!((stage, failure.id.as_str()), (Stage::Join, "token-expired"));
}

#[test]
fn a_token_that_is_dead_when_it_arrives_ends_the_run_with_words_about_clocks() {
    let mut desk = Desk::begin(plan(1, 1));
    desk.life = Duration::ZERO;
    desk.mint();
    let verdict = desk.finish();
    assert_eq!(verdict.reason.unwrap().id, failure_ids::TOKEN_STILLBORN);
}

#[test]
fn every_token_of_a_run_is_revoked_whatever_the_outcome() {
    for fails in [false, true] {
        let mut desk = Desk::under_way(plan(2, 2));
        desk.finish_but(|host, stage| (fails && host == 0 && stage == Stage::Join).then(broken));
        assert_eq!(desk.rollout.status().tokens, []);
        assert!(
            desk.events
                .iter()
                .any(|event| matches!(event, EventKind::TokenRevoked { .. }))
        );
    }
}

#[test]
fn a_token_that_cannot_be_revoked_is_named_with_what_to_do() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.join(0);
    let id = desk.revokes[0].0.clone();
    desk.revoke(Err(broken()));
    let verdict = desk.finish();
    let Stuck::Token {
        id: named,
        instructions,
        ..
    } = &verdict.stuck[0]
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(*named, id);
    assert!(instructions[0].ends_with(&format!("delete secret bootstrap-token-{id}")));
    assert_eq!(verdict.ending, Ending::Joined);
}

#[test]
fn a_run_that_is_taken_up_again_revokes_the_old_token_and_mints_another() {
    let mut desk = Desk::under_way(plan(1, 1));
    desk.bring_to(0, Stage::Join);
    let old = desk.starts[0].token.clone().unwrap();
    let desk = desk.resumed(Resume::GoOn);
    assert_eq!(desk.revokes[0].0.to_string(), old);
    assert_ne!(desk.mints[0].0.to_string(), old);
}

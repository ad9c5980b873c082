//! Single decisions, each named after what it is for; `story` lets operators die anywhere.

use super::*;
use crate::join_token_requests::flavour::Flavour;
use crate::join_token_requests::names::FINALIZER;
use crate::join_token_requests::status::{AVAILABLE, CREATED, EXPIRED, READY};
use jiff::SignedDuration;
use muster_identity::JoinRole;
use std::collections::BTreeMap;

mod story;

pub(super) fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a time")
}

pub(super) fn wish() -> Wish {
    Wish {
        cluster: Place::new("default", "my-cluster"),
        cluster_label: "my-cluster.default".to_owned(),
        role: JoinRole::Worker,
        expiry: "0s".to_owned(),
        life: None,
        flavour: Flavour::K0s,
        renew: false,
    }
}

pub(super) fn request() -> Request {
    Request {
        place: Place::new("default", "my-token"),
        uid: "request-1".to_owned(),
        resource_version: "1".to_owned(),
        generation: 1,
        deleting: false,
        finalizers: vec![FINALIZER.to_owned()],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        wish: Ok(wish()),
        status: Status::default(),
    }
}

pub(super) fn ready(uid: &str) -> ClusterState {
    ClusterState::Ready(Ready {
        uid: uid.to_owned(),
        has_object: false,
        way: "way".to_owned(),
    })
}

fn decided(request: &Request, state: &ClusterState, secret: &SecretState) -> Step {
    decide(&View {
        request,
        cluster: &|_| state.clone(),
        secret,
        now: now(),
        fresh: "fresh0",
    })
}

fn written(step: Step) -> Status {
    let Step::Write(status) = step else {
        panic!("{step:?} writes no status");
    };
    *status
}

/// A request whose token is in its Secret.
fn served(wish: Wish) -> (Request, SecretState) {
    let mut request = request();
    request.wish = Ok(wish);
    request.status = written(decided(&request, &ready("c1"), &SecretState::Absent));
    request.status = delivered(&request, "fresh0", "digest", "way", now());
    let secret = SecretState::Ours {
        digest: "digest".to_owned(),
        is_whole: true,
    };
    (request, secret)
}

fn says(status: &Status, type_: &str) -> (String, String) {
    let condition = status.condition(type_).expect("the condition");
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

fn lasting(expiry: &str, life: SignedDuration) -> Wish {
    Wish {
        expiry: expiry.to_owned(),
        life: Some(life),
        ..wish()
    }
}

#[test]
fn the_id_is_on_record_before_the_token_is_made() {
    let mut request = request();
    let status = written(decided(&request, &ready("c1"), &SecretState::Absent));
    assert_eq!(status.token_id.as_deref(), Some("fresh0"));
    assert_eq!(status.cluster_uid.as_deref(), Some("c1"));
    assert_eq!(status.tokens[0].phase, Phase::Decided);
    request.status = status;
    let step = decided(&request, &ready("c1"), &SecretState::Absent);
    let Step::Deliver(issue) = step else {
        panic!("{step:?}");
    };
    assert_eq!(issue.id, "fresh0");
}

#[test]
fn a_token_of_a_request_that_is_not_held_is_not_begun() {
    let mut request = request();
    request.finalizers.clear();
    let step = decided(&request, &ready("c1"), &SecretState::Absent);
    assert_eq!(step, Step::Hold);
}

#[test]
fn a_served_request_rests_and_says_so_in_both_versions() {
    let (request, secret) = served(wish());
    assert_eq!(decided(&request, &ready("c1"), &secret), Step::Rest(None));
    let status = &request.status;
    assert_eq!(status.reconciliation_status, "Reconciliation successful");
    assert_eq!(
        status.deprecated.v1beta1.reconciliation_status,
        status.reconciliation_status
    );
    assert_eq!(says(status, CREATED), pair("True", "Created"));
    assert_eq!(says(status, READY), pair("True", "Created"));
    assert_eq!(status.cluster, "my-cluster");
}

#[test]
fn a_missing_cluster_is_said_and_no_token_is_recorded() {
    let status = written(decided(
        &request(),
        &ClusterState::Missing,
        &SecretState::Absent,
    ));
    assert_eq!(says(&status, READY), pair("False", "ClusterNotFound"));
    assert_eq!(says(&status, AVAILABLE), pair("False", "ClusterNotFound"));
    assert_eq!((status.token_id, status.tokens), (None, vec![]));
}

#[test]
fn a_deleted_or_edited_secret_is_restored() {
    let (request, _) = served(wish());
    for (digest, is_whole) in [("digest", false), ("other", true)] {
        let edited = SecretState::Ours {
            digest: digest.to_owned(),
            is_whole,
        };
        for secret in [SecretState::Absent, edited] {
            let step = decided(&request, &ready("c1"), &secret);
            assert!(matches!(step, Step::Deliver(_)), "{step:?}");
        }
    }
}

#[test]
fn a_moved_endpoint_or_another_ca_is_put_into_the_secret() {
    let (request, secret) = served(wish());
    let ClusterState::Ready(mut moved) = ready("c1") else {
        unreachable!()
    };
    moved.way = "another way".to_owned();
    let step = decided(&request, &ClusterState::Ready(moved), &secret);
    assert!(matches!(step, Step::Deliver(_)), "{step:?}");
}

#[test]
fn a_secret_of_somebody_else_is_refused_and_no_token_is_left_for_it() {
    let status = written(decided(&request(), &ready("c1"), &SecretState::Foreign));
    assert_eq!(says(&status, CREATED), pair("False", "SecretExists"));
    assert!(status.tokens.is_empty());
    let (request, _) = served(wish());
    let step = decided(&request, &ready("c1"), &SecretState::Foreign);
    assert!(matches!(step, Step::Remove(..)), "{step:?}");
}

#[test]
fn an_expired_token_gets_its_condition_and_leaves_the_cluster() {
    let (mut request, secret) = served(lasting("1h", SignedDuration::from_hours(1)));
    let end = request.status.expiration_time.expect("an end");
    assert_eq!(end, now() + SignedDuration::from_hours(1));
    assert_eq!(
        decided(&request, &ready("c1"), &secret),
        Step::Rest(Some(end))
    );
    let expired = |request: &Request| {
        decide(&View {
            request,
            cluster: &|_| ready("c1"),
            secret: &secret,
            now: end,
            fresh: "fresh1",
        })
    };
    let step = expired(&request);
    let Step::Remove(issue, status) = step else {
        panic!("{step:?}");
    };
    assert_eq!(issue.id, "fresh0");
    assert_eq!(says(&status, EXPIRED), pair("True", "Expired"));
    assert_eq!(says(&status, READY), pair("False", "Expired"));
    request.status = *status;
    assert_eq!(expired(&request), Step::Rest(None));

    request.wish = Ok(Wish {
        renew: true,
        ..lasting("1h", SignedDuration::from_hours(1))
    });
    let renewed = written(expired(&request));
    assert_eq!(renewed.token_id.as_deref(), Some("fresh1"));
    assert_eq!(
        renewed.expiration_time,
        Some(end + SignedDuration::from_hours(1))
    );
    assert_eq!(says(&renewed, EXPIRED).0, "False");
}

#[test]
fn an_edited_expiry_or_role_makes_a_new_token_and_then_ends_the_old_one() {
    let edits = [
        lasting("1h", SignedDuration::from_hours(1)),
        Wish {
            role: JoinRole::Controller,
            ..wish()
        },
        Wish {
            flavour: Flavour::Kubeadm,
            ..wish()
        },
    ];
    for edit in edits {
        let (mut request, secret) = served(wish());
        request.wish = Ok(edit);
        request.status = {
            let view = View {
                request: &request,
                cluster: &|_| ready("c1"),
                secret: &secret,
                now: now(),
                fresh: "fresh1",
            };
            written(decide(&view))
        };
        assert_eq!(request.status.tokens.len(), 2);
        let step = decided(&request, &ready("c1"), &secret);
        assert!(
            matches!(&step, Step::Deliver(issue) if issue.id == "fresh1"),
            "{step:?}"
        );
        request.status = delivered(&request, "fresh1", "digest", "way", now());
        let step = decided(&request, &ready("c1"), &secret);
        let Step::Remove(issue, status) = step else {
            panic!("{step:?}");
        };
        assert_eq!(issue.id, "fresh0");
        assert_eq!(status.tokens.len(), 1);
    }
}

#[test]
fn a_deleted_request_goes_only_after_its_token() {
    let (mut request, secret) = served(wish());
    request.deleting = true;
    let step = decided(&request, &ready("c1"), &secret);
    let Step::Remove(_, status) = step else {
        panic!("{step:?}");
    };
    request.status = *status;
    assert_eq!(decided(&request, &ready("c1"), &secret), Step::Release);
}

#[test]
fn a_deleted_request_of_a_silent_cluster_leaves_a_debt_and_goes() {
    for state in [
        ClusterState::Unreachable("no route".to_owned()),
        ClusterState::Unusable("damaged".to_owned()),
        ClusterState::NoKubeconfig,
        ClusterState::Missing,
    ] {
        let (mut request, secret) = served(wish());
        request.deleting = true;
        let step = decided(&request, &state, &secret);
        let Step::Owe(issue, status) = step else {
            panic!("{step:?}");
        };
        assert_eq!(issue.id, "fresh0");
        request.status = *status;
        assert_eq!(decided(&request, &state, &secret), Step::Release);
    }
}

#[test]
fn a_request_without_a_token_is_deleted_whatever_the_cluster_does() {
    let mut request = request();
    request.deleting = true;
    request.wish = Err(Unfit {
        reason: "ExpiryInvalid",
        message: "bad".to_owned(),
    });
    let step = decided(&request, &ClusterState::Missing, &SecretState::Absent);
    assert_eq!(step, Step::Release);
}

#[test]
fn a_cluster_made_anew_gets_a_fresh_token_and_the_old_one_is_forgotten() {
    let (mut request, secret) = served(wish());
    request.status = {
        let view = View {
            request: &request,
            cluster: &|_| ready("c2"),
            secret: &secret,
            now: now(),
            fresh: "fresh1",
        };
        written(decide(&view))
    };
    assert_eq!(request.status.cluster_uid.as_deref(), Some("c2"));
    request.status = delivered(&request, "fresh1", "digest", "way", now());
    let status = written(decided(&request, &ready("c2"), &secret));
    assert_eq!(status.tokens.len(), 1, "no call for the old token");
    assert_eq!(status.tokens[0].id, "fresh1");
}

#[test]
fn a_good_token_stays_ready_while_its_cluster_is_silent() {
    let (request, secret) = served(wish());
    let silent = ClusterState::Unreachable("no route".to_owned());
    let status = written(decided(&request, &silent, &secret));
    assert_eq!(says(&status, READY), pair("True", "Created"));
    assert_eq!(
        says(&status, AVAILABLE),
        pair("False", "ClusterUnreachable")
    );
}

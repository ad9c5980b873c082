//! What is decided about requests of every kind, with real requests and a real CA.

use super::*;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use muster_identity::pki::{PrivateKey, Subject, SubjectAltNames};
use serde_json::json;

const NODE: &str = "system:node:n1";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn entropy() -> impl FnMut(&mut [u8]) {
    let mut next = 1_u8;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_mul(31).wrapping_add(7);
        }
    }
}

fn request(
    signer: &str,
    requester: &str,
    subject: Subject,
    names: SubjectAltNames,
) -> CertificateSigningRequest {
    let key = PrivateKey::generate(&mut entropy()).expect("a key");
    let csr = Csr::build(&key, &subject, &names).expect("a request");
    let usage = if signer.ends_with("serving") {
        "server auth"
    } else {
        "client auth"
    };
    let mut object: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": { "name": "csr-1", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "signerName": signer, "username": requester, "request": "",
            "usages": ["digital signature", usage],
        },
    }))
    .expect("a signing request");
    object.spec.request = ByteString(csr.to_pem().into_bytes());
    object
}

fn node_subject() -> Subject {
    Subject::new(NODE, ["system:nodes"])
}

fn bootstrap_request() -> CertificateSigningRequest {
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    request(
        signer,
        "system:bootstrap:abcdef",
        node_subject(),
        SubjectAltNames::default(),
    )
}

fn serving_request(addresses: &[&str]) -> CertificateSigningRequest {
    let addresses = addresses
        .iter()
        .map(|address| address.parse().expect("an address"));
    let names = SubjectAltNames::new(["n1"], addresses);
    request("kubernetes.io/kubelet-serving", NODE, node_subject(), names)
}

fn with_condition(mut csr: CertificateSigningRequest, type_: &str) -> CertificateSigningRequest {
    let status = json!({ "conditions": [{
        "type": type_, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z" }] });
    csr.status = Some(serde_json::from_value(status).expect("a status"));
    csr
}

fn decision(csr: &CertificateSigningRequest, facts: &Facts) -> Decision {
    decide(csr, facts, SignedDuration::from_hours(24 * 365), now())
}

#[test]
fn a_node_that_comes_with_a_token_is_approved_after_a_review() {
    let decision = decision(&bootstrap_request(), &Facts::default());
    assert_eq!(decision, Decision::Approve(&[Approval::NodeClient]));
}

#[test]
fn a_node_that_renews_itself_is_asked_for_the_narrower_permission_first() {
    let mut csr = bootstrap_request();
    csr.spec.username = Some(NODE.to_owned());
    assert_eq!(
        decision(&csr, &Facts::default()),
        Decision::Approve(&[Approval::SelfNodeClient, Approval::NodeClient])
    );
}

#[test]
fn an_approved_request_is_signed_with_our_usages_and_life() {
    let Decision::Sign(order) = decision(
        &with_condition(bootstrap_request(), "Approved"),
        &Facts::default(),
    ) else {
        panic!("it should be signed")
    };
    assert_eq!(order.subject.organizations, ["system:nodes"]);
    assert!(order.sans.is_empty());
}

#[test]
fn denied_failed_and_foreign_requests_are_left_alone() {
    for condition in ["Denied", "Failed"] {
        assert_eq!(
            decision(
                &with_condition(bootstrap_request(), condition),
                &Facts::default()
            ),
            Decision::Nothing
        );
    }
    let mut foreign = with_condition(bootstrap_request(), "Approved");
    foreign.spec.signer_name = "example.com/mine".to_owned();
    assert_eq!(decision(&foreign, &Facts::default()), Decision::Nothing);
}

#[test]
fn an_approved_request_that_breaks_the_signers_rules_fails_with_the_reason() {
    let signer = "kubernetes.io/kube-apiserver-client";
    let masters = Subject::new("eve", ["system:masters"]);
    let csr = with_condition(
        request(signer, "eve", masters, SubjectAltNames::default()),
        "Approved",
    );
    assert!(matches!(
        decision(&csr, &Facts::default()),
        Decision::Fail { .. }
    ));
    let mut garbage = with_condition(bootstrap_request(), "Approved");
    garbage.spec.request = ByteString(b"no PEM".to_vec());
    assert!(matches!(
        decision(&garbage, &Facts::default()),
        Decision::Fail { .. }
    ));
}

#[test]
fn a_serving_request_is_approved_only_for_what_the_node_reports() {
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": "n1" },
        "status": { "addresses": [
            { "type": "InternalIP", "address": "10.0.0.7" }, { "type": "Hostname", "address": "n1" }] },
    }))
    .expect("a node");
    let known = Facts {
        approve_kubelet_serving: true,
        node: Some(node),
    };
    assert_eq!(
        decision(&serving_request(&["10.0.0.7"]), &known),
        Decision::Approve(&[Approval::KubeletServing])
    );
    let wait = Decision::WaitForNode("n1".to_owned());
    assert_eq!(decision(&serving_request(&["10.0.0.8"]), &known), wait);
    let unknown = Facts {
        approve_kubelet_serving: true,
        node: None,
    };
    assert_eq!(decision(&serving_request(&["10.0.0.7"]), &unknown), wait);
    assert_eq!(
        decision(&serving_request(&["10.0.0.7"]), &Facts::default()),
        Decision::Nothing
    );
    let mut other = serving_request(&["10.0.0.7"]);
    other.spec.username = Some("system:node:n2".to_owned());
    assert_eq!(decision(&other, &known), Decision::Nothing);
}

#[test]
fn requests_go_an_hour_after_their_decision_and_a_day_after_their_creation() {
    let year = SignedDuration::from_hours(24 * 365);
    let at = |hours| {
        now()
            .checked_add(SignedDuration::from_hours(hours))
            .expect("a time")
    };
    let pending = bootstrap_request();
    assert_ne!(
        decide(&pending, &Facts::default(), year, at(23)),
        Decision::Remove
    );
    assert_eq!(
        decide(&pending, &Facts::default(), year, at(24)),
        Decision::Remove
    );
    let denied = with_condition(bootstrap_request(), "Denied");
    assert_eq!(
        decide(&denied, &Facts::default(), year, at(1)),
        Decision::Remove
    );
}

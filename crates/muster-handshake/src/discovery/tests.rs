//! Both halves of discovery against each other, in memory, on a virtual clock.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use muster_identity::pin::pins_for;
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateAuthority, CertificateBundle, Endpoint,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::HandshakeError;
use crate::progress::Progress;
use crate::wire::{Answer, Response, Sender};

const NOW: &str = "2026-11-21T10:00:00Z";
const TOKEN: &str = "abcdef.0123456789abcdef";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn token(text: &str) -> BootstrapToken {
    BootstrapToken::parse(text).unwrap()
}

fn authority(seed: u8) -> CertificateAuthority {
    let mut state = seed;
    let mut entropy = move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(31).wrapping_add(7);
            *byte = state;
        }
    };
    CertificateAuthority::new_self_signed(
        "kubernetes",
        at(NOW),
        SignedDuration::from_hours(24 * 3650),
        &mut entropy,
    )
    .unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint::parse("cp.example:6443").unwrap()
}

type Mischief = Box<dyn FnMut(usize, &mut Value)>;

/// The cluster half with whatever may go wrong on the way.
struct Cluster {
    info: Value,
    date: Option<Timestamp>,
    chain: Result<(), ChainFault>,
    /// The names in the server's certificate, when they are to be looked at.
    names: Option<Vec<String>>,
    /// What happens to the object before the n-th read (from 0).
    before_read: Mischief,
    reads: usize,
    /// What the server shows of its chain.
    shown: CertificateBundle,
    /// Public CAs vouch for the server.
    publicly_trusted: bool,
    /// What the holder of the credential is shown instead.
    to_holder: Option<Value>,
}

impl Cluster {
    fn of(bundle: &CertificateBundle, tokens: &[BootstrapTokenSecret]) -> Self {
        let mut info = ClusterInfo::new(&endpoint(), bundle).to_object();
        info["metadata"]["creationTimestamp"] = json!("2026-11-01T00:00:00Z");
        SignerPlan::compute(&info, tokens, &[], at(NOW)).apply(&mut info);
        Self {
            info,
            date: Some(at(NOW)),
            chain: Ok(()),
            names: None,
            before_read: Box::new(|_, _| {}),
            reads: 0,
            shown: CertificateBundle::from(Vec::new()),
            publicly_trusted: false,
            to_holder: None,
        }
    }

    /// cluster-info is not shown; the server answers with this status instead.
    fn closed(mut self, code: u16) -> Self {
        self.info = json!({"kind": "Status", "code": code, "message": "no"});
        self
    }

    fn answer(&mut self, request: &crate::wire::Request) -> Answer {
        assert_eq!(
            request.sender,
            Sender::Nobody,
            "nothing secret before trust"
        );
        assert_eq!(request.path, CLUSTER_INFO_PATH);
        (self.before_read)(self.reads, &mut self.info);
        self.reads += 1;
        let mut body = self.info.clone();
        if body["kind"].is_null() {
            return Ok(Response {
                status: StatusCode::from_u16(body["code"].as_u64().unwrap() as u16).unwrap(),
                date: self.date,
                body: body["body"].as_str().unwrap().into(),
            });
        }
        let status = body["code"].as_u64().unwrap_or(200) as u16;
        if body["kind"] == "ConfigMap" {
            body["apiVersion"] = json!("v1");
        }
        Ok(Response {
            status: StatusCode::from_u16(status).unwrap(),
            date: self.date,
            body: body.to_string().into_bytes(),
        })
    }
}

struct Outcome {
    result: Result<Box<Trust>, HandshakeError>,
    told: Vec<Progress>,
    verified_against: Option<CertificateBundle>,
    took: SignedDuration,
    connected_to: Vec<Endpoint>,
    verified_host: Option<muster_identity::Host>,
}

fn request(trusting: Trusting) -> DiscoveryRequest {
    DiscoveryRequest::new(endpoint(), token(TOKEN), trusting)
}

fn drive(request: DiscoveryRequest, cluster: &mut Cluster) -> Outcome {
    drive_with(request, cluster, |_| DiscoveryEvent::Connected)
}

fn drive_with(
    request: DiscoveryRequest,
    cluster: &mut Cluster,
    mut connect: impl FnMut(usize) -> DiscoveryEvent,
) -> Outcome {
    let start = at(NOW);
    let mut now = start;
    let (mut machine, mut effects) = Discovery::start(request, now);
    let (mut told, mut verified_against, mut connects) = (Vec::new(), None, 0);
    let mut connected_to = Vec::new();
    let mut verified_host = None;
    loop {
        let mut events = Vec::new();
        for effect in std::mem::take(&mut effects) {
            match effect {
                DiscoveryEffect::Tell(progress) => told.push(progress),
                DiscoveryEffect::Connect(to) => {
                    connected_to.push(to);
                    events.push(connect(connects));
                    connects += 1;
                }
                DiscoveryEffect::Send(request) => {
                    events.push(DiscoveryEvent::Answered(cluster.answer(&request)));
                }
                DiscoveryEffect::ReadChain => {
                    events.push(DiscoveryEvent::ChainRead(cluster.shown.clone()));
                }
                DiscoveryEffect::SendTrusted(request) => {
                    assert_eq!(request.sender, Sender::Holder);
                    let body = cluster
                        .to_holder
                        .clone()
                        .unwrap_or_else(|| cluster.info.clone());
                    let status = body["code"].as_u64().unwrap_or(200) as u16;
                    events.push(DiscoveryEvent::Answered(Ok(Response {
                        status: StatusCode::from_u16(status).unwrap(),
                        date: cluster.date,
                        body: body.to_string().into_bytes(),
                    })));
                }
                DiscoveryEffect::VerifyChain {
                    ca: Anchors::Public,
                    ..
                } => events.push(if cluster.publicly_trusted {
                    DiscoveryEvent::ChainVerified
                } else {
                    DiscoveryEvent::ChainRefused(ChainFault::UnknownIssuer)
                }),
                DiscoveryEffect::VerifyChain {
                    host,
                    ca: Anchors::Given(ca),
                } => {
                    verified_against = Some(ca);
                    verified_host = Some(host.clone());
                    let chain = match &cluster.names {
                        None => cluster.chain.clone(),
                        Some(names) if names.contains(&host.to_string()) => Ok(()),
                        Some(names) => Err(ChainFault::NameMismatch {
                            names: names.clone(),
                        }),
                    };
                    events.push(match chain {
                        Ok(()) => DiscoveryEvent::ChainVerified,
                        Err(fault) => DiscoveryEvent::ChainRefused(fault),
                    });
                }
                DiscoveryEffect::Finished(result) => {
                    let took = now.duration_since(start);
                    return Outcome {
                        result,
                        told,
                        verified_against,
                        took,
                        connected_to,
                        verified_host,
                    };
                }
            }
        }
        if events.is_empty() {
            now = machine
                .deadline()
                .expect("a machine that asks for nothing waits for a time");
            events.push(DiscoveryEvent::Tick);
        }
        for event in events {
            effects.extend(machine.on(event, now));
        }
    }
}

fn joined(cluster: &mut Cluster, pins: Vec<CaPin>) -> Outcome {
    drive(request(Trusting::Pins(pins)), cluster)
}

fn good() -> (Cluster, CaPin) {
    let ca = authority(1);
    let secret = BootstrapTokenSecret::new(token(TOKEN));
    let bundle = CertificateBundle::from(ca.certificate().clone());
    (Cluster::of(&bundle, &[secret]), CaPin::of(ca.certificate()))
}

#[test]
fn the_right_token_and_pin_lead_to_trust() {
    let (mut cluster, pin) = good();
    let outcome = joined(&mut cluster, vec![pin]);
    let trust = outcome.result.unwrap();
    assert_eq!(trust.endpoint, endpoint());
    assert_eq!(trust.cluster_name, "kubernetes");
    assert_eq!(trust.ca.len(), 1);
    assert!(matches!(
        outcome.told.last(),
        Some(Progress::Trusted {
            dropped_certificates: 0,
            ..
        })
    ));
}

#[test]
fn a_pin_vouches_for_no_neighbour_in_the_bundle() {
    let (pinned, neighbour) = (authority(1), authority(2));
    let bundle = CertificateBundle::from(vec![
        neighbour.certificate().clone(),
        pinned.certificate().clone(),
    ]);
    let secret = BootstrapTokenSecret::new(token(TOKEN));
    let mut cluster = Cluster::of(&bundle, &[secret]);
    let outcome = joined(&mut cluster, vec![CaPin::of(pinned.certificate())]);
    let kept = CertificateBundle::from(pinned.certificate().clone());
    assert_eq!(outcome.result.unwrap().ca, kept);
    assert_eq!(outcome.verified_against, Some(kept));
    assert!(matches!(
        outcome.told.last(),
        Some(Progress::Trusted {
            dropped_certificates: 1,
            ..
        })
    ));
}

#[test]
fn a_wrong_pin_is_told_with_the_pins_seen() {
    let (mut cluster, seen) = good();
    let expected = CaPin::of(authority(9).certificate());
    let outcome = joined(&mut cluster, vec![expected]);
    assert_eq!(
        outcome.result.unwrap_err(),
        HandshakeError::PinMismatch {
            expected: vec![expected],
            seen: vec![seen]
        }
    );
    assert_eq!(outcome.verified_against, None);
}

#[test]
fn without_pins_every_certificate_that_the_token_signed_is_trusted() {
    let (mut cluster, _) = good();
    let outcome = drive(request(Trusting::WhoeverKnowsTheToken), &mut cluster);
    assert_eq!(outcome.result.unwrap().ca.len(), 1);
}

#[test]
fn an_unknown_token_is_told_within_half_a_second_when_others_are_signed() {
    let (_, pin) = good();
    let other = BootstrapTokenSecret::new(token("zzzzzz.0123456789abcdef"));
    let bundle = CertificateBundle::from(authority(1).certificate().clone());
    let mut cluster = Cluster::of(&bundle, &[other]);
    let outcome = joined(&mut cluster, vec![pin]);
    let HandshakeError::TokenUnknown {
        id,
        others: 1,
        may_have_expired: false,
    } = outcome.result.unwrap_err()
    else {
        panic!("wrong error")
    };
    assert_eq!(id, "abcdef");
    assert!(
        outcome.took < SignedDuration::from_millis(500),
        "{:?}",
        outcome.took
    );
}

#[test]
fn a_foreign_cluster_that_tells_no_expiries_leaves_the_question_open() {
    let (mut cluster, pin) = good();
    cluster.info["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    cluster.info["data"]
        .as_object_mut()
        .unwrap()
        .remove("jws-kubeconfig-abcdef");
    let outcome = joined(&mut cluster, vec![pin]);
    let error = outcome.result.unwrap_err();
    assert_eq!(error.id(), "token-unknown");
    assert!(error.to_string().contains("or has expired"), "{error}");
    assert!(outcome.took <= SignedDuration::from_millis(800));
    assert!(
        outcome.took > SignedDuration::from_millis(400),
        "nobody is signed: the signer gets time"
    );
}

#[test]
fn an_expired_token_is_told_at_once_with_its_time() {
    let bundle = CertificateBundle::from(authority(1).certificate().clone());
    let mut secret = BootstrapTokenSecret::new(token(TOKEN));
    let end = at("2026-11-21T09:00:00Z");
    secret.expiration = Some(end).into();
    let mut cluster = Cluster::of(&bundle, &[secret]);
    let outcome = joined(&mut cluster, vec![CaPin::of(authority(1).certificate())]);
    assert_eq!(
        outcome.result.unwrap_err(),
        HandshakeError::TokenExpired {
            id: "abcdef".into(),
            at: end
        }
    );
    assert_eq!(outcome.took, SignedDuration::ZERO);
}

#[test]
fn a_token_that_is_signed_a_moment_later_is_waited_for() {
    let (mut cluster, pin) = good();
    let signature = cluster.info["data"]["jws-kubeconfig-abcdef"].take();
    cluster.info["data"]
        .as_object_mut()
        .unwrap()
        .remove("jws-kubeconfig-abcdef");
    cluster.before_read = Box::new(move |n, info| {
        if n == 3 {
            info["data"]["jws-kubeconfig-abcdef"] = signature.clone();
        }
    });
    let outcome = joined(&mut cluster, vec![pin]);
    outcome.result.unwrap();
    let awaited = |p: &&Progress| matches!(p, Progress::SignatureAwaited { .. });
    assert_eq!(
        outcome.told.iter().filter(awaited).count(),
        1,
        "told once, not at every read"
    );
}

#[test]
fn a_wrong_secret_half_is_a_wrong_signature() {
    let (mut cluster, pin) = good();
    let mut wrong = request(Trusting::Pins(vec![pin]));
    wrong.vouching = Vouching::Token {
        token: token("abcdef.fedcba9876543210"),
        trusting: Trusting::Pins(vec![pin]),
    };
    let outcome = drive(wrong, &mut cluster);
    assert_eq!(outcome.result.unwrap_err().id(), "signature-invalid");
}

#[test]
fn a_tampered_kubeconfig_is_refused_even_with_the_right_pin() {
    let (mut cluster, pin) = good();
    let text = cluster.info["data"]["kubeconfig"]
        .as_str()
        .unwrap()
        .replace("cp.example", "evil");
    cluster.info["data"]["kubeconfig"] = json!(text);
    let outcome = joined(&mut cluster, vec![pin]);
    assert_eq!(outcome.result.unwrap_err().id(), "signature-invalid");
}

#[test]
fn a_path_in_a_signed_kubeconfig_is_never_followed() {
    let text = "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    server: https://cp.example:6443\n    certificate-authority: /etc/passwd\n";
    let (mut cluster, pin) = good();
    cluster.info["data"]["kubeconfig"] = json!(text);
    let secret = BootstrapTokenSecret::new(token(TOKEN));
    SignerPlan::compute(&cluster.info.clone(), &[secret], &[], at(NOW)).apply(&mut cluster.info);
    let error = joined(&mut cluster, vec![pin]).result.unwrap_err();
    assert_eq!(error.id(), "not-kubernetes", "{error}");
}

fn answering(status: u16, body: &str) -> HandshakeError {
    let (mut cluster, pin) = good();
    cluster.info = json!({"code": status, "body": body});
    joined(&mut cluster, vec![pin]).result.unwrap_err()
}

#[test]
fn what_answers_is_told_apart() {
    let status = |reason: &str| format!(r#"{{"kind":"Status","reason":"{reason}","message":"m"}}"#);
    let cases = [
        (200, "<html>hello</html>".to_owned(), "not-kubernetes"),
        (404, "404 page not found".to_owned(), "not-kubernetes"),
        (401, "login first".to_owned(), "not-kubernetes"),
        (302, String::new(), "not-kubernetes"),
        (200, r#"{"hello":"world"}"#.to_owned(), "not-kubernetes"),
        (200, "[]".to_owned(), "not-kubernetes"),
        (
            200,
            r#"{"kind":"ConfigMap","data":{}}"#.to_owned(),
            "cluster-info-missing",
        ),
        (404, status("NotFound"), "cluster-info-missing"),
        (401, status("Unauthorized"), "discovery-closed"),
        (403, status("Forbidden"), "discovery-closed"),
        (500, status("InternalError"), "server-error"),
    ];
    for (code, body, id) in cases {
        assert_eq!(answering(code, &body).id(), id, "{code} {body}");
    }
}

#[test]
fn the_recorded_chain_decides_at_last() {
    let refused = |fault: ChainFault, date: Option<&str>| {
        let (mut cluster, pin) = good();
        cluster.chain = Err(fault);
        cluster.date = date.map(at);
        joined(&mut cluster, vec![pin]).result.unwrap_err()
    };
    assert_eq!(
        refused(ChainFault::UnknownIssuer, Some(NOW)).id(),
        "tls-untrusted"
    );
    let names = ChainFault::NameMismatch {
        names: vec!["10.0.0.1".into()],
    };
    assert_eq!(refused(names, Some(NOW)).id(), "tls-name-mismatch");
    // The local clock is NOW in all of these; the server's is the Date.
    let validity = |from: &str, to: &str| ChainFault::OutOfValidity {
        not_before: at(from),
        not_after: at(to),
    };
    let future = || validity("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
    let past = || validity("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    assert_eq!(
        refused(future(), Some("2027-06-01T00:00:00Z")).id(),
        "clock-skew"
    );
    assert_eq!(refused(future(), None).id(), "clock-skew");
    assert_eq!(
        refused(past(), Some("2024-06-01T00:00:00Z")).id(),
        "clock-skew"
    );
    assert_eq!(refused(past(), Some(NOW)).id(), "tls-untrusted");
    assert_eq!(refused(past(), None).id(), "tls-untrusted");
}

#[test]
fn the_advertised_endpoint_is_used_on_request_and_only_for_a_wrong_name() {
    let typed = Endpoint::parse("nat.example:443").unwrap();
    let with = |choice, names: &[&str]| {
        let (mut cluster, pin) = good();
        cluster.names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        let mut request = request(Trusting::Pins(vec![pin]));
        request.endpoint = typed.clone();
        request.choice = choice;
        drive(request, &mut cluster)
    };
    let error = with(EndpointChoice::Typed, &["cp.example"])
        .result
        .unwrap_err();
    assert!(
        error.remedy().contains("cp.example:6443"),
        "{}",
        error.remedy()
    );

    let both = EndpointChoice::TypedOrAdvertised;
    let outcome = with(both, &["cp.example"]);
    assert_eq!(outcome.result.unwrap().endpoint, endpoint());
    assert_eq!(outcome.connected_to, [typed.clone(), endpoint()]);
    let outcome = with(both, &["nat.example", "cp.example"]);
    assert_eq!(outcome.result.unwrap().endpoint, typed);
    let outcome = with(both, &["elsewhere"]);
    assert_eq!(outcome.result.unwrap_err().id(), "tls-name-mismatch");
}

#[test]
fn a_wrong_name_is_told_when_the_advertised_endpoint_cannot_be_reached() {
    let typed = Endpoint::parse("nat.example:443").unwrap();
    for (choice, id) in [
        (EndpointChoice::TypedOrAdvertised, "tls-name-mismatch"),
        (EndpointChoice::Advertised, "connection-refused"),
    ] {
        let (mut cluster, pin) = good();
        cluster.names = Some(vec!["cp.example".to_owned()]);
        let mut request = request(Trusting::Pins(vec![pin]));
        request.endpoint = typed.clone();
        request.choice = choice;
        let outcome = drive_with(request, &mut cluster, |n| match n {
            0 => DiscoveryEvent::Connected,
            _ => DiscoveryEvent::ConnectFailed(HandshakeError::ConnectionRefused {
                endpoint: "cp.example:6443".into(),
            }),
        });
        let error = outcome.result.unwrap_err();
        assert_eq!(error.id(), id);
        if let HandshakeError::TlsNameMismatch {
            endpoint,
            advertised,
            ..
        } = &error
        {
            assert_eq!(endpoint, "nat.example:443");
            assert_eq!(*advertised, None, "it is of no use");
        }
    }
}

#[test]
fn a_network_failure_is_told_at_once_or_retried_within_the_patience() {
    let refused = || {
        DiscoveryEvent::ConnectFailed(HandshakeError::ConnectionRefused {
            endpoint: "cp.example:6443".into(),
        })
    };
    let (mut cluster, pin) = good();
    let outcome = drive_with(request(Trusting::Pins(vec![pin])), &mut cluster, |_| {
        refused()
    });
    assert_eq!(outcome.result.unwrap_err().id(), "connection-refused");
    assert_eq!(outcome.took, SignedDuration::ZERO);

    let mut patient = request(Trusting::Pins(vec![pin]));
    patient.patience = SignedDuration::from_secs(5);
    let outcome = drive_with(patient.clone(), &mut cluster, |n| {
        if n < 4 {
            refused()
        } else {
            DiscoveryEvent::Connected
        }
    });
    outcome.result.unwrap();
    let outcome = drive_with(patient, &mut cluster, |_| refused());
    assert_eq!(outcome.result.unwrap_err().id(), "connection-refused");
    assert!(outcome.took <= SignedDuration::from_secs(5));
}

/// As kubeadm and kube-controller-manager 1.36.2 made it, for the token of these tests.
const KUBEADM_CLUSTER_INFO: &str = include_str!("../../testdata/kubeadm-cluster-info.json");

#[test]
fn a_cluster_info_made_by_kubeadm_is_trusted() {
    let (mut cluster, _) = good();
    cluster.info = serde_json::from_str(KUBEADM_CLUSTER_INFO).unwrap();
    let outcome = drive(request(Trusting::WhoeverKnowsTheToken), &mut cluster);
    let trust = outcome.result.unwrap();
    assert_eq!(trust.advertised, Endpoint::parse("10.78.0.1:6443").unwrap());
    assert_eq!(trust.cluster_name, "kubernetes");
    let pin = CaPin::of(&trust.ca.certificates()[0]);
    joined(&mut cluster, vec![pin]).result.unwrap();
}

#[test]
fn our_signer_signs_as_kubernetes_does() {
    let mut info: Value = serde_json::from_str(KUBEADM_CLUSTER_INFO).unwrap();
    let theirs = info["data"]["jws-kubeconfig-abcdef"].take();
    let secret = BootstrapTokenSecret::new(token(TOKEN));
    let plan = SignerPlan::compute(&info, &[secret], &[], at(NOW));
    assert_eq!(json!(plan.set["jws-kubeconfig-abcdef"]), theirs);
    assert_eq!(
        plan.remove.len(),
        4,
        "the other tokens are not in this cluster"
    );
}

#[test]
fn nothing_that_is_told_or_debugged_shows_the_secret() {
    let (mut cluster, pin) = good();
    let request = request(Trusting::Pins(vec![pin]));
    let shown = format!("{request:?}");
    let outcome = drive(request, &mut cluster);
    let text = format!("{shown}{:?}{:?}", outcome.result, outcome.told);
    assert!(!text.contains("0123456789abcdef"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_answer_ends_in_an_error_and_never_in_trust(
        status in 100_u16..600,
        body in prop_oneof![
            ".{0,80}",
            Just(r#"{"kind":"ConfigMap","data":{"kubeconfig":"x","jws-kubeconfig-abcdef":"a..b"}}"#.to_owned()),
            Just(r#"{"kind":"ConfigMap","data":5,"metadata":7}"#.to_owned()),
            Just(r#"{"kind":"Status","code":"x"}"#.to_owned()),
        ],
    ) {
        let (mut cluster, pin) = good();
        cluster.info = json!({"code": status, "body": body});
        prop_assert!(joined(&mut cluster, vec![pin]).result.is_err());
    }
}

fn introduced(ca: Option<CertificateBundle>) -> DiscoveryRequest {
    DiscoveryRequest::introduced(endpoint(), ca, None)
}

/// Signatures differ each time, keys do not.
fn pins() -> Vec<CaPin> {
    pins_for(&bundle(1))
}

fn bundle(seed: u8) -> CertificateBundle {
    CertificateBundle::from(authority(seed).certificate().clone())
}

#[test]
fn a_closed_and_a_locked_door_are_told_apart_at_once() {
    for (code, words) in [
        (403, "public discovery is closed"),
        (401, "anonymous authentication is off"),
    ] {
        let (cluster, pin) = good();
        let outcome = joined(&mut cluster.closed(code), vec![pin]);
        let error = outcome.result.unwrap_err();
        assert_eq!(error.id(), "discovery-closed");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.remedy().contains("--certificate-authority"));
        assert_eq!(outcome.took, SignedDuration::ZERO);
    }
}

#[test]
fn a_pinned_ca_in_the_servers_own_chain_needs_no_cluster_info() {
    for code in [401, 403, 404] {
        let (cluster, pin) = good();
        let mut cluster = cluster.closed(code);
        cluster.shown = bundle(1);
        let outcome = joined(&mut cluster, vec![pin]);
        assert_eq!(pins_for(&outcome.result.unwrap().ca), pins());
        assert_eq!(
            outcome.verified_against.as_ref().map(pins_for),
            Some(pins())
        );
        assert!(
            outcome
                .told
                .iter()
                .any(|told| matches!(told, Progress::WithoutClusterInfo { .. }))
        );
        // The pins of others make nothing of it.
        let outcome = joined(&mut cluster, vec![CaPin::of(authority(9).certificate())]);
        assert!(outcome.result.is_err());
        // And without a pin nobody vouches for what a stranger shows.
        let unpinned = drive(request(Trusting::WhoeverKnowsTheToken), &mut cluster);
        assert!(unpinned.result.is_err());
    }
}

#[test]
fn a_ca_that_is_known_beforehand_needs_neither_token_nor_cluster_info() {
    for code in [200, 401, 403, 404] {
        let (mut cluster, _) = good();
        if code != 200 {
            cluster = cluster.closed(code);
        }
        let outcome = drive(introduced(Some(bundle(1))), &mut cluster);
        let trust = outcome.result.unwrap();
        assert_eq!(pins_for(&trust.ca), pins(), "the file's own CA stays");
        assert_eq!(
            outcome.verified_against.as_ref().map(pins_for),
            Some(pins())
        );
        assert_eq!(outcome.took, SignedDuration::ZERO);
    }
}

#[test]
fn an_introduced_server_is_verified_for_the_name_in_the_file() {
    let (mut cluster, _) = good();
    let name = muster_identity::Host::parse("kubernetes.default").unwrap();
    let request = DiscoveryRequest::introduced(endpoint(), Some(bundle(1)), Some(name.clone()));
    let outcome = drive(request, &mut cluster);
    assert_eq!(outcome.verified_host, Some(name.clone()));
    assert_eq!(outcome.result.unwrap().server_name, Some(name));
}

#[test]
fn a_wrong_clock_is_named_also_where_the_ca_is_known() {
    let (mut cluster, _) = good();
    cluster.chain = Err(ChainFault::OutOfValidity {
        not_before: at("2027-01-01T00:00:00Z"),
        not_after: at("2028-01-01T00:00:00Z"),
    });
    cluster.date = Some(at("2027-06-01T00:00:00Z"));
    let outcome = drive(introduced(Some(bundle(1))), &mut cluster);
    assert_eq!(outcome.result.unwrap_err().id(), "clock-skew");
}

#[test]
fn a_file_without_a_ca_takes_the_clusters_own_from_a_publicly_trusted_server_only() {
    let (mut cluster, _) = good();
    let refused = drive(introduced(None), &mut cluster).result.unwrap_err();
    assert_eq!(refused.id(), "tls-untrusted");
    cluster.publicly_trusted = true;
    let outcome = drive(introduced(None), &mut cluster);
    assert_eq!(pins_for(&outcome.result.unwrap().ca), pins());
    // Shown to the holder of the credential alone.
    let shown = cluster.info.clone();
    let mut cluster = cluster.closed(403);
    cluster.to_holder = Some(shown);
    let outcome = drive(introduced(None), &mut cluster);
    assert_eq!(
        outcome.verified_against.as_ref().map(pins_for),
        Some(pins())
    );
    assert_eq!(pins_for(&outcome.result.unwrap().ca), pins());
    cluster.to_holder = None;
    let error = drive(introduced(None), &mut cluster).result.unwrap_err();
    assert_eq!(error.id(), "discovery-closed");
}

#[test]
fn the_advertised_endpoint_is_used_when_it_is_preferred() {
    let advertised = Endpoint::parse("[fd00::9]:6443").unwrap();
    let secret = BootstrapTokenSecret::new(token(TOKEN));
    let (mut cluster, pin) = good();
    cluster.info = ClusterInfo::new(&advertised, &bundle(1)).to_object();
    SignerPlan::compute(&cluster.info.clone(), &[secret], &[], at(NOW)).apply(&mut cluster.info);
    let mut request = request(Trusting::Pins(vec![pin]));
    let typed = drive(request.clone(), &mut cluster);
    assert_eq!(typed.result.unwrap().endpoint, endpoint());
    request.choice = EndpointChoice::Advertised;
    let outcome = drive(request, &mut cluster);
    assert_eq!(outcome.result.unwrap().endpoint, advertised);
    assert_eq!(outcome.connected_to, [endpoint(), advertised.clone()]);
    assert_eq!(outcome.verified_host.as_ref(), Some(advertised.host()));
}

#[test]
fn a_join_without_a_pin_is_named_unsafe() {
    let (mut cluster, pin) = good();
    let says = |outcome: &Outcome| {
        let mut told = outcome.told.iter();
        told.any(|told| matches!(told, Progress::Unsafe { .. }))
    };
    assert!(says(&drive(
        request(Trusting::WhoeverKnowsTheToken),
        &mut cluster
    )));
    assert!(!says(&joined(&mut cluster, vec![pin])));
}

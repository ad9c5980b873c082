//! Both halves of TLS bootstrap against each other, in memory, on a virtual clock.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::MAX_CERTIFICATE_LIFE;
use muster_identity::{CertificateAuthority, Endpoint, NodeName, PrivateKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::wire::{Request, Response, Sender};

const NOW: &str = "2026-11-21T10:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn entropy(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 33) as u8;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    /// Approve and sign as soon as the request is watched.
    Sign,
    Deny,
    Fail,
    Delete,
    /// Approve, and sign only after so many ticks of the joiner.
    Approve,
    Nothing,
    /// Sign for another key.
    SignForAnother,
}

/// The API server with approver and signer.
struct Cluster {
    ca: CertificateAuthority,
    objects: BTreeMap<String, Value>,
    version: u64,
    policy: Policy,
    /// How often a watch breaks before it delivers.
    breaks: usize,
    /// Times a person approves after so many ticks.
    approve_at_tick: Option<usize>,
    ticks: usize,
    requests: Vec<(Method, String)>,
    clock: Timestamp,
    forbidden: Vec<&'static str>,
    /// How many creations meet an ailing server.
    ailing: usize,
}

impl Cluster {
    fn new(policy: Policy) -> Self {
        let life = SignedDuration::from_hours(24 * 3650);
        let ca =
            CertificateAuthority::new_self_signed("kubernetes", at(NOW), life, &mut entropy(1));
        Self {
            ca: ca.unwrap(),
            objects: BTreeMap::new(),
            version: 7,
            policy,
            breaks: 0,
            approve_at_tick: None,
            ticks: 0,
            requests: Vec::new(),
            clock: at(NOW),
            forbidden: Vec::new(),
            ailing: 0,
        }
    }

    fn put(&mut self, path: &str, object: Value) {
        self.objects.insert(path.to_owned(), object);
    }

    fn answer(&mut self, request: &Request) -> Response {
        assert_eq!(request.sender, Sender::Holder);
        self.requests
            .push((request.method.clone(), request.path.clone()));
        if self
            .forbidden
            .iter()
            .any(|part| request.path.contains(part))
        {
            return status(403, "Forbidden");
        }
        if request.method == Method::POST && self.ailing > 0 {
            self.ailing -= 1;
            return status(503, "ServiceUnavailable");
        }
        if request.method == Method::POST {
            return self.create(request.body.clone().unwrap());
        }
        match self.objects.get(&request.path) {
            Some(object) => respond(200, object),
            None => status(404, "NotFound"),
        }
    }

    fn create(&mut self, mut object: Value) -> Response {
        let name = match object["metadata"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!(
                "{}x7k2p",
                object["metadata"]["generateName"].as_str().unwrap()
            ),
        };
        let path = format!("{CSR_PATH}/{name}");
        if self.objects.contains_key(&path) {
            return status(409, "AlreadyExists");
        }
        self.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["spec"]["username"] = json!("system:bootstrap:abcdef");
        self.objects.insert(path, object.clone());
        respond(201, &object)
    }

    /// What the controllers do to the request of this watch; the events that it sees.
    fn act(&mut self, name: &str) -> Vec<Event> {
        let path = format!("{CSR_PATH}/{name}");
        let mut object = self.objects[&path].clone();
        let condition = match self.policy {
            Policy::Nothing => return Vec::new(),
            Policy::Delete => {
                self.objects.remove(&path);
                return vec![Event::Watched(json!({"type": "DELETED", "object": object}))];
            }
            Policy::Deny => CsrCondition::denied("Policy", "not on my watch"),
            Policy::Fail => CsrCondition::failed("SignerValidationFailure", "no such usage"),
            Policy::Sign | Policy::Approve | Policy::SignForAnother => {
                CsrCondition::auto_approved()
            }
        };
        let mut events = Vec::new();
        condition.add_to(&mut object, self.clock);
        events.push(Event::Watched(
            json!({"type": "MODIFIED", "object": object.clone()}),
        ));
        if matches!(self.policy, Policy::Sign | Policy::SignForAnother) {
            self.sign(&mut object);
            events.push(Event::Watched(
                json!({"type": "MODIFIED", "object": object.clone()}),
            ));
        }
        self.objects.insert(path, object);
        events
    }

    fn sign(&self, object: &mut Value) {
        let request = ReceivedRequest::of(object).unwrap();
        let mut issue = request
            .signer
            .issue_request(&request.csr, &request.order, MAX_CERTIFICATE_LIFE)
            .unwrap();
        if self.policy == Policy::SignForAnother {
            issue.public_key = self.ca.key().public_key().clone();
        }
        let certificate = self.ca.issue(&issue, self.clock, &mut entropy(99)).unwrap();
        put_certificate(object, &certificate);
    }
}

fn respond(code: u16, object: &Value) -> Response {
    Response {
        status: StatusCode::from_u16(code).unwrap(),
        date: None,
        body: object.to_string().into_bytes(),
    }
}

fn status(code: u16, reason: &str) -> Response {
    respond(
        code,
        &json!({"kind": "Status", "code": code, "reason": reason, "message": "so it is"}),
    )
}

fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(&mut entropy(seed)).unwrap()
}

fn node() -> NodeName {
    NodeName::parse("node2").unwrap()
}

fn request(key: &PrivateKey) -> TlsBootstrapRequest {
    TlsBootstrapRequest {
        node: node(),
        wish: crate::renewal::client_wish(&node(), key).unwrap(),
        existing_node: ExistingNode::Refuse,
        deadline: at(NOW) + SignedDuration::from_mins(5),
    }
}

struct Outcome {
    result: Result<Box<Enrolled>, HandshakeError>,
    told: Vec<Progress>,
    ended: Timestamp,
}

fn drive(request: TlsBootstrapRequest, cluster: &mut Cluster) -> Outcome {
    let mut now = at(NOW);
    let (mut machine, mut effects) = TlsBootstrap::start(request);
    let mut told = Vec::new();
    let mut watched = None;
    for _ in 0..10_000 {
        let mut events = Vec::new();
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Tell(progress) => told.push(progress),
                Effect::Finished(result) => {
                    return Outcome {
                        result,
                        told,
                        ended: now,
                    };
                }
                Effect::Send(call, request) => {
                    events.push(Event::Answered(call, Ok(cluster.answer(&request))));
                }
                Effect::Watch(request) => {
                    let name = watched_name(&request.path);
                    if cluster.breaks > 0 {
                        cluster.breaks -= 1;
                        events.push(Event::WatchEnded(None));
                    } else {
                        events.extend(cluster.act(&name));
                    }
                    watched = Some(name);
                }
            }
        }
        if events.is_empty() {
            now = now.max(
                machine
                    .deadline()
                    .expect("who asks for nothing waits for a time"),
            );
            events.push(Event::Tick);
            cluster.ticks += 1;
            if cluster.approve_at_tick == Some(cluster.ticks)
                && let Some(name) = &watched
            {
                cluster.policy = Policy::Sign;
                events.extend(cluster.act(name));
            }
        }
        for event in events {
            effects.extend(machine.on(event, now));
        }
    }
    panic!("the machine does not end")
}

fn watched_name(path: &str) -> String {
    let (_, rest) = path.split_once("metadata.name%3D").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

#[test]
fn a_stranger_becomes_a_node() {
    let mut cluster = Cluster::new(Policy::Sign);
    let config = json!({"kind": "ConfigMap", "data": {"ClusterConfiguration": "kind: X\n"}});
    cluster.put(
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        config,
    );
    let key = key(5);
    let outcome = drive(request(&key), &mut cluster);
    let enrolled = outcome.result.unwrap();
    let leaf = &enrolled.issued.chain.certificates()[0];
    assert_eq!(leaf.spki_der(), key.public_key().spki_der());
    assert_eq!(leaf.subject().common_name, "system:node:node2");
    assert_eq!(leaf.subject().organizations, ["system:nodes"]);
    leaf.verify_signed_by(cluster.ca.certificate()).unwrap();
    assert_eq!(
        enrolled.surveyed.config.cluster_configuration,
        ClusterText::Present("kind: X\n".into())
    );
    assert_eq!(
        enrolled.surveyed.config.kubelet_configuration,
        ClusterText::Absent
    );
    assert_eq!(
        enrolled.issued.csr_name,
        csr_name(key.public_key().spki_der())
    );
    let kinds: Vec<_> = outcome.told.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 4, "{:?}", outcome.told);
    assert!(matches!(
        outcome.told[0],
        Progress::ClusterConfigRead {
            kubeadm_config: true,
            ..
        }
    ));
    assert!(matches!(
        outcome.told[1],
        Progress::CsrCreated { resumed: false, .. }
    ));
    assert!(matches!(outcome.told[2], Progress::CsrApproved { .. }));
    assert!(matches!(
        outcome.told[3],
        Progress::CertificateIssued { .. }
    ));
}

#[test]
fn the_watch_goes_on_from_the_version_of_the_creation() {
    let mut cluster = Cluster::new(Policy::Sign);
    let (mut machine, _) = Enrolment::start(request(&key(5)).wish, at(NOW));
    let created = cluster.answer(&Request::post(
        CSR_PATH,
        json!({"metadata": {"name": "node-csr-1"}, "spec": {}}),
        "create",
    ));
    let effects = machine.on(Event::Answered(Call::CreateCsr, Ok(created)), at(NOW));
    let watch = effects.iter().find_map(|effect| match effect {
        Effect::Watch(request) => Some(request.path.clone()),
        _ => None,
    });
    let watch = watch.unwrap();
    assert!(
        watch.contains("fieldSelector=metadata.name%3Dnode-csr-1&"),
        "{watch}"
    );
    assert!(watch.ends_with("&resourceVersion=8"), "{watch}");
}

#[test]
fn a_cluster_that_shows_no_configuration_is_joined_in_generic_mode() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.forbidden = vec!["/configmaps/", "/nodes/"];
    let outcome = drive(request(&key(5)), &mut cluster);
    let enrolled = outcome.result.unwrap();
    assert_eq!(
        enrolled.surveyed.config.cluster_configuration,
        ClusterText::Forbidden
    );
    assert!(matches!(
        outcome.told[0],
        Progress::ClusterConfigRead {
            node_name_checked: false,
            kubeadm_config: false,
            ..
        }
    ));
}

fn node_object(ready: &str) -> Value {
    json!({"kind": "Node", "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

#[test]
fn a_ready_node_of_our_name_stops_the_join_before_anything_is_written() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.put("/api/v1/nodes/node2", node_object("True"));
    let outcome = drive(request(&key(5)), &mut cluster);
    assert_eq!(
        outcome.result.unwrap_err(),
        HandshakeError::NodeNameTaken {
            name: "node2".into()
        }
    );
    assert!(
        cluster
            .requests
            .iter()
            .all(|(method, _)| method == Method::GET)
    );
}

#[test]
fn a_node_that_is_not_ready_or_known_to_be_ours_is_taken_over() {
    for (ready, existing_node) in [
        ("False", ExistingNode::Refuse),
        ("Unknown", ExistingNode::Refuse),
        ("True", ExistingNode::TakeOver),
    ] {
        let mut cluster = Cluster::new(Policy::Sign);
        cluster.put("/api/v1/nodes/node2", node_object(ready));
        let request = TlsBootstrapRequest {
            existing_node,
            ..request(&key(5))
        };
        let enrolled = drive(request, &mut cluster).result.unwrap();
        assert_eq!(enrolled.surveyed.previous_node, Some(node_object(ready)));
    }
}

#[test]
fn a_denied_failed_or_deleted_request_ends_the_join_with_its_name() {
    for (policy, id, text) in [
        (Policy::Deny, "csr-denied", "not on my watch (Policy)"),
        (Policy::Fail, "csr-failed", "no such usage"),
        (Policy::Delete, "csr-failed", "deleted"),
        (Policy::SignForAnother, "csr-failed", "another key"),
    ] {
        let outcome = drive(request(&key(5)), &mut Cluster::new(policy));
        let error = outcome.result.unwrap_err();
        assert_eq!(error.id(), id, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains("node-csr-"), "{error}");
    }
}

#[test]
fn a_pending_request_is_told_once_with_its_cure_and_goes_on_when_somebody_approves() {
    let mut cluster = Cluster::new(Policy::Nothing);
    cluster.approve_at_tick = Some(1);
    let outcome = drive(request(&key(5)), &mut cluster);
    outcome.result.unwrap();
    let name = csr_name(key(5).public_key().spki_der());
    let pending: Vec<_> = outcome
        .told
        .iter()
        .filter(|p| matches!(p, Progress::CsrPending { .. }))
        .collect();
    let [
        Progress::CsrPending {
            cure,
            approved: false,
            ..
        },
    ] = pending[..]
    else {
        panic!("{:?}", outcome.told)
    };
    assert!(
        cure.contains(&format!("kubectl certificate approve {name}")),
        "{cure}"
    );
    assert_eq!(outcome.ended, at(NOW) + SignedDuration::from_secs(1));
}

#[test]
fn a_request_that_nobody_decides_on_ends_at_the_deadline() {
    let outcome = drive(request(&key(5)), &mut Cluster::new(Policy::Nothing));
    let error = outcome.result.unwrap_err();
    assert_eq!(error.id(), "csr-pending");
    assert!(
        error.remedy().contains("kubectl certificate approve"),
        "{}",
        error.remedy()
    );
    assert_eq!(outcome.ended, at(NOW) + SignedDuration::from_mins(5));
}

#[test]
fn an_approved_request_without_a_signer_is_told_apart_from_an_unapproved_one() {
    let error = drive(request(&key(5)), &mut Cluster::new(Policy::Approve))
        .result
        .unwrap_err();
    assert!(matches!(
        error,
        HandshakeError::CsrPending { approved: true, .. }
    ));
    assert!(error.remedy().contains("signer"), "{}", error.remedy());
}

#[test]
fn a_watch_that_breaks_is_followed_by_a_fresh_read() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.breaks = 5;
    let outcome = drive(request(&key(5)), &mut cluster);
    outcome.result.unwrap();
    let csr = format!("{CSR_PATH}/{}", csr_name(key(5).public_key().spki_der()));
    let reads = cluster
        .requests
        .iter()
        .filter(|(_, path)| *path == csr)
        .count();
    assert_eq!(reads, 5);
}

#[test]
fn a_killed_join_finds_its_own_request_again() {
    let mut cluster = Cluster::new(Policy::Nothing);
    let killed = TlsBootstrapRequest {
        deadline: at(NOW),
        ..request(&key(5))
    };
    drive(killed, &mut cluster).result.unwrap_err();
    cluster.policy = Policy::Sign;
    let outcome = drive(request(&key(5)), &mut cluster);
    outcome.result.unwrap();
    assert!(
        outcome
            .told
            .iter()
            .any(|p| matches!(p, Progress::CsrCreated { resumed: true, .. }))
    );
    let csrs = cluster
        .objects
        .keys()
        .filter(|path| path.starts_with(CSR_PATH))
        .count();
    assert_eq!(csrs, 1);
}

#[test]
fn a_request_of_our_name_that_is_not_ours_or_is_spent_is_left_alone() {
    let name = csr_name(key(5).public_key().spki_der());
    let ours = || {
        let mut cluster = Cluster::new(Policy::Deny);
        drive(request(&key(5)), &mut cluster).result.unwrap_err();
        cluster
    };
    // Denied an hour ago: a new join may ask again.
    let mut denied = ours();
    denied.policy = Policy::Sign;
    // Somebody else's request under our name.
    let mut foreign = Cluster::new(Policy::Deny);
    drive(request(&key(6)), &mut foreign).result.unwrap_err();
    let other = foreign
        .objects
        .remove(&format!(
            "{CSR_PATH}/{}",
            csr_name(key(6).public_key().spki_der())
        ))
        .unwrap();
    let mut other = other;
    other["metadata"]["name"] = json!(name.clone());
    other.as_object_mut().unwrap().remove("status");
    foreign.put(&format!("{CSR_PATH}/{name}"), other);
    foreign.policy = Policy::Sign;
    // Our own PKCS#10 text, put there again by somebody else for something else.
    let repeated = |field: &str, value: Value| {
        let mut cluster = Cluster::new(Policy::Nothing);
        let killed = TlsBootstrapRequest {
            deadline: at(NOW),
            ..request(&key(5))
        };
        drive(killed, &mut cluster).result.unwrap_err();
        let path = format!("{CSR_PATH}/{name}");
        let mut object = cluster.objects.remove(&path).unwrap();
        object["spec"][field] = value;
        cluster.put(&path, object);
        cluster.policy = Policy::Sign;
        cluster
    };
    let served = repeated("usages", json!(["digital signature", "server auth"]));
    let hasty = repeated("expirationSeconds", json!(600));
    for mut cluster in [denied, foreign, served, hasty] {
        let enrolled = drive(request(&key(5)), &mut cluster).result.unwrap();
        assert_eq!(enrolled.issued.csr_name, "node-csr-x7k2p");
    }
}

#[test]
fn a_certificate_outside_its_validity_is_a_wrong_clock() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.clock = at("2026-11-21T12:00:00Z");
    let error = drive(request(&key(5)), &mut cluster).result.unwrap_err();
    assert_eq!(error.id(), "clock-skew", "{error}");
}

#[test]
fn a_refusal_of_the_credential_ends_at_once() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.forbidden = vec!["certificatesigningrequests"];
    let error = drive(request(&key(5)), &mut cluster).result.unwrap_err();
    assert_eq!(error.id(), "forbidden");
    assert!(
        error
            .to_string()
            .contains("create the certificate signing request"),
        "{error}"
    );
}

#[test]
fn an_ailing_server_is_given_time_until_the_deadline() {
    let mut cluster = Cluster::new(Policy::Sign);
    cluster.ailing = 100;
    let outcome = drive(request(&key(5)), &mut cluster);
    outcome.result.unwrap();
    assert_eq!(outcome.ended, at(NOW) + SignedDuration::from_secs(100));
    cluster = Cluster::new(Policy::Sign);
    cluster.ailing = usize::MAX;
    let outcome = drive(request(&key(5)), &mut cluster);
    assert_eq!(outcome.result.unwrap_err().id(), "server-error");
    assert!(outcome.ended <= at(NOW) + SignedDuration::from_mins(5));
}

#[test]
fn an_rsa_key_asks_to_encipher_too() {
    let rsa = PrivateKey::generate_rsa_2048().unwrap();
    let wish = crate::renewal::client_wish(&node(), &rsa).unwrap();
    assert_eq!(
        wish.usages,
        ["digital signature", "key encipherment", "client auth"]
    );
    let wish = crate::renewal::client_wish(&node(), &key(5)).unwrap();
    assert_eq!(wish.usages, ["digital signature", "client auth"]);
}

#[test]
fn a_serving_certificate_is_asked_for_with_its_addresses() {
    let address = "10.0.0.7".parse().unwrap();
    let wish =
        crate::renewal::serving_wish(&node(), &["node2".into()], &[address], &key(5)).unwrap();
    assert_eq!(wish.csr.subject_alt_names().ip, [address]);
    assert_eq!(wish.usages, ["digital signature", "server auth"]);
    let mut cluster = Cluster::new(Policy::Sign);
    let (mut machine, effects) = Enrolment::start(wish, at(NOW) + SignedDuration::from_mins(5));
    let Some(Effect::Send(Call::CreateCsr, post)) = effects.into_iter().next() else {
        panic!()
    };
    let mut object = cluster.answer(&post).json().unwrap();
    object["spec"]["username"] = json!("system:node:node2");
    CsrCondition::auto_approved().add_to(&mut object, at(NOW));
    cluster.sign(&mut object);
    let effects = machine.on(
        Event::Answered(Call::CreateCsr, Ok(respond(201, &object))),
        at(NOW),
    );
    let Some(Effect::Finished(Ok(issued))) = effects.into_iter().last() else {
        panic!()
    };
    assert_eq!(
        issued.chain.certificates()[0].subject_alt_names().ip,
        [address]
    );
}

#[test]
fn names_derived_from_keys_are_valid_object_names() {
    let name = csr_name(key(5).public_key().spki_der());
    assert_eq!(name.len(), "node-csr-".len() + 64);
    assert_eq!(NodeName::parse(&name).unwrap().as_str(), name);
    assert!(
        Endpoint::parse(&format!("{name}:1")).is_err(),
        "but no host name"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_order_of_events_neither_panics_nor_yields_a_certificate_that_was_not_issued(
        steps in prop::collection::vec(0_usize..9, 0..40),
    ) {
        let (mut machine, _) = TlsBootstrap::start(request(&key(5)));
        let mut now = at(NOW);
        for step in steps {
            let object = json!({"metadata": {"name": "n", "resourceVersion": "1"}});
            let event = match step {
                0 => Event::Answered(Call::KubeadmConfig, Ok(status(404, "NotFound"))),
                1 => Event::Answered(Call::KubeletConfig, Ok(status(403, "Forbidden"))),
                2 => Event::Answered(Call::Node, Ok(status(404, "NotFound"))),
                3 => Event::Answered(Call::CreateCsr, Ok(respond(201, &object))),
                4 => Event::Answered(Call::ReadCsr, Ok(respond(200, &object))),
                5 => Event::Watched(json!({"type": "MODIFIED", "object": object})),
                6 => Event::WatchEnded(None),
                7 => Event::Watched(json!({"type": "ERROR", "object": {"code": 410}})),
                _ => Event::Tick,
            };
            now += SignedDuration::from_millis(300);
            for effect in machine.on(event, now) {
                prop_assert!(!matches!(effect, Effect::Finished(Ok(_))));
            }
        }
    }

    #[test]
    fn any_object_is_read_or_refused(text in r#"\{"spec":\{"request":".{0,40}"\},"status":.{0,40}\}"#) {
        if let Ok(object) = serde_json::from_str::<Value>(&text) {
            prop_assert!(ReceivedRequest::of(&object).is_err());
            let _ = Decision::of(&object);
        }
    }
}

//! A cluster in memory behind the test server: cluster-info, nodes, and requests that it signs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use muster_handshake::bootstrap::{CSR_PATH, CsrCondition, ReceivedRequest, put_certificate};
use muster_handshake::discovery::CLUSTER_INFO_PATH;
use muster_handshake::{
    ClusterInfo, DiscoveryRequest, ExistingNode, Progress, SignerPlan, TlsBootstrapRequest,
    Trusting, client_wish,
};
use muster_identity::pki::{IssueRequest, MAX_CERTIFICATE_LIFE, Validity};
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, Certificate, CertificateAuthority,
    CertificateBundle, Endpoint, NodeName, PrivateKey, SubjectAltNames,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::server::{Handler, Reply, Seen, Server, Speech};

pub(crate) const TOKEN: &str = "abcdef.0123456789abcdef";
pub(crate) const H2: &[&[u8]] = &[b"h2", b"http/1.1"];
pub(crate) const H1: &[&[u8]] = &[b"http/1.1"];

pub(crate) fn entropy() -> impl FnMut(&mut [u8]) {
    |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = (muster_net::retry::chance() * 256.0) as u8;
        }
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn authority() -> CertificateAuthority {
    let life = SignedDuration::from_hours(24 * 365 * 20);
    let begin = now() - SignedDuration::from_hours(24 * 365 * 5);
    CertificateAuthority::new_self_signed("kubernetes", begin, life, &mut entropy()).unwrap()
}

/// What the cluster does with a request for a certificate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Policy {
    Sign,
    Deny,
    Wait,
}

pub(crate) struct World {
    pub(crate) ca: CertificateAuthority,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Value>,
    pub(crate) policy: Policy,
    /// How many watches end at once, before anything is decided.
    pub(crate) dropped_watches: usize,
    /// How many requests are turned away with 429 first.
    pub(crate) turned_away: usize,
    watchers: Vec<(String, mpsc::UnboundedSender<Value>)>,
    version: u64,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_tokens(&[TOKEN])
    }

    pub(crate) fn with_tokens(tokens: &[&str]) -> Arc<Self> {
        let secrets: Vec<_> = tokens
            .iter()
            .map(|text| BootstrapTokenSecret::new(BootstrapToken::parse(text).unwrap()))
            .collect();
        Self::with_secrets(&secrets)
    }

    pub(crate) fn with_secrets(secrets: &[BootstrapTokenSecret]) -> Arc<Self> {
        let ca = authority();
        let bundle = CertificateBundle::from(ca.certificate().clone());
        let endpoint = Endpoint::parse("cp.example:6443").unwrap();
        let mut info = ClusterInfo::new(&endpoint, &bundle).to_object();
        SignerPlan::compute(&info, secrets, &[], now()).apply(&mut info);
        let state = State {
            objects: BTreeMap::from([(CLUSTER_INFO_PATH.to_owned(), info)]),
            policy: Policy::Sign,
            dropped_watches: 0,
            turned_away: 0,
            watchers: Vec::new(),
            version: 10,
        };
        Arc::new(Self {
            ca,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn pin(&self) -> CaPin {
        CaPin::of(self.ca.certificate())
    }

    pub(crate) fn bundle(&self) -> CertificateBundle {
        CertificateBundle::from(self.ca.certificate().clone())
    }

    /// Signs cluster-info for [`TOKEN`], now.
    pub(crate) fn sign_cluster_info(&self) {
        let secret = BootstrapTokenSecret::new(BootstrapToken::parse(TOKEN).unwrap());
        self.set(|state| {
            let info = state.objects.get_mut(CLUSTER_INFO_PATH).unwrap();
            SignerPlan::compute(&*info, &[secret], &[], now()).apply(info);
        });
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// A certificate for 127.0.0.1 and localhost.
    pub(crate) fn speech(&self) -> Speech {
        self.speech_for(&self.ca, &["localhost"], &["127.0.0.1"], None)
    }

    pub(crate) fn speech_for(
        &self,
        ca: &CertificateAuthority,
        names: &[&str],
        addresses: &[&str],
        validity: Option<(Timestamp, Timestamp)>,
    ) -> Speech {
        let key = PrivateKey::generate(&mut entropy()).unwrap();
        let sans = SubjectAltNames {
            dns: names.iter().map(|name| (*name).to_owned()).collect(),
            ip: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            ..SubjectAltNames::default()
        };
        let life = SignedDuration::from_hours(24);
        let mut request =
            IssueRequest::server("kube-apiserver", sans, key.public_key().clone(), life);
        let mut issued_at = now();
        if let Some((not_before, not_after)) = validity {
            request.validity = Validity::Between {
                not_before,
                not_after,
            };
            issued_at = not_before;
        }
        let certificate = ca.issue(&request, issued_at, &mut entropy()).unwrap();
        Speech {
            certificate,
            key,
            alpn: H2,
            client_ca: Some(self.bundle()),
            date: None,
            ends_anonymous: false,
        }
    }

    pub(crate) fn client_certificate(&self, user: &NodeName) -> (Certificate, PrivateKey) {
        let key = PrivateKey::generate(&mut entropy()).unwrap();
        let life = SignedDuration::from_hours(24);
        let request = IssueRequest::node_client(user, key.public_key().clone(), life);
        (self.ca.issue(&request, now(), &mut entropy()).unwrap(), key)
    }

    pub(crate) fn handler(self: &Arc<Self>) -> Handler {
        let world = Arc::clone(self);
        Arc::new(move |seen| world.answer(&seen))
    }

    pub(crate) async fn serve(self: &Arc<Self>) -> Server {
        Server::start(self.speech(), self.handler()).await
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let mut state = self.state.lock().unwrap();
        if state.turned_away > 0 && seen.path != CLUSTER_INFO_PATH {
            state.turned_away -= 1;
            return Reply::RetryAfter(429, "0", status(429, "TooManyRequests"));
        }
        if seen.path != CLUSTER_INFO_PATH && seen.user.is_none() {
            match seen.bearer() {
                Some(bearer) if bearer == format!("Bearer {TOKEN}") => {}
                _ => return Reply::Json(401, status(401, "Unauthorized")),
            }
        }
        if seen.path.contains("watch=true") {
            return self.watch(&mut state, seen);
        }
        if seen.method == Method::POST {
            return self.create(&mut state, seen.json());
        }
        match state.objects.get(&seen.path) {
            Some(object) => Reply::Json(200, object.clone()),
            None => Reply::Json(404, status(404, "NotFound")),
        }
    }

    fn create(&self, state: &mut State, mut object: Value) -> Reply {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{CSR_PATH}/{name}");
        if state.objects.contains_key(&path) {
            return Reply::Json(409, status(409, "AlreadyExists"));
        }
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        object["spec"]["username"] = json!("system:bootstrap:abcdef");
        state.objects.insert(path, object.clone());
        Reply::Json(201, object)
    }

    fn watch(&self, state: &mut State, seen: &Seen) -> Reply {
        let (sender, receiver) = mpsc::unbounded_channel();
        if state.dropped_watches > 0 {
            state.dropped_watches -= 1;
            return Reply::Lines(receiver);
        }
        let (_, rest) = seen.path.split_once("metadata.name%3D").unwrap();
        let name = rest.split('&').next().unwrap().to_owned();
        state.watchers.push((name, sender));
        self.decide(state);
        Reply::Lines(receiver)
    }

    /// Changes the policy and lets it work on what waits.
    pub(crate) fn decide_now(&self, policy: Policy) {
        let mut state = self.state.lock().unwrap();
        state.policy = policy;
        self.decide(&mut state);
    }

    fn decide(&self, state: &mut State) {
        let condition = match state.policy {
            Policy::Wait => return,
            Policy::Deny => CsrCondition::denied("ByHand", "unknown machine"),
            Policy::Sign => CsrCondition::auto_approved(),
        };
        for (name, watcher) in std::mem::take(&mut state.watchers) {
            let Some(object) = state.objects.get_mut(&format!("{CSR_PATH}/{name}")) else {
                continue;
            };
            condition.add_to(object, now());
            if state.policy == Policy::Sign {
                self.sign(object);
            }
            let _ = watcher.send(json!({"type": "MODIFIED", "object": object.clone()}));
        }
    }

    fn sign(&self, object: &mut Value) {
        let request = ReceivedRequest::of(object).unwrap();
        let issue =
            request
                .signer
                .issue_request(&request.csr, &request.order, MAX_CERTIFICATE_LIFE);
        let certificate = self
            .ca
            .issue(&issue.unwrap(), now(), &mut entropy())
            .unwrap();
        put_certificate(object, &certificate);
    }
}

pub(crate) fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": "so it is",
    })
}

pub(crate) fn loopback(port: u16) -> Endpoint {
    Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap()
}

pub(crate) fn asking(endpoint: Endpoint, pin: CaPin) -> DiscoveryRequest {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    DiscoveryRequest::new(endpoint, token, Trusting::Pins(vec![pin]))
}

pub(crate) fn node() -> NodeName {
    NodeName::parse("node2").unwrap()
}

pub(crate) fn bootstrap_request(key: &PrivateKey) -> TlsBootstrapRequest {
    bootstrap_as(node(), key)
}

pub(crate) fn bootstrap_as(node: NodeName, key: &PrivateKey) -> TlsBootstrapRequest {
    TlsBootstrapRequest {
        wish: client_wish(&node, key).unwrap(),
        node,
        existing_node: ExistingNode::Refuse,
        deadline: now() + SignedDuration::from_secs(60),
    }
}

/// Collects what is told.
pub(crate) fn ear() -> (Arc<Mutex<Vec<Progress>>>, impl FnMut(Progress) + Send) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&told);
    (told, move |progress| ear.lock().unwrap().push(progress))
}

/// Waits until something holds; a minute is far more than any test needs.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait)
        .await
        .unwrap();
}

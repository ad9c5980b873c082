//! Certificate signing requests by the thousand, good and bad ones mixed.

use crate::tokens::add_token;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use muster_identity::pki::BACKDATE;
use muster_identity::{
    Certificate, CertificateBundle, PrivateKey, Secret, Subject, SubjectAltNames, Usage,
};
use muster_net::{ApiClient, Identity};
use muster_proving::{Scenery, World, csr, in_time, key, random, request, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const USAGES: &[&str] = &["digital signature", "client auth"];
const VALID: usize = 1000;

type Requests = Api<CertificateSigningRequest>;

fn node_subject(name: &str) -> Subject {
    Subject::new(format!("system:node:{name}"), ["system:nodes"])
}

/// A node's request as its kubelet makes it.
pub(crate) fn node_request(name: &str, key: &PrivateKey) -> CertificateSigningRequest {
    let pem = csr(key, &node_subject(name), &SubjectAltNames::none());
    request(name, &pem, NODE_CLIENT, USAGES)
}

/// Waits until a request is signed.
pub(crate) async fn certificate_of(requests: &Requests, name: &str) -> Certificate {
    until(&format!("the certificate of {name}"), async || {
        issued(&requests.get(name).await.unwrap())
    })
    .await
}

fn issued(csr: &CertificateSigningRequest) -> Option<Certificate> {
    let pem = csr.status.as_ref()?.certificate.as_ref()?;
    Some(Certificate::from_pem(&pem.0).unwrap())
}

/// When this returns, the controllers have seen everything that was asked before.
pub(crate) async fn let_them_look(world: &World, name: &str) {
    let joiner = world.user(
        "system:bootstrap:looker",
        &["system:bootstrappers:kubeadm:default-node-token"],
    );
    let requests = Requests::all(joiner);
    requests
        .create(&PostParams::default(), &node_request(name, &key()))
        .await
        .unwrap();
    certificate_of(&Api::all(world.admin()), name).await;
}

pub(crate) async fn has_no_verdict(requests: &Requests, name: &str) {
    let found = requests.get(name).await.unwrap();
    let status = found.status.unwrap_or_default();
    assert_eq!(
        (status.conditions, status.certificate),
        (None, None),
        "{name}"
    );
}

/// The profile of a node's client certificate, and nothing beyond it.
fn assert_profile(world: &World, name: &str, key: &PrivateKey, certificate: &Certificate) {
    certificate
        .verify_signed_by(world.ca().certificate())
        .unwrap();
    assert_eq!(*certificate.subject(), node_subject(name));
    assert_eq!(*certificate.subject_alt_names(), SubjectAltNames::none());
    let usages: BTreeSet<&str> = certificate
        .usages()
        .iter()
        .map(|one| one.as_str())
        .collect();
    assert_eq!(usages, USAGES.iter().copied().collect());
    assert!(!certificate.usages().contains(&Usage::ServerAuth));
    assert!(!certificate.is_ca());
    assert_eq!(certificate.public_key().unwrap(), *key.public_key());
    let now = Timestamp::now();
    assert!(certificate.is_valid_at(now));
    let life = certificate
        .not_after()
        .duration_since(certificate.not_before());
    assert_eq!(life, SignedDuration::from_hours(365 * 24), "{name}");
    assert!(now.duration_since(certificate.not_before()) >= BACKDATE);
    assert!(certificate.serial().len() >= 16, "{name}");
}

/// Every state of every request that the API ever shows: name → distinct certificates, and how many
/// versions there were.
#[derive(Default)]
struct History {
    certificates: BTreeMap<String, BTreeSet<Vec<u8>>>,
    versions: BTreeMap<String, BTreeSet<String>>,
}

fn record(client: Client) -> Arc<Mutex<History>> {
    let history = Arc::new(Mutex::new(History::default()));
    let written = Arc::clone(&history);
    tokio::spawn(async move {
        let watch = watcher(Requests::all(client), watcher::Config::default());
        let mut seen = std::pin::pin!(watch.default_backoff().applied_objects());
        while let Some(Ok(csr)) = seen.next().await {
            let mut history = written.lock().unwrap();
            let versions = history.versions.entry(csr.name_any()).or_default();
            versions.insert(csr.resource_version().unwrap());
            if let Some(certificate) = issued(&csr) {
                let all = history.certificates.entry(csr.name_any()).or_default();
                all.insert(certificate.der().to_vec());
            }
        }
    });
    history
}

/// Twenty requests that the API takes and nobody may approve.
fn bad_requests() -> Vec<(bool, CertificateSigningRequest)> {
    let none = SubjectAltNames::none();
    let mut bad = Vec::new();
    for (number, groups) in [
        &["system:masters"][..],
        &[],
        &["system:nodes", "system:masters"],
        &["system:node"],
        &["System:Nodes"],
    ]
    .iter()
    .enumerate()
    {
        let subject = Subject::new("system:node:bad", groups.iter().copied());
        let name = format!("bad-group-{number}");
        bad.push((
            true,
            request(&name, &csr(&key(), &subject, &none), NODE_CLIENT, USAGES),
        ));
    }
    for number in 0..5 {
        let pem = csr(&key(), &node_subject("bad"), &none);
        let name = format!("bad-signer-{number}");
        bad.push((true, request(&name, &pem, "example.com/foreign", USAGES)));
    }
    for number in 0..5 {
        let pem = csr(&key(), &node_subject("bad"), &none);
        let name = format!("bad-requester-{number}");
        bad.push((false, request(&name, &pem, NODE_CLIENT, USAGES)));
    }
    for (number, usages) in [
        &["digital signature", "server auth"][..],
        &["client auth"],
        &["digital signature", "client auth", "cert sign"],
    ]
    .iter()
    .enumerate()
    {
        let pem = csr(&key(), &node_subject("bad"), &none);
        bad.push((
            true,
            request(&format!("bad-usage-{number}"), &pem, NODE_CLIENT, usages),
        ));
    }
    let named = SubjectAltNames::new(["kubernetes.default"], []);
    let pem = csr(&key(), &node_subject("bad"), &named);
    bad.push((true, request("bad-name-0", &pem, NODE_CLIENT, USAGES)));
    let pem = csr(&key(), &Subject::new("bad", ["system:nodes"]), &none);
    bad.push((true, request("bad-name-1", &pem, NODE_CLIENT, USAGES)));
    assert_eq!(bad.len(), 20);
    bad
}

/// Somebody who may ask for certificates, and for whom nobody approves.
async fn asker(world: &World) -> Client {
    let bindings = Api::<k8s_openapi::api::rbac::v1::ClusterRoleBinding>::all(world.admin());
    let binding = serde_json::from_value(json!({
        "metadata": {"name": "askers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:node-bootstrapper"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
    }))
    .unwrap();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    world.user("mallory", &[])
}

static SERIALS: AtomicUsize = AtomicUsize::new(0);

fn counted(bytes: &mut [u8]) {
    SERIALS.fetch_add(1, Ordering::Relaxed);
    random(bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_nodes_get_their_certificates_once_whatever_else_is_asked() {
    in_time(async {
        let scenery = Scenery {
            entropy: counted,
            ..Scenery::default()
        };
        let world = World::with(scenery).await;
        let history = record(world.admin());
        let mut joiners: Vec<ApiClient> = Vec::new();
        for _ in 0..4 {
            let token = add_token(&world, None).await.token;
            joiners.push(world.over_tls(Identity::Bearer(token.to_text())));
        }
        let mallory = Requests::all(asker(&world).await);

        let names: Vec<String> = (0..VALID).map(|number| format!("node-{number}")).collect();
        let keys: BTreeMap<String, PrivateKey> =
            names.iter().map(|name| (name.clone(), key())).collect();
        let valid = names
            .iter()
            .map(|name| (true, node_request(name, &keys[name])));
        let mut all: Vec<_> = bad_requests().into_iter().chain(valid).collect();
        // The bad ones are spread among the good ones.
        for bad in 0..20 {
            all.swap(bad, bad * 50 + 7);
        }
        let asked = stream::iter(all.into_iter().enumerate()).map(|(number, (bears, csr))| {
            let (joiner, mallory) = (&joiners[number % joiners.len()], &mallory);
            async move {
                if bears {
                    joiner.create::<Value>(REQUESTS, &json!(csr)).await.unwrap();
                } else {
                    mallory.create(&PostParams::default(), &csr).await.unwrap();
                }
            }
        });
        asked.buffer_unordered(64).collect::<Vec<()>>().await;

        until("a certificate for every node", async || {
            let history = history.lock().unwrap();
            (history.certificates.len() >= VALID).then_some(())
        })
        .await;
        let_them_look(&world, "after").await;

        let requests = Requests::all(world.admin());
        for (_, bad) in bad_requests() {
            has_no_verdict(&requests, &bad.name_any()).await;
        }
        let history = history.lock().unwrap();
        let mut serials = BTreeSet::new();
        for (name, key) in &keys {
            let certificates = &history.certificates[name];
            assert_eq!(certificates.len(), 1, "{name} has one certificate for ever");
            let der = certificates.first().unwrap();
            let certificate = Certificate::from_der(der).unwrap();
            assert_profile(&world, name, key, &certificate);
            assert!(serials.insert(certificate.serial().to_vec()));
            let versions = history.versions[name].len();
            assert!(versions <= 3, "{name} was written {versions} times");
        }
        assert_eq!(
            SERIALS.load(Ordering::Relaxed),
            VALID + 1,
            "no certificate was made in vain"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_at_the_door() {
    in_time(async {
        let world = World::start().await;
        let token = add_token(&world, None).await.token;
        let joiner = world.over_tls(Identity::Bearer(token.to_text()));
        let good = csr(&key(), &node_subject("n"), &SubjectAltNames::none());
        let other = csr(&key(), &node_subject("n"), &SubjectAltNames::none());
        // The head of one request with the signature of another.
        let (head, tail) = (&good[..good.len() / 2], &other[other.len() / 2..]);
        let spliced = format!("{head}{tail}");
        for (what, pem) in [
            ("words", "hello"),
            ("nothing", ""),
            (
                "an empty block",
                "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
            ),
            ("a certificate", &world.ca().certificate().to_pem()),
            ("a foreign signature", &spliced),
        ] {
            let garbage = json!(request("garbage", pem, NODE_CLIENT, USAGES));
            let refused = joiner.create::<Value>(REQUESTS, &garbage).await;
            assert_eq!(refused.unwrap_err().code(), Some(422), "{what}");
        }
        let unknown = json!(request(
            "unknown",
            &good,
            NODE_CLIENT,
            &["world domination"]
        ));
        let refused = joiner.create::<Value>(REQUESTS, &unknown).await;
        assert_eq!(refused.unwrap_err().code(), Some(422));
        let stranger = Requests::all(world.user("nobody", &[]));
        let refused = stranger
            .create(&PostParams::default(), &node_request("n", &key()))
            .await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    })
    .await;
}

async fn decide(requests: &Requests, name: &str, verdict: &str) {
    let condition = json!({"type": verdict, "status": "True", "reason": "Person", "message": "so"});
    let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    requests
        .patch_approval(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_verdict_counts_for_clients() {
    in_time(async {
        let world = World::start().await;
        let requests = Requests::all(world.admin());
        let key = key();
        let jane = Subject::new("jane", ["developers"]);
        let pem = csr(&key, &jane, &SubjectAltNames::none());
        for name in ["approved", "denied", "undecided"] {
            let asked = request(name, &pem, CLIENT, USAGES);
            requests
                .create(&PostParams::default(), &asked)
                .await
                .unwrap();
        }
        let_them_look(&world, "first").await;
        has_no_verdict(&requests, "approved").await;
        decide(&requests, "denied", "Denied").await;
        decide(&requests, "approved", "Approved").await;

        let certificate = certificate_of(&requests, "approved").await;
        certificate
            .verify_signed_by(world.ca().certificate())
            .unwrap();
        assert_eq!(*certificate.subject(), jane);
        let chain = CertificateBundle::from(certificate);
        let jane = world.over_tls(Identity::Certificate { chain, key });
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let who: Value = jane
            .create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)
            .await
            .unwrap();
        let info = &who["status"]["userInfo"];
        assert_eq!(info["username"], "jane");
        assert!(
            info["groups"]
                .as_array()
                .unwrap()
                .contains(&json!("developers"))
        );

        let_them_look(&world, "second").await;
        has_no_verdict(&requests, "undecided").await;
        let denied = requests.get("denied").await.unwrap().status.unwrap();
        assert_eq!(denied.certificate, None);
        let conditions = denied.conditions.unwrap();
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].type_, "Denied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_against_the_signers_rules_fails_visibly() {
    in_time(async {
        let world = World::start().await;
        let requests = Requests::all(world.admin());
        let pem = csr(
            &key(),
            &Subject::new("system:node:n", ["system:masters"]),
            &SubjectAltNames::none(),
        );
        let asked = request("masters", &pem, NODE_CLIENT, USAGES);
        requests
            .create(&PostParams::default(), &asked)
            .await
            .unwrap();
        decide(&requests, "masters", "Approved").await;
        let status = until("the condition Failed", async || {
            let status = requests.get("masters").await.unwrap().status?;
            let failed = status.conditions.iter().flatten();
            failed
                .into_iter()
                .any(|one| one.type_ == "Failed")
                .then_some(status.clone())
        })
        .await;
        assert_eq!(status.certificate, None);
        let conditions = status.conditions.unwrap();
        let failed = conditions.iter().find(|one| one.type_ == "Failed").unwrap();
        assert_eq!(
            failed.message.as_deref(),
            Some("subject organization is not system:nodes")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_cannot_ask() {
    in_time(async {
        let world = World::start().await;
        let token = add_token(&world, None).await.token;
        let wrong = Secret::new(format!("{}.0000000000000000", token.id()));
        let joiner = world.over_tls(Identity::Bearer(wrong));
        let asked = json!(node_request("n", &key()));
        let refused = joiner.create::<Value>(REQUESTS, &asked).await;
        assert!(refused.unwrap_err().is_unauthorized());
    })
    .await;
}

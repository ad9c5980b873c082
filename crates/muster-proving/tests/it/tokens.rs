//! Bootstrap tokens and the signatures of cluster-info, up to a machine that joins over TLS.

use base64::Engine as _;
use futures::StreamExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use muster_handshake::discovery::ExpiredTokens;
use muster_handshake::{
    DiscoveryRequest, ExistingNode, TlsBootstrapRequest, Trusting, client_wish,
};
use muster_identity::pki::IssueRequest;
use muster_identity::token::Expiration;
use muster_identity::{
    BootstrapToken, BootstrapTokenSecret, CaPin, CertificateBundle, NodeName, jws,
};
use muster_net::{Identity, bootstrap, discover};
use muster_proving::{World, in_time, key, random, token, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PREFIX: &str = "jws-kubeconfig-";

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.admin(), "kube-system")
}

fn infos(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.admin(), "kube-public")
}

/// Creates a token as kubeadm does; it ends after `life`, if given.
pub(crate) async fn add_token(world: &World, life: Option<SignedDuration>) -> BootstrapTokenSecret {
    let mut made = BootstrapTokenSecret::new(BootstrapToken::generate(&mut random));
    if let Some(life) = life {
        made.expiration = Expiration::At(Timestamp::now() + life);
    }
    secrets(world)
        .create(&PostParams::default(), &token(&made))
        .await
        .unwrap();
    made
}

async fn delete_token(world: &World, of: &BootstrapTokenSecret) {
    let name = of.token.id().secret_name();
    secrets(world)
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
}

async fn info(world: &World) -> ConfigMap {
    infos(world).get("cluster-info").await.unwrap()
}

/// Whose signatures stand there; each was made with the secret of its token and covers the text.
fn signers(info: &ConfigMap, tokens: &[&BootstrapTokenSecret]) -> BTreeSet<String> {
    let data = info.data.clone().unwrap_or_default();
    let kubeconfig = &data["kubeconfig"];
    let signatures = data
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
    signatures
        .filter(|(id, value)| {
            let mut of_id = tokens.iter().filter(|one| one.token.id().as_str() == *id);
            of_id.next().is_none_or(|one| {
                jws::verify_detached(value, kubeconfig.as_bytes(), &one.token).is_ok()
            })
        })
        .map(|(id, _)| id.to_owned())
        .collect()
}

fn ids(tokens: &[&BootstrapTokenSecret]) -> BTreeSet<String> {
    tokens
        .iter()
        .map(|one| one.token.id().as_str().to_owned())
        .collect()
}

/// Waits until cluster-info is signed by exactly these tokens.
async fn signed_by(world: &World, tokens: &[&BootstrapTokenSecret]) {
    let wanted = ids(tokens);
    until(&format!("the signatures of {wanted:?}"), async || {
        (signers(&info(world).await, tokens) == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_info_is_signed_by_every_living_token_whatever_is_done_to_it() {
    in_time(async {
        let world = World::start().await;
        let (one, two) = (add_token(&world, None).await, add_token(&world, None).await);
        signed_by(&world, &[&one, &two]).await;
        delete_token(&world, &one).await;
        signed_by(&world, &[&two]).await;

        // Somebody moves the cluster to another address.
        let text = info(&world).await.data.unwrap()["kubeconfig"].clone();
        let moved = text.replace("https://", "https://moved.example.com/?");
        let patch = Patch::Merge(json!({"data": {"kubeconfig": moved}}));
        let parameters = PatchParams::default();
        infos(&world)
            .patch("cluster-info", &parameters, &patch)
            .await
            .unwrap();
        signed_by(&world, &[&two]).await;
        let now = info(&world).await;
        assert_eq!(now.data.as_ref().unwrap()["kubeconfig"], moved);

        // Somebody meddles with the signatures.
        let key = |of: &BootstrapTokenSecret| format!("{PREFIX}{}", of.token.id());
        let meddled = json!({"data": {key(&two): "forged", key(&one): "forged", "mine": "kept"}});
        let patch = Patch::Merge(meddled);
        infos(&world)
            .patch("cluster-info", &parameters, &patch)
            .await
            .unwrap();
        signed_by(&world, &[&two]).await;
        assert_eq!(info(&world).await.data.unwrap()["mine"], "kept");

        // The token may no longer sign.
        let name = two.token.id().secret_name();
        let patch = Patch::Merge(json!({"stringData": {"usage-bootstrap-signing": "false"}}));
        secrets(&world)
            .patch(&name, &parameters, &patch)
            .await
            .unwrap();
        signed_by(&world, &[]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_change_together_do_not_lose_each_others_signatures() {
    in_time(async {
        let world = World::start().await;
        let mut living: Vec<BootstrapTokenSecret> = Vec::new();
        for round in 0..5 {
            let leaving: Vec<_> = living.drain(..living.len() / 2).collect();
            let made = join_all((0..6).map(|_| add_token(&world, None)));
            let gone = join_all(leaving.iter().map(|one| delete_token(&world, one)));
            let (mut made, _) = tokio::join!(made, gone);
            if round % 2 == 0 {
                // In the middle of it all the text changes as well.
                let text = info(&world).await.data.unwrap()["kubeconfig"].clone();
                let patch = Patch::Merge(json!({"data": {"kubeconfig": format!("{text}\n")}}));
                let parameters = PatchParams::default();
                infos(&world)
                    .patch("cluster-info", &parameters, &patch)
                    .await
                    .unwrap();
            }
            living.append(&mut made);
            signed_by(&world, &living.iter().collect::<Vec<_>>()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_deleted_and_remembered_for_those_who_come_late() {
    in_time(async {
        let world = World::start().await;
        let kept = add_token(&world, None).await;
        let short = add_token(&world, Some(SignedDuration::from_secs(3))).await;
        signed_by(&world, &[&kept, &short]).await;
        let name = short.token.id().secret_name();
        until("the Secret's deletion", async || {
            let found = secrets(&world).get_opt(&name).await.unwrap();
            found.is_none().then_some(())
        })
        .await;
        signed_by(&world, &[&kept]).await;
        let annotations = info(&world).await.metadata.annotations.unwrap();
        let remembered = ExpiredTokens::parse(&annotations["muster.dev/expired-tokens"]);
        let at = remembered.get(short.token.id().as_str()).unwrap();
        let ended = short.expiration.timestamp().unwrap();
        assert!(at.duration_since(ended).abs() <= SignedDuration::from_secs(1));
        assert!(remembered.get(kept.token.id().as_str()).is_none());

        let pins = Trusting::Pins(vec![world.ca().pin()]);
        let late = DiscoveryRequest::new(world.endpoint(), short.token.clone(), pins);
        let error = discover(late, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.id(), "token-expired");
    })
    .await;
}

/// New controllers know no token at first; nobody who joins meanwhile may notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_stand_while_the_controllers_are_started_again() {
    in_time(async {
        let mut world = World::start().await;
        let tokens = join_all((0..8).map(|_| add_token(&world, None))).await;
        let all: Vec<_> = tokens.iter().collect();
        signed_by(&world, &all).await;
        let named = watcher::Config::default().fields("metadata.name=cluster-info");
        let mut seen = std::pin::pin!(watcher(infos(&world), named).applied_objects());
        seen.next().await.unwrap().unwrap();
        for _ in 0..3 {
            world.restart_controllers().await;
            let marker = add_token(&world, None).await;
            let wanted: BTreeSet<_> = ids(&all);
            loop {
                let info = seen.next().await.unwrap().unwrap();
                let signers = signers(&info, &all);
                assert!(
                    signers.is_superset(&wanted),
                    "only {signers:?} of {wanted:?}"
                );
                if signers.contains(marker.token.id().as_str()) {
                    break;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_joins_over_tls_with_nothing_but_a_token_and_a_pin() {
    in_time(async {
        let world = World::start().await;
        let made = add_token(&world, None).await;
        signed_by(&world, &[&made]).await;
        let pins = || Trusting::Pins(vec![world.ca().pin()]);
        let request = DiscoveryRequest::new(world.endpoint(), made.token.clone(), pins());
        let found = discover(request, &mut |_| {}).await.unwrap();
        assert_eq!(found.trust.ca, world.ca_bundle());
        assert_eq!(found.trust.endpoint, world.endpoint());
        assert_eq!(found.trust.advertised, world.endpoint());

        let (node, key) = (NodeName::parse("joined").unwrap(), key());
        let request = TlsBootstrapRequest {
            wish: client_wish(&node, &key).unwrap(),
            node,
            existing_node: ExistingNode::Refuse,
            deadline: Timestamp::now() + SignedDuration::from_secs(30),
        };
        let enrolled = bootstrap(&found.client, request, &mut |_| {})
            .await
            .unwrap();
        let chain: CertificateBundle = enrolled.issued.chain;
        let kubelet = world.over_tls(Identity::Certificate { chain, key });
        let mut manifest = json!(muster_proving::node("joined", &[], "True"));
        manifest["apiVersion"] = json!("v1");
        manifest["kind"] = json!("Node");
        let registered: Value = kubelet.create("/api/v1/nodes", &manifest).await.unwrap();
        assert_eq!(registered["metadata"]["name"], "joined");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_credential_has_its_own_name() {
    in_time(async {
        let world = World::start().await;
        let made = add_token(&world, None).await;
        signed_by(&world, &[&made]).await;
        let id = made.token.id().as_str();
        let guessed = BootstrapToken::from_parts(id, "0123456789abcdef").unwrap();
        let unknown = BootstrapToken::generate(&mut random);
        let stranger = key();
        let order = IssueRequest::client(
            muster_identity::Subject::new::<String>("x", []),
            stranger.public_key().clone(),
            SignedDuration::from_hours(1),
        );
        let foreign = world
            .ca()
            .issue(&order, Timestamp::now(), &mut random)
            .unwrap();
        let pin = world.ca().pin();
        for (token, pin, expected) in [
            (&guessed, pin, "signature-invalid"),
            (&unknown, pin, "token-unknown"),
            (&made.token, CaPin::of(&foreign), "pin-mismatch"),
        ] {
            let pins = Trusting::Pins(vec![pin]);
            let request = DiscoveryRequest::new(world.endpoint(), token.clone(), pins);
            let error = discover(request, &mut |_| {}).await.unwrap_err();
            assert_eq!(error.id(), expected);
        }
        // Nothing of the secret half is readable for strangers.
        let open = world.over_tls(Identity::Anonymous);
        let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
        let shown = open.get::<Value>(path).await.unwrap().to_string();
        let secret = made.token.secret().expose();
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
        assert!(!shown.contains(secret.as_str()) && !shown.contains(&encoded));
    })
    .await;
}

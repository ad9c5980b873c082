//! From discovery to a certificate, against real sockets.

use muster_handshake::{Progress, renewal};
use muster_identity::PrivateKey;
use muster_net::{ApiClient, Identity, bootstrap, discover, enrol, survey};
use serde_json::json;

use crate::server::Server;
use crate::world::{
    H1, Policy, TOKEN, World, asking, bootstrap_as, bootstrap_request, ear, entropy, loopback,
    node, now, until,
};

fn key() -> PrivateKey {
    PrivateKey::generate(&mut entropy()).unwrap()
}

#[tokio::test]
async fn one_connection_serves_from_the_first_request_to_the_certificate() {
    let world = World::new();
    let server = world.serve().await;
    let (told, mut tell) = ear();
    let discovered = discover(asking(loopback(server.port), world.pin()), &mut tell)
        .await
        .unwrap();
    let key = key();
    let enrolled = bootstrap(&discovered.client, bootstrap_request(&key), &mut tell)
        .await
        .unwrap();
    let leaf = &enrolled.issued.chain.certificates()[0];
    assert_eq!(leaf.subject().common_name, "system:node:node2");
    leaf.verify_signed_by(world.ca.certificate()).unwrap();

    assert_eq!(server.connections().len(), 1);
    let seen = server.seen();
    assert_eq!(seen[0].bearer(), None, "nothing secret before trust");
    let bearer = format!("Bearer {TOKEN}");
    assert!(
        seen[1..]
            .iter()
            .all(|seen| seen.bearer() == Some(bearer.as_str()))
    );
    let told = told.lock().unwrap();
    assert!(matches!(
        told.first(),
        Some(Progress::DiscoveryStarted { .. })
    ));
    assert!(matches!(
        told.last(),
        Some(Progress::CertificateIssued { .. })
    ));
}

#[tokio::test]
async fn a_server_without_http_2_is_joined_too() {
    let world = World::new();
    let speech = crate::server::Speech {
        alpn: H1,
        ..world.speech()
    };
    let server = Server::start(speech, world.handler()).await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap();
    // The three reads go side by side, so three connections are the most that is ever needed.
    assert!(
        server.connections().len() <= 3,
        "{:?}",
        server.connections()
    );
}

/// kube-apiserver ends HTTP/2 connections after anonymous requests, also between two looks at
/// cluster-info; what is verified is then the connection that brought the answer.
#[tokio::test]
async fn a_server_that_ends_anonymous_connections_is_joined_too() {
    let world = World::with_tokens(&[]);
    let speech = crate::server::Speech {
        ends_anonymous: true,
        ..world.speech()
    };
    let server = Server::start(speech, world.handler()).await;
    let request = asking(loopback(server.port), world.pin());
    // The first look finds no signature; the later ones need a connection of their own.
    let mut tell = |progress: Progress| {
        if matches!(progress, Progress::SignatureAwaited { .. }) {
            world.sign_cluster_info();
        }
    };
    let discovered = discover(request, &mut tell).await.unwrap();
    bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap();
    assert!(server.connections().len() > 2, "{:?}", server.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_strangers_become_nodes_at_once() {
    let world = World::new();
    let server = world.serve().await;
    let joins: Vec<_> = (0..100)
        .map(|n| {
            let request = asking(loopback(server.port), world.pin());
            tokio::spawn(async move {
                let discovered = discover(request, &mut |_| {}).await?;
                let node = muster_identity::NodeName::parse(&format!("node-{n}")).unwrap();
                bootstrap(&discovered.client, bootstrap_as(node, &key()), &mut |_| {}).await
            })
        })
        .collect();
    for (n, join) in joins.into_iter().enumerate() {
        let enrolled = join.await.unwrap().unwrap();
        let name = &enrolled.issued.chain.certificates()[0]
            .subject()
            .common_name;
        assert_eq!(*name, format!("system:node:node-{n}"));
    }
    assert_eq!(server.connections().len(), 100);
}

#[tokio::test]
async fn a_rehearsal_proves_the_credential_and_writes_nothing() {
    let world = World::new();
    let server = world.serve().await;
    let client = discover(asking(loopback(server.port), world.pin()), &mut |_| {}).await;
    let client = client.unwrap().client;
    let deadline = now() + jiff::SignedDuration::from_secs(60);
    let refuse = muster_handshake::ExistingNode::Refuse;
    let surveyed = survey(&client, node(), refuse, deadline, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(surveyed.previous_node, None);
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.method == http::Method::GET)
    );
    let stranger = client.with_bearer("zzzzzz.0123456789abcdef".to_owned().into());
    let error = survey(&stranger, node(), refuse, deadline, &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.id(), "unauthorized", "{error}");
}

#[tokio::test]
async fn a_denied_request_ends_the_join() {
    let world = World::new();
    world.set(|state| state.policy = Policy::Deny);
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    let error = bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.id(), "csr-denied", "{error}");
    assert!(
        error.to_string().contains("unknown machine (ByHand)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_pending_request_goes_on_by_itself_once_it_is_approved() {
    let world = World::new();
    world.set(|state| state.policy = Policy::Wait);
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    let approver = std::sync::Arc::clone(&world);
    let mut cures = Vec::new();
    let mut tell = |progress| {
        if let Progress::CsrPending { cure, .. } = progress {
            cures.push(cure);
            approver.decide_now(Policy::Sign);
        }
    };
    bootstrap(&discovered.client, bootstrap_request(&key()), &mut tell)
        .await
        .unwrap();
    assert_eq!(cures.len(), 1);
    assert!(
        cures[0].contains("kubectl certificate approve node-csr-"),
        "{cures:?}"
    );
}

#[tokio::test]
async fn watches_that_drop_are_begun_again() {
    let world = World::new();
    world.set(|state| state.dropped_watches = 3);
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap();
    let watches = server
        .seen()
        .iter()
        .filter(|seen| seen.path.contains("watch=true"))
        .count();
    assert_eq!(watches, 4);
}

#[tokio::test]
async fn a_server_that_turns_requests_away_is_asked_again() {
    let world = World::new();
    world.set(|state| state.turned_away = 5);
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_dies_while_a_request_is_pending_is_found_again() {
    let world = World::new();
    world.set(|state| state.policy = Policy::Wait);
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    let key = key();
    let (told, mut tell) = ear();
    let join = bootstrap(&discovered.client, bootstrap_request(&key), &mut tell);
    let restart = async {
        until(|| {
            let told = told.lock().unwrap();
            let created = told
                .iter()
                .any(|p| matches!(p, Progress::CsrCreated { .. }));
            created
                && server
                    .seen()
                    .iter()
                    .any(|seen| seen.path.contains("watch=true"))
        })
        .await;
        let port = server.stop().await;
        world.set(|state| state.policy = Policy::Sign);
        Server::start_on(port, world.speech(), world.handler()).await
    };
    let (joined, _server) = tokio::join!(join, restart);
    joined.unwrap();
}

#[tokio::test]
async fn a_ready_node_of_our_name_stops_the_join() {
    let world = World::new();
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    world.set(|state| {
        let node = json!({"kind": "Node", "status": ready});
        state.objects.insert("/api/v1/nodes/node2".to_owned(), node);
    });
    let server = world.serve().await;
    let request = asking(loopback(server.port), world.pin());
    let discovered = discover(request, &mut |_| {}).await.unwrap();
    let error = bootstrap(&discovered.client, bootstrap_request(&key()), &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.id(), "node-name-taken", "{error}");
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.method == http::Method::GET)
    );
}

#[tokio::test]
async fn a_node_renews_its_certificate_with_the_one_it_has() {
    let world = World::new();
    let server = world.serve().await;
    let (certificate, old_key) = world.client_certificate(&node());
    let identity = Identity::Certificate {
        chain: certificate.into(),
        key: old_key,
    };
    let client = ApiClient::new(loopback(server.port), &world.bundle(), identity).unwrap();
    let new_key = key();
    let wish = renewal::client_wish(&node(), &new_key).unwrap();
    let deadline = now() + jiff::SignedDuration::from_secs(60);
    let issued = enrol(&client, wish, deadline, &mut |_| {}).await.unwrap();
    assert_eq!(
        issued.chain.certificates()[0].spki_der(),
        new_key.public_key().spki_der()
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.user.as_deref() == Some("system:node:node2"))
    );
}

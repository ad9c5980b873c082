//! The client of an API server, against real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_identity::{CertificateBundle, Kubeconfig, NodeName, Secret};
use muster_net::{ApiClient, ApiError, Identity, RetryPolicy, WatchEvent, client_from_file};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::server::{Reply, Server, Speech};
use crate::world::{H1, H2, TOKEN, World, authority, loopback, status};

fn bearer() -> Identity {
    Identity::Bearer(Secret::new(TOKEN.to_owned()))
}

fn client(world: &World, server: &Server) -> ApiClient {
    ApiClient::new(loopback(server.port), &world.bundle(), bearer()).unwrap()
}

#[tokio::test]
async fn requests_side_by_side_share_one_http_2_connection() {
    let world = World::new();
    let echo = Arc::new(|seen: crate::server::Seen| Reply::Json(200, json!({"path": seen.path})));
    let server = Server::start(world.speech(), echo).await;
    let client = client(&world, &server);
    let requests = (0..50).map(|n| {
        let client = client.clone();
        async move { client.get::<Value>(&format!("/api/{n}")).await.unwrap() }
    });
    let answers = futures::future::join_all(requests).await;
    assert_eq!(answers[49], json!({"path": "/api/49"}));
    assert_eq!(server.connections().len(), 1);
}

#[tokio::test]
async fn idle_http_1_connections_are_used_again() {
    let world = World::new();
    let speech = Speech {
        alpn: H1,
        ..world.speech()
    };
    let server = Server::start(speech, Arc::new(|_| Reply::Json(200, json!({})))).await;
    let client = client(&world, &server);
    for _ in 0..5 {
        client.get::<Value>("/api").await.unwrap();
    }
    assert_eq!(server.connections().len(), 1);
}

#[tokio::test]
async fn a_status_of_the_server_keeps_its_code_and_reason() {
    let world = World::new();
    let reply = |_| Reply::Json(409, status(409, "AlreadyExists"));
    let server = Server::start(world.speech(), Arc::new(reply)).await;
    let error = client(&world, &server)
        .create::<Value>("/api", &json!({}))
        .await
        .unwrap_err();
    assert!(error.is_already_exists(), "{error:?}");
    assert!(!error.is_conflict());
    assert_eq!(error.into_handshake("create it").id(), "server-error");
}

#[tokio::test]
async fn a_server_of_another_ca_or_name_is_refused_with_its_id() {
    let world = World::new();
    let foreign = world.speech_for(&authority(), &[], &["127.0.0.1"], None);
    let misnamed = world.speech_for(&world.ca, &["elsewhere"], &[], None);
    for (speech, id) in [(foreign, "tls-untrusted"), (misnamed, "tls-name-mismatch")] {
        let server = Server::start(speech, world.handler()).await;
        let error = client(&world, &server)
            .get::<Value>("/api")
            .await
            .unwrap_err();
        assert_eq!(error.into_handshake("ask").id(), id);
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_read_survives_overload_and_a_deed_is_not_repeated_blindly() {
    let world = World::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let handler = Arc::new(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::RetryAfter(429, "0", status(429, "TooManyRequests")),
        1 => Reply::Json(503, status(503, "ServiceUnavailable")),
        2 => Reply::Json(500, status(500, "InternalError")),
        _ => Reply::Json(200, json!({"ok": true})),
    });
    let server = Server::start(world.speech(), handler).await;
    let client = client(&world, &server);
    assert_eq!(
        client.get::<Value>("/api").await.unwrap(),
        json!({"ok": true})
    );
    assert_eq!(count.load(Ordering::SeqCst), 4);
    count.store(2, Ordering::SeqCst);
    let error = client
        .create::<Value>("/api", &json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(500));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_client_connects_again_after_a_restart() {
    let world = World::new();
    let ok = Arc::new(|_| Reply::Json(200, json!({})));
    let server = Server::start(world.speech(), ok.clone()).await;
    let client = client(&world, &server);
    client.get::<Value>("/api").await.unwrap();
    let port = server.stop().await;
    let asks = client.get::<Value>("/api");
    let restart = Server::start_on(port, world.speech(), ok);
    let (answer, server) = tokio::join!(asks, restart);
    answer.unwrap();
    client.create::<Value>("/api", &json!({})).await.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let world = World::new();
    let (sender, receiver) = mpsc::unbounded_channel::<Value>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let handler = Arc::new(move |_| Reply::Lines(receiver.lock().unwrap().take().unwrap()));
    let server = Server::start(world.speech(), handler).await;
    let client = client(&world, &server).with_policy(RetryPolicy::once(Duration::from_millis(300)));
    let error = client.get::<Value>("/api").await.unwrap_err();
    assert_eq!(error.into_handshake("ask").id(), "timeout");
    drop(sender);
}

#[tokio::test]
async fn a_watch_delivers_events_until_its_version_is_gone() {
    for alpn in [H2, H1] {
        let world = World::new();
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = std::sync::Mutex::new(Some(receiver));
        let handler = Arc::new(move |_| Reply::Lines(receiver.lock().unwrap().take().unwrap()));
        let server = Server::start(
            Speech {
                alpn,
                ..world.speech()
            },
            handler,
        )
        .await;
        let mut watch = client(&world, &server)
            .watch("/api/v1/nodes?watch=true")
            .await
            .unwrap();
        let object = |version: &str| json!({"metadata": {"resourceVersion": version}});
        let send = |kind: &str, object: Value| {
            sender
                .send(json!({"type": kind, "object": object}))
                .unwrap();
        };
        send("ADDED", object("5"));
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!(event, WatchEvent::Added(object("5")));
        assert_eq!(event.resource_version(), Some("5"));
        send("BOOKMARK", object("9"));
        assert_eq!(
            watch.next().await.unwrap().unwrap(),
            WatchEvent::Bookmark(object("9"))
        );
        send("ERROR", status(410, "Expired"));
        let error = watch.next().await.unwrap().unwrap_err();
        assert!(error.is_expired(), "{error:?}");
        assert!(watch.next().await.is_none(), "over after an error");
    }
}

#[tokio::test]
async fn a_watch_of_a_foreign_body_is_an_error_not_a_hang() {
    let world = World::new();
    let server = Server::start(world.speech(), Arc::new(|_| Reply::Text(200, "hello\n"))).await;
    let mut watch = client(&world, &server)
        .watch("/x?watch=true")
        .await
        .unwrap();
    assert!(matches!(
        watch.next().await,
        Some(Err(ApiError::Decode { .. }))
    ));
}

#[tokio::test]
async fn a_kubeconfig_leads_to_a_client_with_files_relative_to_it() {
    let world = World::new();
    let server = world.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = world.client_certificate(&NodeName::parse("node7").unwrap());
    let pem = format!("{}{}", certificate.to_pem(), key.to_pem().expose());
    std::fs::write(folder.path().join("client.pem"), pem).unwrap();
    let url = loopback(server.port).url();
    let path = folder.path().join("kubelet.conf");
    let kubeconfig =
        Kubeconfig::for_client_files(&url, &world.bundle(), "client.pem", "client.pem");
    std::fs::write(&path, kubeconfig.to_yaml().expose()).unwrap();
    let client = client_from_file(&path).unwrap();
    let error = client
        .get::<Value>("/api/v1/nodes/node7")
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert_eq!(server.seen()[0].user.as_deref(), Some("system:node:node7"));
}

#[tokio::test]
async fn an_unusable_trust_is_refused_before_anything_is_sent() {
    let none = CertificateBundle::from(Vec::new());
    let error = ApiClient::new(loopback(1), &none, Identity::Anonymous).unwrap_err();
    assert!(matches!(error, muster_net::TlsError::NoAnchor));
}

#[tokio::test]
async fn a_client_shows_no_secret_when_it_is_debugged() {
    let world = World::new();
    let client = ApiClient::new(loopback(1), &world.bundle(), bearer()).unwrap();
    assert!(!format!("{client:?}").contains("0123456789abcdef"));
}

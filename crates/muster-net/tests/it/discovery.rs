//! Each wrong input of discovery by its own id, against real sockets.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_handshake::discovery::CLUSTER_INFO_PATH;
use muster_handshake::{DiscoveryRequest, HandshakeError};
use muster_identity::{BootstrapToken, BootstrapTokenSecret, CaPin, Endpoint};
use muster_net::{DialLimits, discover, discover_within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Reply, Server};
use crate::world::{TOKEN, World, asking, authority, loopback, now, status, until};

async fn fails(request: DiscoveryRequest) -> HandshakeError {
    discover(request, &mut |_| {}).await.unwrap_err()
}

fn any_pin() -> CaPin {
    CaPin::of(authority().certificate())
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = fails(asking(loopback(port), any_pin())).await;
    assert_eq!(
        error,
        HandshakeError::ConnectionRefused {
            endpoint: format!("127.0.0.1:{port}")
        }
    );
}

#[tokio::test]
async fn a_host_that_no_route_leads_to() {
    // The kernel refuses TCP to the broadcast address whatever the routes are.
    let endpoint = Endpoint::parse("255.255.255.255:6443").unwrap();
    let error = fails(asking(endpoint, any_pin())).await;
    assert_eq!(error.id(), "host-unreachable", "{error}");
}

#[tokio::test]
async fn a_name_without_an_address() {
    let endpoint = Endpoint::parse("no-such-host.invalid:6443").unwrap();
    let error = fails(asking(endpoint, any_pin())).await;
    assert_eq!(error.id(), "host-unresolvable", "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = DialLimits {
        handshake: Duration::from_millis(100),
        ..DialLimits::default()
    };
    let request = asking(loopback(port), any_pin());
    let error = discover_within(request.clone(), limits, &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.id(), "timeout", "{error}");
    // When it takes longer, a person hears of it before it is over.
    let (told, mut tell) = crate::world::ear();
    let limits = DialLimits {
        handshake: Duration::from_millis(1500),
        ..DialLimits::default()
    };
    discover_within(request, limits, &mut tell)
        .await
        .unwrap_err();
    let told = told.lock().unwrap();
    assert!(matches!(
        told[1],
        muster_handshake::Progress::NoAnswerYet { id: "timeout", .. }
    ));
    drop(listener);
}

/// A server that reads a little, writes `answer` and closes.
async fn plain(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_port_that_speaks_plain_http_or_ssh() {
    let http = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n";
    for answer in [&http[..], b"SSH-2.0-OpenSSH_9.2p1\r\n"] {
        let error = fails(asking(loopback(plain(answer).await), any_pin())).await;
        assert_eq!(error.id(), "not-tls", "{error}");
    }
}

#[tokio::test]
async fn a_port_that_closes_during_the_handshake() {
    let error = fails(asking(loopback(plain(b"").await), any_pin())).await;
    assert_eq!(error.id(), "connection-lost", "{error}");
}

#[tokio::test]
async fn a_web_server_is_not_kubernetes() {
    let world = World::new();
    for reply in [
        || Reply::Text(200, "<html>welcome</html>"),
        || Reply::Text(404, "404 page not found"),
        || Reply::Json(200, json!({"hello": "world"})),
    ] {
        let server = Server::start(world.speech(), Arc::new(move |_| reply())).await;
        let error = fails(asking(loopback(server.port), world.pin())).await;
        assert_eq!(error.id(), "not-kubernetes", "{error}");
    }
}

#[tokio::test]
async fn a_closed_or_missing_cluster_info() {
    let world = World::new();
    for (code, reason, id) in [
        (403, "Forbidden", "discovery-closed"),
        (401, "Unauthorized", "discovery-closed"),
        (404, "NotFound", "cluster-info-missing"),
    ] {
        let reply = move |_| Reply::Json(code, status(code, reason));
        let server = Server::start(world.speech(), Arc::new(reply)).await;
        let error = fails(asking(loopback(server.port), world.pin())).await;
        assert_eq!(error.id(), id, "{error}");
    }
}

#[tokio::test]
async fn a_wrong_pin() {
    let world = World::new();
    let server = world.serve().await;
    let error = fails(asking(loopback(server.port), any_pin())).await;
    let HandshakeError::PinMismatch { seen, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*seen, [world.pin()]);
}

#[tokio::test]
async fn an_unknown_and_an_expired_token() {
    let other = World::with_tokens(&["zzzzzz.0123456789abcdef"]);
    let server = other.serve().await;
    let error = fails(asking(loopback(server.port), other.pin())).await;
    assert_eq!(error.id(), "token-unknown", "{error}");

    let mut secret = BootstrapTokenSecret::new(BootstrapToken::parse(TOKEN).unwrap());
    secret.expiration = Some(now() - SignedDuration::from_mins(1)).into();
    let world = World::with_secrets(&[secret]);
    let server = world.serve().await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert_eq!(error.id(), "token-expired", "{error}");
}

#[tokio::test]
async fn a_wrong_secret_half() {
    let world = World::with_tokens(&["abcdef.fedcba9876543210"]);
    let server = world.serve().await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert_eq!(error.id(), "signature-invalid", "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_points_to_the_advertised_endpoint() {
    let world = World::new();
    let speech = world.speech_for(&world.ca, &["cp.example"], &["10.9.8.7"], None);
    let server = Server::start(speech, world.handler()).await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    let HandshakeError::TlsNameMismatch {
        names,
        host,
        advertised,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(names, &["cp.example", "10.9.8.7"]);
    assert_eq!(host, "127.0.0.1");
    assert_eq!(advertised.as_deref(), Some("cp.example:6443"));
}

#[tokio::test]
async fn somebody_in_the_middle_who_relays_cluster_info_gets_no_token() {
    let world = World::new();
    let stranger = authority();
    let speech = world.speech_for(&stranger, &["localhost"], &["127.0.0.1"], None);
    let server = Server::start(speech, world.handler()).await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert_eq!(error.id(), "tls-untrusted", "{error}");
    assert!(!server.seen().is_empty());
    for seen in server.seen() {
        assert_eq!(seen.path, CLUSTER_INFO_PATH);
        assert_eq!(seen.bearer(), None);
    }
}

fn days(from: i64, to: i64) -> Option<(Timestamp, Timestamp)> {
    let day = |n: i64| now() + SignedDuration::from_hours(24 * n);
    Some((day(from), day(to)))
}

#[tokio::test]
async fn a_clock_that_is_wrong_and_a_certificate_that_is_really_old() {
    let world = World::new();
    let local = ["127.0.0.1"];
    // The clock of this machine is right, so a server a month ahead plays the right one.
    let mut ahead = world.speech_for(&world.ca, &[], &local, days(20, 60));
    let month_ahead = now() + SignedDuration::from_hours(24 * 30);
    ahead.date = Some(
        month_ahead
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string(),
    );
    let server = Server::start(ahead, world.handler()).await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert_eq!(error.id(), "clock-skew", "{error}");
    assert!(error.to_string().contains("behind the server's"), "{error}");

    let expired = world.speech_for(&world.ca, &[], &local, days(-20, -10));
    let server = Server::start(expired, world.handler()).await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert_eq!(error.id(), "tls-untrusted", "{error}");
    assert!(error.to_string().contains("expired at"), "{error}");
}

#[tokio::test]
async fn a_foreign_chain_is_foreign_even_when_it_is_expired_too() {
    let world = World::new();
    let speech = world.speech_for(&authority(), &[], &["127.0.0.1"], days(-20, -10));
    let server = Server::start(speech, world.handler()).await;
    let error = fails(asking(loopback(server.port), world.pin())).await;
    assert!(
        error.to_string().contains("not issued by the cluster's CA"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_comes_up_within_the_patience_is_waited_for() {
    let world = World::new();
    let server = world.serve().await;
    let pin = world.pin();
    let port = server.stop().await;
    let mut request = asking(loopback(port), pin);
    request.patience = SignedDuration::from_secs(30);
    let (told, mut tell) = crate::world::ear();
    let join = discover(request, &mut tell);
    let comes_up = async {
        until(|| {
            let told = told.lock().unwrap();
            told.iter()
                .any(|p| matches!(p, muster_handshake::Progress::Retrying { .. }))
        })
        .await;
        Server::start_on(port, world.speech(), world.handler()).await
    };
    let (joined, _server) = tokio::join!(join, comes_up);
    joined.unwrap();
}

//! Clients that take too much, speak wrongly or not at all: each is answered or ended, and nobody else notices.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster_apiserver::UserInfo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tower::ServiceExt as _;

use crate::{
    dial::{Http1, Wire, admin, connect, greet, until},
    harness::{CONFIG_MAPS, Cluster, config_map},
};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn still_serves(cluster: &Cluster) {
    let wire = connect(&cluster.server, true, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/readyz").body(http_body_util::Full::<Bytes>::default());
    assert_eq!(
        sender
            .send_request(request.unwrap())
            .await
            .unwrap()
            .status(),
        200
    );
}

/// Reads until the server has enough.
async fn rest_of(wire: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    let reading = wire.read_to_end(&mut answer);
    let ended = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(ended.is_ok(), "the server ends the connection");
    answer
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431_in_both_versions() {
    let cluster = Cluster::start().await;
    let mut wire = connect(&cluster.server, true, b"http/1.1").await;
    let mut head = b"GET /readyz HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    head.resize(80 * 1024, b'a');
    wire.write_all(&head).await.unwrap();
    let answer = rest_of(&mut wire).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );

    let mut wire = connect(&cluster.server, true, b"http/1.1").await;
    let fields: String = (0..600).map(|n| format!("x{n}: 1\r\n")).collect();
    let head = format!("GET /readyz HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
    wire.write_all(head.as_bytes()).await.unwrap();
    assert!(rest_of(&mut wire).await.starts_with(b"HTTP/1.1 431 "));

    let wire = connect(&cluster.server, true, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("/readyz");
    for n in 0..20 {
        request = request.header(format!("x{n}"), "a".repeat(4 * 1024));
    }
    let request = request
        .body(http_body_util::Full::<Bytes>::default())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 431);
    still_serves(&cluster).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_with_413_however_it_comes() {
    let cluster = Cluster::start().await;
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    let mut client = Http1::over(connect(&cluster.server, true, b"http/1.1").await).await;
    let answer = client
        .send("POST", CONFIG_MAPS, &[JSON], large.clone())
        .await;
    assert_eq!(answer.status(), 413);
    let status: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(status["reason"], "RequestEntityTooLarge");

    // Without a length, and without an end.
    let mut wire = connect(&cluster.server, true, b"http/1.1").await;
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    wire.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..60 {
        if wire.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    wire.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    still_serves(&cluster).await;
}

#[tokio::test]
async fn bodies_that_are_deep_or_no_text_or_no_object_are_answered_with_400() {
    let cluster = Cluster::start().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let nested_protobuf = [b"k8s\0".to_vec(), vec![0x0a; 100_000]].concat();
    let cases: [(&str, Vec<u8>); 7] = [
        ("application/json", deep.clone().into_bytes()),
        ("application/json", deep_object.into_bytes()),
        (
            "application/json",
            b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
        ),
        ("application/yaml", deep.into_bytes()),
        ("application/yaml", b"a: \xff".to_vec()),
        ("application/vnd.kubernetes.protobuf", nested_protobuf),
        (
            "application/vnd.kubernetes.protobuf",
            b"k8s\0\xff\xff\xff\xff\xff".to_vec(),
        ),
    ];
    for (media, body) in cases {
        let headers = [("content-type", media)];
        let answer = cluster
            .admin()
            .call(Method::POST, CONFIG_MAPS, &headers, body)
            .await;
        assert_eq!(
            answer.refusal(),
            (400, "BadRequest".to_owned()),
            "{media}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn representations_and_methods_that_there_are_not_are_refused_by_their_own_codes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let csv = [("content-type", "text/csv")];
    assert_eq!(
        admin.call(Method::POST, CONFIG_MAPS, &csv, "a").await.code,
        415
    );
    let cbor = [("content-type", "application/cbor")];
    assert_eq!(
        admin.call(Method::POST, CONFIG_MAPS, &cbor, "a").await.code,
        415
    );
    for accept in ["image/png", "application/cbor"] {
        assert_eq!(admin.get_as(CONFIG_MAPS, accept).await.code, 406);
    }
    let cbor_or_json = "application/cbor, application/json;q=0.5";
    let answer = admin.get_as(CONFIG_MAPS, cbor_or_json).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    for method in ["OPTIONS", "TRACE", "CONNECT", "BREW"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for path in [CONFIG_MAPS, "/api/v1/nodes/x", "/version"] {
            let answer = admin.call(method.clone(), path, &[], "").await;
            assert_eq!(answer.code, 405, "{method} {path}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
    for (path, code) in [
        (CONFIG_MAPS, 405),
        ("/version", 405),
        ("/healthz", 200),
        ("/openid/v1/jwks", 200),
    ] {
        let answer = admin.call(Method::HEAD, path, &[], "").await;
        assert_eq!(
            (answer.code.as_u16(), answer.bytes.len()),
            (code, 0),
            "{path}"
        );
    }
    assert_eq!(
        admin.call(Method::POST, "/healthz", &[], "").await.text(),
        "ok"
    );
    assert_eq!(admin.get_as("/version", "image/png").await.code, 406);
    for path in ["/nowhere", "/apis/nowhere", "//version"] {
        let answer = admin.get(path).await;
        assert_eq!(
            (answer.code.as_u16(), answer.text().as_str()),
            (404, "404 page not found\n")
        );
    }
}

#[tokio::test]
async fn paths_are_taken_as_they_are_spelled() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for path in [
        "//api/v1/nodes",
        "/api//v1/nodes",
        "/api/v1//nodes",
        "/api/v1/namespaces//configmaps",
        "/api/v1/./nodes",
        "/apis/apps//v1/deployments",
    ] {
        assert_eq!(admin.get(path).await.code, 404, "{path}");
    }
    for path in [
        "/api/v1/namespaces/../nodes",
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "/api/v1/namespaces/default/configmaps/a%2Fb",
        "/api/v1/namespaces/default/configmaps/%00",
    ] {
        let code = admin.get(path).await.code.as_u16();
        assert!(matches!(code, 400 | 404), "{path}: {code}");
    }
    // Who may see nothing sees nothing under any spelling.
    let stranger = cluster.user(UserInfo::new("stranger", ["system:authenticated"]));
    for path in [
        "//api/v1/nodes",
        "/api//v1/secrets",
        "/api/v1/%6eodes",
        "/api/v1/nodes/",
    ] {
        let code = stranger.get(path).await.code.as_u16();
        assert!(matches!(code, 403 | 404), "{path}: {code}");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_not_served_is_refused_with_a_status() {
    let cluster = Cluster::start().await;
    cluster
        .admin()
        .post("/api/v1/nodes", &json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    let mut client = Http1::over(connect(&cluster.server, true, b"http/1.1").await).await;
    let upgrade = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    let answer = client
        .send("POST", "/api/v1/nodes/n/proxy", &upgrade, "")
        .await;
    assert!(matches!(answer.status().as_u16(), 501 | 405), "{answer:?}");
    let status: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(status["kind"], "Status");
    assert_eq!(client.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn a_request_ends_when_its_time_is_over() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (query, code) in [("invalid", 400), ("5", 400), ("3m", 200), ("0s", 200)] {
        let answer = admin.get(&format!("/version?timeout={query}")).await;
        assert_eq!(answer.code, code, "{query}");
        if code == 400 {
            assert!(
                answer
                    .text()
                    .contains("invalid timeout specified in the request URL")
            );
        }
    }
    let endless = StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >());
    let request = Request::post(format!("{CONFIG_MAPS}?timeout=100ms"))
        .body(endless)
        .unwrap();
    let user = UserInfo::new("admin", ["system:masters"]);
    let answer = cluster.server.client(user).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 504);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["reason"], "Timeout");
    assert_eq!(
        status["message"],
        "Timeout: request did not complete within the allotted timeout"
    );
}

#[tokio::test]
async fn connections_that_say_nothing_or_not_enough_are_ended() {
    let cluster = Cluster::start_with(|config| {
        config.limits.handshake = Duration::from_millis(300);
        config.limits.first_request = Duration::from_millis(600);
        config.limits.idle = Duration::from_millis(900);
    })
    .await;
    let address = cluster.server.local_addrs()[0];
    // Never begins TLS.
    let mut silent = TcpStream::connect(address).await.unwrap();
    // Begins TLS and goes to sleep.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    // A head that never ends, and one byte of HTTP/2.
    let mut slow = connect(&cluster.server, true, b"http/1.1").await;
    slow.write_all(b"GET /readyz HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut preface = connect(&cluster.server, true, b"h2").await;
    preface.write_all(b"P").await.unwrap();
    // A connection that was used once.
    let mut used = connect(&cluster.server, true, b"http/1.1").await;
    used.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    rest_of(&mut silent).await;
    rest_of(&mut half).await;
    rest_of(&mut slow).await;
    rest_of(&mut preface).await;
    assert!(rest_of(&mut used).await.starts_with(b"HTTP/1.1 200 OK"));
    still_serves(&cluster).await;
}

#[tokio::test]
async fn a_quiet_connection_with_a_watch_on_it_stays() {
    let cluster = Cluster::start_with(|config| {
        config.limits.first_request = Duration::from_millis(300);
        config.limits.idle = Duration::from_millis(300);
    })
    .await;
    let wire = connect(&cluster.server, true, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{CONFIG_MAPS}?watch=1&resourceVersion=0"))
        .body(http_body_util::Full::<Bytes>::default())
        .unwrap();
    let watch = sender.send_request(request).await.unwrap();
    let mut quiet = connect(&cluster.server, true, b"http/1.1").await;
    rest_of(&mut quiet).await;
    rest_of(&mut connect(&cluster.server, true, b"http/1.1").await).await;
    assert!(!connection.is_finished());
    cluster
        .admin()
        .post(CONFIG_MAPS, &config_map("a"))
        .await
        .ok();
    let mut body = watch.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"{\"type\":\"ADDED\""));
    drop(body);
    drop(sender);
    until("the connection is let go", || async {
        connection.is_finished()
    })
    .await;
}

#[tokio::test]
async fn one_address_does_not_keep_others_from_connecting() {
    let cluster = Cluster::start_with(|config| config.limits.connections = 16).await;
    let address = cluster.server.local_addrs()[0];
    let mut greedy = Vec::new();
    for _ in 0..64 {
        greedy.push(TcpStream::connect(address).await.unwrap());
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let modest = socket.connect(address).await.unwrap();
    let served = async {
        let wire = greet(&cluster.server, modest, None, b"http/1.1")
            .await
            .unwrap();
        Http1::over(wire).await.get("/readyz").await.status()
    };
    let served = tokio::time::timeout(Duration::from_secs(5), served).await;
    assert_eq!(served.unwrap(), 200);
}

/// One HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// `GET /readyz` in HPACK's static table and literals.
fn get_readyz() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x01, 1, b'x', 0x04, 7];
    block.extend(b"/readyz");
    block
}

/// A connection that has said the HTTP/2 preface, and sends `flood` again and again until the server has enough or
/// has taken all of it.
async fn flood(cluster: &Cluster, times: u32, flood: impl Fn(u32) -> Vec<u8>) -> bool {
    let wire: Wire = connect(&cluster.server, true, b"h2").await;
    let (mut reader, mut writer) = tokio::io::split(wire);
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 64 * 1024];
        while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    });
    writer
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    writer.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    for n in 0..times {
        let sent = tokio::time::timeout(Duration::from_secs(20), writer.write_all(&flood(n))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return true;
        }
    }
    tokio::time::timeout(Duration::from_secs(5), reading)
        .await
        .is_ok()
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_without_end_cost_the_connection() {
    let cluster = Cluster::start().await;
    let ended = flood(&cluster, 5_000, |n| {
        let stream = 2 * n + 1;
        let mut bytes = frame(HEADERS, 0x5, stream, &get_readyz());
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    })
    .await;
    assert!(ended, "rapid resets go on and on");
    still_serves(&cluster).await;
}

#[tokio::test]
async fn a_head_in_endless_continuations_costs_the_connection() {
    let cluster = Cluster::start().await;
    let ended = flood(&cluster, 20_000, |n| match n {
        0 => frame(HEADERS, 0x1, 1, &get_readyz()),
        // A literal header field without a name in any table.
        _ => frame(
            CONTINUATION,
            0,
            1,
            &[&[0x00, 1, b'a', 100][..], &[b'b'; 100][..]].concat(),
        ),
    })
    .await;
    assert!(ended, "continuations go on and on");
    still_serves(&cluster).await;
}

#[tokio::test]
async fn pings_and_settings_without_end_hold_nobody_up() {
    let cluster = Cluster::start().await;
    let (pings, settings) = (
        flood(&cluster, 20_000, |n| {
            frame(PING, 0, 0, &u64::from(n).to_be_bytes())
        }),
        flood(&cluster, 20_000, |_| frame(SETTINGS, 0, 0, &[])),
    );
    let ((_, _), ()) = tokio::join!(async { tokio::join!(pings, settings) }, async {
        for _ in 0..5 {
            still_serves(&cluster).await;
        }
    });
}

fn node(name: &str) -> UserInfo {
    UserInfo::new(
        format!("system:node:{name}"),
        ["system:nodes", "system:authenticated"],
    )
}

#[tokio::test]
async fn a_greedy_user_starves_neither_leases_nor_other_users() {
    let cluster = Cluster::start_with(|config| {
        config.limits.reading = 8;
        config.limits.writing = 8;
        config.limits.waiting = 40;
        config.limits.waiting_per_user = 20;
        config.limits.patience = Duration::from_secs(30);
    })
    .await;
    let everything = json!({
        "metadata": {"name": "everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "everybody"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    cluster.admin().post(bindings, &everything).await.ok();
    for n in 0..5 {
        let name = format!("n{n}");
        let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        cluster
            .user(node(&name))
            .post("/api/v1/nodes", &json!({"metadata": {"name": name}}))
            .await
            .ok();
        cluster.user(node(&name)).post(leases, &lease).await.ok();
    }

    // Writes with bodies that never end, more than may be worked on and wait together.
    let greedy = UserInfo::new("greedy", ["everybody"]);
    let mut flood: Vec<_> = (0..60)
        .map(|_| {
            let endless =
                futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
            let request = Request::post(CONFIG_MAPS)
                .body(StreamBody::new(endless))
                .unwrap();
            tokio::spawn(cluster.server.client(greedy.clone()).oneshot(request))
        })
        .collect();
    let mut refused = 0;
    until("the greedy user is told to come back later", || {
        let done: Vec<_> = flood
            .extract_if(.., |request| request.is_finished())
            .collect();
        refused += done.len();
        let enough = refused >= 60 - 6 - 20;
        async move {
            for answer in done {
                let answer = answer.await.unwrap().unwrap();
                assert_eq!(answer.status(), 429);
                assert_eq!(answer.headers()["retry-after"], "1");
            }
            enough
        }
    })
    .await;

    // Everybody else goes on as if nothing were.
    let renewals = futures::stream::iter(0..100)
        .map(|n| {
            let name = format!("n{}", n % 5);
            let (cluster, renewal) = (&cluster, json!({"spec": {"leaseDurationSeconds": 40 + n}}));
            async move {
                let path = format!(
                    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
                );
                cluster.user(node(&name)).merge(&path, &renewal).await.code
            }
        })
        .buffer_unordered(10)
        .collect::<Vec<_>>()
        .await;
    assert!(renewals.iter().all(|code| *code == 200), "{renewals:?}");
    let modest = cluster.user(UserInfo::new("modest", ["everybody"]));
    for n in 0..10 {
        let made = modest
            .post(CONFIG_MAPS, &config_map(&format!("m{n}")))
            .await;
        assert_eq!(made.code, 201);
    }
    assert_eq!(modest.get(CONFIG_MAPS).await.code, 200);
    for request in flood {
        request.abort();
    }
}

#[tokio::test]
async fn one_user_has_so_many_watches_and_no_more() {
    let cluster = Cluster::start_with(|config| config.limits.watches_per_user = 2).await;
    let viewer = || cluster.user(UserInfo::new("viewer", ["kubeadm:cluster-admins"]));
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion=0");
    let first = viewer().watch(&path).await;
    let _second = viewer().watch(&path).await;
    let third = viewer().get(&path).await;
    assert_eq!(third.refusal(), (429, "TooManyRequests".to_owned()));
    assert_eq!(third.headers["retry-after"], "1");
    drop(first);
    let _third = viewer().watch(&path).await;
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_take_it() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut large = config_map("large");
    large["data"]["a"] = "abcdefgh".repeat(25_000).into();
    client.post(CONFIG_MAPS, &large).await.ok();
    let gzip = [("accept-encoding", "gzip")];
    for path in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/large")] {
        let answer = client.call(Method::GET, &path, &gzip, "").await;
        assert_eq!(answer.headers["content-encoding"], "gzip");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*answer.bytes)
            .read_to_string(&mut text)
            .unwrap();
        let plain = client.get(&path).await;
        assert!(!plain.headers.contains_key("content-encoding"));
        assert!(text == plain.text(), "{path}");
    }
    let small = client.call(Method::GET, "/version", &gzip, "").await;
    assert!(!small.headers.contains_key("content-encoding"));
    let _ = admin(&cluster.server);
}

#[tokio::test]
async fn deprecated_kinds_come_with_a_warning() {
    let cluster = Cluster::start().await;
    let answer = cluster
        .admin()
        .get("/api/v1/namespaces/default/endpoints")
        .await;
    assert_eq!(
        answer.headers["warning"],
        "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\""
    );
    let answer = cluster.admin().get("/api/v1/nodes").await;
    assert!(!answer.headers.contains_key("warning"));
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
}

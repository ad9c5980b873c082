//! The server on the network: TLS, client certificates, both versions of HTTP, an orderly end.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{
    dial::{connect, get_http1},
    harness::Cluster,
};

#[tokio::test]
async fn a_client_certificate_names_the_user_and_no_certificate_means_anonymous() {
    let cluster = Cluster::start().await;
    let admin = connect(&cluster.server, true, b"http/1.1").await;
    let answer = get_http1(admin, "/api/v1/nodes").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("date"));
    let stranger = connect(&cluster.server, false, b"http/1.1").await;
    let answer = get_http1(stranger, "/api/v1/nodes").await;
    assert_eq!(answer.status(), 403);
    assert!(String::from_utf8_lossy(answer.body()).contains("system:anonymous"));
    let open = connect(&cluster.server, false, b"http/1.1").await;
    assert_eq!(get_http1(open, "/readyz").await.status(), 200);
}

#[tokio::test]
async fn a_wrong_token_is_not_anonymous() {
    let cluster = Cluster::start().await;
    let wire = connect(&cluster.server, false, b"http/1.1").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/version")
        .header("host", "x")
        .header("authorization", "Bearer abcdef.0123456789abcdef")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn many_streams_share_an_http2_connection_and_watches_end_with_the_server() {
    let cluster = Cluster::start().await;
    let wire = connect(&cluster.server, true, b"h2").await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let get = |path: &'static str| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
            sender.send_request(request).await.unwrap()
        }
    };
    let watch = get("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0").await;
    let answers =
        futures::future::join_all((0..50).map(|_| get("/api/v1/namespaces/kube-system"))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    drop(answers);
    drop(sender);
    let body = tokio::spawn(watch.into_body().collect());
    cluster.server.shutdown().await;
    body.await.unwrap().unwrap();
    let _ = connection.await.unwrap();
}

#[tokio::test]
async fn rude_connections_are_ended_and_others_do_not_notice() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let cluster = Cluster::start().await;
    // Not TLS at all.
    let mut plain = TcpStream::connect(cluster.server.local_addrs()[0])
        .await
        .unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));

    // A head without end.
    let mut wire = connect(&cluster.server, true, b"http/1.1").await;
    let mut head = b"GET /readyz HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    head.resize(256 * 1024, b'a');
    let _ = wire.write_all(&head).await;
    let mut answer = Vec::new();
    let _ = wire.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );

    // Not HTTP/2 although it was agreed.
    let mut wire = connect(&cluster.server, true, b"h2").await;
    let _ = wire.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let _ = wire.read_to_end(&mut answer).await;

    let good = connect(&cluster.server, true, b"http/1.1").await;
    assert_eq!(get_http1(good, "/readyz").await.status(), 200);
}

#[tokio::test]
async fn what_is_under_way_ends_well_when_the_server_stops() {
    let cluster = Cluster::start().await;
    let address = cluster.server.local_addrs()[0];
    // A request whose body is still on its way.
    let wire = connect(&cluster.server, true, b"http/1.1").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
        .await
        .unwrap();
    tokio::spawn(connection);
    let (body, feed) = futures::channel::mpsc::unbounded::<Bytes>();
    let feed = (body, feed);
    let stream = futures::StreamExt::map(feed.1, |bytes| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes))
    });
    let request = Request::post(crate::harness::CONFIG_MAPS)
        .header("host", "x")
        .header("content-type", "application/json")
        .body(http_body_util::StreamBody::new(stream))
        .unwrap();
    feed.0.unbounded_send("{\"metadata\":".into()).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    // An idle HTTP/2 connection.
    let wire = connect(&cluster.server, true, b"h2").await;
    let (idle, connection) = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(wire),
    )
    .await
    .unwrap();
    let idle_ended = tokio::spawn(connection);
    crate::dial::until("the request is being worked on", || async {
        let metrics = cluster.admin().get("/metrics").await.text();
        metrics.contains("apiserver_current_inflight_requests{request_kind=\"mutating\"} 1")
    })
    .await;

    let stopping = tokio::spawn(cluster.server.shutdown());
    idle_ended.await.unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err());
    feed.0
        .unbounded_send("{\"name\":\"late\"}}".into())
        .unwrap();
    drop(feed.0);
    assert_eq!(answer.await.unwrap().unwrap().status(), 201);
    stopping.await.unwrap();
}

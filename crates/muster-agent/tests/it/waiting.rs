//! A server that leaves the kubelet waiting: for the next certificate, and for its first Lease.

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::{SignedDuration, Timestamp};
use muster_agent::{KubeletOptions, RuntimeChoice, kubelet};
use muster_identity::pki::{CertificateAuthority, IssueRequest, Validity};
use muster_identity::{CertificateBundle, Kubeconfig, NodeName, PrivateKey, SubjectAltNames};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

fn entropy(bytes: &mut [u8]) {
    let mut source = std::fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut source, bytes).unwrap();
}

fn fresh_key() -> PrivateKey {
    PrivateKey::generate(&mut (entropy as fn(&mut [u8]))).unwrap()
}

fn issue(ca: &CertificateAuthority, request: &IssueRequest) -> String {
    let mut entropy = entropy as fn(&mut [u8]);
    ca.issue(request, Timestamp::now(), &mut entropy)
        .unwrap()
        .to_pem()
}

/// What a kubelet asks for in vain, and what it says.
#[derive(Clone, Default)]
struct Scene {
    /// Leases are never answered.
    lease_hangs: bool,
    /// It asked for what it does not get.
    asked: Arc<Notify>,
    /// It said that the node is shutting down.
    farewell: Arc<Notify>,
}

/// Answers like an API server on which no request for a certificate is ever decided.
async fn answer(request: Request<Incoming>, scene: Scene) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = parts.uri.path();
    if path.contains("/leases") && scene.lease_hangs {
        scene.asked.notify_one();
        std::future::pending::<()>().await;
    }
    if object.to_string().contains("node is shutting down") {
        scene.farewell.notify_one();
    }
    let code = match (parts.method, path.contains("/certificatesigningrequests")) {
        (Method::GET, true) => return Response::new(silence()),
        (Method::POST, true) => {
            scene.asked.notify_one();
            StatusCode::CREATED
        }
        (Method::POST, false) => StatusCode::CREATED,
        (Method::GET, false) if path.contains("/leases/") => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    object["metadata"]["uid"] = json!("uid");
    object["metadata"]["resourceVersion"] = json!("1");
    let bytes = Bytes::from(object.to_string());
    let whole = Full::new(bytes).boxed_unsync();
    let mut response = Response::new(whole);
    *response.status_mut() = code;
    response
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A watch in which nothing happens.
fn silence() -> Body {
    struct Silence;
    impl hyper::body::Body for Silence {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Pending
        }
    }
    Silence.boxed_unsync()
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, scene: Scene) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, scene) = (tls.clone(), scene.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| {
                let scene = scene.clone();
                async move { Ok::<_, Infallible>(answer(request, scene).await) }
            });
            // The client hangs up when the test is over.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn acceptor(ca: &CertificateAuthority) -> TlsAcceptor {
    let key = fresh_key();
    let sans = SubjectAltNames {
        ip: vec!["127.0.0.1".parse().unwrap()],
        ..SubjectAltNames::default()
    };
    let life = SignedDuration::from_hours(1);
    let pem = issue(
        ca,
        &IssueRequest::server("s", sans, key.public_key().clone(), life),
    );
    let chain = CertificateBundle::from_pem(pem.as_bytes()).unwrap();
    let der = CertificateDer::from(chain.certificates()[0].der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// What a join leaves behind, with a certificate of whose life most has passed.
fn joined(root: &Path, ca: &CertificateAuthority, server: &str) {
    let key = fresh_key();
    let node = NodeName::parse("n1").unwrap();
    let now = Timestamp::now();
    let request = IssueRequest {
        validity: Validity::Between {
            not_before: now - SignedDuration::from_hours(100),
            not_after: now + SignedDuration::from_hours(1),
        },
        ..IssueRequest::node_client(&node, key.public_key().clone(), SignedDuration::ZERO)
    };
    let certificate = issue(ca, &request);
    let bundle = CertificateBundle::from(ca.certificate().clone());
    let config =
        Kubeconfig::for_client_certificate(server, &bundle, "n1", &certificate, &key.to_pem());
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("etc/kubernetes/kubelet.conf", config.to_yaml().expose());
    write(
        "var/lib/kubelet/config.yaml",
        "rotateCertificates: true\nhealthzPort: 0\n",
    );
    write(
        "var/lib/kubelet/pki/kubelet-client-current.pem",
        &certificate,
    );
}

/// A kubelet that runs against the scene until it has asked for what it does not get, and is told to stop then.
async fn stopped_while_it_waits(scene: &Scene) {
    let root = tempfile::tempdir().unwrap();
    let mut random = entropy as fn(&mut [u8]);
    let life = SignedDuration::from_hours(1000);
    let ca =
        CertificateAuthority::new_self_signed("ca", Timestamp::now(), life, &mut random).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    joined(root.path(), &ca, &server);
    let serving = tokio::spawn(serve(listener, acceptor(&ca), scene.clone()));
    let options = KubeletOptions {
        root: root.path().to_owned(),
        runtime: RuntimeChoice::Hollow,
        name: None,
        node_ip: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        taints: Vec::new(),
        version: "v1.36.2".to_owned(),
        entropy,
    };
    let stop = Arc::new(Notify::new());
    let stopping = {
        let stop = Arc::clone(&stop);
        async move { stop.notified().await }
    };
    let running = tokio::spawn(kubelet::run(options, stopping));
    tokio::select! {
        () = scene.asked.notified() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it was not asked for"),
    }
    stop.notify_one();
    let ended = tokio::time::timeout(Duration::from_secs(30), running).await;
    assert!(ended.unwrap().unwrap().is_ok());
    serving.abort();
}

#[tokio::test]
async fn a_renewal_that_nobody_approves_holds_nothing_up() {
    // The request is out and undecided; it stays so for a quarter of an hour.
    stopped_while_it_waits(&Scene::default()).await;
}

#[tokio::test]
async fn a_kubelet_that_is_stopped_while_its_lease_is_under_way_says_that_the_node_shuts_down() {
    let scene = Scene {
        lease_hangs: true,
        ..Scene::default()
    };
    stopped_while_it_waits(&scene).await;
    let said = tokio::time::timeout(Duration::from_secs(30), scene.farewell.notified()).await;
    assert!(said.is_ok(), "nothing was said of shutting down");
}

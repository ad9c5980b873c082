//! A TLS server on loopback that answers by a closure and remembers what it was asked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use muster_identity::{Certificate, CertificateBundle, PrivateKey};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Common name of the client's certificate.
    pub(crate) user: Option<String>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
    }
}

/// What the server answers.
pub(crate) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    RetryAfter(u16, &'static str, Value),
    /// One line for each value; the answer ends when the sender is gone.
    Lines(mpsc::UnboundedReceiver<Value>),
}

pub(crate) type Handler = Arc<dyn Fn(Seen) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// How the server speaks.
pub(crate) struct Speech {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    pub(crate) alpn: &'static [&'static [u8]],
    /// CAs whose client certificates are accepted, though none is required.
    pub(crate) client_ca: Option<CertificateBundle>,
    /// The `Date` header, instead of the real time.
    pub(crate) date: Option<String>,
    /// Ends a connection after the first anonymous request on it, as kube-apiserver does.
    pub(crate) ends_anonymous: bool,
}

impl Server {
    pub(crate) async fn start(speech: Speech, handler: Handler) -> Self {
        Self::start_on(0, speech, handler).await
    }

    pub(crate) async fn start_on(port: u16, speech: Speech, handler: Handler) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let date = speech.date.clone();
        let ends_anonymous = speech.ends_anonymous;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config(speech)));
        let log = Arc::clone(&seen);
        let count = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            // Connections die with the server.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (acceptor, log, handler, date) = (
                    acceptor.clone(),
                    Arc::clone(&log),
                    Arc::clone(&handler),
                    date.clone(),
                );
                let number = count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else {
                        return;
                    };
                    let user = tls.get_ref().1.peer_certificates().map(|chain| {
                        let leaf = Certificate::from_der(&chain[0]).unwrap();
                        leaf.subject().common_name.clone()
                    });
                    let over = Arc::new(tokio::sync::Notify::new());
                    let end = Arc::clone(&over);
                    let service = service_fn(move |request| {
                        let end = Arc::clone(&end);
                        let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                        let (user, date) = (user.clone(), date.clone());
                        async move {
                            let seen = read(number, user, request).await;
                            if ends_anonymous && seen.bearer().is_none() {
                                end.notify_one();
                            }
                            log.lock().unwrap().push(seen.clone());
                            Ok::<_, Infallible>(render(handler(seen), date))
                        }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let connection = server.serve_connection(TokioIo::new(tls), service);
                    let mut connection = std::pin::pin!(connection);
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        () = over.notified() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        });
        Self { port, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The connections over which requests came.
    pub(crate) fn connections(&self) -> BTreeSet<usize> {
        self.seen().iter().map(|seen| seen.connection).collect()
    }

    /// Stops at once, connections included.
    pub(crate) async fn stop(mut self) -> u16 {
        self.task.abort();
        let port = self.port;
        let _ = (&mut self.task).await;
        port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(speech: Speech) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(muster_net::provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match speech.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in ca.certificates() {
                roots
                    .add(CertificateDer::from(certificate.der().to_vec()))
                    .unwrap();
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                muster_net::provider(),
            );
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from(speech.certificate.der().to_vec())];
    let key = PrivatePkcs8KeyDer::from(speech.key.pkcs8_der().expose().clone());
    let mut config = builder
        .with_single_cert(chain, PrivateKeyDer::from(key))
        .unwrap();
    config.alpn_protocols = speech
        .alpn
        .iter()
        .map(|protocol| protocol.to_vec())
        .collect();
    config
}

async fn read(connection: usize, user: Option<String>, request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let body = body
        .collect()
        .await
        .map(|all| all.to_bytes().to_vec())
        .unwrap_or_default();
    Seen {
        connection,
        method: parts.method,
        path,
        headers: parts.headers,
        body,
        user,
    }
}

fn render(reply: Reply, date: Option<String>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let builder = Response::builder();
    let builder = match date {
        Some(date) => builder.header("date", date),
        None => builder,
    };
    let full = |text: String| Full::new(Bytes::from(text)).boxed_unsync();
    let json = "application/json";
    let response = match reply {
        Reply::Json(code, value) => builder
            .status(code)
            .header("content-type", json)
            .body(full(value.to_string())),
        Reply::Text(code, text) => builder.status(code).body(full(text.to_owned())),
        Reply::RetryAfter(code, seconds, value) => builder
            .status(code)
            .header("retry-after", seconds)
            .header("content-type", json)
            .body(full(value.to_string())),
        Reply::Lines(receiver) => {
            let lines = futures::stream::unfold(receiver, |mut receiver| async move {
                let value: Value = receiver.recv().await?;
                Some((format!("{value}\n"), receiver))
            });
            let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line))));
            builder
                .status(200)
                .header("content-type", json)
                .body(StreamBody::new(frames).boxed_unsync())
        }
    };
    response.unwrap()
}

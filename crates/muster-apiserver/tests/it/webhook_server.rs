//! A webhook as clusters run them: HTTPS, an answer to each `AdmissionReview`, and a record of what it was asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use muster_identity::{
    CertificateAuthority, PrivateKey,
    pki::{IssueRequest, SubjectAltNames},
};
use rustls::{ServerConfig, pki_types};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::dial::{authority, entropy};

type Answer = dyn Fn(&Value) -> Value + Send + Sync;

/// A webhook that runs until it is dropped.
pub(crate) struct Webhook {
    pub(crate) address: SocketAddr,
    authority: CertificateAuthority,
    asked: Arc<Mutex<Vec<Value>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// A webhook that answers a request of a review with what `answer` makes of it; the uid is added.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::start_as(&["webhook.test.svc"], answer).await
    }

    pub(crate) async fn start_as(
        names: &[&str],
        answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        let authority = authority("webhooks");
        let acceptor = acceptor(&authority, names);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let (record, count) = (Arc::clone(&asked), Arc::clone(&connections));
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    // Who does not trust us goes away.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| serve(request, &record, &answer));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            authority,
            asked,
            connections,
            task,
        }
    }

    /// The requests of all reviews so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The authorities to trust.
    pub(crate) fn bundle(&self) -> String {
        STANDARD.encode(self.authority.certificate().to_pem())
    }

    pub(crate) fn client_config(&self) -> Value {
        json!({"url": format!("https://{}/review", self.address), "caBundle": self.bundle()})
    }

    /// This webhook in a configuration, asked about writes of ConfigMaps.
    pub(crate) fn hook(&self, name: &str) -> Value {
        json!({
            "name": name, "clientConfig": self.client_config(),
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "rules": [{
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            }],
        })
    }
}

fn acceptor(authority: &CertificateAuthority, names: &[&str]) -> TlsAcceptor {
    let key = PrivateKey::generate(&mut entropy()).unwrap();
    let request = IssueRequest::server(
        "webhook",
        SubjectAltNames {
            dns: names.iter().map(|name| (*name).to_owned()).collect(),
            ip: vec!["127.0.0.1".parse().unwrap()],
            ..SubjectAltNames::default()
        },
        key.public_key().clone(),
        SignedDuration::from_hours(1),
    );
    let certificate = authority
        .issue(&request, Timestamp::now(), &mut entropy())
        .unwrap();
    let key = pki_types::PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![pki_types::CertificateDer::from(certificate.der().to_vec())],
            key.into(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    request: Request<Incoming>,
    record: &Mutex<Vec<Value>>,
    answer: &Arc<Answer>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut asked = review["request"].clone();
    asked["_path"] = path.into();
    asked["_version"] = review["apiVersion"].clone();
    let mut response = answer(&asked);
    record.lock().unwrap().push(asked);
    if response.get("_silent").is_some() {
        std::future::pending::<()>().await;
    }
    if let Some(code) = response.get("_http").and_then(Value::as_u64) {
        let code = u16::try_from(code).unwrap();
        let body = Full::new(Bytes::from_static(b"broken"));
        return Ok(Response::builder().status(code).body(body).unwrap());
    }
    if response.get("uid").is_none() {
        response["uid"] = review["request"]["uid"].clone();
    }
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response,
    });
    Ok(Response::new(Full::new(review.to_string().into())))
}

/// An answer that lets the request pass with these operations.
pub(crate) fn patched(operations: Value) -> Value {
    json!({
        "allowed": true, "patchType": "JSONPatch",
        "patch": STANDARD.encode(operations.to_string()),
    })
}

/// A configuration of either sort.
pub(crate) fn configuration(kind: &str, name: &str, hooks: Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": hooks,
    })
}

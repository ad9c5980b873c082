//! Connections to the server as strangers make them: TLS with any certificate or none, either HTTP, or raw bytes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use muster_apiserver::RunningServer;
use muster_identity::{
    Certificate, CertificateAuthority, Kubeconfig, PrivateKey, Subject, kubeconfig::Material,
    pki::IssueRequest,
};
use rustls::{ClientConfig, RootCertStore, pki_types};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) type Wire = TlsStream<TcpStream>;

/// A client certificate and its key.
pub(crate) type Credential = (Certificate, PrivateKey);

pub(crate) fn entropy() -> impl muster_identity::Entropy {
    |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).unwrap()
}

pub(crate) fn authority(name: &str) -> CertificateAuthority {
    let life = SignedDuration::from_hours(24);
    CertificateAuthority::new_self_signed(name, Timestamp::now(), life, &mut entropy()).unwrap()
}

/// A client certificate of `ca`.
pub(crate) fn client_of(ca: &CertificateAuthority, user: &str, groups: &[&str]) -> Credential {
    let key = PrivateKey::generate(&mut entropy()).unwrap();
    let subject = Subject::new(user, groups.iter().copied());
    let request = IssueRequest::client(
        subject,
        key.public_key().clone(),
        SignedDuration::from_hours(1),
    );
    let issued = ca
        .issue(&request, Timestamp::now(), &mut entropy())
        .unwrap();
    (issued, key)
}

/// One that ended an hour ago.
pub(crate) fn expired_client_of(ca: &CertificateAuthority, user: &str) -> Credential {
    let key = PrivateKey::generate(&mut entropy()).unwrap();
    let hour = SignedDuration::from_hours(1);
    let subject = Subject::new(user, [""; 0]);
    let request = IssueRequest::client(subject, key.public_key().clone(), hour);
    let then = Timestamp::now() - hour * 2;
    (ca.issue(&request, then, &mut entropy()).unwrap(), key)
}

/// The folder with the server's keys.
pub(crate) fn pki_folder(server: &RunningServer) -> PathBuf {
    server.admin_kubeconfig_path().with_file_name("pki")
}

/// A credential from the server's own folder.
pub(crate) fn own_credential(server: &RunningServer, name: &str) -> Credential {
    let read = |end: &str| std::fs::read(pki_folder(server).join(format!("{name}.{end}"))).unwrap();
    (
        Certificate::from_pem(&read("crt")).unwrap(),
        PrivateKey::from_pem(&read("key")).unwrap(),
    )
}

/// The administrator's credential.
pub(crate) fn admin(server: &RunningServer) -> Credential {
    let text = std::fs::read(server.admin_kubeconfig_path()).unwrap();
    let user = Kubeconfig::parse(&text).unwrap().resolve().unwrap().user;
    let (Some(Material::Data(certificate)), Some(Material::Data(key))) =
        (user.client_certificate, user.client_key)
    else {
        panic!("the kubeconfig embeds its credential");
    };
    (
        Certificate::from_pem(&certificate).unwrap(),
        PrivateKey::from_pem(key.expose()).unwrap(),
    )
}

/// Connects as the administrator or as nobody.
pub(crate) async fn connect(server: &RunningServer, as_admin: bool, alpn: &[u8]) -> Wire {
    let credential = as_admin.then(|| admin(server));
    connect_as(server, credential.as_ref(), alpn).await
}

/// Connects with a certificate or without.
pub(crate) async fn connect_as(
    server: &RunningServer,
    credential: Option<&Credential>,
    alpn: &[u8],
) -> Wire {
    let tcp = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    greet(server, tcp, credential, alpn).await.unwrap()
}

/// The TLS handshake.
pub(crate) async fn greet(
    server: &RunningServer,
    tcp: TcpStream,
    credential: Option<&Credential>,
    alpn: &[u8],
) -> std::io::Result<Wire> {
    let mut roots = RootCertStore::empty();
    for certificate in server.ca_bundle().certificates() {
        roots.add(certificate.der().to_vec().into()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match credential {
        Some((certificate, key)) => {
            let key = pki_types::PrivatePkcs8KeyDer::from(key.pkcs8_der().expose().clone());
            let chain = vec![certificate.der().to_vec().into()];
            builder.with_client_auth_cert(chain, key.into()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = pki_types::ServerName::try_from("kubernetes.default.svc.cluster.local").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// A conversation in HTTP/1.1.
pub(crate) struct Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Http1 {
    pub(crate) async fn over(wire: Wire) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.ready().await.unwrap();
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn get(&mut self, path: &str) -> http::Response<Bytes> {
        self.send("GET", path, &[], "").await
    }

    /// The user as whom the server sees this client.
    pub(crate) async fn whoami(&mut self, headers: &[(&str, &str)]) -> serde_json::Value {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = self.send("POST", path, &headers, "{}").await;
        assert_eq!(answer.status(), 201, "{answer:?}");
        let review: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        review["status"]["userInfo"].clone()
    }
}

pub(crate) async fn get_http1(wire: Wire, path: &str) -> http::Response<Bytes> {
    Http1::over(wire).await.get(path).await
}

/// Waits until `check` says yes.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(
            std::time::Instant::now() < deadline,
            "not within 30 seconds: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

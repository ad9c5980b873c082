//! A server to be measured: where it is, whom to trust, who we are; and one connection to it, HTTP/2 over TLS.
//!
//! Refuses to know: what is asked.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;

/// A server and our identity there.
#[derive(Clone)]
pub(super) struct Target {
    host: String,
    port: u16,
    token: Option<String>,
    tls: Arc<ClientConfig>,
}

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    base: String,
    token: Option<HeaderValue>,
}

impl Target {
    /// Reads the current context of a kubeconfig: `server`, the CA, and a token or a client certificate.
    /// `server` replaces the URL.
    pub(super) fn from_kubeconfig(path: &Path, server: Option<&str>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_saphyr::from_str(&text)?;
        let named = |list: &str, name: &Value| {
            let entries = config[list].as_array()?;
            entries.iter().find(|entry| entry["name"] == *name).cloned()
        };
        let context =
            named("contexts", &config["current-context"]).context("no current context")?;
        let context = &context["context"];
        let cluster = named("clusters", &context["cluster"]).context("no such cluster")?;
        let user = named("users", &context["user"]).context("no such user")?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let part = |of: &Value, key: &str| -> Result<Option<Vec<u8>>> {
            if let Some(data) = of[format!("{key}-data")].as_str() {
                return Ok(Some(STANDARD.decode(data)?));
            }
            let file = of[key]
                .as_str()
                .map(|file| std::fs::read(folder.join(file)));
            Ok(file.transpose()?)
        };
        let url = server
            .or_else(|| cluster["cluster"]["server"].as_str())
            .context("no server")?;
        let ca = part(&cluster["cluster"], "certificate-authority")?.context("no CA")?;
        let user = &user["user"];
        let certificate = part(user, "client-certificate")?.zip(part(user, "client-key")?);
        Self::new(url, &ca, user["token"].as_str(), certificate)
    }

    /// A server that is trusted by the certificates in `ca`.
    pub(super) fn new(
        url: &str,
        ca: &[u8],
        token: Option<&str>,
        certificate: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self> {
        let uri: http::Uri = url.parse()?;
        let host = uri.host().context("no host")?;
        let mut roots = RootCertStore::empty();
        let authorities = CertificateDer::pem_slice_iter(ca).collect::<Result<Vec<_>, _>>()?;
        roots.add_parsable_certificates(authorities);
        if roots.is_empty() {
            bail!("there is no certificate to trust");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut tls = match certificate {
            Some((chain, key)) => {
                let chain =
                    CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?
            }
            None => config.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(443),
            token: token.map(str::to_owned),
            tls: Arc::new(tls),
        })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let stream = tls.connect(name, stream).await?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(driver);
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        Ok(Connection {
            sender,
            base: format!("https://{}:{}", self.host, self.port),
            token: token.map(HeaderValue::try_from).transpose()?,
        })
    }

    /// Opens several connections.
    pub(super) async fn connect_many(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect().await?);
        }
        Ok(connections)
    }

    /// Waits until the server says that it is ready.
    pub(super) async fn ready(&self, patience: Duration) -> Result<()> {
        let asked = async {
            loop {
                if let Ok(connection) = self.connect().await
                    && let Ok(answer) = connection
                        .send(Method::GET, "/readyz", JSON, Bytes::new())
                        .await
                    && answer.status().is_success()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(patience, asked)
            .await
            .context("it is not ready in time")
    }
}

/// The media types that are measured.
pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

impl Connection {
    /// Sends a request; `media` is the body's type, and the accepted one where there is no body.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let accept = if body.is_empty() { media } else { JSON };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::ACCEPT, accept);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, media);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Sends a request and reads the whole answer, which must be a success.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Bytes> {
        let answer = self.send(method, path, media, body).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes);
            bail!(
                "{path}: {status}: {}",
                text.chars().take(300).collect::<String>()
            );
        }
        Ok(bytes)
    }
}

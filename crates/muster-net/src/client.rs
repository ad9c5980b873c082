//! [`ApiClient`]: requests to one API server over one connection, by one identity.
//!
//! Connects when first needed and again after a loss; HTTP/2 requests share the connection, over
//! HTTP/1.1 idle connections are reused. All retrying is done here and by one policy. A client
//! costs no timer while it is idle, so that thousands fit into one process. Knows no resource kinds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Incoming;
use muster_handshake::HandshakeError;
use muster_identity::{CertificateBundle, Endpoint, Secret};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::channel::{Channel, SendFailure, collect, retry_after};
use crate::connect::DialLimits;
use crate::error::{ApiError, StatusError};
pub use crate::request::{
    ApiRequest, ApiResponse, Identity, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH,
};
use crate::retry::{RetryPolicy, chance};
use crate::server::Server;
use crate::tls::{TlsError, pinned_config};
use crate::watch::Watch;

/// Largest answer that is read, in bytes.
pub const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// A client of one API server. Clones share connection and identity.
#[derive(Debug, Clone)]
pub struct ApiClient {
    shared: Arc<Server>,
    policy: RetryPolicy,
}

impl ApiClient {
    /// A client that trusts only servers of `ca`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`TlsError`] when CA, certificate or key cannot be used.
    pub fn new(
        endpoint: Endpoint,
        ca: &CertificateBundle,
        identity: Identity,
    ) -> Result<Self, TlsError> {
        let (certificate, bearer) = identity.split();
        let tls = pinned_config(ca, certificate.as_ref())?;
        Ok(Self::with_tls(endpoint, tls, None, bearer))
    }

    /// A client with a TLS configuration made elsewhere, for example one that many clients share.
    /// `server_name` replaces the endpoint's own host in the check of the server's certificate.
    pub fn with_tls(
        endpoint: Endpoint,
        tls: Arc<ClientConfig>,
        server_name: Option<ServerName<'static>>,
        bearer: Option<Secret<String>>,
    ) -> Self {
        let host = HeaderValue::from_str(&endpoint.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("kubernetes"));
        let shared = Server {
            endpoint,
            host,
            tls,
            server_name,
            bearer,
            limits: DialLimits::default(),
            connection: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            policy: RetryPolicy::default(),
        }
    }

    /// The same client with another retry policy.
    #[must_use]
    pub fn with_policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The same server and connection settings, as the bearer of another token, on its own
    /// connection.
    #[must_use]
    pub fn with_bearer(&self, token: Secret<String>) -> Self {
        let shared = &self.shared;
        let client = Self::with_tls(
            shared.endpoint.clone(),
            Arc::clone(&shared.tls),
            shared.server_name.clone(),
            Some(token),
        );
        client.with_policy(self.policy)
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Gives the client a connection that stands already and whose server was verified.
    pub(crate) async fn adopt(&self, channel: Channel) {
        self.shared.give_back(channel).await;
    }

    /// Sends a request and reads its whole answer, of whatever status below 400.
    ///
    /// # Errors
    /// [`ApiError`]; a status of 400 and above is [`ApiError::Status`].
    pub async fn send(&self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let policy = request.policy.unwrap_or(self.policy);
        let mut retries = Retries::new(policy, request.repeatable);
        loop {
            match within(&self.shared, policy.attempt, self.attempt(request)).await {
                Ok(response) => return Ok(response),
                Err(error) => retries.wait(&self.shared.endpoint, error).await?,
            }
        }
    }

    /// GET, read as `T`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(&ApiRequest::new(Method::GET, path)).await
    }

    /// POST of `object`, the answer read as `T`. A lost answer is not asked for again: the object
    /// may have been created.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &(impl Serialize + Sync),
    ) -> Result<T, ApiError> {
        self.call(&json_request(Method::POST, path, object)?).await
    }

    /// PUT of `object`, the answer read as `T`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &(impl Serialize + Sync),
    ) -> Result<T, ApiError> {
        self.call(&json_request(Method::PUT, path, object)?).await
    }

    /// PATCH of a content type ([`JSON_PATCH`], [`MERGE_PATCH`], [`STRATEGIC_MERGE_PATCH`]), the
    /// answer read as `T`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &'static str,
        patch: &(impl Serialize + Sync),
    ) -> Result<T, ApiError> {
        let body = encode(path, patch)?;
        self.call(&ApiRequest::new(Method::PATCH, path).body(content_type, body))
            .await
    }

    /// DELETE with optional DeleteOptions, the answer as it is.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&self, path: &str, options: Option<&Value>) -> Result<Value, ApiError> {
        let mut request = ApiRequest::new(Method::DELETE, path);
        if let Some(options) = options {
            request = request.body("application/json", encode(path, options)?);
        }
        self.call(&request).await
    }

    /// Sends a request and reads its JSON answer as `T`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call<T: DeserializeOwned>(&self, request: &ApiRequest) -> Result<T, ApiError> {
        let response = self.send(request).await?;
        serde_json::from_slice(&response.body).map_err(|error| ApiError::Decode {
            path: request.path.clone(),
            reason: error.to_string(),
        })
    }

    /// Begins a watch; `path` has `watch=true` in its query. The policy holds for the beginning;
    /// the watch itself lasts until the server ends it.
    ///
    /// # Errors
    /// [`ApiError`] when the watch cannot begin.
    pub async fn watch(&self, path: &str) -> Result<Watch, ApiError> {
        let request = ApiRequest::new(Method::GET, path);
        let mut retries = Retries::new(self.policy, true);
        loop {
            match within(
                &self.shared,
                self.policy.attempt,
                self.begin_watch(&request),
            )
            .await
            {
                Ok(watch) => return Ok(watch),
                Err(error) => retries.wait(&self.shared.endpoint, error).await?,
            }
        }
    }

    async fn begin_watch(&self, request: &ApiRequest) -> Result<Watch, ApiError> {
        let (head, _) = self.head(request).await?;
        let head = self.refuse_errors(head).await?;
        Ok(Watch::new(
            self.shared.endpoint.clone(),
            request.path.clone(),
            head.into_body(),
        ))
    }

    async fn attempt(&self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let (head, channel) = self.head(request).await?;
        let (parts, body) = head.into_parts();
        let body = collect(body, LARGEST_ANSWER, &self.shared.endpoint)
            .await
            .map_err(ApiError::transport)?;
        if let Some(channel) = channel {
            self.shared.give_back(channel).await;
        }
        if parts.status.is_client_error() || parts.status.is_server_error() {
            return Err(status_error(parts.status, &parts.headers, &body));
        }
        Ok(ApiResponse {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    async fn refuse_errors(
        &self,
        head: http::Response<Incoming>,
    ) -> Result<http::Response<Incoming>, ApiError> {
        if head.status().is_success() {
            return Ok(head);
        }
        let (parts, body) = head.into_parts();
        let body = collect(body, LARGEST_ANSWER, &self.shared.endpoint)
            .await
            .map_err(ApiError::transport)?;
        Err(status_error(parts.status, &parts.headers, &body))
    }

    /// Sends and waits for the head; an HTTP/1.1 channel comes back for reuse after the body.
    async fn head(
        &self,
        request: &ApiRequest,
    ) -> Result<(http::Response<Incoming>, Option<Channel>), ApiError> {
        let shared = &self.shared;
        let mut channel = shared
            .channel()
            .await
            .map_err(|error| ApiError::Transport {
                error,
                unsent: true,
            })?;
        let outgoing = shared.outgoing(request, matches!(channel, Channel::H2(_)))?;
        match channel.send(outgoing, &shared.endpoint).await {
            Ok(head) => {
                let reusable = Some(channel).filter(|channel| matches!(channel, Channel::H1(_)));
                Ok((head, reusable))
            }
            Err(SendFailure { error, unsent }) => Err(ApiError::Transport { error, unsent }),
        }
    }
}

/// The attempts of one request.
struct Retries {
    policy: RetryPolicy,
    repeatable: bool,
    began: Instant,
    next: u32,
}

impl Retries {
    fn new(policy: RetryPolicy, repeatable: bool) -> Self {
        Self {
            policy,
            repeatable,
            began: Instant::now(),
            next: 2,
        }
    }

    /// Sleeps until the next attempt, or gives the error back because there is none.
    async fn wait(&mut self, endpoint: &Endpoint, error: ApiError) -> Result<(), ApiError> {
        let elapsed = self.began.elapsed();
        let Some(pause) = self
            .policy
            .pause(&error, self.repeatable, self.next, elapsed, chance())
        else {
            return Err(error);
        };
        tracing::debug!(%endpoint, %error, ?pause, "trying again");
        sleep(pause).await;
        self.next += 1;
        Ok(())
    }
}

/// Runs one attempt within its limit; a connection that let it pass is given up.
async fn within<T>(
    shared: &Server,
    limit: Duration,
    attempt: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match timeout(limit, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => {
            shared.hang_up().await;
            Err(ApiError::transport(HandshakeError::Timeout {
                endpoint: shared.endpoint.to_string(),
                doing: "waiting for an answer".to_owned(),
                waited: jiff::SignedDuration::try_from(limit).unwrap_or(jiff::SignedDuration::MAX),
            }))
        }
    }
}

fn json_request(
    method: Method,
    path: &str,
    object: &impl Serialize,
) -> Result<ApiRequest, ApiError> {
    Ok(ApiRequest::new(method, path).body("application/json", encode(path, object)?))
}

fn encode(path: &str, object: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(object).map_err(|error| ApiError::Decode {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn status_error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_status = object.get("kind").and_then(Value::as_str) == Some("Status");
    let text = |field: &str| object.get(field).and_then(Value::as_str).map(str::to_owned);
    let foreign = || {
        String::from_utf8_lossy(body)
            .chars()
            .take(512)
            .collect::<String>()
            .trim()
            .to_owned()
    };
    ApiError::Status(Box::new(StatusError {
        code: status.as_u16(),
        reason: text("reason").filter(|_| is_status).unwrap_or_default(),
        message: text("message")
            .filter(|_| is_status)
            .unwrap_or_else(foreign),
        details: object.get("details").filter(|_| is_status).cloned(),
        retry_after: retry_after(headers),
    }))
}

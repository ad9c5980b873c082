//! Requests to an API server and its answers, as values; and as whom they are sent.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use muster_identity::{CertificateBundle, PrivateKey, Secret};

use crate::retry::RetryPolicy;
use crate::tls::ClientCertificate;

/// JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// JSON merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Kubernetes' strategic merge patch.
pub const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";

/// As whom a client speaks.
#[derive(Debug, Clone)]
pub enum Identity {
    /// As nobody.
    Anonymous,
    /// As the bearer of a token.
    Bearer(Secret<String>),
    /// As the subject of a certificate.
    Certificate {
        /// Leaf first.
        chain: CertificateBundle,
        /// The leaf's key.
        key: PrivateKey,
    },
}

impl Identity {
    /// What is shown in the TLS handshake, and what with every request.
    pub(crate) fn split(self) -> (Option<ClientCertificate>, Option<Secret<String>>) {
        match self {
            Self::Anonymous => (None, None),
            Self::Bearer(token) => (None, Some(token)),
            Self::Certificate { chain, key } => (Some(ClientCertificate { chain, key }), None),
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// The method.
    pub method: Method,
    /// Path and query, starting with `/`.
    pub path: String,
    /// Headers beside those the client sets (host, accept, authorization, user-agent).
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// Sending it twice does no more than sending it once, so a lost answer is asked for again.
    pub repeatable: bool,
    /// Replaces the client's policy for this request.
    pub policy: Option<RetryPolicy>,
}

impl ApiRequest {
    /// A request without a body. It counts as repeatable unless it is a POST or PATCH.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = !matches!(method, Method::POST | Method::PATCH);
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeatable,
            policy: None,
        }
    }

    /// With a body of this content type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Says that sending it twice does no harm.
    #[must_use]
    pub const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// With a policy of its own.
    #[must_use]
    pub const fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = Some(policy);
        self
    }
}

/// One complete answer.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

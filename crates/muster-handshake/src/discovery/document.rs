//! Reading what answered where cluster-info was asked for.
//!
//! Tells an API server from other things by its answer alone, and a ConfigMap from a Status. It
//! trusts nothing of what it reads and knows no token.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{EXPIRED_TOKENS_ANNOTATION, ExpiredTokens, KUBECONFIG_KEY, SIGNATURE_PREFIX};
use crate::error::HandshakeError;
use crate::wire::{Response, bounded, status_error};

const PURPOSE: &str = "read kube-public/cluster-info";

/// cluster-info as it came over the wire: unverified.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) kubeconfig: String,
    signatures: BTreeMap<String, String>,
    pub(super) expired: Option<ExpiredTokens>,
    pub(super) created: Option<Timestamp>,
}

impl Document {
    /// Reads the answer of `endpoint`, or says what it is instead.
    pub(super) fn read(endpoint: &str, response: Response) -> Result<Self, HandshakeError> {
        let not_kubernetes = |seen: String| HandshakeError::NotKubernetes {
            endpoint: endpoint.to_owned(),
            seen,
        };
        let Some(body) = response.json() else {
            return Err(not_kubernetes(describe_foreign(&response)));
        };
        match body.get("kind").and_then(Value::as_str) {
            Some("ConfigMap") if response.status.is_success() => Self::of(&body, endpoint),
            Some("Status") => Err(refusal(endpoint, response)),
            kind => Err(not_kubernetes(format!(
                "it answered {} with JSON of kind {:?}",
                response.status,
                bounded(kind.unwrap_or("none"))
            ))),
        }
    }

    fn of(body: &Value, endpoint: &str) -> Result<Self, HandshakeError> {
        let text = |key: &str| {
            body.pointer(&format!("/data/{key}"))
                .and_then(Value::as_str)
        };
        let Some(kubeconfig) = text(KUBECONFIG_KEY) else {
            return Err(HandshakeError::ClusterInfoMissing {
                endpoint: endpoint.to_owned(),
            });
        };
        let signatures = body
            .get("data")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let metadata = |path: &str| body.get("metadata").and_then(|m| m.get(path));
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            signatures: signatures
                .filter_map(|(key, value)| {
                    let id = key.strip_prefix(SIGNATURE_PREFIX)?;
                    Some((id.to_owned(), value.as_str()?.to_owned()))
                })
                .collect(),
            expired: metadata("annotations")
                .and_then(|all| all.get(EXPIRED_TOKENS_ANNOTATION))
                .and_then(Value::as_str)
                .map(ExpiredTokens::parse),
            created: metadata("creationTimestamp")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok()),
        })
    }

    /// The detached signature made with token `id`.
    pub(super) fn signature(&self, id: &str) -> Option<&str> {
        self.signatures.get(id).map(String::as_str)
    }

    /// How many tokens the cluster signs for.
    pub(super) fn signers(&self) -> usize {
        self.signatures.len()
    }
}

/// A Kubernetes `Status` in place of cluster-info.
fn refusal(endpoint: &str, response: Response) -> HandshakeError {
    match response.status {
        StatusCode::NOT_FOUND => HandshakeError::ClusterInfoMissing {
            endpoint: endpoint.to_owned(),
        },
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            HandshakeError::DiscoveryClosed {
                endpoint: endpoint.to_owned(),
                anonymous_refused: status == StatusCode::UNAUTHORIZED,
                message: response
                    .status_object()
                    .map(|text| text.message)
                    .unwrap_or_default(),
            }
        }
        status if status.is_success() || status.is_redirection() => HandshakeError::NotKubernetes {
            endpoint: endpoint.to_owned(),
            seen: format!("it answered {status} with a Status"),
        },
        status => match response.status_object() {
            Some(text) => status_error(status, text, PURPOSE),
            None => response.into_error(PURPOSE),
        },
    }
}

fn describe_foreign(response: &Response) -> String {
    let start: String = String::from_utf8_lossy(&response.body)
        .chars()
        .take(60)
        .collect();
    let start = bounded(&start);
    if start.is_empty() {
        format!("it answered {} with no body", response.status)
    } else {
        format!("it answered {} with {start:?}", response.status)
    }
}

//! The cluster half of TLS bootstrap: a CertificateSigningRequest object as values, and back.
//!
//! Approver and signer read an object with [`ReceivedRequest`], decide by themselves, and write
//! their decision as a [`CsrCondition`] or a certificate. Knows neither policy nor the CA.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use muster_identity::pki::SigningOrder;
use muster_identity::{Certificate, Csr, CsrError, SignerName, Usage};
use serde_json::{Value, json};

/// Longest `spec.request` that is looked at, in base64 characters.
const LONGEST_REQUEST: usize = 64 * 1024;

/// A request as the cluster received it: its own signature is verified, nothing else is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// `metadata.name`.
    pub name: String,
    /// The PKCS#10 request.
    pub csr: Csr,
    /// `spec.signerName`.
    pub signer: SignerName,
    /// Usages, wished life and requester.
    pub order: SigningOrder,
    /// `spec.groups` of the requester.
    pub groups: Vec<String>,
    /// What was decided so far.
    pub decision: Decision,
}

/// What was decided on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Undecided,
    /// Approved, and not signed.
    Approved,
    /// A certificate was issued.
    Issued,
    /// Denied.
    Denied,
    /// The signer gave up.
    Failed,
}

/// Why an object is no request that anybody could sign. The requester has to make a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// A field is missing or not of its type.
    #[error("the field {field} is missing or unreadable")]
    Field {
        /// Path in the object.
        field: &'static str,
    },
    /// `spec.request` is no acceptable PKCS#10 request.
    #[error("the request cannot be used")]
    Csr(#[source] CsrError),
    /// `spec.usages` has a word that nobody knows.
    #[error("the usage {word:?} is unknown")]
    Usage {
        /// The word.
        word: String,
    },
}

impl ReceivedRequest {
    /// Reads a CertificateSigningRequest (`certificates.k8s.io/v1`).
    ///
    /// # Errors
    /// [`RequestFault`] says what cannot be read.
    pub fn of(object: &Value) -> Result<Self, RequestFault> {
        let text = |pointer: &str, field| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .ok_or(RequestFault::Field { field })
        };
        let pem =
            decode_request(text("/spec/request", "spec.request")?).ok_or(RequestFault::Field {
                field: "spec.request",
            })?;
        let words = strings(object, "/spec/usages");
        let usages = Usage::parse_all(&words)
            .map_err(|unknown| RequestFault::Usage { word: unknown.word })?;
        Ok(Self {
            name: text("/metadata/name", "metadata.name")?.to_owned(),
            csr: Csr::from_pem(&pem).map_err(RequestFault::Csr)?,
            signer: SignerName::parse(text("/spec/signerName", "spec.signerName")?),
            order: SigningOrder {
                usages,
                expiration_seconds: object
                    .pointer("/spec/expirationSeconds")
                    .and_then(Value::as_i64),
                requester: text("/spec/username", "spec.username")
                    .ok()
                    .map(str::to_owned),
            },
            groups: strings(object, "/spec/groups"),
            decision: Decision::of(object),
        })
    }
}

impl Decision {
    /// Reads the decision out of an object's status.
    pub fn of(object: &Value) -> Self {
        if condition(object, "Denied").is_some() {
            Self::Denied
        } else if condition(object, "Failed").is_some() {
            Self::Failed
        } else if condition(object, "Approved").is_none() {
            Self::Undecided
        } else if certificate_text(object).is_empty() {
            Self::Approved
        } else {
            Self::Issued
        }
    }
}

/// A condition to add to a request's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrCondition {
    /// `Approved`, `Denied` or `Failed`.
    pub kind: &'static str,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl CsrCondition {
    /// kube-controller-manager's approval, in its own words.
    pub fn auto_approved() -> Self {
        Self {
            kind: "Approved",
            reason: "AutoApproved".to_owned(),
            message: "Auto approving kubelet client certificate after SubjectAccessReview."
                .to_owned(),
        }
    }

    /// A denial.
    pub fn denied(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: "Denied",
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// A signer's surrender.
    pub fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: "Failed",
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Adds the condition to an object's status, at `now`; a condition of the same kind is replaced.
    pub fn add_to(&self, object: &mut Value, now: Timestamp) {
        let time = format!("{now:.0}");
        let condition = json!({
            "type": self.kind,
            "status": "True",
            "reason": self.reason,
            "message": self.message,
            "lastUpdateTime": time,
            "lastTransitionTime": time,
        });
        let mut conditions = match object.pointer_mut("/status/conditions").map(Value::take) {
            Some(Value::Array(conditions)) => conditions,
            _ => Vec::new(),
        };
        conditions.retain(|other| other.get("type").and_then(Value::as_str) != Some(self.kind));
        conditions.push(condition);
        object["status"]["conditions"] = Value::Array(conditions);
    }
}

/// Puts an issued certificate into an object's status (`status.certificate`: base64 of PEM).
pub fn put_certificate(object: &mut Value, certificate: &Certificate) {
    object["status"]["certificate"] = json!(STANDARD.encode(certificate.to_pem()));
}

/// The condition of a kind, when it holds. An absent `status` counts as True, as the API defaults it.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)?;
    conditions.iter().find(|condition| {
        let is =
            |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
        is("type", kind) && (is("status", "True") || condition.get("status").is_none())
    })
}

/// `status.certificate` as it stands, or empty.
pub(super) fn certificate_text(object: &Value) -> &str {
    object
        .pointer("/status/certificate")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The PEM bytes in `spec.request`.
pub(super) fn decode_request(request: &str) -> Option<Vec<u8>> {
    if request.len() > LONGEST_REQUEST {
        return None;
    }
    STANDARD.decode(request).ok()
}

fn strings(object: &Value, pointer: &str) -> Vec<String> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

//! What a cluster has decided on a request, read from its status as a joiner needs it.
//!
//! Knows nothing of what follows from it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::cluster::{certificate_text, condition};
use crate::wire::bounded;

/// What the cluster has decided so far.
pub(super) enum Verdict {
    Undecided,
    Approved,
    /// The certificate, PEM.
    Issued(Vec<u8>),
    /// Why.
    Denied(String),
    /// Why.
    Failed(String),
}

impl Verdict {
    pub(super) fn of(object: &Value) -> Self {
        if let Some(denied) = condition(object, "Denied") {
            return Self::Denied(explain(denied));
        }
        if let Some(failed) = condition(object, "Failed") {
            return Self::Failed(explain(failed));
        }
        if condition(object, "Approved").is_none() {
            return Self::Undecided;
        }
        match certificate_text(object) {
            "" => Self::Approved,
            text => STANDARD.decode(text).map_or_else(
                |_| Self::Failed("the certificate in its status is not base64".to_owned()),
                Self::Issued,
            ),
        }
    }
}

fn explain(condition: &Value) -> String {
    let text = |field: &str| {
        bounded(
            condition
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )
    };
    match (text("reason"), text("message")) {
        (reason, message) if message.is_empty() => reason,
        (reason, message) if reason.is_empty() => message,
        (reason, message) => format!("{message} ({reason})"),
    }
}

//! What a handshake asks of whoever has wires: requests out, answers in, as values.
//!
//! The paths and bodies are those of the Kubernetes API. This file knows neither sockets nor TLS,
//! and never holds a credential: a request names *which* identity sends it, the driver has it.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::error::HandshakeError;

/// As whom a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Without any credential: before the server is trusted, nothing else may be sent.
    Nobody,
    /// With the credential that the driver holds for this handshake: bootstrap token or client
    /// certificate.
    Holder,
}

/// One request to the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Path and query, starting with `/`.
    pub path: String,
    /// The JSON body, if any.
    pub body: Option<Value>,
    /// As whom it is sent.
    pub sender: Sender,
    /// What it is for, as a verb phrase that completes "the server could not …".
    pub purpose: &'static str,
}

impl Request {
    /// A GET with the holder's credential.
    pub fn get(path: impl Into<String>, purpose: &'static str) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            sender: Sender::Holder,
            purpose,
        }
    }

    /// A GET without any credential.
    pub fn get_anonymously(path: impl Into<String>, purpose: &'static str) -> Self {
        Self {
            sender: Sender::Nobody,
            ..Self::get(path, purpose)
        }
    }

    /// A POST of a JSON object with the holder's credential.
    pub fn post(path: impl Into<String>, body: Value, purpose: &'static str) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: Some(body),
            sender: Sender::Holder,
            purpose,
        }
    }
}

/// One complete answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The server's clock, from the HTTP `Date` header (RFC 9110 section 6.6.1).
    pub date: Option<Timestamp>,
    /// The body; the driver bounds its size.
    pub body: Vec<u8>,
}

/// The parts of a Kubernetes `Status` that a person needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusText {
    /// The machine-readable reason, for example `NotFound`; may be empty.
    pub reason: String,
    /// The message for people.
    pub message: String,
}

/// Longest message of a foreign server that is passed on, in characters.
const LONGEST_MESSAGE: usize = 512;

impl Response {
    /// The body as a JSON object, if it is one.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .filter(Value::is_object)
    }

    /// The Kubernetes `Status` in the body, if it is one.
    pub fn status_object(&self) -> Option<StatusText> {
        let body = self.json()?;
        if body.get("kind").and_then(Value::as_str) != Some("Status") {
            return None;
        }
        let text =
            |field: &str| bounded(body.get(field).and_then(Value::as_str).unwrap_or_default());
        Some(StatusText {
            reason: text("reason"),
            message: text("message"),
        })
    }

    /// Turns a status that is no success into the error that tells it.
    pub fn into_error(self, purpose: &str) -> HandshakeError {
        let text = self.status_object().unwrap_or_else(|| StatusText {
            reason: self
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
            message: bounded(&String::from_utf8_lossy(&self.body)),
        });
        status_error(self.status, text, purpose)
    }
}

/// The error for an HTTP status with its Kubernetes reason and message.
pub fn status_error(status: StatusCode, text: StatusText, purpose: &str) -> HandshakeError {
    let StatusText { reason, message } = text;
    let what = purpose.to_owned();
    match status {
        StatusCode::UNAUTHORIZED => HandshakeError::Unauthorized {
            what: format!("a request to {what}"),
            message,
        },
        StatusCode::FORBIDDEN => HandshakeError::Forbidden { what, message },
        _ => HandshakeError::ServerError {
            what,
            status: status.as_u16(),
            reason,
            message,
        },
    }
}

/// What became of a request: an answer of any status, or the failure of the wire.
pub type Answer = Result<Response, HandshakeError>;

/// Cuts a stranger's text to a length that fits a line and drops control characters.
pub(crate) fn bounded(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_MESSAGE)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            date: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_status_object_lends_its_reason_and_message() {
        let body = r#"{"kind":"Status","reason":"Forbidden","message":"no\nway"}"#;
        let error = response(403, body).into_error("read the node");
        let wanted = HandshakeError::Forbidden {
            what: "read the node".into(),
            message: "no way".into(),
        };
        assert_eq!(error, wanted);
    }

    #[test]
    fn a_foreign_body_is_quoted_up_to_a_bound() {
        let error = response(500, &"x".repeat(10_000)).into_error("create the request");
        let HandshakeError::ServerError {
            message,
            status: 500,
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(message.len(), LONGEST_MESSAGE);
    }
}

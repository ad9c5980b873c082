//! Why a request to an API server brought no result.
//!
//! Keeps what the server said (`Status`) apart from what happened to the wire, and leads both back
//! to the ids of the handshake. Knows no socket.

use std::time::Duration;

use http::StatusCode;
use muster_handshake::HandshakeError;
use muster_handshake::wire::{StatusText, status_error};
use serde_json::Value;

use crate::tls::TlsError;

/// What the server said instead of a result: a Kubernetes `Status`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, for example `AlreadyExists`; may be empty.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// `details`, when there are any.
    pub details: Option<Value>,
    /// How long the server asks to stay away.
    pub retry_after: Option<Duration>,
}

/// Why a request brought no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered with an error: decide by code and reason.
    #[error("{} {}: {}", .0.code, .0.reason, .0.message)]
    Status(Box<StatusError>),
    /// No answer came: the error says why, and its class whether later may be better.
    #[error("no answer came")]
    Transport {
        /// What happened.
        #[source]
        error: HandshakeError,
        /// The request certainly never left this machine.
        unsent: bool,
    },
    /// The answer is not what was asked for: the server is of another kind or version.
    #[error("the answer to {path} cannot be read: {reason}")]
    Decode {
        /// The path asked.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A connection cannot even be configured: certificates or key are of no use.
    #[error("TLS cannot be configured")]
    Tls(#[source] TlsError),
}

impl ApiError {
    pub(crate) const fn transport(error: HandshakeError) -> Self {
        Self::Transport {
            error,
            unsent: false,
        }
    }

    /// The HTTP status code, when the server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            _ => None,
        }
    }

    /// The Kubernetes reason, when the server answered with one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Status(status) => Some(&status.reason),
            _ => None,
        }
    }

    /// 404: there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// 409 `AlreadyExists`: a create met an object of that name.
    pub fn is_already_exists(&self) -> bool {
        self.code() == Some(409) && self.reason() == Some("AlreadyExists")
    }

    /// 409 `Conflict`: an update met a newer version.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && self.reason() == Some("Conflict")
    }

    /// 410: the version asked for is too old; list again.
    pub fn is_expired(&self) -> bool {
        self.code() == Some(410)
    }

    /// 401: the credential is not accepted.
    pub fn is_unauthorized(&self) -> bool {
        self.code() == Some(401)
    }

    /// 403: the credential lacks a permission.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// How long the server asks to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(status) => status.retry_after,
            _ => None,
        }
    }

    /// The error in the terms of the handshake, with its stable id; `purpose` completes "the server
    /// could not …".
    pub fn into_handshake(self, purpose: &str) -> HandshakeError {
        let server_error = |message: String| HandshakeError::ServerError {
            what: purpose.to_owned(),
            status: StatusCode::OK.as_u16(),
            reason: String::new(),
            message,
        };
        match self {
            Self::Transport { error, .. } => error,
            Self::Status(status) => {
                let code =
                    StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let text = StatusText {
                    reason: status.reason,
                    message: status.message,
                };
                status_error(code, text, purpose)
            }
            Self::Decode { .. } => server_error(self.to_string()),
            Self::Tls(error) => server_error(error.to_string()),
        }
    }
}

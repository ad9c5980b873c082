//! `v1.Status`: how the API says no, in the words of kube-apiserver.
//!
//! One constructor for each kind of refusal, with upstream's message text, reason and HTTP code
//! (k8s.io/apimachinery `pkg/api/errors`). Knows nothing about requests or transport.

use std::fmt;

use serde::Serialize;

use crate::gvk::GroupResource;
use crate::validation::FieldError;

mod cause;
mod refusal;

pub use cause::Cause;
pub use refusal::{AccessAttributes, OBJECT_MODIFIED};

/// A `v1.Status` object; serialises with upstream's field order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: StatusMeta,
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "Reason::is_unknown")]
    reason: Reason,
    /// A reason that somebody else has thought of; `reason` is unknown then.
    #[serde(rename = "reason", skip_serializing_if = "String::is_empty")]
    foreign_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    #[serde(skip_serializing_if = "is_zero")]
    code: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct StatusMeta {
    /// Where an expired list can go on, with what is there now.
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    continue_token: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape serde asks for"
)]
const fn is_zero(code: &u16) -> bool {
    *code == 0
}

impl Details {
    /// Reads somebody else's details; `None` if there is nothing in them that is known.
    #[must_use]
    pub fn read(value: &serde_json::Value) -> Option<Self> {
        let text = |value: &serde_json::Value, field: &str| {
            crate::meta::str_at(value, &[field])
                .unwrap_or_default()
                .to_owned()
        };
        let causes = crate::meta::items(value, &["causes"]).iter().take(100);
        let seconds = value
            .get("retryAfterSeconds")
            .and_then(serde_json::Value::as_u64);
        let details = Self {
            name: text(value, "name"),
            group: text(value, "group"),
            kind: text(value, "kind"),
            uid: text(value, "uid"),
            causes: causes
                .map(|cause| Cause {
                    reason: text(cause, "reason"),
                    message: text(cause, "message"),
                    field: text(cause, "field"),
                })
                .collect(),
            retry_after_seconds: seconds
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(0),
        };
        (details != Self::default()).then_some(details)
    }
}

/// What a status is about (`v1.StatusDetails`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural resource, or the kind for `Invalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single failures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds to wait before the next try; 0 is not sent.
    #[serde(rename = "retryAfterSeconds", skip_serializing_if = "is_zero_seconds")]
    pub retry_after_seconds: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape serde asks for"
)]
const fn is_zero_seconds(seconds: &u32) -> bool {
    *seconds == 0
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The machine-readable reason of a status (`metav1.StatusReason`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Reason {
            /// No reason; not sent.
            Unknown,
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// The text on the wire; empty for [`Self::Unknown`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Unknown => "",
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Reads the text on the wire; [`Self::Unknown`] for any other.
            #[must_use]
            pub fn parse(text: &str) -> Self {
                match text {
                    $(stringify!($name) => Self::$name,)*
                    _ => Self::Unknown,
                }
            }

            /// The HTTP code that goes with the reason.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self {
                    Self::Unknown => 500,
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// Credentials are missing or wrong.
    Unauthorized = 401,
    /// The user may not do this.
    Forbidden = 403,
    /// The object or resource does not exist.
    NotFound = 404,
    /// An object of this name exists.
    AlreadyExists = 409,
    /// The object changed meanwhile, or a precondition does not hold.
    Conflict = 409,
    /// The revision is gone for good.
    Gone = 410,
    /// The object does not pass validation.
    Invalid = 422,
    /// The server could not finish now; try again.
    ServerTimeout = 500,
    /// The server is starting and cannot keep this object yet.
    StoreReadError = 500,
    /// The request took too long.
    Timeout = 504,
    /// The client asks too often.
    TooManyRequests = 429,
    /// The request is malformed.
    BadRequest = 400,
    /// The verb does not exist on this resource.
    MethodNotAllowed = 405,
    /// No representation the client accepts.
    NotAcceptable = 406,
    /// The body is too large.
    RequestEntityTooLarge = 413,
    /// The body is in a format the server cannot read.
    UnsupportedMediaType = 415,
    /// Something broke in the server.
    InternalError = 500,
    /// The revision or continue token is too old.
    Expired = 410,
    /// The service cannot answer now.
    ServiceUnavailable = 503,
}

impl Reason {
    const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl Status {
    fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind: "Status",
            api_version: "v1",
            metadata: StatusMeta::default(),
            status: "Failure",
            message: message.into(),
            reason,
            foreign_reason: String::new(),
            details: None,
            code: reason.code(),
        }
    }

    /// The answer to a finished deletion: names what was deleted.
    #[must_use]
    pub fn deleted(resource: GroupResource<'_>, name: &str, uid: &str) -> Self {
        Self {
            status: "Success",
            reason: Reason::Unknown,
            code: 0,
            details: Some(Details {
                uid: uid.into(),
                ..details(resource, name)
            }),
            ..Self::failure(Reason::Unknown, "")
        }
    }

    /// A plain success, as for a binding (`code` 201) or an eviction.
    #[must_use]
    pub fn success(code: u16) -> Self {
        Self {
            status: "Success",
            code,
            ..Self::failure(Reason::Unknown, "")
        }
    }

    /// A refusal in somebody else's words, as an admission webhook's: any code from 400 on, any reason.
    #[must_use]
    pub fn relayed(
        code: u16,
        reason: &str,
        message: impl Into<String>,
        details: Option<Details>,
    ) -> Self {
        let known = Reason::parse(reason);
        Self {
            code,
            foreign_reason: if known.is_unknown() {
                reason.to_owned()
            } else {
                String::new()
            },
            details,
            ..Self::failure(known, message)
        }
    }

    /// The HTTP status code to answer with; 200 for a success that carries none.
    #[must_use]
    pub const fn code(&self) -> u16 {
        if self.code == 0 { 200 } else { self.code }
    }

    /// The machine-readable reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the status is about.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        self.details.as_ref()
    }

    /// Seconds for the `Retry-After` header, when the status names some.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.details
            .as_ref()
            .map(|details| details.retry_after_seconds)
            .filter(|&s| s > 0)
    }

    /// Says it in other words.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Replaces the HTTP code and leaves the rest.
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// Sets the seconds to wait before the next try.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// The JSON text, compact, in upstream's field order, without a line feed at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The JSON text with two spaces of indentation, as kube-apiserver writes for browsers and curl.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The status as a JSON value (for watch `ERROR` events and protobuf).
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

fn details(resource: GroupResource<'_>, name: &str) -> Details {
    Details {
        name: name.into(),
        group: resource.group.into(),
        kind: resource.resource.into(),
        ..Details::default()
    }
}

#[cfg(test)]
mod tests;

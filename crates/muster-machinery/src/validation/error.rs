//! A mistake in one field, worded as upstream's `field.Error`.

use std::fmt;

use serde_json::Value;

use crate::go_quote::quoted;

/// What is wrong with a field (`field.ErrorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// Something the field refers to does not exist.
    NotFound,
    /// The field must be set.
    Required,
    /// The value appears twice.
    Duplicate,
    /// The value is malformed, out of bounds, or may not change.
    Invalid,
    /// As [`Self::Invalid`], for objects and lists: they are not shown.
    InvalidWhole,
    /// The value is not among the known ones.
    NotSupported,
    /// The field may not be set.
    Forbidden,
    /// The text is too long.
    TooLong,
    /// The list has too many entries.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
}

impl FieldErrorKind {
    /// The `reason` of a status cause.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid | Self::InvalidWhole => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::InvalidWhole | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    const fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::InvalidWhole
        )
    }
}

/// A mistake in one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Path of the field, such as `spec.ports[0].port`.
    pub field: String,
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// The offending value; shown for some kinds only.
    pub value: Value,
    /// Further text; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(
        field: impl Into<String>,
        kind: FieldErrorKind,
        value: Value,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            kind,
            value,
            detail: detail.into(),
        }
    }

    /// A field that must be set.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Required, Value::Null, detail)
    }

    /// A value that is malformed, out of bounds or may not change.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Invalid, value, detail)
    }

    /// An object or list that breaks a rule; it is not shown.
    #[must_use]
    pub fn invalid_whole(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::InvalidWhole, Value::Null, detail)
    }

    /// A change of an immutable field.
    #[must_use]
    pub fn immutable(field: impl Into<String>, value: Value) -> Self {
        Self::invalid(field, value, "field is immutable")
    }

    /// A value that appears twice.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: Value) -> Self {
        Self::new(field, FieldErrorKind::Duplicate, value, "")
    }

    /// A value outside a closed set; the set is listed in the message.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: Value, supported: &[&str]) -> Self {
        let listed: Vec<_> = supported.iter().map(|value| quoted(value)).collect();
        let detail = format!("supported values: {}", listed.join(", "));
        Self::new(field, FieldErrorKind::NotSupported, value, detail)
    }

    /// A field that may not be set, or a change that is not allowed.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Forbidden, Value::Null, detail)
    }

    /// A text of more than `limit` bytes.
    #[must_use]
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let detail = format!("may not be more than {limit} bytes");
        Self::new(field, FieldErrorKind::TooLong, Value::Null, detail)
    }

    /// A list of `found` entries where at most `limit` are allowed.
    #[must_use]
    pub fn too_many(field: impl Into<String>, found: usize, limit: usize) -> Self {
        let detail = format!("must have at most {limit} items");
        Self::new(field, FieldErrorKind::TooMany, found.into(), detail)
    }

    /// A value of the wrong JSON type.
    #[must_use]
    pub fn wrong_type(field: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::TypeInvalid, value, detail)
    }

    /// A reference to something that does not exist.
    #[must_use]
    pub fn not_found(field: impl Into<String>, value: Value) -> Self {
        Self::new(field, FieldErrorKind::NotFound, value, "")
    }

    /// The message without the field path, as in a status cause.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = self.kind.text().to_owned();
        if self.kind.shows_value() {
            body.push_str(": ");
            match &self.value {
                Value::String(text) => body.push_str(&quoted(text)),
                other => body.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

//! One cause in a status: which field, what kind of mistake, in which words.

use serde::Serialize;

use super::FieldError;

/// One of several failures (`v1.StatusCause`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Machine-readable kind of the mistake, such as `FieldValueRequired`; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Text for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field, such as `spec.ports[0].port`; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self {
            reason: error.kind.cause().into(),
            message: error.body(),
            field: error.field.clone(),
        }
    }
}

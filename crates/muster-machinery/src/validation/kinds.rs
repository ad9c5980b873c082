//! Which rules of their own the kinds have.

use serde_json::Value;

use super::{FieldError, validate_metadata, validate_metadata_update};
use crate::resources::Resource;

/// Every mistake in a new object, metadata included; empty when it may be created.
///
/// The object must be defaulted, named and placed in its namespace first.
#[must_use]
pub fn validate_create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    validate_metadata(resource, object)
}

/// Every mistake in a changed object; empty when it may replace `old`.
#[must_use]
pub fn validate_update(resource: &Resource, object: &Value, old: &Value) -> Vec<FieldError> {
    let _ = resource;
    validate_metadata_update(object, old)
}

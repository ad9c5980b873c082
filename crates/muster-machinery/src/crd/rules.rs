//! Rules of schemas (`x-kubernetes-validations`).

use serde_json::Value;

use super::schema::Schema;
use crate::validation::FieldError;

/// The mistakes in the rules of a schema.
pub(super) fn validate(path: &str, schema: &Schema) -> Vec<FieldError> {
    let _ = (path, schema);
    Vec::new()
}

/// The rules that an object breaks.
pub(super) fn check(
    path: &str,
    schema: &Schema,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let _ = (path, schema, object, old);
    Vec::new()
}

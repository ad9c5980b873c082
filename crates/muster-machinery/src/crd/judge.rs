//! Judges a custom resource: its schema, its lists, the objects inside it, its scale, and its rules.

use serde_json::Value;

use super::schema::Schema;
use super::value::{self, Before};
use super::{embedded, list_type, rules, scale::ScalePaths};
use crate::validation::{FieldError, FieldErrorKind};

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The schema of the version in which the object is written.
    pub schema: &'a Schema,
    /// Where the version has its replicas.
    pub scale: Option<&'a ScalePaths>,
    /// The object, pruned and with defaults.
    pub object: &'a Value,
    /// What it replaces, in the same version.
    pub old: Option<&'a Value>,
}

/// The mistakes of a new or changed object, besides those of its metadata.
#[must_use]
pub fn validate_custom(judged: &Judged<'_>) -> Vec<FieldError> {
    let before = judged.old.map_or(Before::Unknown, Before::Was);
    let mut errors = value::check("", judged.object, judged.schema, before);
    if let Some(scale) = judged.scale {
        errors.extend(scale.check_spec(judged.object));
        errors.extend(scale.check_status(judged.object));
    }
    errors.extend(embedded::check("", judged.object, judged.schema, false));
    errors.extend(repeated(judged));
    errors.extend(by_rules(judged, &errors));
    errors
}

/// The mistakes of a changed status.
#[must_use]
pub fn validate_custom_status(judged: &Judged<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let of_status = judged.schema.properties.get("status");
    if let (Some(schema), Some(status)) = (of_status, judged.object.get("status")) {
        let old = judged.old.and_then(|old| old.get("status"));
        let before = old.map_or(Before::Unknown, Before::Was);
        errors.extend(value::check("status", status, schema, before));
    }
    if let Some(scale) = judged.scale {
        errors.extend(scale.check_status(judged.object));
    }
    errors.extend(repeated(judged));
    errors.extend(by_rules(judged, &errors));
    errors
}

/// Repeated elements, unless there were some before.
fn repeated(judged: &Judged<'_>) -> Vec<FieldError> {
    let found = list_type::check(judged.object, judged.schema);
    let were_there = |old| !list_type::check(old, judged.schema).is_empty();
    if found.is_empty() || judged.old.is_some_and(were_there) {
        return Vec::new();
    }
    found
}

/// Mistakes after which the rules cannot be tried.
const fn blocks(kind: FieldErrorKind) -> bool {
    matches!(
        kind,
        FieldErrorKind::NotSupported
            | FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid
    )
}

fn by_rules(judged: &Judged<'_>, errors: &[FieldError]) -> Vec<FieldError> {
    if !judged.schema.has_rules() {
        return Vec::new();
    }
    if errors.iter().any(|error| blocks(error.kind)) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        return vec![FieldError::invalid("<nil>", "null".into(), why)];
    }
    rules::check("", judged.schema, judged.object, judged.old)
}

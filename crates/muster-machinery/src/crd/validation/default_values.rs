//! Defaults are values of their schema: nothing unknown, nothing wrong.

use serde_json::Value;

use super::super::coerce::coerce;
use super::super::prune::prune;
use super::super::schema::Schema;
use super::super::value::{self, Before};
use super::super::{embedded, rules};
use crate::validation::FieldError;

/// The mistakes of all defaults.
pub(super) fn check(path: &str, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    below(path, schema, true, false, &mut errors);
    errors
}

fn below(
    path: &str,
    schema: &Schema,
    is_resource: bool,
    inside_meta: bool,
    errors: &mut Vec<FieldError>,
) {
    let inside_meta = inside_meta && !schema.is_resource;
    if let Some(default) = &schema.default {
        one(
            &format!("{path}.default"),
            default,
            schema,
            inside_meta,
            errors,
        );
    }
    // Below additional properties there can be defaults only inside of values that somebody else makes.
    if let Some(items) = &schema.items {
        below(
            &format!("{path}.items"),
            items,
            items.is_resource,
            inside_meta,
            errors,
        );
    }
    for (name, property) in &schema.properties {
        let is_meta = is_resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
        let path = format!("{path}.properties[{name}]");
        below(
            &path,
            property,
            property.is_resource,
            inside_meta || is_meta,
            errors,
        );
    }
}

fn one(
    path: &str,
    default: &Value,
    schema: &Schema,
    inside_meta: bool,
    errors: &mut Vec<FieldError>,
) {
    if !inside_meta {
        let mut pruned = default.clone();
        if !prune(&mut pruned, schema, schema.is_resource).is_empty() {
            errors.push(FieldError::invalid(
                path,
                default.clone(),
                "must not have unknown fields",
            ));
        }
        if schema.is_resource
            && let Some(mismatch) = coerce(&mut default.clone(), schema).mismatch
        {
            errors.push(FieldError::invalid(path, default.clone(), mismatch));
        }
        errors.extend(embedded::check(path, default, schema, schema.is_resource));
    }
    let found = value::check(path, default, schema, Before::Unknown);
    let is_sound = found.is_empty();
    errors.extend(found);
    if is_sound && schema.has_rules() {
        errors.extend(rules::check(path, schema, default, None));
    }
}

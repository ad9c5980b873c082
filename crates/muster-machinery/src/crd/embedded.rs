//! Objects inside of objects (`x-kubernetes-embedded-resource`): they have a version, a kind and sound metadata.

use serde_json::Value;

use super::schema::Schema;
use crate::gvk::split_api_version;
use crate::meta;
use crate::resources::{Nature, Resource, Text};
use crate::validation::names::rfc1035_label_problems;
use crate::validation::{FieldError, validate_metadata, without_rules_of_built_in_kinds};

/// The mistakes of all embedded objects; the root counts as one if `is_resource`.
pub(super) fn check(
    path: &str,
    value: &Value,
    schema: &Schema,
    is_resource: bool,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    below(
        path,
        value,
        schema,
        is_resource || schema.is_resource,
        &mut errors,
    );
    errors
}

pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn below(
    path: &str,
    value: &Value,
    schema: &Schema,
    is_resource: bool,
    errors: &mut Vec<FieldError>,
) {
    match value {
        Value::Object(map) => {
            if is_resource {
                one(path, value, errors);
            }
            for (name, value) in map {
                match (schema.properties.get(name), schema.additional_schema()) {
                    (Some(schema), _) => below(
                        &child(path, name),
                        value,
                        schema,
                        schema.is_resource,
                        errors,
                    ),
                    (None, Some(schema)) => {
                        below(
                            &format!("{path}[{name}]"),
                            value,
                            schema,
                            schema.is_resource,
                            errors,
                        );
                    }
                    (None, None) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for (index, item) in list.iter().enumerate() {
                    below(
                        &format!("{path}[{index}]"),
                        item,
                        items,
                        items.is_resource,
                        errors,
                    );
                }
            }
        }
        _ => {}
    }
}

fn one(path: &str, object: &Value, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let place = child(path, name);
        match object.get(name) {
            None => errors.push(FieldError::required(place, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(place, "".into(), "must not be empty"));
            }
            Some(Value::String(text)) => errors.extend(type_meta(name, text, place)),
            Some(other) => errors.push(FieldError::invalid(
                place,
                other.clone(),
                "must be a string",
            )),
        }
    }
    if object.get("metadata").is_some_and(Value::is_object) {
        let mut named = serde_json::json!({"metadata": object["metadata"].clone()});
        if meta::name(&named).is_empty() {
            meta::set_name(&mut named, "fakename");
        }
        let resource = any_resource(!meta::namespace(&named).is_empty());
        let found = without_rules_of_built_in_kinds(validate_metadata(&resource, &named));
        errors.extend(found.into_iter().map(|mut error| {
            error.field = child(path, &error.field);
            error
        }));
    }
}

fn type_meta(name: &str, text: &str, place: String) -> Option<FieldError> {
    if name == "apiVersion" {
        let why = format!("unexpected GroupVersion string: {text}");
        return split_api_version(text)
            .is_none()
            .then(|| FieldError::invalid(place, text.into(), why));
    }
    let problems = rfc1035_label_problems(&text.to_lowercase());
    let why = format!(
        "may have mixed case, but should otherwise match: {}",
        problems.join(",")
    );
    (!problems.is_empty()).then(|| FieldError::invalid(place, text.into(), why))
}

/// A resource of which nothing is known: its objects' names only have to fit in a path.
fn any_resource(namespaced: bool) -> Resource {
    let none = || Text::Borrowed("");
    Resource {
        group: Text::Borrowed("rbac.authorization.k8s.io"),
        version: none(),
        plural: none(),
        singular: none(),
        kind: none(),
        list_kind: none(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        verbs: Vec::new(),
        subresources: Vec::new(),
        nature: Nature::Virtual,
        storage_group_version: (none(), none()),
        storage_version_hash: none(),
        selectable: Vec::new(),
    }
}

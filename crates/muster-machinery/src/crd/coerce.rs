//! Brings an object into the form that a server with its schema keeps: metadata as a typed struct would have it, nothing
//! unknown, no nulls that are not allowed, defaults filled in.

use serde_json::Value;

use super::defaults::{drop_nulls, fill_defaults};
use super::embedded::child;
use super::prune::prune;
use super::schema::Schema;
use crate::field_validation::check_value;
use crate::schema::{self as table, Message};
use crate::typed_form;

/// What became of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coerced {
    /// Paths of members that were taken out because nobody knows them, such as `spec.foo`.
    pub unknown: Vec<String>,
    /// The first piece of metadata that has a wrong type, in words; such a piece is dropped.
    pub mismatch: Option<String>,
}

/// Coerces the object of a request or of the store, and fills in its defaults.
pub fn coerce(object: &mut Value, schema: &Schema) -> Coerced {
    let mut done = Coerced {
        unknown: prune(object, schema, true),
        mismatch: None,
    };
    drop_nulls(object, schema);
    resources("", object, schema, true, &mut done);
    fill_defaults(object, schema);
    done
}

fn object_meta() -> Option<&'static Message> {
    table::table().message("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// Metadata and type of the root and of embedded objects.
fn resources(
    path: &str,
    value: &mut Value,
    schema: &Schema,
    is_resource: bool,
    done: &mut Coerced,
) {
    match value {
        Value::Object(map) => {
            if is_resource {
                for name in ["apiVersion", "kind"] {
                    if map.get(name).is_some_and(|text| !text.is_string()) {
                        map.remove(name);
                        let why = format!("{}: Invalid value: must be a string", child(path, name));
                        done.mismatch.get_or_insert(why);
                    }
                }
                if let Some(metadata) = map.get_mut("metadata") {
                    tidy_metadata(&child(path, "metadata"), metadata, done);
                }
            }
            for (name, value) in map {
                if is_resource && name == "metadata" {
                    continue;
                }
                match (schema.properties.get(name), schema.additional_schema()) {
                    (Some(schema), _) => {
                        resources(&child(path, name), value, schema, schema.is_resource, done);
                    }
                    (None, Some(schema)) => {
                        resources(&child(path, name), value, schema, schema.is_resource, done);
                    }
                    (None, None) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for (index, item) in list.iter_mut().enumerate() {
                    resources(
                        &format!("{path}[{index}]"),
                        item,
                        items,
                        items.is_resource,
                        done,
                    );
                }
            }
        }
        _ => {}
    }
}

fn tidy_metadata(path: &str, metadata: &mut Value, done: &mut Coerced) {
    let Some(message) = object_meta() else {
        return;
    };
    if metadata.is_null() {
        return;
    }
    let findings = check_value(metadata, message);
    let unknown = findings.strict.iter().filter_map(|text| {
        let name = text.strip_prefix("unknown field \"")?.strip_suffix('"')?;
        Some(format!("{path}.{name}"))
    });
    done.unknown.extend(unknown);
    if let Some(mismatch) = findings.mismatch {
        done.mismatch
            .get_or_insert_with(|| format!("{path}: Invalid value: {mismatch}"));
        drop_mismatches(metadata, message);
    }
    // An empty list of owners means something: it resets them.
    let owners = metadata
        .as_object_mut()
        .and_then(|members| members.remove("managedFields"));
    typed_form::apply_as(metadata, message);
    if let Some(members) = metadata.as_object_mut() {
        members.extend(owners.map(|owners| ("managedFields".to_owned(), owners)));
        if members.get("creationTimestamp").is_some_and(Value::is_null) {
            members.remove("creationTimestamp");
        }
    }
}

/// Keeps the members that have the right type.
fn drop_mismatches(metadata: &mut Value, message: &'static Message) {
    match metadata.as_object_mut() {
        Some(members) => members.retain(|name, value| {
            let alone = Value::Object([(name.clone(), value.clone())].into_iter().collect());
            check_value(&alone, message).mismatch.is_none()
        }),
        None => *metadata = Value::Object(serde_json::Map::new()),
    }
}

//! What the structural schema of a custom resource says about ownership (`x-kubernetes-list-type` and its kin).
//!
//! Reads `openAPIV3Schema` of a CustomResourceDefinition; refuses to validate with it.

use serde_json::Value;

use super::typing::{Relation, Type};

/// The shape a schema asks for.
pub(super) enum Shape<'a> {
    Text,
    Number,
    Bool,
    IntOrString,
    Any,
    List {
        relation: Relation<'a>,
        items: Option<&'a Value>,
    },
    Map {
        atomic: bool,
    },
    /// An object with `apiVersion`, `kind` and `metadata` inside another.
    Resource,
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool) == Some(true)
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn shape(schema: &Value) -> Shape<'_> {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    match text(schema, "type") {
        "string" => Shape::Text,
        "integer" | "number" => Shape::Number,
        "boolean" => Shape::Bool,
        "array" => Shape::List {
            relation: relation(schema),
            items: schema.get("items"),
        },
        "object" if flag(schema, "x-kubernetes-embedded-resource") => Shape::Resource,
        "object" if is_open(schema) => Shape::Any,
        "object" => Shape::Map {
            atomic: text(schema, "x-kubernetes-map-type") == "atomic",
        },
        _ => Shape::Any,
    }
}

/// An object of which nothing is said.
fn is_open(schema: &Value) -> bool {
    let says = |name: &str| schema.get(name).is_some_and(|value| !value.is_null());
    !says("properties")
        && !says("additionalProperties")
        && text(schema, "x-kubernetes-map-type") != "atomic"
}

fn relation(schema: &Value) -> Relation<'_> {
    match text(schema, "x-kubernetes-list-type") {
        "set" => Relation::Set,
        "map" => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            Relation::Keys(
                keys.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect(),
            )
        }
        _ => Relation::Atomic,
    }
}

/// The type of a member, and whether the schema names it.
pub(super) fn member<'a>(schema: &'a Value, name: &str) -> (Type<'a>, bool) {
    let named = schema.get("properties").and_then(|all| all.get(name));
    let other = || schema.get("additionalProperties").filter(|s| s.is_object());
    match named {
        Some(schema) => (Type::structural(schema), true),
        None => (other().map_or(Type::deduced(), Type::structural), false),
    }
}

/// Whether the schema lets an object have such a member.
pub(super) fn allows(schema: &Value, name: &str) -> bool {
    let additional = schema.get("additionalProperties");
    member(schema, name).1
        || additional.is_some_and(|s| s.is_object() || s == &Value::Bool(true))
        || flag(schema, "x-kubernetes-preserve-unknown-fields")
        || is_open(schema)
}

//! A custom resource's schema as OpenAPI documents show it: with what every object has, and, in the older version, without
//! what `kubectl` of old does not understand.

use serde_json::{Map, Value, json};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

fn is_set(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The schema in an OpenAPI v3 document. `object_meta` refers to the type of metadata there.
#[must_use]
pub fn for_openapi_v3(schema: Option<&Value>, object_meta: &Value) -> Map<String, Value> {
    let Some(schema) = schema else {
        return object(json!({"type": "object"}));
    };
    let mut schema = object(schema.clone());
    walk(&mut schema, &mut |_| {});
    embed(&mut schema, object_meta, false);
    root(&mut schema, object_meta);
    schema
}

/// The schema in an OpenAPI v2 document.
#[must_use]
pub fn for_openapi_v2(schema: Option<&Value>, object_meta: &Value) -> Map<String, Value> {
    let schema = schema.map(|schema| object(schema.clone()));
    match schema {
        Some(mut schema) if !is_set(&schema, PRESERVE) => {
            walk(&mut schema, &mut simplify);
            embed(&mut schema, object_meta, true);
            root(&mut schema, object_meta);
            schema
        }
        // Any word more, and kubectl takes all other fields for unknown.
        _ => object(json!({"type": "object"})),
    }
}

fn reference(target: &Value, description: &str) -> Value {
    json!({"allOf": [target], "description": description})
}

fn root(schema: &mut Map<String, Value>, object_meta: &Value) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(
            "apiVersion".to_owned(),
            json!({"type": "string", "description": API_VERSION}),
        );
        properties.insert(
            "kind".to_owned(),
            json!({"type": "string", "description": KIND}),
        );
        properties.insert("metadata".to_owned(), reference(object_meta, METADATA));
    }
}

/// Every structural schema below, innermost first.
fn each(schema: &mut Map<String, Value>, then: &mut dyn FnMut(&mut Map<String, Value>)) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties
            .values_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|below| each(below, then));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(name).and_then(Value::as_object_mut) {
            each(below, then);
        }
    }
    then(schema);
}

fn embed(schema: &mut Map<String, Value>, object_meta: &Value, v2: bool) {
    each(schema, &mut |schema| {
        if !is_set(schema, EMBEDDED) || (v2 && is_set(schema, PRESERVE)) {
            return;
        }
        root(schema, object_meta);
        let required = schema.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|known| known == name) {
                    required.push(name.into());
                }
            }
        }
    });
}

/// Goes through all schemas, outermost first, and leaves prose-free nulls out.
fn walk(schema: &mut Map<String, Value>, then: &mut dyn FnMut(&mut Map<String, Value>)) {
    schema.retain(|_, value| !value.is_null());
    then(schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for below in properties.values_mut().filter_map(Value::as_object_mut) {
            walk(below, then);
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(name).and_then(Value::as_object_mut) {
            walk(below, then);
        }
    }
}

/// What kubectl of old stumbles over (`ToStructuralOpenAPIV2`).
fn simplify(schema: &mut Map<String, Value>) {
    for word in ["allOf", "anyOf", "oneOf", "not"] {
        schema.remove(word);
    }
    let nullable = |value: Option<&Value>| {
        value.is_some_and(|value| value.get("nullable") == Some(&Value::Bool(true)))
    };
    if is_set(schema, "nullable") {
        for word in ["type", "nullable", "items", "properties"] {
            schema.remove(word);
        }
    }
    if is_set(schema, PRESERVE) {
        schema.remove("items");
        schema.remove("properties");
        if schema.get("type").is_some_and(|type_| type_ == "object") {
            schema.remove("type");
        }
    }
    if !schema.contains_key("items") && schema.get("type").is_some_and(|type_| type_ == "array") {
        schema.remove("type");
    }
    let unneeded: Vec<String> = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, property)| nullable(Some(property)))
        .map(|(name, _)| name.clone())
        .collect();
    let all = nullable(schema.get("additionalProperties"));
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !all && !unneeded.iter().any(|unneeded| name == unneeded));
        if required.is_empty() {
            schema.remove("required");
        }
    }
}

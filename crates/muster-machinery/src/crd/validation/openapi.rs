//! The words of a schema: which of OpenAPI's there may be, and what those of Kubernetes demand of each other.
//!
//! Upstream: `ValidateCustomResourceDefinitionOpenAPISchema`.

use serde_json::{Map, Value};

use super::paths::leads_somewhere;
use crate::validation::FieldError;

type Schema = Map<String, Value>;

/// Fields that may stand at the root when `status` is a subresource, as the types of upstream name them.
const AT_ROOT: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
    ),
    ("XValidations", "x-kubernetes-validations"),
];

fn text<'a>(schema: &'a Schema, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_given(schema: &Schema, name: &str) -> bool {
    schema.get(name).is_some_and(|value| !value.is_null())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Shows every schema in a schema, wherever it stands.
pub(super) fn each_schema(schema: &Value, then: &mut dyn FnMut(&Schema)) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    then(schema);
    let below = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    below.for_each(|(_, schema)| each_schema(schema, then));
    for word in ["items", "additionalProperties", "not"] {
        schema
            .get(word)
            .into_iter()
            .for_each(|schema| each_schema(schema, then));
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        let list = schema
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        list.for_each(|schema| each_schema(schema, then));
    }
}

/// What holds at the root alone.
pub(super) fn check_root(
    schema: &Value,
    path: &str,
    has_status: bool,
    errors: &mut Vec<FieldError>,
) {
    let Some(root) = schema.as_object() else {
        return;
    };
    if has_status {
        if !text(root, "type").is_empty() && text(root, "type") != "object" {
            let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errors.push(FieldError::invalid(
                format!("{path}.type"),
                text(root, "type").into(),
                why,
            ));
        } else if let Some((name, _)) = root.iter().find(|(name, value)| {
            !is_empty(value) && !AT_ROOT.iter().any(|(_, known)| name == known)
        }) {
            let listed: Vec<&str> = AT_ROOT.iter().map(|(name, _)| *name).collect();
            let why = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                listed.join(" ")
            );
            errors.push(FieldError::invalid(path, name.as_str().into(), why));
        }
    }
    if root.get("nullable") == Some(&Value::Bool(true)) {
        errors.push(FieldError::forbidden(
            format!("{path}.nullable"),
            "nullable cannot be true at the root",
        ));
    }
}

/// Where a schema stands, as far as it matters.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    is_root: bool,
    inside_meta: bool,
    /// Why defaults are forbidden here.
    no_defaults: Option<&'a str>,
}

/// What holds for every schema in it.
pub(super) fn check(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let place = Place {
        is_root: true,
        ..Place::default()
    };
    below(schema, path, place, errors);
}

fn below(schema: &Value, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    words(schema, path, place, errors);
    if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        let why =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), why));
    }
    let inner = Place {
        is_root: false,
        ..place
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(additional) = schema
        .get("additionalProperties")
        .filter(|value| !value.is_null())
    {
        let place_of = format!("{path}.additionalProperties");
        if properties.is_some_and(|all| !all.is_empty()) && additional != &Value::Bool(true) {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(place_of.clone(), why));
        }
        let mut inner = inner;
        if place.inside_meta {
            inner.no_defaults = Some("inside additionalProperties applying to object metadata");
        }
        below(additional, &place_of, inner, errors);
    }
    let embedded = schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    for (name, property) in properties.into_iter().flatten() {
        let mut inner = inner;
        let in_top_level = format!("in top-level {name}");
        if (place.is_root || embedded)
            && matches!(name.as_str(), "metadata" | "kind" | "apiVersion")
        {
            inner.inside_meta = true;
            if place.is_root {
                inner.no_defaults = Some(&in_top_level);
            }
        }
        below(
            property,
            &format!("{path}.properties[{name}]"),
            inner,
            errors,
        );
    }
    for word in ["not", "items"] {
        if let Some(one) = schema.get(word) {
            below(one, &format!("{path}.{word}"), inner, errors);
        }
    }
    for word in ["allOf", "oneOf", "anyOf"] {
        let list = schema
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for (index, one) in list.enumerate() {
            below(one, &format!("{path}.{word}[{index}]"), inner, errors);
        }
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let place = format!("{path}.x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(
            place,
            false.into(),
            "must be true or undefined",
        ));
    }
    map_type(schema, path, errors);
    list_type(schema, path, errors);
    rules(schema, path, errors);
}

/// Words that are not supported, and defaults where there may be none.
fn words(schema: &Schema, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let type_ = text(schema, "type");
    let known = ["array", "boolean", "integer", "number", "object", "string"];
    if !type_.is_empty() && !known.contains(&type_) {
        errors.push(FieldError::not_supported(
            format!("{path}.type"),
            type_.into(),
            &known,
        ));
    }
    if is_given(schema, "default")
        && let Some(reason) = place.no_defaults
    {
        errors.push(FieldError::forbidden(
            format!("{path}.default"),
            format!("must not be set {reason}"),
        ));
    }
    let unsupported = [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ];
    for word in unsupported {
        if schema.get(word).is_some_and(|value| {
            !value.is_null() && value != "" && value != &Value::Object(Map::new())
        }) {
            errors.push(FieldError::forbidden(
                format!("{path}.{word}"),
                format!("{word} is not supported"),
            ));
        }
    }
    if type_ == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(format!("{path}.type"), why));
    }
    if schema.get("items").is_some_and(Value::is_array) {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(format!("{path}.items"), why));
    }
    if place.inside_meta && schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true))
    {
        let why = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(
            format!("{path}.x-kubernetes-embedded-resource"),
            why,
        ));
    }
}

/// A type must go with what is said of it.
fn needs_type(
    schema: &Schema,
    path: &str,
    type_: &str,
    why: &str,
    errors: &mut Vec<FieldError>,
) -> bool {
    match text(schema, "type") {
        own if own == type_ => return true,
        "" => errors.push(FieldError::required(format!("{path}.type"), why)),
        own => errors.push(FieldError::invalid(format!("{path}.type"), own.into(), why)),
    }
    false
}

fn map_type(schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    if !is_given(schema, "x-kubernetes-map-type") {
        return;
    }
    needs_type(
        schema,
        path,
        "object",
        "must be object if x-kubernetes-map-type is specified",
        errors,
    );
    let own = text(schema, "x-kubernetes-map-type");
    if !matches!(own, "atomic" | "granular") {
        let place = format!("{path}.x-kubernetes-map-type");
        errors.push(FieldError::not_supported(
            place,
            own.into(),
            &["atomic", "granular"],
        ));
    }
}

fn list_type(schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let place = format!("{path}.x-kubernetes-list-type");
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let own = text(schema, "x-kubernetes-list-type");
    if own.is_empty() {
        if !keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(FieldError::required(place, why));
        }
        return;
    }
    let why = "must be array if x-kubernetes-list-type is specified";
    let is_list = needs_type(schema, path, "array", why, errors);
    let items = schema.get("items").and_then(Value::as_object);
    if let ("set", true, Some(items)) = (own, is_list, items) {
        set_items(items, path, errors);
    }
    if !matches!(own, "atomic" | "set" | "map") {
        let known = &["atomic", "set", "map"];
        errors.push(FieldError::not_supported(place.clone(), own.into(), known));
    }
    if !keys.is_empty() && own != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(FieldError::invalid(place, own.into(), why));
    }
    if own == "map" {
        map_items(schema, &keys, path, errors);
    }
    let nullable = |schema: &Schema| schema.get("nullable") == Some(&Value::Bool(true));
    if let ("set" | "map", Some(items)) = (own, items)
        && nullable(items)
    {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {own}");
        errors.push(FieldError::forbidden(format!("{path}.items.nullable"), why));
    }
}

fn set_items(items: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let own = |name: &str| text(items, name);
    match own("type") {
        "array" if !matches!(own("x-kubernetes-list-type"), "" | "atomic") => {
            let place = format!("{path}.items.x-kubernetes-list-type");
            errors.push(FieldError::invalid(
                place,
                own("x-kubernetes-list-type").into(),
                why,
            ));
        }
        "object" if own("x-kubernetes-map-type") != "atomic" => {
            let place = format!("{path}.items.x-kubernetes-map-type");
            errors.push(FieldError::invalid(place, Value::Null, why));
        }
        _ => {}
    }
}

fn map_items(schema: &Schema, keys: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let keys_path = format!("{path}.x-kubernetes-list-map-keys");
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(keys_path.clone(), why));
    }
    let Some(items) = schema.get("items").and_then(Value::as_object) else {
        let why = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{path}.items"), why));
        return;
    };
    if text(items, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            text(items, "type").into(),
            why,
        ));
        return;
    }
    let listed = || Value::from(keys.to_vec());
    let required: Vec<&str> = items
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (index, key) in keys.iter().enumerate() {
        let property = items
            .get("properties")
            .and_then(|all| all.get(*key))
            .and_then(Value::as_object);
        let place = format!("{path}.items.properties[{key}]");
        match property {
            None => errors.push(FieldError::invalid(
                keys_path.clone(),
                listed(),
                "entries must all be names of item properties",
            )),
            Some(property) => {
                if matches!(text(property, "type"), "array" | "object") {
                    let why =
                        "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    errors.push(FieldError::invalid(
                        format!("{place}.type"),
                        text(items, "type").into(),
                        why,
                    ));
                }
                if !required.contains(key) && !is_given(property, "default") {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    errors.push(FieldError::required(format!("{place}.default"), why));
                }
                if property.get("nullable") == Some(&Value::Bool(true)) {
                    let why =
                        "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                    errors.push(FieldError::forbidden(format!("{place}.nullable"), why));
                }
            }
        }
        if keys[..index].contains(key) {
            let why = "must not contain duplicate entries";
            errors.push(FieldError::invalid(keys_path.clone(), listed(), why));
        }
    }
}

/// What is said around the expressions of rules; the expressions are judged when all else is well.
fn rules(schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let list = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let breaks = |text: &str| text.contains(['\n', '\r']);
    for (index, rule) in list.into_iter().flatten().enumerate() {
        let place = |name: &str| format!("{path}.x-kubernetes-validations[{index}].{name}");
        let own = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let (trimmed, message) = (own("rule").trim(), own("message").trim());
        if trimmed.is_empty() {
            errors.push(FieldError::required(place("rule"), "rule is not specified"));
        } else if !own("message").is_empty() && message.is_empty() {
            let why = "must be non-empty if specified";
            errors.push(FieldError::invalid(
                place("message"),
                own("message").into(),
                why,
            ));
        } else if breaks(message) {
            let why = "must not contain line breaks";
            errors.push(FieldError::invalid(
                place("message"),
                own("message").into(),
                why,
            ));
        } else if breaks(trimmed) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(place("message"), why));
        }
        if !own("messageExpression").is_empty() && own("messageExpression").trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(place("messageExpression"), why));
        }
        let reasons = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if !own("reason").is_empty() && !reasons.contains(&own("reason")) {
            errors.push(FieldError::not_supported(
                place("reason"),
                own("reason").into(),
                &reasons,
            ));
        }
        let field_path = own("fieldPath");
        let why = if field_path.is_empty() {
            continue;
        } else if field_path.trim().is_empty() {
            "must be non-empty if specified"
        } else if breaks(field_path) {
            "must not contain line breaks"
        } else if !leads_somewhere(field_path, &Value::Object(schema.clone())) {
            "must be a valid path"
        } else {
            continue;
        };
        errors.push(FieldError::invalid(
            place("fieldPath"),
            field_path.into(),
            why,
        ));
    }
}

//! How OpenAPI v3 is said in Swagger 2.0.
//!
//! Where the older language has no words for a rule (alternatives, nullability), the rule is left out: a description may
//! allow more than the server does, never less.

use serde_json::{Map, Value, json};

const PRODUCES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// A schema in the older words; references lead to `#/definitions/`.
pub(super) fn schema(schema: Value) -> Value {
    let Value::Object(members) = schema else {
        return schema;
    };
    let typed = members.contains_key("type");
    let mut rewritten = Map::new();
    for (keyword, value) in members {
        match (&*keyword, value) {
            ("$ref", Value::String(target)) => {
                rewritten.insert(keyword, definition(&target));
            }
            ("allOf", Value::Array(parts)) => {
                if let [part] = &parts[..]
                    && let Some(target) = part["$ref"].as_str()
                {
                    rewritten.insert("$ref".to_owned(), definition(target));
                }
            }
            // Quantities and the like: what is written as a string or a number passes for a string.
            ("oneOf", Value::Array(parts)) => {
                if !typed && parts.contains(&json!({"type": "string"})) {
                    rewritten.insert("type".to_owned(), "string".into());
                }
            }
            ("oneOf" | "anyOf" | "allOf" | "not" | "nullable", _) => {}
            ("properties", Value::Object(properties)) => {
                let properties: Map<String, Value> = properties
                    .into_iter()
                    .map(|(name, property)| (name, self::schema(property)))
                    .collect();
                rewritten.insert(keyword, Value::Object(properties));
            }
            ("items" | "additionalProperties", value) => {
                rewritten.insert(keyword, self::schema(value));
            }
            (_, value) => {
                rewritten.insert(keyword, value);
            }
        }
    }
    Value::Object(rewritten)
}

fn definition(target: &str) -> Value {
    let name = target.strip_prefix("#/components/schemas/");
    format!("#/definitions/{}", name.unwrap_or(target)).into()
}

/// A path with its operations.
pub(super) fn path_item(item: Value) -> Value {
    let Value::Object(members) = item else {
        return item;
    };
    let rewritten: Map<String, Value> = members
        .into_iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Array(list) => list.into_iter().map(parameter).collect(),
                value => operation(value),
            };
            (name, value)
        })
        .collect();
    Value::Object(rewritten)
}

/// The type of a parameter stands beside its name.
fn parameter(mut parameter: Value) -> Value {
    if let Some(schema) = parameter["schema"].as_object_mut().map(std::mem::take)
        && let Some(members) = parameter.as_object_mut()
    {
        members.remove("schema");
        members.extend(schema);
    }
    parameter
}

fn operation(mut operation: Value) -> Value {
    let Some(members) = operation.as_object_mut() else {
        return operation;
    };
    let mut parameters: Vec<Value> = match members.remove("parameters") {
        Some(Value::Array(list)) => list.into_iter().map(parameter).collect(),
        _ => Vec::new(),
    };
    let body = members.remove("requestBody").and_then(content);
    if let Some((media_types, body)) = body {
        let optional = members.get("x-kubernetes-action").is_some_and(
            |action| matches!(action.as_str(), Some(action) if action.starts_with("delete")),
        );
        parameters.push(
            json!({"name": "body", "in": "body", "required": !optional, "schema": schema(body)}),
        );
        members.insert("consumes".to_owned(), media_types);
    }
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), Value::Array(parameters));
    }
    members.insert("produces".to_owned(), json!(PRODUCES));
    if let Some(responses) = members.get_mut("responses").and_then(Value::as_object_mut) {
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            if let Some((_, body)) = content(Value::Object(response.clone())) {
                response.remove("content");
                response.insert("schema".to_owned(), schema(body));
            }
        }
    }
    operation
}

/// The media types under `content`, and the first one's schema.
fn content(mut of: Value) -> Option<(Value, Value)> {
    let content = of["content"].as_object_mut()?;
    let media_types: Value = content.keys().map(String::as_str).collect();
    let schema = content.values_mut().next()?["schema"].take();
    Some((media_types, schema))
}

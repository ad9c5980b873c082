//! Which fields each kind has, of which type: for unknown fields and wrong types, with Go's words.
//!
//! It refuses to know what the fields mean.

mod kinds;

pub(super) use kinds::of;
use serde_json::Value;

/// What a field may hold.
pub(super) enum Shape {
    Text,
    Flag,
    Number,
    Span,
    List(&'static Self),
    /// Any keys, values of one shape.
    Map(&'static Self),
    Struct(&'static str, &'static [(&'static str, Self)]),
    /// Whatever Kubernetes' own types allow.
    Any,
}

use Shape::{Any, Flag, List, Map, Number, Span, Struct, Text};

/// The first value of a wrong type, in Go's words.
pub(super) fn mistyped(value: &Value, shape: &Shape, version: &str) -> Option<String> {
    look(value, shape, version, &mut Vec::new(), "")
}

fn look(
    value: &Value,
    shape: &Shape,
    version: &str,
    path: &mut Vec<String>,
    owner: &str,
) -> Option<String> {
    let wrong = |path: &[String]| {
        let found = match value {
            Value::Null => return None,
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let place = match (path, owner) {
            ([], _) => "value".to_owned(),
            (path, owner) => format!("struct field {owner}.{}", path.join(".")),
        };
        let wanted = go_type(shape, version);
        Some(format!(
            "json: cannot unmarshal {found} into Go {place} of type {wanted}"
        ))
    };
    match (shape, value) {
        (_, Value::Null) | (Any, _) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) => None,
        (Number, Value::Number(number)) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => None,
            _ => Some(format!(
                "json: cannot unmarshal number {number} into Go struct field {owner}.{} of type int32",
                path.join(".")
            )),
        },
        (Span, Value::String(text)) => {
            muster_identity::GoDuration::parse(text)
                .err()
                .map(|error| match error {
                    muster_identity::DurationError::MissingUnit { .. } => {
                        format!("time: missing unit in duration {text:?}")
                    }
                    _ => format!("time: invalid duration {text:?}"),
                })
        }
        (List(item), Value::Array(items)) => items
            .iter()
            .find_map(|value| look(value, item, version, path, owner)),
        (Map(item), Value::Object(map)) => map
            .values()
            .find_map(|value| look(value, item, version, path, owner)),
        (Struct(name, fields), Value::Object(map)) => fields.iter().find_map(|(field, shape)| {
            let value = map.get(*field)?;
            path.push((*field).to_owned());
            let wrong = look(value, shape, version, path, name);
            path.pop();
            wrong
        }),
        _ => wrong(path),
    }
}

fn go_type(shape: &Shape, version: &str) -> String {
    match shape {
        Text | Span => "string".into(),
        Flag => "bool".into(),
        Number => "int32".into(),
        Any => "interface {}".into(),
        List(item) => format!("[]{}", go_type(item, version)),
        Map(item) => format!("map[string]{}", go_type(item, version)),
        Struct(name, _) => match *name {
            "Taint" => "v1.Taint".into(),
            name => format!("{version}.{name}"),
        },
    }
}

/// The paths of all fields that the kind does not have, in Go's notation.
pub(super) fn unknown_fields(value: &Value, shape: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, shape, "", &mut found);
    found
}

fn collect(value: &Value, shape: &Shape, path: &str, found: &mut Vec<String>) {
    match (shape, value) {
        (List(item), Value::Array(items)) => {
            for (number, value) in items.iter().enumerate() {
                collect(value, item, &format!("{path}[{number}]"), found);
            }
        }
        (Struct(_, fields), Value::Object(map)) => {
            for (name, value) in map {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match fields.iter().find(|(field, _)| field == name) {
                    Some((_, shape)) => collect(value, shape, &path, found),
                    None => found.push(path),
                }
            }
        }
        _ => {}
    }
}

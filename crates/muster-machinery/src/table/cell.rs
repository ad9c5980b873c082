//! Pieces that many kinds' cells are made of.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::duration_text::age;
use crate::meta::{self, at, items, str_at};

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    meta::name(object).into()
}

/// The object's age.
pub(super) fn age_of(object: &Value, now: Timestamp) -> Value {
    age(meta::creation_timestamp(object), now).into()
}

/// Text at a path; empty when absent.
pub(super) fn text(object: &Value, path: &[&str]) -> Value {
    str_at(object, path).unwrap_or("").into()
}

/// Text at a path, or a stand-in.
pub(super) fn text_or(object: &Value, path: &[&str], otherwise: &str) -> Value {
    str_at(object, path)
        .filter(|text| !text.is_empty())
        .unwrap_or(otherwise)
        .into()
}

/// An integer at a path; 0 when absent.
pub(super) fn int(object: &Value, path: &[&str]) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or(0)
}

/// A boolean at a path, or a stand-in.
pub(super) fn flag(object: &Value, path: &[&str], otherwise: bool) -> bool {
    at(object, path)
        .and_then(Value::as_bool)
        .unwrap_or(otherwise)
}

/// How many entries a list has.
pub(super) fn count(object: &Value, path: &[&str]) -> Value {
    items(object, path).len().into()
}

/// Names and images of a list of containers.
pub(super) fn containers(object: &Value, path: &[&str]) -> [Value; 2] {
    let containers = items(object, path);
    let column = |key: &str| -> Value {
        let texts: Vec<_> = containers
            .iter()
            .map(|c| str_at(c, &[key]).unwrap_or(""))
            .collect();
        texts.join(",").into()
    };
    [column("name"), column("image")]
}

/// A map of labels as `a=b,c=d`; `<none>` when empty.
pub(super) fn labels(map: Option<&Value>) -> String {
    let empty = Map::new();
    let map = map.and_then(Value::as_object).unwrap_or(&empty);
    if map.is_empty() {
        return "<none>".into();
    }
    let pairs: Vec<_> = map
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    pairs.join(",")
}

/// A `LabelSelector` object as kubectl shows it: equalities as `a=b`, expressions behind.
pub(super) fn selector(value: Option<&Value>) -> String {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return "<none>".into();
    };
    let mut parts: Vec<(String, String)> = Vec::new();
    if let Some(map) = value.get("matchLabels").and_then(Value::as_object) {
        for (key, value) in map {
            parts.push((
                key.clone(),
                format!("{key}={}", value.as_str().unwrap_or("")),
            ));
        }
    }
    for expression in items(value, &["matchExpressions"]) {
        let key = str_at(expression, &["key"]).unwrap_or("").to_owned();
        let mut values: Vec<_> = items(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match str_at(expression, &["operator"]) {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("Exists") => key.clone(),
            Some("DoesNotExist") => format!("!{key}"),
            _ => return "<error>".into(),
        };
        parts.push((key, text));
    }
    if parts.is_empty() {
        return "<none>".into();
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}

/// The first entries of a list, and how many follow: `a,b,c + 2 more...`.
pub(super) fn first_of(texts: &[String], shown: usize, empty: &str) -> String {
    let head = texts
        .iter()
        .take(shown)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    match texts.len() {
        0 => empty.into(),
        n if n > shown => format!("{head} + {} more...", n - shown),
        _ => head,
    }
}

/// Whether a condition of a type is `True` in `status.conditions`.
pub(super) fn has_condition(object: &Value, type_: &str) -> bool {
    items(object, &["status", "conditions"])
        .iter()
        .find(|condition| str_at(condition, &["type"]) == Some(type_))
        .is_some_and(|condition| str_at(condition, &["status"]) == Some("True"))
}

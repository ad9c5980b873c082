//! Lists of type set have no element twice, lists of type map no key twice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::schema::{ListType, Schema};
use crate::validation::FieldError;

/// The elements that are there twice, each reported once.
pub(super) fn check(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    below("", object, schema, &mut errors);
    errors
}

fn below(path: &str, value: &Value, schema: &Schema, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (schema.properties.get(name), schema.additional_schema()) {
                    (Some(schema), _) if path.is_empty() => below(name, value, schema, errors),
                    (Some(schema), _) => below(&format!("{path}.{name}"), value, schema, errors),
                    (None, Some(schema)) => {
                        below(&format!("{path}[{name}]"), value, schema, errors)
                    }
                    (None, None) => {}
                }
            }
        }
        Value::Array(list) => {
            match schema.list_type {
                ListType::Set => unique(path, list, errors),
                ListType::Map => unique_keys(path, list, schema, errors),
                ListType::Atomic => {}
            }
            if let Some(items) = &schema.items {
                for (index, item) in list.iter().enumerate() {
                    below(&format!("{path}[{index}]"), item, items, errors);
                }
            }
        }
        _ => {}
    }
}

/// The indices at which a value appears for the second time.
fn second<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut repeated = Vec::new();
    for (index, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            repeated.push(index);
        }
    }
    repeated
}

fn unique(path: &str, list: &[Value], errors: &mut Vec<FieldError>) {
    for index in second(list.iter()) {
        errors.push(FieldError::duplicate(
            format!("{path}[{index}]"),
            list[index].clone(),
        ));
    }
}

fn unique_keys(path: &str, list: &[Value], schema: &Schema, errors: &mut Vec<FieldError>) {
    let stranger = list
        .iter()
        .position(|item| !item.is_object() && !item.is_null());
    if let Some(index) = stranger {
        let why = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(
            format!("{path}[{index}]"),
            list[index].clone(),
            why,
        ));
        return;
    }
    let key = |item: &Value| {
        let parts = schema
            .list_keys
            .iter()
            .filter_map(|name| Some((name.clone(), item.get(name)?.clone())));
        Value::Object(Map::from_iter(parts))
    };
    let keys: Vec<Value> = list.iter().map(key).collect();
    for index in second(keys.iter()) {
        errors.push(FieldError::duplicate(
            format!("{path}[{index}]"),
            keys[index].clone(),
        ));
    }
}

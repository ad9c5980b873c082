//! Fills a schema's defaults into an object, and takes out nulls that the schema does not allow.

use serde_json::Value;

use super::schema::Schema;

/// Takes out nulls where the schema neither allows them nor has a default to put in their place.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    drop_below(value, Some(schema));
}

fn drop_below(value: &mut Value, schema: Option<&Schema>) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let schema = schema.and_then(|schema| schema.member(name));
            let unwanted = value.is_null()
                && schema.is_some_and(|schema| !schema.nullable && schema.default.is_none());
            if !unwanted {
                drop_below(value, schema);
            }
            !unwanted
        }),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            list.iter_mut().for_each(|item| drop_below(item, items));
        }
        _ => {}
    }
}

/// Fills in defaults.
pub fn fill_defaults(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                let missing = match map.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !property.nullable,
                };
                if missing {
                    map.insert(name.clone(), Value::clone(default));
                }
            }
            for (name, value) in map {
                if let Some(schema) = schema.member(name) {
                    fill_in_place(value, schema);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|item| fill_in_place(item, items));
            }
        }
        _ => {}
    }
}

fn fill_in_place(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = Value::clone(default);
    }
    fill_defaults(value, schema);
}

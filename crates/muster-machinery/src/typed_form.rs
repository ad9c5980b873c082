//! An object as a server with typed structs would hold it: what decoding and encoding it again leaves.
//!
//! kube-apiserver never stores what its types do not have, and prints every value in one form. A server on plain JSON
//! has to do so by itself: unknown members, `null`s and empty members go, times become UTC, quantities canonical. It
//! refuses to know defaults and validation; values of a wrong type stay as they are.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::schema::{self, Field, Form, Kind, Message, Shape};
use crate::{meta, quantity, rfc3339};

/// Brings an object of a built-in kind into its typed form. Returns whether the kind is built in; others are untouched.
pub fn apply(object: &mut Value) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = schema::table().by_api_version(text("apiVersion"), text("kind"));
    if let Some(message) = message {
        apply_as(object, message);
    }
    message.is_some()
}

/// Brings a value of the given type into its typed form.
pub fn apply_as(value: &mut Value, message: &Message) {
    let schema_of = || {
        message
            .fields()
            .iter()
            .find(|f| f.name() == "schema")
            .and_then(|f| schema::table().message_of(f))
    };
    match (message.form(), value) {
        (Form::Object, Value::Object(members)) => tidy_members(members, message),
        (Form::Time, Value::String(text)) => {
            rfc3339::parse(text).inspect(|time| *text = meta::format_time(*time));
        }
        (Form::MicroTime, Value::String(text)) => {
            rfc3339::parse(text).inspect(|time| *text = meta::format_micro_time(*time));
        }
        (Form::Quantity, value @ (Value::String(_) | Value::Number(_))) => {
            *value = quantity::canonical(value).into()
        }
        (
            Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings,
            Value::Object(members),
        ) => {
            if let Some(schema) = schema_of() {
                tidy_members(members, schema);
            }
        }
        (Form::SchemaOrArray, Value::Array(elements)) => {
            if let Some(schema) = schema_of() {
                elements
                    .iter_mut()
                    .for_each(|element| apply_as(element, schema));
            }
        }
        _ => {}
    }
}

fn tidy_members(members: &mut Map<String, Value>, message: &Message) {
    let is_object = message.kind().is_some();
    members.retain(|name, value| match schema::table().field(message, name) {
        Some(field) => tidy(value, field),
        None => is_object && matches!(name.as_str(), "apiVersion" | "kind"),
    });
}

/// Whether the member stays.
fn tidy(value: &mut Value, field: &Field) -> bool {
    let message = schema::table().message_of(field);
    if let Some(message) = message {
        match (field.shape(), &mut *value) {
            (Shape::One, value) => apply_as(value, message),
            (Shape::List, Value::Array(elements)) => {
                elements.iter_mut().for_each(|e| apply_as(e, message))
            }
            (Shape::Map, Value::Object(members)) => {
                members.values_mut().for_each(|m| apply_as(m, message))
            }
            _ => {}
        }
    }
    match (value, field.shape()) {
        (Value::Null, Shape::One) if !field.is_pointer() => {
            let is_time = message.is_some_and(|m| matches!(m.form(), Form::Time | Form::MicroTime));
            is_time && !field.omits_zero()
        }
        (Value::Null, _) => field.is_always_printed_nil(),
        (value, Shape::One) if message.is_none() => {
            field.is_pointer() || !field.omits_empty() || !is_zero(value, field)
        }
        (Value::Object(members), Shape::One) => {
            !members.is_empty() || field.is_pointer() || !field.omits_zero()
        }
        (Value::Array(elements), _) => !elements.is_empty() || !field.omits_empty(),
        (Value::Object(members), Shape::Map) => !members.is_empty() || !field.omits_empty(),
        _ => true,
    }
}

fn is_zero(value: &Value, field: &Field) -> bool {
    match field.kind() {
        Kind::String | Kind::Bytes => value == "",
        Kind::Bool => value == &Value::Bool(false),
        Kind::Int32 | Kind::Int64 | Kind::Double => value.as_f64() == Some(0.0),
        Kind::Message(_) => false,
    }
}

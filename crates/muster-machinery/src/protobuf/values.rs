//! Single values: scalars, and the messages whose JSON is one value.
//!
//! Knows nothing of the message around them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::wire::{Malformed, Raw, Reader};
use crate::schema::{Form, Kind};

pub(super) fn zero(kind: Kind) -> Value {
    match kind {
        Kind::String | Kind::Bytes => Value::String(String::new()),
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 => Value::from(0),
        Kind::Double => Value::from(0.0),
        Kind::Message(_) => Value::Null,
    }
}

pub(super) fn scalar(kind: Kind, raw: Raw<'_>) -> Result<Value, Malformed> {
    Ok(match kind {
        Kind::String => Value::from(raw.str()?),
        Kind::Bytes => Value::from(STANDARD.encode(raw.bytes()?)),
        Kind::Bool => Value::from(raw.varint()? != 0),
        Kind::Int32 => Value::from(raw.varint()? as i32),
        Kind::Int64 => Value::from(raw.varint()? as i64),
        Kind::Double => {
            let Raw::Fixed64(bits) = raw else {
                return Err(Malformed);
            };
            Number::from_f64(f64::from_bits(bits))
                .map(Value::Number)
                .ok_or(Malformed)?
        }
        Kind::Message(_) => return Err(Malformed),
    })
}

pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Malformed> {
    let mut text = "0";
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        if number == 1 {
            text = match raw.str()? {
                "" => "0",
                text => text,
            };
        }
    }
    Ok(Value::from(text))
}

pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_string, mut number, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((field, raw)) = reader.next()? {
        match field {
            1 => is_string = raw.varint()? == 1,
            2 => number = raw.varint()? as i32,
            3 => text = raw.str()?,
            _ => {}
        }
    }
    Ok(if is_string {
        Value::from(text)
    } else {
        Value::from(number)
    })
}

/// The JSON of the messages that stand for one of two things.
pub(super) fn alternative(form: Form, mut members: Map<String, Value>) -> Value {
    let full =
        |value: Option<Value>| value.filter(|v| v.as_array().is_none_or(|list| !list.is_empty()));
    match form {
        Form::SchemaOrBool => {
            let allows = members
                .get("allows")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            members.remove("schema").unwrap_or(Value::Bool(allows))
        }
        Form::SchemaOrArray => full(members.remove("jSONSchemas"))
            .or_else(|| members.remove("schema"))
            .unwrap_or(Value::Null),
        Form::SchemaOrStrings => full(members.remove("property"))
            .or_else(|| members.remove("schema"))
            .unwrap_or(Value::Null),
        _ => members
            .remove("items")
            .unwrap_or_else(|| Value::Array(Vec::new())),
    }
}

//! From JSON values to protobuf bytes.
//!
//! Members that the table does not have are dropped, as they are when Go decodes JSON; members of a wrong type are
//! errors that name the path. It refuses to guess kinds: the object says what it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::pieces::{encode_bare, envelope};
use super::time::{self, Precision};
use super::wire::{put_bytes, put_double, put_number, put_varint};
use super::{MAGIC, MAX_DEPTH};
use crate::schema::{self, Field, Form, Kind, Message, Shape};

/// Why an object has no protobuf form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The kind is not built in: send it as JSON instead.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// The object's `apiVersion`; empty when it has none.
        api_version: String,
        /// The object's `kind`; empty when it has none.
        kind: String,
    },
    /// No message has this name. Only callers that name messages see it.
    #[error("no message {0:?} is known")]
    UnknownMessage(String),
    /// A member does not have the type that the schema wants: the object is invalid.
    #[error("{path:?} is not {expected}")]
    Mismatch {
        /// Where, such as `.spec.containers[0].ports`; empty for the object itself.
        path: String,
        /// What the schema wants there.
        expected: &'static str,
    },
    /// Messages are nested deeper than [`MAX_DEPTH`].
    #[error("messages are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl EncodeError {
    fn expected(expected: &'static str) -> Self {
        Self::Mismatch {
            path: String::new(),
            expected,
        }
    }

    fn below(self, step: impl FnOnce() -> String) -> Self {
        match self {
            Self::Mismatch { path, expected } => Self::Mismatch {
                path: step() + &path,
                expected,
            },
            other => other,
        }
    }
}

/// Encodes an object into a body with the `k8s\0` envelope.
///
/// # Errors
/// When the object's kind is not built in, or a member does not fit its schema.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let bare = encode_bare(object)?;
    Ok(envelope(
        text(object, "apiVersion"),
        text(object, "kind"),
        &bare,
    ))
}

/// The message of an object's kind.
pub(super) fn message_of(object: &Value) -> Result<&'static Message, EncodeError> {
    let (api_version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    schema::table()
        .by_api_version(api_version, kind)
        .ok_or_else(|| EncodeError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The envelope up to the bare message of `bare` bytes.
pub(super) fn put_envelope_head(out: &mut Vec<u8>, api_version: &str, kind: &str, bare: usize) {
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    out.extend_from_slice(&MAGIC);
    put_bytes(out, 1, &type_meta);
    put_varint(out, 2 << 3 | 2);
    put_varint(out, bare as u64);
}

/// Encodes a value as a bare message, given its full protobuf name.
///
/// # Errors
/// When no message has the name, or a member does not fit its schema.
pub fn encode_message(name: &str, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let message = schema::table()
        .message(name)
        .ok_or_else(|| EncodeError::UnknownMessage(name.to_owned()))?;
    let mut out = Vec::new();
    put_message(message, value, &mut out, 0)?;
    Ok(out)
}

/// One frame of a watch stream (`meta.v1.WatchEvent`): an event type, such as `ADDED`, and the already encoded object,
/// which may be a body from [`encode`] or JSON. The stream puts the frame's length before it, as 4 big-endian bytes.
pub fn encode_watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Vec::with_capacity(object.len() + 6);
    put_bytes(&mut extension, 1, object);
    let mut event = Vec::with_capacity(extension.len() + event_type.len() + 8);
    put_bytes(&mut event, 1, event_type.as_bytes());
    put_bytes(&mut event, 2, &extension);
    event
}

pub(super) fn put_message(
    message: &Message,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), EncodeError> {
    if depth >= MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    if value.is_null() {
        // A null list element or map value is the type's zero value.
        return Ok(());
    }
    match message.form() {
        Form::Object => {
            let members = value
                .as_object()
                .ok_or_else(|| EncodeError::expected("an object"))?;
            put_members(message, members, out, depth)
        }
        Form::Time => put_time(value, Precision::Seconds, out),
        Form::MicroTime => put_time(value, Precision::Microseconds, out),
        Form::Quantity => put_quantity(value, out),
        Form::IntOrString => put_int_or_string(value, out),
        Form::Raw => {
            // Values come from a parser or our own hands; both have string keys, so this cannot fail.
            let json = serde_json::to_vec(value).map_err(|_| EncodeError::expected("JSON"))?;
            put_bytes(out, 1, &json);
            Ok(())
        }
        Form::Items => put_alternative(message, "items", value, out, depth),
        Form::SchemaOrBool => {
            put_number(out, 1, u64::from(value.as_bool().unwrap_or(true)));
            if value.is_boolean() {
                Ok(())
            } else {
                put_alternative(message, "schema", value, out, depth)
            }
        }
        Form::SchemaOrArray if value.is_array() => {
            put_alternative(message, "jSONSchemas", value, out, depth)
        }
        Form::SchemaOrStrings if value.is_array() => {
            put_alternative(message, "property", value, out, depth)
        }
        Form::SchemaOrArray | Form::SchemaOrStrings => {
            put_alternative(message, "schema", value, out, depth)
        }
    }
}

fn put_alternative(
    message: &Message,
    field: &str,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), EncodeError> {
    match message.fields().iter().find(|f| f.name() == field) {
        Some(field) => put_field(field, value, out, depth),
        None => Err(EncodeError::expected("a member of its message")),
    }
}

fn put_members(
    message: &Message,
    members: &Map<String, Value>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), EncodeError> {
    for field in message.fields() {
        match (field.is_inline(), schema::table().message_of(field)) {
            (true, Some(inner)) => {
                let mut bytes = Vec::new();
                put_members(inner, members, &mut bytes, depth + 1)?;
                if !bytes.is_empty() {
                    put_bytes(out, field.number(), &bytes);
                }
            }
            _ => {
                if let Some(value) = members.get(field.name()) {
                    put_field(field, value, out, depth)
                        .map_err(|e| e.below(|| format!(".{}", field.name())))?;
                }
            }
        }
    }
    Ok(())
}

fn put_field(
    field: &Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), EncodeError> {
    match field.shape() {
        Shape::One if value.is_null() => put_null(field, out),
        Shape::One => put_value(field, field.number(), value, out, depth)?,
        Shape::List if value.is_null() => {}
        Shape::List => {
            let list = value
                .as_array()
                .ok_or_else(|| EncodeError::expected("a list"))?;
            for (index, element) in list.iter().enumerate() {
                put_value(field, field.number(), element, out, depth)
                    .map_err(|e| e.below(|| format!("[{index}]")))?;
            }
        }
        Shape::Map if value.is_null() => {}
        Shape::Map => {
            let map = value
                .as_object()
                .ok_or_else(|| EncodeError::expected("an object"))?;
            for (key, value) in map {
                let mut entry = Vec::with_capacity(key.len() + 16);
                put_bytes(&mut entry, 1, key.as_bytes());
                put_value(field, 2, value, &mut entry, depth)
                    .map_err(|e| e.below(|| format!("[{key:?}]")))?;
                put_bytes(out, field.number(), &entry);
            }
        }
    }
    Ok(())
}

/// `null` is an absent pointer, or the zero time of a field that always has one.
fn put_null(field: &Field, out: &mut Vec<u8>) {
    let form = schema::table().message_of(field).map(Message::form);
    if !field.is_pointer() && matches!(form, Some(Form::Time | Form::MicroTime)) {
        put_bytes(out, field.number(), b"");
    }
}

fn put_value(
    field: &Field,
    number: u32,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), EncodeError> {
    match field.kind() {
        Kind::Message(id) => {
            let mut bytes = Vec::new();
            put_message(schema::table().get(id), value, &mut bytes, depth + 1)?;
            put_bytes(out, number, &bytes);
            Ok(())
        }
        kind => put_scalar(kind, number, value, out),
    }
}

fn put_scalar(
    kind: Kind,
    number: u32,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match (kind, value) {
        (Kind::String | Kind::Bytes, Value::Null) => put_bytes(out, number, b""),
        (Kind::Bool | Kind::Int32 | Kind::Int64, Value::Null) => put_number(out, number, 0),
        (Kind::Double, Value::Null) => put_double(out, number, 0.0),
        (Kind::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Kind::String, _) => return Err(EncodeError::expected("a string")),
        (Kind::Bytes, _) => {
            let text = value
                .as_str()
                .ok_or_else(|| EncodeError::expected("a base64 string"))?;
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| EncodeError::expected("a base64 string"))?;
            put_bytes(out, number, &bytes);
        }
        (Kind::Bool, _) => {
            put_number(
                out,
                number,
                u64::from(
                    value
                        .as_bool()
                        .ok_or_else(|| EncodeError::expected("a boolean"))?,
                ),
            );
        }
        (Kind::Int32, _) => {
            let wide = value.as_i64().and_then(|n| i32::try_from(n).ok());
            put_number(
                out,
                number,
                i64::from(wide.ok_or_else(|| EncodeError::expected("a 32-bit number"))?) as u64,
            );
        }
        (Kind::Int64, _) => {
            put_number(
                out,
                number,
                value
                    .as_i64()
                    .ok_or_else(|| EncodeError::expected("a 64-bit number"))?
                    as u64,
            );
        }
        (Kind::Double, _) => {
            put_double(
                out,
                number,
                value
                    .as_f64()
                    .ok_or_else(|| EncodeError::expected("a number"))?,
            );
        }
        (Kind::Message(_), _) => return Err(EncodeError::expected("a scalar")),
    }
    Ok(())
}

fn put_time(value: &Value, precision: Precision, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let bytes = value.as_str().and_then(|text| time::write(text, precision));
    out.extend_from_slice(&bytes.ok_or_else(|| EncodeError::expected("a time as in RFC 3339"))?);
    Ok(())
}

fn put_quantity(value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Value::String(text) => put_bytes(out, 1, text.as_bytes()),
        Value::Number(number) => put_bytes(out, 1, number.to_string().as_bytes()),
        _ => return Err(EncodeError::expected("a quantity")),
    }
    Ok(())
}

fn put_int_or_string(value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok());
    let (is_string, number, text) = match (number, value.as_str()) {
        (Some(number), _) => (0, number, ""),
        (None, Some(text)) => (1, 0, text),
        (None, None) => return Err(EncodeError::expected("a 32-bit number or a string")),
    };
    put_number(out, 1, is_string);
    put_number(out, 2, i64::from(number) as u64);
    put_bytes(out, 3, text.as_bytes());
    Ok(())
}

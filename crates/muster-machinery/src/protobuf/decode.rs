//! From protobuf bytes to JSON values.
//!
//! Trusts nothing in the bytes: size, depth and the number of values are bounded, and no input panics. It keeps to the
//! JSON that Go would print for the same message (see the module above for the exceptions).

use serde_json::{Map, Value};

use super::time::{self, Precision};
use super::values::{alternative, int_or_string, quantity, scalar, zero};
use super::wire::{Malformed, Raw, Reader};
use super::{CONTENT_TYPE, MAGIC, MAX_BYTES, MAX_DEPTH, MAX_VALUES};
use crate::schema::{self, Field, Form, Kind, Message, Shape};

/// Why a body could not be decoded. All but the limits mean that the sender sent a bad request.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body has no `k8s\0` prefix: it is not Kubernetes protobuf at all.
    #[error("the body does not start with the magic of Kubernetes protobuf")]
    NoMagic,
    /// The body is larger than [`MAX_BYTES`]: answer 413.
    #[error("the body has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The size of the body, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Messages are nested deeper than [`MAX_DEPTH`].
    #[error("messages are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The body unfolds into more than [`MAX_VALUES`] values.
    #[error("the body holds more than {MAX_VALUES} values")]
    TooMany,
    /// The bytes break the wire format or do not fit the field's type.
    #[error("malformed bytes in {message}{}", field.map(|f| format!(", field {f}")).unwrap_or_default())]
    Malformed {
        /// The full name of the message.
        message: &'static str,
        /// The JSON name of the field, when it got that far.
        field: Option<&'static str>,
    },
    /// Embedded JSON, such as managed fields, does not parse.
    #[error("malformed JSON embedded in {message}")]
    Json {
        /// The full name of the message that carries the JSON.
        message: &'static str,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// The kind is not built in; custom resources have no protobuf encoding: answer 415.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// The `apiVersion` in the envelope.
        api_version: String,
        /// The `kind` in the envelope.
        kind: String,
    },
    /// No message has this name. Only callers that name messages see it.
    #[error("no message {0:?} is known")]
    UnknownMessage(String),
    /// The envelope holds something else than protobuf or JSON.
    #[error("content type {content_type:?} with encoding {content_encoding:?} is not understood")]
    Content {
        /// The `contentType` in the envelope.
        content_type: String,
        /// The `contentEncoding` in the envelope.
        content_encoding: String,
    },
}

const ENVELOPE: &str = "k8s.io.apimachinery.pkg.runtime.Unknown";
const WATCH_EVENT: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.WatchEvent";

/// Decodes a body with the `k8s\0` envelope into an object with `apiVersion` and `kind`.
///
/// # Errors
/// When the body is too large, malformed or of a kind that is not built in.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    Decoder::new(body)?.envelope(body, None, 0)
}

/// As [`decode`], but a body whose envelope names no kind is taken to be of this one, as kube-apiserver does for a
/// request whose path implies the kind.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_default(
    body: &[u8],
    api_version: &str,
    kind: &str,
) -> Result<Value, DecodeError> {
    Decoder::new(body)?.envelope(body, Some((api_version, kind)), 0)
}

/// Decodes a bare message, given its full protobuf name.
///
/// # Errors
/// When no message has the name, or the bytes are too large or malformed.
pub fn decode_message(name: &str, bytes: &[u8]) -> Result<Value, DecodeError> {
    let message = schema::table()
        .message(name)
        .ok_or_else(|| DecodeError::UnknownMessage(name.to_owned()))?;
    Decoder::new(bytes)?.message(message, bytes, 0)
}

/// Decodes one frame of a watch stream (`meta.v1.WatchEvent`, without its length prefix): the event type, such as
/// `ADDED`, and the object.
///
/// # Errors
/// As [`decode`], for the event or the object in it.
pub fn decode_watch_event(frame: &[u8]) -> Result<(String, Value), DecodeError> {
    let mut event = decode_message(WATCH_EVENT, frame)?;
    let kind = event["type"].as_str().unwrap_or_default().to_owned();
    Ok((kind, event["object"].take()))
}

struct Decoder {
    values_left: usize,
}

/// The parts of `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next()? {
            match number {
                1 => envelope.read_type(raw.bytes()?)?,
                2 => envelope.raw = raw.bytes()?,
                3 => envelope.content_encoding = raw.str()?,
                4 => envelope.content_type = raw.str()?,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next()? {
            match number {
                1 => self.api_version = raw.str()?,
                2 => self.kind = raw.str()?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Decoder {
    fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BYTES {
            return Err(DecodeError::TooLarge {
                size: bytes.len(),
                limit: MAX_BYTES,
            });
        }
        Ok(Self {
            values_left: MAX_VALUES,
        })
    }

    fn envelope(
        &mut self,
        body: &[u8],
        default: Option<(&str, &str)>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let unknown = body.strip_prefix(&MAGIC).ok_or(DecodeError::NoMagic)?;
        let mut envelope = Envelope::read(unknown).map_err(|Malformed| DecodeError::Malformed {
            message: ENVELOPE,
            field: None,
        })?;
        if let Some((api_version, kind)) = default
            && envelope.kind.is_empty()
        {
            (envelope.api_version, envelope.kind) = (api_version, kind);
        }
        match (envelope.content_type, envelope.content_encoding) {
            ("" | CONTENT_TYPE, "") => self.object(&envelope, depth),
            ("application/json", "") => {
                serde_json::from_slice(envelope.raw).map_err(|source| DecodeError::Json {
                    message: ENVELOPE,
                    source,
                })
            }
            (content_type, content_encoding) => Err(DecodeError::Content {
                content_type: content_type.to_owned(),
                content_encoding: content_encoding.to_owned(),
            }),
        }
    }

    fn object(&mut self, envelope: &Envelope<'_>, depth: usize) -> Result<Value, DecodeError> {
        let message = schema::table()
            .by_api_version(envelope.api_version, envelope.kind)
            .ok_or_else(|| DecodeError::UnknownKind {
                api_version: envelope.api_version.to_owned(),
                kind: envelope.kind.to_owned(),
            })?;
        let mut object = self.message(message, envelope.raw, depth)?;
        if let Value::Object(members) = &mut object {
            members.insert("apiVersion".to_owned(), envelope.api_version.into());
            members.insert("kind".to_owned(), envelope.kind.into());
        }
        Ok(object)
    }

    fn message(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let malformed = |Malformed| DecodeError::Malformed {
            message: message.name(),
            field: None,
        };
        let null_or_text = |text: Option<String>| text.map_or(Value::Null, Value::String);
        match message.form() {
            Form::Object => {
                let mut members = Map::new();
                self.fields_into(message, bytes, &mut members, depth)?;
                fill_always_printed(message, &mut members);
                Ok(Value::Object(members))
            }
            Form::Time => time::read(bytes, Precision::Seconds)
                .map(null_or_text)
                .map_err(malformed),
            Form::MicroTime => time::read(bytes, Precision::Microseconds)
                .map(null_or_text)
                .map_err(malformed),
            Form::Quantity => quantity(bytes).map_err(malformed),
            Form::IntOrString => int_or_string(bytes).map_err(malformed),
            Form::Raw => self.raw(message, bytes, depth),
            Form::Items | Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings => {
                let mut members = Map::new();
                self.fields_into(message, bytes, &mut members, depth)?;
                Ok(alternative(message.form(), members))
            }
        }
    }

    fn fields_into(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        members: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        let broken = |Malformed| DecodeError::Malformed {
            message: message.name(),
            field: None,
        };
        while let Some((number, raw)) = reader.next().map_err(broken)? {
            let Some(field) = message.field_by_number(number) else {
                continue;
            };
            self.field(message, field, raw, members, depth)?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        raw: Raw<'_>,
        members: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or(DecodeError::TooMany)?;
        let broken = |Malformed| DecodeError::Malformed {
            message: message.name(),
            field: Some(field.name()),
        };
        match (field.shape(), schema::table().message_of(field)) {
            (Shape::One, Some(inner)) if field.is_inline() => {
                if depth + 1 >= MAX_DEPTH {
                    return Err(DecodeError::TooDeep);
                }
                self.fields_into(inner, raw.bytes().map_err(broken)?, members, depth + 1)?;
            }
            (Shape::One, Some(inner)) => {
                let value = self.message(inner, raw.bytes().map_err(broken)?, depth + 1)?;
                set_message(field, inner, value, members);
            }
            (Shape::One, None) => {
                set_scalar(field, scalar(field.kind(), raw).map_err(broken)?, members)
            }
            (Shape::List, Some(inner)) => {
                let value = self.message(inner, raw.bytes().map_err(broken)?, depth + 1)?;
                list_in(members, field).push(value);
            }
            (Shape::List, None) => {
                self.push_scalars(field, raw, list_in(members, field), &broken)?
            }
            (Shape::Map, inner) => {
                let (key, value) =
                    self.map_entry(field, inner, raw.bytes().map_err(broken)?, depth, &broken)?;
                if let Value::Object(map) = members
                    .entry(field.name())
                    .or_insert_with(|| Value::Object(Map::new()))
                {
                    map.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// A list element, or several of them in protobuf's packed form.
    fn push_scalars(
        &mut self,
        field: &Field,
        raw: Raw<'_>,
        list: &mut Vec<Value>,
        broken: &impl Fn(Malformed) -> DecodeError,
    ) -> Result<(), DecodeError> {
        let (Raw::Bytes(bytes), false) = (raw, matches!(field.kind(), Kind::String | Kind::Bytes))
        else {
            list.push(scalar(field.kind(), raw).map_err(broken)?);
            return Ok(());
        };
        let mut packed = Reader::new(bytes);
        while !packed.is_empty() {
            self.values_left = self
                .values_left
                .checked_sub(1)
                .ok_or(DecodeError::TooMany)?;
            let raw = match field.kind() {
                Kind::Double => packed.fixed64().map(Raw::Fixed64),
                _ => packed.varint().map(Raw::Varint),
            };
            list.push(
                raw.and_then(|raw| scalar(field.kind(), raw))
                    .map_err(broken)?,
            );
        }
        Ok(())
    }

    fn map_entry(
        &mut self,
        field: &'static Field,
        inner: Option<&'static Message>,
        bytes: &[u8],
        depth: usize,
        broken: &impl Fn(Malformed) -> DecodeError,
    ) -> Result<(String, Value), DecodeError> {
        let (mut key, mut value) = ("", None);
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next().map_err(broken)? {
            match number {
                1 => key = raw.str().map_err(broken)?,
                2 => value = Some(raw),
                _ => {}
            }
        }
        let value = match (inner, value) {
            (Some(inner), Some(raw)) => {
                self.message(inner, raw.bytes().map_err(broken)?, depth + 1)?
            }
            (Some(inner), None) => self.message(inner, &[], depth + 1)?,
            (None, Some(raw)) => scalar(field.kind(), raw).map_err(broken)?,
            (None, None) => zero(field.kind()),
        };
        Ok((key.to_owned(), value))
    }

    /// JSON carried as bytes in field 1; a nested envelope, as in watch events, is decoded in turn.
    fn raw(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let mut inner: &[u8] = &[];
        let mut reader = Reader::new(bytes);
        let broken = |Malformed| DecodeError::Malformed {
            message: message.name(),
            field: None,
        };
        while let Some((number, raw)) = reader.next().map_err(broken)? {
            if number == 1 {
                inner = raw.bytes().map_err(broken)?;
            }
        }
        if inner.is_empty() {
            return Ok(Value::Null);
        }
        if inner.starts_with(&MAGIC) {
            return self.envelope(inner, None, depth + 1);
        }
        serde_json::from_slice(inner).map_err(|source| DecodeError::Json {
            message: message.name(),
            source,
        })
    }
}

/// Adds what Go prints even when there is nothing: `null` for lists, maps and pointers without `omitempty`. The items of
/// a list kind are an empty list instead, as kube-apiserver answers.
fn fill_always_printed(message: &Message, members: &mut Map<String, Value>) {
    let is_list = message.kind().is_some_and(|k| k.kind.ends_with("List"));
    for field in message.fields() {
        if let (true, Some(inner)) = (field.is_inline(), schema::table().message_of(field)) {
            fill_always_printed(inner, members);
        } else if field.is_always_printed_nil() && !members.contains_key(field.name()) {
            let empty = if is_list && field.name() == "items" {
                Value::Array(Vec::new())
            } else {
                Value::Null
            };
            members.insert(field.name().to_owned(), empty);
        }
    }
}

/// Where the elements of a list field are collected. The member is always an array: only lists of this field get there.
fn list_in<'a>(members: &'a mut Map<String, Value>, field: &Field) -> &'a mut Vec<Value> {
    let entry = members
        .entry(field.name())
        .or_insert_with(|| Value::Array(Vec::new()));
    if !entry.is_array() {
        *entry = Value::Array(Vec::new());
    }
    entry.as_array_mut().expect("just made an array")
}

/// A zero struct is dropped under `omitzero`; `null` is kept only for times, where Go prints it.
fn set_message(field: &Field, inner: &Message, value: Value, members: &mut Map<String, Value>) {
    let is_time = matches!(inner.form(), Form::Time | Form::MicroTime);
    let drop = match &value {
        Value::Null => !is_time || field.omits_zero() || field.is_pointer(),
        Value::Object(map) => map.is_empty() && field.omits_zero() && !field.is_pointer(),
        Value::Array(list) => list.is_empty() && field.omits_empty(),
        _ => false,
    };
    if drop {
        members.remove(field.name());
    } else {
        members.insert(field.name().to_owned(), value);
    }
}

fn set_scalar(field: &Field, value: Value, members: &mut Map<String, Value>) {
    if field.omits_empty() && !field.is_pointer() && value == zero(field.kind()) {
        members.remove(field.name());
    } else {
        members.insert(field.name().to_owned(), value);
    }
}

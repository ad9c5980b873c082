//! What an expression is known to be before it runs, from a schema, with how large it can get.
//!
//! Sizes follow k8s.io/apiserver `pkg/cel`: what a schema does not bound is bounded by the largest request.

use crate::crd::{Checks, Schema, Type as SchemaType};

/// The largest request, in bytes.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// The type of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Type<'s> {
    /// Known only when it runs.
    Dyn,
    /// `null`.
    Null,
    /// True or false.
    Bool,
    /// A signed whole number.
    Int,
    /// An unsigned whole number.
    Uint,
    /// A float.
    Double,
    /// Text, of at most so many bytes.
    Text(u64),
    /// Bytes, at most so many.
    Bytes(u64),
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// The type of something.
    Kind,
    /// A list of at most so many elements.
    List(Box<Self>, u64),
    /// A map of at most so many entries.
    Map(Box<Self>, Box<Self>, u64),
    /// An object of a schema; the flag tells that it is a resource with a version, a kind and metadata.
    Object(&'s Schema, bool),
    /// Something or nothing.
    Optional(Box<Self>),
    /// A type of a library, by its name.
    Library(&'static str),
}

impl<'s> Type<'s> {
    /// The type of values of a schema.
    #[must_use]
    pub fn of(schema: &'s Schema, is_resource: bool) -> Self {
        if schema.is_int_or_string {
            return Self::Dyn;
        }
        match schema.type_ {
            SchemaType::Any => Self::Dyn,
            SchemaType::Boolean => Self::Bool,
            SchemaType::Integer => Self::Int,
            SchemaType::Number => Self::Double,
            SchemaType::String => match format(schema) {
                "byte" => Self::Bytes(max_elements(schema)),
                "duration" => Self::Duration,
                "date" | "date-time" | "datetime" => Self::Timestamp,
                _ => Self::Text(max_elements(schema)),
            },
            SchemaType::Array => {
                let element = schema
                    .items
                    .as_deref()
                    .map_or(Self::Dyn, |items| Self::of(items, items.is_resource));
                Self::List(Box::new(element), max_elements(schema))
            }
            SchemaType::Object => match schema.additional_schema() {
                Some(values) if schema.properties.is_empty() => {
                    let value = Self::of(values, values.is_resource);
                    Self::Map(
                        // As upstream counts: keys have no declared length.
                        Box::new(Self::Text(0)),
                        Box::new(value),
                        max_elements(schema),
                    )
                }
                _ => Self::Object(schema, is_resource || schema.is_resource),
            },
        }
    }

    /// The name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Dyn => "dyn".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Uint => "uint".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Text(_) => "string".to_owned(),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Kind => "type".to_owned(),
            Self::List(element, _) => format!("list({})", element.name()),
            Self::Map(key, value, _) => format!("map({}, {})", key.name(), value.name()),
            Self::Object(..) => "object".to_owned(),
            Self::Optional(inner) => format!("optional_type({})", inner.name()),
            Self::Library(name) => (*name).to_owned(),
        }
    }

    /// How many elements or bytes there are at most.
    pub(super) const fn size(&self) -> u64 {
        match self {
            Self::Text(size) | Self::Bytes(size) | Self::List(_, size) | Self::Map(_, _, size) => {
                *size
            }
            Self::Dyn => 1,
            _ => 1,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    /// What two branches have in common.
    pub(super) fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Self::Text(a.max(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(a.max(b)),
            (Self::List(a, x), Self::List(b, y)) => Self::List(Box::new(a.joined(*b)), x.max(y)),
            (Self::Map(k, a, x), Self::Map(l, b, y)) => {
                Self::Map(Box::new(k.joined(*l)), Box::new(a.joined(*b)), x.max(y))
            }
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Box::new(a.joined(*b))),
            (a, b) if a == b => a,
            _ => Self::Dyn,
        }
    }

    /// Whether values of both may be compared.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        let number = |ty: &Self| matches!(ty, Self::Int | Self::Uint | Self::Double);
        match (self, other) {
            (Self::Dyn | Self::Null, _) | (_, Self::Dyn | Self::Null) => true,
            (a, b) if number(a) && number(b) => {
                std::mem::discriminant(a) == std::mem::discriminant(b)
            }
            (Self::List(a, _), Self::List(b, _)) => a.is_comparable(b),
            (Self::Map(_, a, _), Self::Map(_, b, _)) => a.is_comparable(b),
            (Self::Map(..), Self::Object(..)) | (Self::Object(..), Self::Map(..)) => true,
            (Self::Optional(a), Self::Optional(b)) => a.is_comparable(b),
            (Self::Library(a), Self::Library(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

fn format(schema: &Schema) -> &str {
    schema.checks.as_deref().map_or("", |checks| &checks.format)
}

fn bound(limit: Option<i64>) -> Option<u64> {
    limit.map(|limit| u64::try_from(limit).unwrap_or(0))
}

/// How many elements, entries or bytes a value of the schema has at most.
#[must_use]
pub fn max_elements(schema: &Schema) -> u64 {
    let none = Checks::default();
    let checks = schema.checks.as_deref().unwrap_or(&none);
    match schema.type_ {
        SchemaType::String => {
            let longest = checks
                .allowed
                .iter()
                .filter_map(|one| one.as_str())
                .map(str::len)
                .max();
            let of_enum = longest.map(|length| length as u64);
            let of_length = bound(checks.max_length).map(|length| length.saturating_mul(4));
            of_enum.or(of_length).unwrap_or(MAX_REQUEST - 2)
        }
        SchemaType::Array => bound(checks.max_items).unwrap_or_else(|| {
            let item = schema.items.as_deref().map_or(1, min_size);
            (MAX_REQUEST - 2) / (item + 1)
        }),
        SchemaType::Object => bound(checks.max_properties).unwrap_or_else(|| {
            let value = schema.additional_schema().map_or(1, min_size);
            // A key of no letters in quotes, a colon, a comma.
            (MAX_REQUEST - 2) / (value + 6)
        }),
        _ => 1,
    }
}

/// How many bytes a value of the schema takes at least.
#[must_use]
pub fn min_size(schema: &Schema) -> u64 {
    match schema.type_ {
        SchemaType::Boolean => 4,
        SchemaType::String | SchemaType::Array => 2,
        SchemaType::Object => {
            let required = schema
                .checks
                .as_deref()
                .map_or(&[] as &[String], |checks| &checks.required);
            let fields = required.iter().filter_map(|name| {
                let property = schema
                    .properties
                    .get(name)
                    .filter(|property| property.default.is_none())?;
                Some(name.len() as u64 + 4 + min_size(property))
            });
            2 + fields.sum::<u64>()
        }
        _ => 1,
    }
}

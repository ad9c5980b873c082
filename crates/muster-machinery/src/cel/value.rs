//! What an expression comes to: values of its own, and JSON that is read as far as somebody looks at it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::address::Network;
use super::temporal;
use crate::crd::{ListType, Schema, Type as SchemaType};

/// A value.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    Uint(u64),
    /// A float.
    Double(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time, in nanoseconds.
    Duration(i64),
    /// The name of a type.
    Kind(&'static str),
    /// A list that was made.
    List(Arc<Vec<Self>>),
    /// A map that was made.
    Map(Arc<Vec<(Self, Self)>>),
    /// A list of the object, with its schema.
    Items(&'a [Value], Option<&'a Schema>),
    /// A map or object of the object, with its schema.
    Members(&'a Map<String, Value>, Option<&'a Schema>),
    /// Something or nothing.
    Optional(Option<Box<Self>>),
    /// An amount (`quantity('100Mi')`), in billionths.
    Quantity(i128),
    /// An IP address.
    Address(std::net::IpAddr),
    /// A range of addresses.
    Network(Network),
    /// A URL, in parts.
    Url(Arc<Url>),
    /// A semantic version: major, minor, patch, what stands behind.
    Semver(Arc<(u64, u64, u64, String)>),
}

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Url {
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
}

/// A value of the object that a rule is about.
#[must_use]
pub fn of_json<'a>(value: &'a Value, schema: Option<&'a Schema>) -> Val<'a> {
    let type_ = schema.map_or(SchemaType::Any, |schema| schema.type_);
    match value {
        Value::Null => Val::Null,
        Value::Bool(flag) => Val::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) if type_ != SchemaType::Number => Val::Int(whole),
            (None, Some(whole)) if type_ != SchemaType::Number => Val::Uint(whole),
            _ => {
                let float = number.as_f64().unwrap_or(0.0);
                if type_ == SchemaType::Integer && float.fract() == 0.0 {
                    Val::Int(float as i64)
                } else {
                    Val::Double(float)
                }
            }
        },
        Value::String(text) => of_text(text, schema),
        Value::Array(items) => Val::Items(items, schema),
        Value::Object(members) => Val::Members(members, schema),
    }
}

fn of_text<'a>(text: &'a str, schema: Option<&Schema>) -> Val<'a> {
    use base64::Engine as _;
    let of_string = schema.filter(|schema| schema.type_ == SchemaType::String);
    let format = of_string
        .and_then(|schema| schema.checks.as_deref())
        .map_or("", |checks| &checks.format);
    let plain = || Val::Text(Cow::Borrowed(text));
    match format {
        "byte" => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Val::Bytes(bytes.into()),
            Err(_) => plain(),
        },
        "duration" => temporal::parse_duration(text).map_or_else(plain, Val::Duration),
        "date" => {
            temporal::parse_time(&format!("{text}T00:00:00Z")).map_or_else(plain, Val::Timestamp)
        }
        "date-time" | "datetime" => temporal::parse_time(text).map_or_else(plain, Val::Timestamp),
        _ => plain(),
    }
}

/// The words of the language that are no names of fields: as a field each is written `__word__`
/// (k8s.io/apiserver/pkg/cel).
pub(crate) const WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Names of fields that are words of the language or have other letters, as rules write them.
pub(super) fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains("__") {
        return Cow::Borrowed(name);
    }
    let word = name
        .strip_prefix("__")
        .and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word.filter(|word| WORDS.contains(word)) {
        return Cow::Owned(word.to_owned());
    }
    let pairs = [
        ("__underscores__", "\u{0}"),
        ("__dot__", "."),
        ("__dash__", "-"),
        ("__slash__", "/"),
    ];
    let mut text = name.to_owned();
    for (escaped, plain) in pairs {
        text = text.replace(escaped, plain);
    }
    Cow::Owned(text.replace('\u{0}', "__"))
}

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    pub(super) fn list(elements: Vec<Self>) -> Self {
        Self::List(Arc::new(elements))
    }

    /// The name of its type.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Kind(_) => "type",
            Self::List(_) | Self::Items(..) => "list",
            Self::Map(_) | Self::Members(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Address(_) => "net.IP",
            Self::Network(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
        }
    }

    /// The elements, if it is a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(list) => Some(list.to_vec()),
            Self::Items(items, schema) => {
                let of_item = schema.and_then(|schema| schema.items.as_deref());
                Some(items.iter().map(|item| of_json(item, of_item)).collect())
            }
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub(super) fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Map(entries) => Some(entries.to_vec()),
            Self::Members(members, schema) => Some(
                members
                    .iter()
                    .map(|(name, value)| {
                        let schema = schema.and_then(|schema| schema.member(name));
                        (Self::Text(Cow::Borrowed(name)), of_json(value, schema))
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    /// How many elements, entries, letters or bytes there are.
    pub(super) fn size(&self) -> Option<usize> {
        Some(match self {
            Self::Text(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Items(items, _) => items.len(),
            Self::Map(entries) => entries.len(),
            Self::Members(members, _) => members.len(),
            _ => return None,
        })
    }

    /// What looking at all of it costs.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            other => other.size().unwrap_or(1) as u64,
        }
    }

    /// A member of a map or object; `None` when there is none of this name.
    pub(super) fn member(&self, name: &str) -> Option<Self> {
        match self {
            Self::Members(members, schema) => {
                let own = unescaped(name);
                let property = schema.and_then(|schema| schema.properties.get(own.as_ref()));
                match (property, schema) {
                    (Some(property), _) => members
                        .get(own.as_ref())
                        .map(|value| of_json(value, Some(property))),
                    (None, Some(schema)) if schema.additional_schema().is_some() => members
                        .get(name)
                        .map(|value| of_json(value, schema.additional_schema())),
                    _ => members.get(own.as_ref()).map(|value| of_json(value, None)),
                }
            }
            Self::Map(entries) => {
                let found = entries
                    .iter()
                    .find(|(key, _)| matches!(key, Self::Text(text) if text == name));
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// An entry of a map by its key, or a member of an object by its name.
    pub(super) fn key(&self, name: &str) -> Option<Self> {
        match self {
            Self::Members(members, schema) => {
                let schema = schema.and_then(|schema| schema.member(name));
                members.get(name).map(|value| of_json(value, schema))
            }
            _ => self.member(name),
        }
    }

    /// Whether two values are the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Kind(a), Self::Kind(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Address(a), Self::Address(b)) => a == b,
            (Self::Network(a), Self::Network(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            },
            (Self::List(_) | Self::Items(..), Self::List(_) | Self::Items(..)) => {
                self.same_list(other)
            }
            (Self::Map(_) | Self::Members(..), Self::Map(_) | Self::Members(..)) => {
                self.same_map(other)
            }
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Whether the order of elements means nothing: sets and lists with keys.
    pub(super) fn list_schema(&self) -> Option<&'a Schema> {
        match self {
            Self::Items(_, schema) => schema.filter(|schema| schema.list_type != ListType::Atomic),
            _ => None,
        }
    }

    fn same_list(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (self.elements(), other.elements()) else {
            return false;
        };
        if a.len() != b.len() {
            return false;
        }
        if self.list_schema().is_some() || other.list_schema().is_some() {
            return a.iter().all(|x| b.iter().any(|y| x.same(y)));
        }
        a.iter().zip(&b).all(|(x, y)| x.same(y))
    }

    fn same_map(&self, other: &Self) -> bool {
        if let (Self::Members(a, _), Self::Members(b, _)) = (self, other) {
            return a == b;
        }
        let (Some(a), Some(b)) = (self.entries(), other.entries()) else {
            return false;
        };
        a.len() == b.len()
            && a.iter()
                .all(|(key, value)| b.iter().any(|(k, v)| key.same(k) && value.same(v)))
    }

    /// Which of two values comes first; `None` when they have no order.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), Self::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Self::Int(a), Self::Double(b)) => (*a as f64).partial_cmp(b),
            (Self::Double(a), Self::Uint(b)) => a.partial_cmp(&(*b as f64)),
            (Self::Uint(a), Self::Double(b)) => (*a as f64).partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Self::Quantity(b)) => Some(a.cmp(b)),
            (Self::Semver(a), Self::Semver(b)) => Some(semver_order(a, b)),
            _ => None,
        }
    }
}

/// A version with something behind it comes before the one without.
fn semver_order(a: &(u64, u64, u64, String), b: &(u64, u64, u64, String)) -> Ordering {
    let behind = |text: &str| (text.is_empty(), text.to_owned());
    (a.0, a.1, a.2, behind(&a.3)).cmp(&(b.0, b.1, b.2, behind(&b.3)))
}

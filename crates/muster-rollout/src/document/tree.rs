//! YAML as a tree in which everything knows its place.
//!
//! Size, depth and the number of nodes are bounded. It refuses to know what the keys mean.

use super::{Fault, FileError, Position};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// The largest text that is read.
const MAX_BYTES: usize = 64 << 20;
/// Deeper than any fleet file or inventory.
const MAX_DEPTH: usize = 32;
/// Enough for the largest fleet with every host written out.
const MAX_NODES: usize = 8_000_000;
/// What aliases may add to the text.
const MAX_BY_ALIASES: usize = 200_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) content: Content,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; no key twice.
    Block(Vec<(Position, String, Node)>),
}

impl Node {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Block(fields) => fields
                .iter()
                .find(|(_, name, _)| name == key)
                .map(|(_, _, value)| value),
            _ => None,
        }
    }

    /// The text, or a number or truth value as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.content {
            Content::Text(text) => Some(text.clone()),
            Content::Integer(number) => Some(number.to_string()),
            Content::Float(number) => Some(number.to_string()),
            Content::Bool(flag) => Some(flag.to_string()),
            Content::Null | Content::List(_) | Content::Block(_) => None,
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// [`FileError`] when it is too large, or no YAML.
pub(crate) fn parse(text: &str) -> Result<Node, FileError> {
    if text.len() > MAX_BYTES {
        return Err(FileError::TooLarge {
            bytes: text.len(),
            limit: MAX_BYTES,
        });
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 2,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_BY_ALIASES },
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| syntax(&error))
}

fn syntax(error: &serde_saphyr::Error) -> FileError {
    use serde_saphyr::Error;
    let position = error.location().map_or_else(Position::default, place);
    let (what, cure) = match error {
        Error::DuplicateMappingKey { key, .. } => (
            match key {
                Some(key) => format!("the field {key} stands there twice"),
                None => "a field stands there twice".to_owned(),
            },
            "keep one of them",
        ),
        Error::MultipleDocuments { .. } => (
            "there is more than one document".to_owned(),
            "keep one and remove the line ---",
        ),
        Error::Eof { .. } => ("there is nothing in it".to_owned(), "write a fleet file"),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => (
            "it is larger or deeper than any fleet".to_owned(),
            "use ranges, or split it",
        ),
        other => (
            format!("this is no YAML: {}", without_place(&other.to_string())),
            "check indentation, quotes and brackets there",
        ),
    };
    Fault {
        position,
        field: String::new(),
        what,
        cure: cure.to_owned(),
    }
    .into()
}

/// The reader's own words without the place, which we say ourselves; one line of them.
fn without_place(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let text = match line.strip_prefix("line ") {
        Some(rest) => rest.split_once(": ").map_or(line, |(_, words)| words),
        None => line.split(" at line ").next().unwrap_or(line),
    };
    text.chars().take(200).collect()
}

fn place(location: serde_saphyr::Location) -> Position {
    Position {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            position: place(spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Content, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Content, E> {
        Ok(Content::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Content, E> {
        Ok(i128::try_from(value)
            .map_or_else(|_| Content::Text(value.to_string()), Content::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut block = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            block.push((place(key.referenced), key.value, fields.next_value()?));
        }
        Ok(Content::Block(block))
    }
}

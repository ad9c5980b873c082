//! Reads the data file into the table, borrowing every string from the program image.
//!
//! Knows the file format only (see `data/README.md`); refuses tables that point nowhere, so that lookups cannot fail.

use serde::Deserialize;
use serde::de::Visitor;

use super::{
    Field, Form, INLINE, Kind, KindName, ListType, MergeRules, Message, MessageId, OMIT_EMPTY,
    OMIT_ZERO, POINTER, REQUIRED, Schema, Shape,
};

/// Why a schema table was refused. The embedded table cannot fail; a test reads it.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON of the expected shape: the data file was damaged.
    #[error("malformed schema table")]
    Malformed(#[source] serde_json::Error),
    /// A message holds something the reader has no meaning for: the data file is newer than this code.
    #[error("message {message}: {problem} is not known")]
    Unknown {
        /// The message's full name.
        message: &'static str,
        /// The offending entry.
        problem: String,
    },
    /// Messages are not sorted by name, or fields not by number, or one appears twice.
    #[error("{0} is out of order")]
    Unordered(&'static str),
}

#[derive(Deserialize)]
struct RawTable {
    source: &'static str,
    messages: Vec<RawMessage>,
}

#[derive(Deserialize)]
struct RawMessage {
    name: &'static str,
    kind: Option<(&'static str, &'static str, &'static str)>,
    #[serde(default)]
    json: &'static str,
    #[serde(default)]
    atomic: bool,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
struct RawField(
    &'static str,
    u16,
    RawType,
    &'static str,
    #[serde(default)] Option<RawRules>,
);

enum RawType {
    Scalar(&'static str),
    Message(u16),
}

#[derive(Deserialize)]
struct RawRules {
    list: Option<&'static str>,
    #[serde(default)]
    keys: Vec<&'static str>,
    #[serde(default)]
    patch: &'static str,
    #[serde(default)]
    merge_key: &'static str,
    #[serde(default)]
    map: &'static str,
}

impl<'de: 'static> Deserialize<'de> for RawType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TypeVisitor;
        impl<'de: 'static> Visitor<'de> for TypeVisitor {
            type Value = RawType;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a scalar letter or a message index")
            }

            fn visit_borrowed_str<E>(self, letter: &'de str) -> Result<RawType, E> {
                Ok(RawType::Scalar(letter))
            }

            fn visit_u64<E: serde::de::Error>(self, index: u64) -> Result<RawType, E> {
                u16::try_from(index)
                    .map(RawType::Message)
                    .map_err(|_| E::custom("message index too large"))
            }
        }
        deserializer.deserialize_any(TypeVisitor)
    }
}

impl Schema {
    /// Reads a table in the format of the embedded one.
    ///
    /// # Errors
    /// When the text is not such a table, refers to messages it does not have, or is not sorted.
    pub fn parse(text: &'static str) -> Result<Self, SchemaError> {
        let raw: RawTable = serde_json::from_str(text).map_err(SchemaError::Malformed)?;
        let count = raw.messages.len();
        let messages = raw
            .messages
            .into_iter()
            .map(|m| message(m, count))
            .collect::<Result<Box<[_]>, _>>()?;
        if let Some(pair) = messages
            .windows(2)
            .find(|pair| pair[0].name >= pair[1].name)
        {
            return Err(SchemaError::Unordered(pair[1].name));
        }
        let mut kinds: Vec<(KindName, MessageId)> = (0..)
            .map(MessageId)
            .zip(messages.iter())
            .filter_map(|(id, m)| m.kind.map(|kind| (kind, id)))
            .collect();
        kinds.sort_unstable_by_key(|(kind, _)| *kind);
        Ok(Self {
            source: raw.source,
            messages,
            kinds: kinds.into(),
        })
    }
}

fn message(raw: RawMessage, count: usize) -> Result<Message, SchemaError> {
    let unknown = |problem: String| SchemaError::Unknown {
        message: raw.name,
        problem,
    };
    let form = Form::parse(raw.json).ok_or_else(|| unknown(format!("JSON form {:?}", raw.json)))?;
    let fields = raw
        .fields
        .into_iter()
        .map(|f| field(f, count).map_err(unknown))
        .collect::<Result<Box<[Field]>, _>>()?;
    if fields
        .windows(2)
        .any(|pair| pair[0].number >= pair[1].number)
    {
        return Err(SchemaError::Unordered(raw.name));
    }
    let kind = raw.kind.map(|(group, version, kind)| KindName {
        group,
        version,
        kind,
    });
    Ok(Message {
        name: raw.name,
        kind,
        form,
        atomic: raw.atomic,
        fields,
    })
}

fn field(
    RawField(name, number, raw_type, flags, rules): RawField,
    count: usize,
) -> Result<Field, String> {
    let kind = match raw_type {
        RawType::Message(index) if usize::from(index) < count => Kind::Message(MessageId(index)),
        RawType::Message(index) => return Err(format!("message {index} of field {name}")),
        RawType::Scalar(letter) => {
            scalar(letter).ok_or_else(|| format!("type {letter:?} of field {name}"))?
        }
    };
    let (shape, flags) =
        flag_bits(flags).ok_or_else(|| format!("flag in {flags:?} of field {name}"))?;
    let rules = rules.map(merge_rules).transpose()?.map(Box::new);
    Ok(Field {
        name,
        number,
        kind,
        shape,
        flags,
        rules,
    })
}

fn scalar(letter: &str) -> Option<Kind> {
    Some(match letter {
        "s" => Kind::String,
        "b" => Kind::Bool,
        "i" => Kind::Int32,
        "l" => Kind::Int64,
        "d" => Kind::Double,
        "y" => Kind::Bytes,
        _ => return None,
    })
}

fn flag_bits(letters: &str) -> Option<(Shape, u8)> {
    let (mut shape, mut bits) = (Shape::One, 0);
    for letter in letters.chars() {
        match letter {
            'r' => shape = Shape::List,
            'm' => shape = Shape::Map,
            'p' => bits |= POINTER,
            'o' => bits |= OMIT_EMPTY,
            'z' => bits |= OMIT_ZERO,
            'i' => bits |= INLINE,
            'q' => bits |= REQUIRED,
            _ => return None,
        }
    }
    Some((shape, bits))
}

fn merge_rules(raw: RawRules) -> Result<MergeRules, String> {
    let list_type = match raw.list {
        None => None,
        Some("atomic") => Some(ListType::Atomic),
        Some("set") => Some(ListType::Set),
        Some("map") => Some(ListType::Map),
        Some(other) => return Err(format!("list type {other:?}")),
    };
    Ok(MergeRules {
        list_type,
        list_keys: raw.keys,
        patch_strategy: raw.patch,
        patch_merge_key: raw.merge_key,
        map_type: raw.map,
    })
}

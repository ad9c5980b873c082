//! From a tree to a type, so that serde's errors get the place and the field.
//!
//! It refuses to know the types.

use super::fault::Located;
use super::position::PLACED;
use super::{Content, Fault, Node, Position};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Reads a tree as a type.
///
/// # Errors
/// The first fault, with its place, field and cure.
pub(crate) fn read_as<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Fault> {
    T::deserialize(Reader {
        node,
        path: &Path::Whole,
    })
    .map_err(|error| *error.fault)
}

/// How one came to a value.
enum Path<'p> {
    Whole,
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
}

impl Path<'_> {
    fn write(&self, text: &mut String) {
        match self {
            Self::Whole => {}
            Self::Field(above, name) => {
                above.write(text);
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Self::Item(above, index) => {
                above.write(text);
                text.push_str(&format!("[{index}]"));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
}

impl<'de> Reader<'de, '_> {
    fn placed<T>(self, result: Result<T, Located>) -> Result<T, Located> {
        result.map_err(|error| located(error, self.node.position, self.path))
    }

    fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(value) => visitor.visit_bool(*value),
            Content::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(*value),
            },
            Content::Float(value) => visitor.visit_f64(*value),
            Content::Text(value) => visitor.visit_borrowed_str(value),
            Content::List(items) => visitor.visit_seq(Items {
                items,
                next: 0,
                path: self.path,
            }),
            Content::Block(fields) => visitor.visit_map(Fields {
                fields,
                next: 0,
                path: self.path,
            }),
        }
    }
}

fn located(mut error: Located, position: Position, path: &Path<'_>) -> Located {
    if !error.placed {
        error.placed = true;
        error.fault.position = position;
        path.write(&mut error.fault.field);
    }
    error
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Located;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        self.placed(self.any(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Located> {
        match self.node.content {
            Content::Null => self.placed(visitor.visit_none()),
            _ => self.placed(visitor.visit_some(self)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Located> {
        if name == PLACED {
            return self.placed(visitor.visit_seq(Placed {
                reader: self,
                part: 0,
            }));
        }
        self.placed(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Located> {
        let result = match &self.node.content {
            Content::Text(word) => visitor.visit_enum(Word(word)),
            Content::Integer(number) => Err(Located::invalid_type(
                Unexpected::Other(&number.to_string()),
                &visitor,
            )),
            _ => self.any(visitor),
        };
        self.placed(result)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Line, column and value, for [`super::At`].
struct Placed<'de, 'p> {
    reader: Reader<'de, 'p>,
    part: u8,
}

impl<'de> SeqAccess<'de> for Placed<'de, '_> {
    type Error = Located;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Located> {
        self.part += 1;
        let position = self.reader.node.position;
        match self.part {
            1 => seed
                .deserialize(position.line.into_deserializer())
                .map(Some),
            2 => seed
                .deserialize(position.column.into_deserializer())
                .map(Some),
            3 => seed.deserialize(self.reader).map(Some),
            _ => Ok(None),
        }
    }
}

struct Items<'de, 'p> {
    items: &'de [Node],
    next: usize,
    path: &'p Path<'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Located;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Located> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let path = Path::Item(self.path, self.next);
        self.next += 1;
        seed.deserialize(Reader { node, path: &path }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len().saturating_sub(self.next))
    }
}

struct Fields<'de, 'p> {
    fields: &'de [(Position, String, Node)],
    next: usize,
    path: &'p Path<'p>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Located;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Located> {
        let Some((position, name, _)) = self.fields.get(self.next) else {
            return Ok(None);
        };
        let path = Path::Field(self.path, name);
        seed.deserialize(name.as_str().into_deserializer())
            .map(Some)
            .map_err(|error| located(error, *position, &path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Located> {
        let Some((_, name, node)) = self.fields.get(self.next) else {
            return Err(Located::custom(
                "a value was asked for after the last field",
            ));
        };
        self.next += 1;
        let path = Path::Field(self.path, name);
        seed.deserialize(Reader { node, path: &path })
    }
}

/// One word for a choice.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Located;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Located> {
        seed.deserialize(self.0.into_deserializer())
            .map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Located;

    fn unit_variant(self) -> Result<(), Located> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Located> {
        Err(Located::invalid_type(Unexpected::UnitVariant, &"a block"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Located> {
        Err(Located::invalid_type(Unexpected::UnitVariant, &"a list"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Located> {
        Err(Located::invalid_type(Unexpected::UnitVariant, &"a block"))
    }
}

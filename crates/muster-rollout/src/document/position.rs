//! Where in a text something stands.
//!
//! It refuses to know what stands there.

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A line and a column, both from 1. Zero: no place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value with the place where it was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct At<T> {
    /// The place.
    pub position: Position,
    /// The value.
    pub value: T,
}

impl<T> At<T> {
    /// A value that stands nowhere.
    pub fn nowhere(value: T) -> Self {
        Self {
            position: Position::default(),
            value,
        }
    }

    /// A value at a place.
    pub fn new(position: Position, value: T) -> Self {
        Self { position, value }
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    /// The place does not count.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// By this name the reader of this house knows that a place is asked for.
pub(super) const PLACED: &str = "muster::At";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PLACED, Placed(PhantomData))
    }
}

struct Placed<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Placed<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// From a reader that knows no places.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<At<T>, D::Error> {
        T::deserialize(inner).map(At::nowhere)
    }

    /// From the reader of this house: line, column, value.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
        let missing = || serde::de::Error::custom("a place has a line, a column and a value");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(At::new(Position { line, column }, value))
    }
}

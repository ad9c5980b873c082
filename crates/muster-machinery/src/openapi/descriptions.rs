//! The first sentence of the documentation of each type and field.
//!
//! Read from the data file beside the schema table and not kept: documents are built rarely.

use std::collections::HashMap;

use crate::schema::{Field, Message, Schema};

const EMBEDDED: &str = include_str!("../../data/kubernetes-1.36.descriptions.txt");

/// The texts, by message.
pub(super) struct Descriptions {
    texts: Vec<&'static str>,
    /// By message name: the type's text and then the fields', in the order of the table.
    messages: HashMap<&'static str, Vec<usize>>,
}

impl Descriptions {
    pub(super) fn read(table: &'static Schema) -> Self {
        let (texts, numbers) = EMBEDDED.split_once("\n\n").unwrap_or_default();
        let rows = numbers
            .lines()
            .map(|row| row.split(' ').map(|n| n.parse().unwrap_or(0)).collect());
        Self {
            texts: std::iter::once("").chain(texts.lines()).collect(),
            messages: table.messages().map(Message::name).zip(rows).collect(),
        }
    }

    /// What the type is for; empty when nothing is known.
    pub(super) fn of_message(&self, message: &Message) -> &'static str {
        self.text(message, 0)
    }

    /// What the field is for; empty when nothing is known.
    pub(super) fn of_field(&self, message: &Message, field: &Field) -> &'static str {
        let at = message
            .fields()
            .iter()
            .position(|f| f.number() == field.number());
        at.map_or("", |at| self.text(message, at + 1))
    }

    fn text(&self, message: &Message, at: usize) -> &'static str {
        let number = self
            .messages
            .get(message.name())
            .and_then(|row| row.get(at));
        number
            .and_then(|number| self.texts.get(*number))
            .copied()
            .unwrap_or("")
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        EMBEDDED
            .split_once("\n\n")
            .map_or(0, |(_, rows)| rows.lines().count())
    }
}

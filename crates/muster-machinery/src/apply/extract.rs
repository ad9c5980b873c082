//! The fields an object mentions, and whether an applied configuration fits its type.
//!
//! What upstream's `typed` package calls `ToFieldSet` and `Validate`. Knows nothing of owners.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::element::PathElement;
use super::field_set::{FieldSet, Node};
use super::typing::{Atom, Declared, List, Relation, Scalar, Type};

/// The fields an object of this type mentions.
pub(super) fn field_set(object: &Value, ty: Type<'_>) -> FieldSet {
    node(object, ty).below
}

/// What a value mentions. Sets are built from the inside: paths may be long, and their ends many.
fn node(value: &Value, ty: Type<'_>) -> Node {
    let mut below = FieldSet::new();
    match (ty.atom(value), value) {
        (Atom::Map(map), Value::Object(members)) if !map.atomic => {
            for (name, value) in members {
                let (ty, declared) = map.member(name);
                let mut node = node(value, ty);
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                node.member |= is_empty || !declared;
                below.put(PathElement::field(name.as_str()), node);
            }
        }
        (Atom::List(list), Value::Array(items)) => match list.identify_all(items) {
            Some(ids) => below = item_nodes(&list, items, ids),
            None => return Node::leaf(),
        },
        (Atom::Map(map), _) if !map.atomic => {}
        (Atom::List(list), _) if !matches!(list.relation, Relation::Atomic) => {}
        _ => return Node::leaf(),
    }
    Node {
        member: false,
        below,
    }
}

fn item_nodes(list: &List<'_>, items: &[Value], ids: Vec<PathElement>) -> FieldSet {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = ids.iter().filter(|id| !seen.insert(*id)).cloned().collect();
    let mut set = FieldSet::new();
    for (id, item) in ids.into_iter().zip(items) {
        let below = match repeated.contains(&id) {
            true => FieldSet::new(),
            false => node(item, list.element).below,
        };
        let node = Node {
            member: true,
            below,
        };
        set.put(id, node);
    }
    set
}

/// The mistakes in an applied configuration, each as upstream words it: path and sentence. Of very many, the first.
pub(super) fn check(object: &Value, ty: Type<'_>) -> Vec<String> {
    let mut report = Report::default();
    report.value(object, ty);
    report.mistakes
}

/// More than this many mistakes are not told.
const MAX_MISTAKES: usize = 20;

/// Paths longer than this many bytes are cut in messages.
const MAX_TOLD_PATH: usize = 1024;

#[derive(Default)]
struct Report {
    path: String,
    mistakes: Vec<String>,
}

impl Report {
    fn is_full(&self) -> bool {
        self.mistakes.len() >= MAX_MISTAKES
    }

    fn say(&mut self, what: impl std::fmt::Display) {
        if self.is_full() {
            return;
        }
        let path = cut(&self.path, MAX_TOLD_PATH);
        let colon = if path.is_empty() { "" } else { ": " };
        self.mistakes.push(format!("{path}{colon}{what}"));
    }

    fn at(&mut self, step: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        inner(self);
        self.path.truncate(length);
    }

    fn value(&mut self, value: &Value, ty: Type<'_>) {
        if self.is_full() || value.is_null() {
            return;
        }
        match (ty.declared(), ty.atom(value), value) {
            (_, Atom::Map(map), Value::Object(members)) => {
                for (name, value) in members {
                    self.at(&format!(".{name}"), |report| match map.allows(name) {
                        true => report.value(value, map.member(name).0),
                        false => report.say("field not declared in schema"),
                    });
                }
            }
            (_, Atom::List(list), Value::Array(items)) => self.items(&list, items),
            (Declared::Map(_), ..) => self.say(format!("expected map, got {}", shown(value))),
            (Declared::List(_), ..) => self.say(format!("expected list, got {}", shown(value))),
            (Declared::Scalar(scalar), ..) => {
                if let Some(what) = misfit(scalar, value) {
                    self.say(what);
                }
            }
            _ => {}
        }
    }

    fn items(&mut self, list: &List<'_>, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let id = if matches!(list.relation, Relation::Atomic) {
                PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
            } else {
                match list.identify(item) {
                    Ok(id) => id,
                    Err(why) => return self.say(format!("element {index}: {why}")),
                }
            };
            let step = id.to_string();
            if !seen.insert(id) {
                self.say(format!(
                    "duplicate entries for key {}",
                    cut(&step, MAX_TOLD_PATH)
                ));
            }
            self.at(&step, |report| report.value(item, list.element));
        }
    }
}

fn misfit(scalar: Scalar, value: &Value) -> Option<String> {
    let (fits, wanted) = match scalar {
        Scalar::Text => (value.is_string(), "string"),
        Scalar::Number => (value.is_number(), "numeric (int or float)"),
        Scalar::Bool => (value.is_boolean(), "boolean"),
        Scalar::Any => (!value.is_array() && !value.is_object(), "any scalar"),
    };
    let got = match scalar {
        Scalar::Number => type_name(value).to_owned(),
        _ => shown(value),
    };
    (!fits).then(|| format!("expected {wanted}, got {got}"))
}

/// The value, shortened: it is a stranger's.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), 80).into_owned()
}

/// The text's first bytes.
fn cut(text: &str, length: usize) -> Cow<'_, str> {
    if text.len() <= length {
        return Cow::Borrowed(text);
    }
    let end = (0..=length).rev().find(|&end| text.is_char_boundary(end));
    Cow::Owned(format!("{}...", &text[..end.unwrap_or(0)]))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// Whether no value nests deeper than this many levels.
pub(super) fn is_shallow(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(items), Some(left)) => items.iter().all(|item| is_shallow(item, left)),
        (Value::Object(members), Some(left)) => members.values().all(|m| is_shallow(m, left)),
        (Value::Array(_) | Value::Object(_), None) => false,
        _ => true,
    }
}

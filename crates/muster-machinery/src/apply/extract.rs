//! The fields an object mentions, and whether an applied configuration fits its type.
//!
//! What upstream's `typed` package calls `ToFieldSet` and `Validate`. Knows nothing of owners.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element::PathElement;
use super::field_set::FieldSet;
use super::typing::{Atom, Declared, List, MapType, Relation, Scalar, Type};

/// The fields an object of this type mentions.
pub(super) fn field_set(object: &Value, ty: Type<'_>) -> FieldSet {
    let mut set = FieldSet::new();
    collect(object, ty, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, ty: Type<'_>, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match (ty.atom(value), value) {
        (Atom::Map(map), Value::Object(members)) if !map.atomic => {
            for (name, value) in members {
                let (ty, declared) = map.member(name);
                path.push(PathElement::field(name.as_str()));
                collect(value, ty, path, set);
                let is_empty = value.is_null() || value.as_object().is_some_and(|m| m.is_empty());
                if is_empty || !declared {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Atom::List(list), Value::Array(items)) => match list.identify_all(items) {
            Some(ids) => collect_items(&list, items, ids, path, set),
            None => set.insert(path),
        },
        (Atom::Map(map), _) if !map.atomic => {}
        (Atom::List(list), _) if !matches!(list.relation, Relation::Atomic) => {}
        _ => set.insert(path),
    }
}

fn collect_items(
    list: &List<'_>,
    items: &[Value],
    ids: Vec<PathElement>,
    path: &mut Vec<PathElement>,
    set: &mut FieldSet,
) {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = ids.iter().filter(|id| !seen.insert(*id)).cloned().collect();
    for (id, item) in ids.into_iter().zip(items) {
        let is_single = !repeated.contains(&id);
        path.push(id);
        if is_single {
            collect(item, list.element, path, set);
        }
        set.insert(path);
        path.pop();
    }
}

/// The mistakes in an applied configuration, each as upstream words it: path and sentence.
pub(super) fn check(object: &Value, ty: Type<'_>) -> Vec<String> {
    let mut mistakes = Vec::new();
    visit(object, ty, &mut String::new(), &mut mistakes);
    mistakes
}

/// More than this many mistakes are not told.
const MAX_MISTAKES: usize = 20;

fn visit(value: &Value, ty: Type<'_>, path: &mut String, mistakes: &mut Vec<String>) {
    if mistakes.len() >= MAX_MISTAKES {
        return;
    }
    let mut say = |what: String| {
        let colon = if path.is_empty() { "" } else { ": " };
        mistakes.push(format!("{path}{colon}{what}"));
    };
    if value.is_null() {
        return;
    }
    match (ty.declared(), ty.atom(value), value) {
        (_, Atom::Map(map), Value::Object(members)) => {
            for (name, value) in members {
                visit_member(&map, name, value, path, mistakes);
            }
        }
        (_, Atom::List(list), Value::Array(items)) => visit_items(&list, items, path, mistakes),
        (Declared::Map(_), ..) => say(format!("expected map, got {}", shown(value))),
        (Declared::List(_), ..) => say(format!("expected list, got {}", shown(value))),
        (Declared::Scalar(scalar), ..) => {
            if let Some(what) = misfit(scalar, value) {
                say(what);
            }
        }
        _ => {}
    }
}

fn visit_member(
    map: &MapType<'_>,
    name: &str,
    value: &Value,
    path: &mut String,
    mistakes: &mut Vec<String>,
) {
    let length = path.len();
    path.push('.');
    path.push_str(name);
    if map.allows(name) {
        visit(value, map.member(name).0, path, mistakes);
    } else {
        mistakes.push(format!("{path}: field not declared in schema"));
    }
    path.truncate(length);
}

fn visit_items(list: &List<'_>, items: &[Value], path: &mut String, mistakes: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let id = if matches!(list.relation, Relation::Atomic) {
            PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
        } else {
            match list.identify(item) {
                Ok(id) => id,
                Err(why) => {
                    mistakes.push(format!("{path}: element {index}: {why}"));
                    return;
                }
            }
        };
        let length = path.len();
        let shown = id.to_string();
        if !seen.insert(id) {
            mistakes.push(format!("{path}: duplicate entries for key {shown}"));
        }
        path.push_str(&shown);
        visit(item, list.element, path, mistakes);
        path.truncate(length);
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
    let mut text: String = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(80) {
        text.truncate(end);
        text.push_str("...");
    }
    text
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

//! What changed between two states of an object, as field sets.
//!
//! What upstream's `typed` package calls `Compare`. Knows nothing of owners.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::{PathElement, same};
use super::field_set::{FieldSet, Node};
use super::typing::{Atom, List, MapType, Relation, Type};

/// The differences between an old and a new state. No field is in two of the sets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// The fields that the change wrote.
    pub(super) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }

    /// As [`Comparison::written`], of a comparison that is needed no more.
    pub(super) fn into_written(self) -> FieldSet {
        let mut written = self.added;
        written.extend(&self.modified);
        written
    }

    /// Whether nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The comparison without some fields and all that is below them.
    pub(super) fn without(mut self, ignored: &FieldSet) -> Self {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_recursive(ignored);
        }
        self
    }
}

/// Compares two states of an object.
pub(super) fn compare(old: &Value, new: &Value, ty: Type<'_>) -> Comparison {
    let change = values(Some(old), Some(new), ty);
    Comparison {
        added: change.added.below,
        modified: change.modified.below,
        removed: change.removed.below,
    }
}

/// What became of one value and of what is in it. Built from the inside: paths may be long, and their ends many.
#[derive(Default)]
struct Change {
    added: Node,
    modified: Node,
    removed: Node,
}

impl Change {
    /// Takes over what became of a part.
    fn put(&mut self, element: PathElement, part: Self) {
        self.added.below.put(element.clone(), part.added);
        self.modified.below.put(element.clone(), part.modified);
        self.removed.below.put(element, part.removed);
    }

    /// Takes over what is known of the same value from elsewhere.
    fn join(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.added, &other.added),
            (&mut self.modified, &other.modified),
            (&mut self.removed, &other.removed),
        ] {
            ours.member |= theirs.member;
            ours.below.extend(&theirs.below);
        }
    }

    /// Notes that the value came or went.
    fn mark(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.added.member = true,
            (Some(_), None) => self.removed.member = true,
            _ => {}
        }
    }
}

fn values(old: Option<&Value>, new: Option<&Value>, ty: Type<'_>) -> Change {
    let (mut change, is_leaf) = match (old, new) {
        (None, None) => return Change::default(),
        (Some(value), None) | (None, Some(value)) => parts(old, new, ty.atom(value)),
        (Some(a), Some(b)) if a == b => return Change::default(),
        (Some(a), Some(b)) => {
            let (was, is) = (ty.atom(a), ty.atom(b));
            let other = (!was.is_like(&is)).then(|| parts(old, new, was).0);
            let (mut change, is_leaf) = parts(old, new, is);
            if let Some(other) = other {
                change.join(&other);
            }
            (change, is_leaf)
        }
    };
    if !is_leaf {
        change.mark(old, new);
    }
    change
}

/// Compares the parts of a value; also returns whether the value is one piece.
fn parts(old: Option<&Value>, new: Option<&Value>, atom: Atom<'_>) -> (Change, bool) {
    let has_parts = [old, new].into_iter().flatten().any(|value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    });
    match atom {
        Atom::Map(map) if !map.atomic && has_parts => {
            let (old, new) = (
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
            );
            (members(old, new, &map), false)
        }
        Atom::List(list) if has_parts && !matches!(list.relation, Relation::Atomic) => {
            let (old_items, new_items) = (items_of(old), items_of(new));
            match (list.identify_all(old_items), list.identify_all(new_items)) {
                (Some(old_ids), Some(new_ids)) => {
                    let (old, new) = (group(old_ids, old_items), group(new_ids, new_items));
                    (items(old, new, &list), false)
                }
                _ => (leaf(old, new), true),
            }
        }
        _ => (leaf(old, new), true),
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Change {
    let mut change = Change::default();
    match (old, new) {
        (Some(a), Some(b)) => change.modified.member = !same(a, b),
        _ => change.mark(old, new),
    }
    change
}

fn members(
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    map: &MapType<'_>,
) -> Change {
    let mut change = Change::default();
    for (name, was) in old.into_iter().flatten() {
        let is = new.and_then(|members| members.get(name));
        if Some(was) != is {
            let part = values(Some(was), is, map.member(name).0);
            change.put(PathElement::field(name.as_str()), part);
        }
    }
    for (name, is) in new.into_iter().flatten() {
        if old.is_none_or(|members| !members.contains_key(name)) {
            let part = values(None, Some(is), map.member(name).0);
            change.put(PathElement::field(name.as_str()), part);
        }
    }
    change
}

fn items(old: Grouped<'_>, mut new: Grouped<'_>, list: &List<'_>) -> Change {
    let mut change = Change::default();
    for (id, was) in old {
        let is = new.remove(&id).unwrap_or_default();
        change.put(id, same_identity(&was, &is, list));
    }
    for (id, is) in new {
        change.put(id, same_identity(&[], &is, list));
    }
    change
}

/// Compares the elements of one identity: one by one when each side has at most one, else all of them in one piece.
fn same_identity(old: &[&Value], new: &[&Value], list: &List<'_>) -> Change {
    let (was_many, is_many) = (old.len() > 1, new.len() > 1);
    let was = old.first().copied().filter(|_| !was_many);
    let is = new.first().copied().filter(|_| !is_many);
    let mut change = values(was, is, list.element);
    match (was_many, is_many) {
        (true, true) => {
            let unchanged = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same(a, b));
            change.modified.member |= !unchanged;
        }
        (true, false) => change.removed.member = true,
        (false, true) => change.added.member = true,
        (false, false) => {}
    }
    change
}

type Grouped<'v> = BTreeMap<PathElement, Vec<&'v Value>>;

fn group(ids: Vec<PathElement>, items: &[Value]) -> Grouped<'_> {
    let mut groups = Grouped::new();
    for (id, item) in ids.into_iter().zip(items) {
        groups.entry(id).or_default().push(item);
    }
    groups
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

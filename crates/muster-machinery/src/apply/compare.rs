//! What changed between two states of an object, as field sets.
//!
//! What upstream's `typed` package calls `Compare`. Knows nothing of owners.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::{PathElement, same};
use super::field_set::FieldSet;
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

    /// The comparison without some fields and all that is below them.
    pub(super) fn without(self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }
}

/// Compares two states of an object.
pub(super) fn compare(old: &Value, new: &Value, ty: Type<'_>) -> Comparison {
    let mut walk = Walk::default();
    walk.values(Some(old), Some(new), ty);
    walk.found
}

#[derive(Default)]
struct Walk {
    path: Vec<PathElement>,
    found: Comparison,
}

impl Walk {
    fn values(&mut self, old: Option<&Value>, new: Option<&Value>, ty: Type<'_>) {
        let is_leaf = match (old, new) {
            (None, None) => return,
            (Some(value), None) | (None, Some(value)) => self.parts(old, new, ty.atom(value)),
            (Some(a), Some(b)) if a == b => return,
            (Some(a), Some(b)) => {
                let (was, is) = (ty.atom(a), ty.atom(b));
                if !was.is_like(&is) {
                    self.parts(old, new, was);
                }
                self.parts(old, new, is)
            }
        };
        if !is_leaf {
            self.mark(old, new);
        }
    }

    /// Adds the present path to the set of fields that came or went.
    fn mark(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.found.added.insert(&self.path),
            (Some(_), None) => self.found.removed.insert(&self.path),
            _ => {}
        }
    }

    /// Compares the parts of a value; returns whether the value is one piece.
    fn parts(&mut self, old: Option<&Value>, new: Option<&Value>, atom: Atom<'_>) -> bool {
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
                self.members(old, new, &map);
                false
            }
            Atom::List(list) if has_parts && !matches!(list.relation, Relation::Atomic) => {
                let (old_items, new_items) = (items_of(old), items_of(new));
                match (list.identify_all(old_items), list.identify_all(new_items)) {
                    (Some(old_ids), Some(new_ids)) => {
                        self.items(group(old_ids, old_items), group(new_ids, new_items), &list);
                        false
                    }
                    _ => self.leaf(old, new),
                }
            }
            _ => self.leaf(old, new),
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (Some(a), Some(b)) if !same(a, b) => self.found.modified.insert(&self.path),
            _ => self.mark(old, new),
        }
        true
    }

    fn child(
        &mut self,
        element: PathElement,
        old: Option<&Value>,
        new: Option<&Value>,
        ty: Type<'_>,
    ) {
        self.path.push(element);
        self.values(old, new, ty);
        self.path.pop();
    }

    fn members(
        &mut self,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        map: &MapType<'_>,
    ) {
        for (name, was) in old.into_iter().flatten() {
            let is = new.and_then(|members| members.get(name));
            if Some(was) != is {
                self.child(
                    PathElement::field(name.as_str()),
                    Some(was),
                    is,
                    map.member(name).0,
                );
            }
        }
        for (name, is) in new.into_iter().flatten() {
            if old.is_none_or(|members| !members.contains_key(name)) {
                self.child(
                    PathElement::field(name.as_str()),
                    None,
                    Some(is),
                    map.member(name).0,
                );
            }
        }
    }

    fn items(&mut self, old: Grouped<'_>, mut new: Grouped<'_>, list: &List<'_>) {
        for (id, was) in old {
            let is = new.remove(&id).unwrap_or_default();
            self.group(id, &was, &is, list);
        }
        for (id, is) in new {
            self.group(id, &[], &is, list);
        }
    }

    /// Compares the elements of one identity: one by one when each side has at most one, else all of them in one piece.
    fn group(&mut self, id: PathElement, old: &[&Value], new: &[&Value], list: &List<'_>) {
        let (was_many, is_many) = (old.len() > 1, new.len() > 1);
        if !was_many || !is_many {
            let was = old.first().copied().filter(|_| !was_many);
            let is = new.first().copied().filter(|_| !is_many);
            self.child(id.clone(), was, is, list.element);
        }
        let set = match (was_many, is_many) {
            (true, true) => {
                let unchanged =
                    old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same(a, b));
                (!unchanged).then_some(&mut self.found.modified)
            }
            (true, false) => Some(&mut self.found.removed),
            (false, true) => Some(&mut self.found.added),
            (false, false) => None,
        };
        if let Some(set) = set {
            self.path.push(id);
            set.insert(&self.path);
            self.path.pop();
        }
    }
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

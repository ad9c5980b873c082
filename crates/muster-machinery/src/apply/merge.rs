//! Lays an applied configuration over a live object, and takes fields out of an object.
//!
//! What upstream's `typed` package calls `Merge` and `RemoveItems`. Knows nothing of owners.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::{Literal, PathElement};
use super::field_set::FieldSet;
use super::typing::{Atom, List, Relation, Type};

/// The live value with the configuration laid over it: the configuration wins, members and list elements that it does
/// not mention stay.
pub(super) fn merge(live: &Value, config: &Value, ty: Type<'_>) -> Value {
    match (ty.atom(config), live, config) {
        (Atom::Map(map), Value::Object(ours), Value::Object(theirs)) if !map.atomic => {
            let mut merged = ours.clone();
            for (name, value) in theirs {
                let value = match ours.get(name) {
                    Some(live) => merge(live, value, map.member(name).0),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Atom::Map(map), Value::Object(ours), Value::Null) if !map.atomic && !ours.is_empty() => {
            live.clone()
        }
        (Atom::List(list), Value::Array(ours), Value::Array(theirs))
            if !matches!(list.relation, Relation::Atomic) =>
        {
            match (list.identify_all(ours), list.identify_all(theirs)) {
                (Some(our_ids), Some(their_ids)) => {
                    Interleave::new(&list, (&our_ids, ours), (&their_ids, theirs)).run()
                }
                _ => config.clone(),
            }
        }
        (Atom::List(list), Value::Array(ours), Value::Null)
            if !matches!(list.relation, Relation::Atomic) && !ours.is_empty() =>
        {
            live.clone()
        }
        _ => config.clone(),
    }
}

type Identified<'v> = BTreeMap<&'v PathElement, Option<&'v Value>>;

/// Merges two keyed lists so that the applied elements keep the order of the configuration, and the others stay close to
/// where they were.
struct Interleave<'v> {
    list: &'v List<'v>,
    ours: (&'v [PathElement], &'v [Value]),
    theirs: (&'v [PathElement], &'v [Value]),
    /// By identity; `None` where the live list repeats one.
    our_index: Identified<'v>,
    their_index: Identified<'v>,
    merged: BTreeSet<&'v PathElement>,
    out: Vec<Value>,
}

impl<'v> Interleave<'v> {
    fn new(
        list: &'v List<'v>,
        ours: (&'v [PathElement], &'v [Value]),
        theirs: (&'v [PathElement], &'v [Value]),
    ) -> Self {
        Self {
            list,
            our_index: index(ours),
            their_index: index(theirs),
            ours,
            theirs,
            merged: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    fn take_theirs(&mut self, at: usize) {
        let (Some(id), Some(value)) = (self.theirs.0.get(at), self.theirs.1.get(at)) else {
            return;
        };
        self.merged.insert(id);
        self.out.push(match self.our_index.get(id) {
            Some(Some(live)) => merge(live, value, self.list.element),
            _ => value.clone(),
        });
    }

    fn run(mut self) -> Value {
        let (our_ids, their_ids) = (self.ours.0, self.theirs.0);
        let shared: Vec<_> = their_ids
            .iter()
            .filter(|id| self.our_index.contains_key(id))
            .collect();
        let mut shared = shared.into_iter();
        let mut next = shared.next();
        let (mut ours, mut theirs) = (0, 0);
        while ours < our_ids.len() || theirs < their_ids.len() {
            if let (Some(our), Some(their)) = (our_ids.get(ours), their_ids.get(theirs)) {
                if our == their {
                    self.take_theirs(theirs);
                    (ours, theirs) = (ours + 1, theirs + 1);
                    next = shared.next();
                    continue;
                }
                // An element of both, but not the one whose turn it is: it comes later.
                if self.their_index.contains_key(our) && next.is_some_and(|next| next != our) {
                    ours += 1;
                    continue;
                }
            }
            if let (Some(our), Some(value)) = (our_ids.get(ours), self.ours.1.get(ours)) {
                if !self.their_index.contains_key(our) {
                    self.out.push(value.clone());
                    ours += 1;
                    continue;
                }
                if self.merged.contains(our) {
                    ours += 1;
                }
            }
            if let Some(their) = their_ids.get(theirs) {
                self.take_theirs(theirs);
                theirs += 1;
                if next == Some(their) {
                    next = shared.next();
                }
            }
        }
        Value::Array(self.out)
    }
}

fn index<'v>((ids, values): (&'v [PathElement], &'v [Value])) -> Identified<'v> {
    let mut index = Identified::new();
    for (id, value) in ids.iter().zip(values) {
        index
            .entry(id)
            .and_modify(|known| *known = None)
            .or_insert(Some(value));
    }
    index
}

/// What stays of a list or map all of whose parts were taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    /// Null: in field sets it counts as there.
    Null,
    /// An empty list or map, which types accept where they may not accept null.
    Empty,
}

impl Emptied {
    fn of(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Empty, Value::Array(_)) => Value::Array(Vec::new()),
            (Self::Empty, Value::Object(_)) => Value::Object(Map::new()),
            _ => Value::Null,
        }
    }
}

/// The value without some fields.
pub(super) fn remove(value: &Value, fields: &FieldSet, ty: Type<'_>, emptied: Emptied) -> Value {
    if fields.is_empty() {
        return value.clone();
    }
    let left = match (ty.atom(value), value) {
        (Atom::Map(map), Value::Object(members)) if !map.atomic => {
            let left = members.iter().filter_map(|(name, value)| {
                let element = PathElement::field(name.as_str());
                if fields.contains(std::slice::from_ref(&element)) {
                    return None;
                }
                let value = match fields.below(&element) {
                    Some(below) => remove(value, below, map.member(name).0, emptied),
                    None => value.clone(),
                };
                Some((name.clone(), value))
            });
            let left: Map<_, _> = left.collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Atom::List(list), Value::Array(items)) if !matches!(list.relation, Relation::Atomic) => {
            match list.identify_all(items) {
                Some(ids) => remove_items(&list, ids, items, fields, emptied),
                None => Some(value.clone()),
            }
        }
        // Fields below a value in one piece can only be taken with it.
        (Atom::Map(_) | Atom::List(_), _) => None,
        (Atom::Leaf, _) => Some(value.clone()),
    };
    left.unwrap_or_else(|| emptied.of(value))
}

fn remove_items(
    list: &List<'_>,
    ids: Vec<PathElement>,
    items: &[Value],
    fields: &FieldSet,
    emptied: Emptied,
) -> Option<Value> {
    let kept: Vec<_> = ids
        .into_iter()
        .zip(items)
        .filter(|(id, _)| !fields.contains(std::slice::from_ref(id)))
        .map(|(id, item)| match fields.below(&id) {
            Some(below) => {
                let left = remove(item, below, list.element, emptied);
                if left == emptied.of(item) {
                    bare(&id)
                } else {
                    left
                }
            }
            None => item.clone(),
        })
        .collect();
    (!kept.is_empty()).then_some(Value::Array(kept))
}

/// An element of which only its identity is left.
fn bare(id: &PathElement) -> Value {
    match id {
        PathElement::Key(fields) => fields
            .iter()
            .map(|(name, Literal(value))| (name.clone(), value.clone()))
            .collect(),
        PathElement::Value(Literal(value)) => value.clone(),
        PathElement::Field(_) | PathElement::Index(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn pod() -> Type<'static> {
        Type::built_in(schema::table().by_kind("", "v1", "Pod").unwrap())
    }

    fn finalizers(names: &str) -> Value {
        let list: Vec<_> = names.chars().map(|c| c.to_string()).collect();
        json!({"metadata": {"finalizers": list}})
    }

    #[rstest]
    #[case("", "ab", "ab")]
    #[case("ab", "", "ab")]
    #[case("ab", "ab", "ab")]
    #[case("ab", "ba", "ba")]
    #[case("abc", "cb", "acb")]
    #[case("abc", "d", "abcd")]
    #[case("abc", "dc", "abdc")]
    #[case("xaybz", "ba", "xybza")]
    #[case("abcd", "db", "acdb")]
    #[case("abc", "cdef", "abcdef")]
    #[case("abcgf", "cdef", "abcgdef")]
    #[case("cagf", "cfag", "cfag")]
    #[case("abcd", "defa", "bcdefa")]
    #[case("cdefghij", "2h3e4kl", "cdfg2hij3e4kl")]
    #[case("abcdefghij", "1b2h3e4kl", "a1bcdfg2hij3e4kl")]
    #[case("abb", "c", "abbc")]
    #[case("abb", "b", "ab")]
    #[case("abcdec", "1b2ed", "a1bc2ecd")]
    #[case("aabb", "bcd", "aabcd")]
    fn applied_elements_keep_their_order_and_others_their_place(
        #[case] live: &str,
        #[case] config: &str,
        #[case] merged: &str,
    ) {
        assert_eq!(
            merge(&finalizers(live), &finalizers(config), pod()),
            finalizers(merged)
        );
    }

    #[test]
    fn what_is_taken_from_an_element_leaves_its_key() {
        let value = json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b"}]}});
        let fields = json!({"f:spec": {"f:containers": {
            "k:{\"name\":\"a\"}": {"f:name": {}, "f:image": {}}, "k:{\"name\":\"b\"}": {}}}});
        let fields = FieldSet::from_fields_v1(&fields).unwrap();
        assert_eq!(
            remove(&value, &fields, pod(), Emptied::Null),
            json!({"spec": {"containers": [{"name": "a"}]}})
        );
    }
}

//! Sets of fields: who owns what is a set per manager, and every rule of server-side apply is arithmetic on them.
//!
//! Membership of a field says nothing about its parents and children. Knows nothing of objects.

use std::collections::BTreeMap;

use super::element::{Path, PathElement};
use super::typing::{Declared, Type};

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// No node is without effect: it is a member or has members below.
    pub(super) nodes: BTreeMap<PathElement, Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    /// A member without members below.
    pub(super) const fn leaf() -> Self {
        Self {
            member: true,
            below: FieldSet {
                nodes: BTreeMap::new(),
            },
        }
    }

    fn kept(self) -> Option<Self> {
        (self.member || !self.below.is_empty()).then_some(self)
    }
}

impl FieldSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of members reached by names only.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(&Path::fields(path).0);
        }
        set
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes
            .values()
            .map(|node| usize::from(node.member) + node.below.len())
            .sum()
    }

    /// Adds a field, not its parents. The empty path is no field.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if !self.nodes.contains_key(first) {
            self.nodes.insert(first.clone(), Node::default());
        }
        if let Some(node) = self.nodes.get_mut(first) {
            match rest {
                [] => node.member = true,
                rest => node.below.insert(rest),
            }
        }
    }

    /// Whether the field is a member.
    #[must_use]
    pub fn contains(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.nodes.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self
                .nodes
                .get(first)
                .is_some_and(|node| node.below.contains(rest)),
        }
    }

    /// The members below one step, without it.
    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        let node = self.nodes.get(element)?;
        (!node.below.is_empty()).then_some(&node.below)
    }

    /// All members, parents before their children. Each path is a copy: a set with long paths is large in this form.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.visit(&mut Vec::new(), &mut |path| {
            paths.push(Path(path.to_vec()));
            true
        });
        paths
    }

    /// Calls for each member until told to stop; returns whether it came to the end.
    pub(super) fn visit(
        &self,
        prefix: &mut Vec<PathElement>,
        call: &mut dyn FnMut(&[PathElement]) -> bool,
    ) -> bool {
        // Members of one level come before the children of the level, as upstream lists them.
        let members = self.nodes.iter().filter(|(_, node)| node.member);
        let mut goes_on = true;
        for (element, _) in members {
            prefix.push(element.clone());
            goes_on = goes_on && call(prefix);
            prefix.pop();
        }
        for (element, node) in self.nodes.iter().filter(|(_, n)| !n.below.is_empty()) {
            if goes_on {
                prefix.push(element.clone());
                goes_on = node.below.visit(prefix, call);
                prefix.pop();
            }
        }
        goes_on
    }

    /// Puts what is known of one step in its place; nothing when that is nothing.
    pub(super) fn put(&mut self, element: PathElement, node: Node) {
        if let Some(node) = node.kept() {
            self.nodes.insert(element, node);
        }
    }

    fn filtered(&self, mut keep: impl FnMut(&PathElement, &Node) -> Option<Node>) -> Self {
        let nodes = self
            .nodes
            .iter()
            .filter_map(|(element, node)| Some((element.clone(), keep(element, node)?.kept()?)))
            .collect();
        Self { nodes }
    }

    /// The fields in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    /// Adds the fields of another set.
    pub fn extend(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            match self.nodes.get_mut(element) {
                Some(ours) => {
                    ours.member |= theirs.member;
                    ours.below.extend(&theirs.below);
                }
                None => {
                    self.nodes.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// The fields in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.filtered(|element, node| {
            let theirs = other.nodes.get(element)?;
            Some(Node {
                member: node.member && theirs.member,
                below: node.below.intersection(&theirs.below),
            })
        })
    }

    /// The fields in this set that are not in the other. Children of a field in the other set stay.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.filtered(|element, node| {
            let Some(theirs) = other.nodes.get(element) else {
                return Some(node.clone());
            };
            Some(Node {
                member: node.member && !theirs.member,
                below: node.below.difference(&theirs.below),
            })
        })
    }

    /// The fields in this set that neither are in the other nor lie below one that is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.filtered(|element, node| match other.nodes.get(element) {
            None => Some(node.clone()),
            Some(theirs) if theirs.member => None,
            Some(theirs) => Some(Node {
                member: node.member,
                below: node.below.recursive_difference(&theirs.below),
            }),
        })
    }

    /// As [`FieldSet::difference`], in place.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            let Some(node) = self.nodes.get_mut(element) else {
                continue;
            };
            node.member &= !theirs.member;
            node.below.subtract(&theirs.below);
            if !node.member && node.below.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// As [`FieldSet::recursive_difference`], in place.
    pub(super) fn subtract_recursive(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            let Some(node) = self.nodes.get_mut(element) else {
                continue;
            };
            node.below.subtract_recursive(&theirs.below);
            if theirs.member || (!node.member && node.below.is_empty()) {
                self.nodes.remove(element);
            }
        }
    }

    /// The members without members below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        self.filtered(|_, node| {
            Some(Node {
                member: node.member && node.below.is_empty(),
                below: node.below.leaves(),
            })
        })
    }

    /// The set with every declared struct field above a member as a member. Keys of maps and elements of lists are not
    /// added.
    pub(super) fn ensure_named_fields(&self, ty: Type<'_>) -> Self {
        self.filtered(|element, node| {
            let (child, declared) = match (ty.declared(), element) {
                (Declared::Map(map), PathElement::Field(name)) => map.member(name),
                (Declared::List(list), PathElement::Key(_)) => (list.element, false),
                _ => (Type::deduced(), false),
            };
            Some(Node {
                member: node.member || declared,
                below: node.below.ensure_named_fields(child),
            })
        })
    }

    /// Whether [`FieldSet::reconciled`] would change nothing.
    pub(super) fn is_reconciled(&self, ty: Type<'_>) -> bool {
        let has_parts = |(_, node): &(&PathElement, &Node)| !node.below.is_empty();
        self.nodes.iter().filter(has_parts).all(|(element, node)| {
            let child = match (ty.declared(), element) {
                (Declared::Map(map), PathElement::Field(name)) => map.member(name).0,
                (Declared::List(list), _) => list.element,
                _ => return true,
            };
            !child.is_atomic() && node.below.is_reconciled(child)
        })
    }

    /// The set after a type became atomic: what was owned below is ownership of the whole.
    pub(super) fn reconciled(&self, ty: Type<'_>) -> Self {
        self.filtered(|element, node| {
            let child = match (ty.declared(), element) {
                (Declared::Map(map), PathElement::Field(name)) => map.member(name).0,
                (Declared::List(list), _) => list.element,
                _ => return Some(node.clone()),
            };
            if child.is_atomic() && !node.below.is_empty() {
                return Some(Node {
                    member: true,
                    below: Self::new(),
                });
            }
            Some(Node {
                member: node.member,
                below: node.below.reconciled(child),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&[&str]]) -> FieldSet {
        FieldSet::of_fields(paths)
    }

    #[test]
    fn a_parent_is_not_its_child() {
        let parent = set(&[&["a"]]);
        let child = set(&[&["a", "b"]]);
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.difference(&parent), child);
        assert!(parent.intersection(&child).is_empty());
        assert!(child.recursive_difference(&parent).is_empty());
        let both = parent.union(&child);
        assert_eq!(both.len(), 2);
        assert_eq!(both.leaves(), child);
        assert_eq!(both.difference(&parent), child);
    }

    #[test]
    fn subtracting_in_place_is_the_difference() {
        let sets = [
            set(&[&["a"]]),
            set(&[&["a", "b"], &["c"]]),
            set(&[&["a"], &["a", "b"], &["c", "d"]]),
            set(&[&["a", "b", "e"], &["c"], &["c", "d"]]),
            FieldSet::new(),
        ];
        for (one, other) in sets.iter().flat_map(|a| sets.iter().map(move |b| (a, b))) {
            let mut plain = one.clone();
            plain.subtract(other);
            assert_eq!(plain, one.difference(other), "{one:?} {other:?}");
            let mut recursive = one.clone();
            recursive.subtract_recursive(other);
            assert_eq!(
                recursive,
                one.recursive_difference(other),
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn the_empty_path_is_no_field() {
        let mut empty = FieldSet::new();
        empty.insert(&[]);
        assert!(empty.is_empty());
        assert!(!empty.contains(&[]));
    }

    #[test]
    fn paths_are_listed_in_order() {
        let listed: Vec<_> = set(&[&["b"], &["a", "z"], &["a"]])
            .paths()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(listed, [".a", ".b", ".a.z"]);
    }

    #[test]
    fn nothing_is_left_of_a_set_taken_from_itself() {
        let some = set(&[&["a", "b", "c"], &["a"], &["d"]]);
        assert_eq!(some.difference(&some), FieldSet::new());
        assert_eq!(some.intersection(&some), some);
        assert_eq!(some.union(&some), some);
    }
}

//! Who owns whom, as far as the watches have told. Pure: changes go in, work comes out.
//!
//! Only objects that matter are kept: those with owners, and those whose deletion waits for their
//! dependents. Whether an owner exists is never concluded from its absence here; the shell asks.

use std::collections::{BTreeSet, HashMap};

/// The identity of an object: its `metadata.uid`.
pub(crate) type Uid = String;

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The owner's uid.
    pub(crate) uid: Uid,
    /// Its `apiVersion`.
    pub(crate) api_version: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether a foreground deletion of the owner waits for this dependent.
    pub(crate) blocks: bool,
}

/// What the collector knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Which resource, as an index into the shell's list.
    pub(crate) resource: usize,
    /// Its namespace, if it lives in one.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Its owners.
    pub(crate) owners: Vec<Owner>,
    /// Whether it has a deletion timestamp.
    pub(crate) deleting: bool,
    /// Whether it waits for its dependents to be orphaned (finalizer `orphan`).
    pub(crate) orphans: bool,
    /// Whether it waits for its dependents to be gone (finalizer `foregroundDeletion`).
    pub(crate) foreground: bool,
}

impl Item {
    fn matters(&self) -> bool {
        !self.owners.is_empty() || self.waits()
    }

    fn waits(&self) -> bool {
        self.deleting && (self.orphans || self.foreground)
    }
}

/// The known part of the ownership graph.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    items: HashMap<Uid, Item>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    /// An object exists and looks like this. Answers with the objects to look at.
    pub(crate) fn on_present(&mut self, uid: &str, item: Item) -> Vec<Uid> {
        let before = self.items.get(uid).cloned();
        if before.as_ref() == Some(&item) {
            return Vec::new();
        }
        if let Some(before) = &before {
            self.unlink(uid, before);
        }
        let mut work = Vec::new();
        // An owner that waits may wait for this one no longer.
        for owner in before
            .iter()
            .flat_map(|before| &before.owners)
            .chain(&item.owners)
        {
            if self.items.get(&owner.uid).is_some_and(Item::waits) {
                work.push(owner.uid.clone());
            }
        }
        if item.matters() {
            for owner in &item.owners {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(uid.to_owned());
            }
            self.items.insert(uid.to_owned(), item);
            work.push(uid.to_owned());
        } else {
            self.items.remove(uid);
        }
        work
    }

    /// An object is gone. Answers with the objects to look at: its dependents, and owners that waited.
    pub(crate) fn on_gone(&mut self, uid: &str) -> Vec<Uid> {
        let mut work: Vec<Uid> = self
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if let Some(item) = self.items.remove(uid) {
            self.unlink(uid, &item);
            for owner in &item.owners {
                if self.items.get(&owner.uid).is_some_and(Item::waits) {
                    work.push(owner.uid.clone());
                }
            }
        }
        work
    }

    fn unlink(&mut self, uid: &str, item: &Item) {
        for owner in &item.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    /// What is known of an object.
    pub(crate) fn get(&self, uid: &str) -> Option<Item> {
        self.items.get(uid).cloned()
    }

    /// The known dependents of an object.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Uid, Item)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid.clone(), self.items.get(uid)?.clone())))
            .collect()
    }

    /// Whether a foreground deletion of `uid` still waits for a dependent. One that itself waits for `uid`, over whatever
    /// way round, is not waited for: nobody in such a circle would ever go.
    pub(crate) fn is_blocked(&self, uid: &str) -> bool {
        self.blocking(uid)
            .any(|dependent| !self.waits_for(dependent, uid))
    }

    /// The dependents that hold up a foreground deletion of `uid`.
    fn blocking<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a str> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter(move |dependent| {
            let owners = self.items.get(*dependent).map(|item| &item.owners);
            let mut owners = owners.into_iter().flatten();
            owners.any(|owner| owner.uid == uid && owner.blocks)
        })
        .map(String::as_str)
    }

    /// Whether the foreground deletion of `from` is under way and waits, in the end, for `goal`.
    fn waits_for(&self, from: &str, goal: &str) -> bool {
        let leaves = |uid: &str| {
            let item = self.items.get(uid);
            item.is_some_and(|item| item.deleting && item.foreground)
        };
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(uid) = open.pop() {
            if !leaves(uid) {
                continue;
            }
            for dependent in self.blocking(uid) {
                if dependent == goal {
                    return true;
                }
                if seen.insert(dependent) {
                    open.push(dependent);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, owners: &[(&str, bool)]) -> Item {
        let owner = |(uid, blocks): &(&str, bool)| Owner {
            uid: (*uid).to_owned(),
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: (*uid).to_owned(),
            blocks: *blocks,
        };
        Item {
            resource: 0,
            namespace: None,
            name: name.to_owned(),
            owners: owners.iter().map(owner).collect(),
            deleting: false,
            orphans: false,
            foreground: false,
        }
    }

    #[test]
    fn dependents_of_a_gone_owner_are_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.on_present("lease", item("lease", &[("node", false)])),
            ["lease"]
        );
        assert!(
            graph
                .on_present("lease", item("lease", &[("node", false)]))
                .is_empty()
        );
        assert_eq!(graph.on_gone("node"), ["lease"]);
    }

    #[test]
    fn objects_without_owners_cost_no_memory() {
        let mut graph = Graph::default();
        assert!(graph.on_present("node", item("node", &[])).is_empty());
        assert!(graph.items.is_empty());
    }

    #[test]
    fn a_foreground_deletion_is_unblocked_by_its_last_blocking_dependent() {
        let mut graph = Graph::default();
        graph.on_present("a", item("a", &[("owner", true)]));
        graph.on_present("b", item("b", &[("owner", false)]));
        let owner = Item {
            deleting: true,
            foreground: true,
            ..item("owner", &[])
        };
        assert_eq!(graph.on_present("owner", owner), ["owner"]);
        assert!(graph.is_blocked("owner"));
        assert_eq!(graph.on_gone("a"), ["owner"]);
        assert!(!graph.is_blocked("owner"));
    }

    #[test]
    fn a_circle_that_is_deleted_blocks_nobody_in_it() {
        let leaving = |name: &str, owner: &str| Item {
            deleting: true,
            foreground: true,
            ..item(name, &[(owner, true)])
        };
        let mut graph = Graph::default();
        graph.on_present("one", leaving("one", "three"));
        graph.on_present("two", leaving("two", "one"));
        graph.on_present("three", item("three", &[("two", true)]));
        assert!(graph.is_blocked("one"), "three is not being deleted yet");
        assert!(graph.is_blocked("two"));
        graph.on_present("three", leaving("three", "two"));
        for uid in ["one", "two", "three"] {
            assert!(!graph.is_blocked(uid), "{uid}");
        }
        graph.on_present("child", item("child", &[("one", true)]));
        assert!(graph.is_blocked("one"), "a child outside of the circle");
        graph.on_present("self", leaving("self", "self"));
        assert!(!graph.is_blocked("self"));
    }

    #[test]
    fn dropping_an_owner_reference_forgets_the_edge() {
        let mut graph = Graph::default();
        graph.on_present("a", item("a", &[("owner", true)]));
        graph.on_present("a", item("a", &[]));
        assert!(graph.dependents("owner").is_empty());
        assert!(graph.on_gone("owner").is_empty());
    }
}

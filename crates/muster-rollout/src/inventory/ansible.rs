//! Groups, hosts and variables as Ansible puts them together.
//!
//! It refuses to know how they were written, and what the variables mean.

use crate::document::{Fault, Faults, FileError, Position};
use crate::range::{MAX_HOSTS, Pattern};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Longer chains of groups are a mistake.
const MAX_GROUPS: usize = 10_000;

/// Variables by name, each with its place.
pub(super) type Vars = BTreeMap<String, Var>;

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Var {
    pub(super) position: Position,
    pub(super) value: String,
}

/// A group as it was written, maybe in several pieces.
#[derive(Clone, Debug, Default)]
struct Group {
    position: Position,
    parents: BTreeSet<String>,
    vars: Vars,
    /// Farther from `all` counts more.
    depth: usize,
}

/// A host as it was written, maybe in several pieces.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) position: Position,
    groups: BTreeSet<String>,
    vars: Vars,
}

/// An inventory before variables are put together.
#[derive(Debug, Default)]
pub(super) struct Model {
    groups: BTreeMap<String, Group>,
    hosts: Vec<Host>,
    by_name: HashMap<String, usize>,
}

/// A host with all that holds for it.
pub(super) struct Member<'a> {
    pub(super) host: &'a Host,
    /// From far to near, without `all` and `ungrouped`.
    pub(super) groups: Vec<&'a str>,
    pub(super) vars: Vars,
}

impl Model {
    /// A group, made if it is not there.
    pub(super) fn group(&mut self, name: &str, position: Position) -> Result<(), FileError> {
        if self.groups.len() >= MAX_GROUPS {
            return Err(fault(
                position,
                name,
                "there are too many groups",
                "split the inventory",
            ));
        }
        self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            position,
            ..Group::default()
        });
        Ok(())
    }

    /// One group is in another.
    pub(super) fn child(
        &mut self,
        parent: &str,
        child: &str,
        position: Position,
    ) -> Result<(), FileError> {
        self.group(parent, position)?;
        self.group(child, position)?;
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.insert(parent.to_owned());
        }
        Ok(())
    }

    /// A variable of a group.
    pub(super) fn group_var(&mut self, group: &str, name: &str, var: Var) -> Result<(), FileError> {
        self.group(group, var.position)?;
        if let Some(group) = self.groups.get_mut(group) {
            group.vars.insert(name.to_owned(), var);
        }
        Ok(())
    }

    /// Hosts of a group, by a name that may have ranges, with variables.
    pub(super) fn hosts(
        &mut self,
        group: &str,
        names: &str,
        position: Position,
        vars: &Vars,
    ) -> Result<(), FileError> {
        let pattern = Pattern::parse(names)
            .map_err(|error| fault(position, names, error.to_string(), error.cure()))?;
        self.group(group, position)?;
        for index in 0..pattern.count() {
            let name = pattern.nth(index);
            let at = match self.by_name.get(&name) {
                Some(at) => *at,
                None if self.hosts.len() >= MAX_HOSTS => {
                    let what = format!("there are more than {MAX_HOSTS} hosts");
                    return Err(fault(position, names, what, "split the inventory"));
                }
                None => self.add(name, position),
            };
            if let Some(host) = self.hosts.get_mut(at) {
                host.groups.insert(group.to_owned());
                host.vars.extend(vars.clone());
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, position: Position) -> usize {
        let at = self.hosts.len();
        self.by_name.insert(name.clone(), at);
        self.hosts.push(Host {
            name,
            position,
            groups: BTreeSet::new(),
            vars: Vars::new(),
        });
        at
    }

    /// Every host with its groups and variables: `all`, then groups from far to near and by name, then its own.
    pub(super) fn members(&mut self, faults: &mut Faults) -> Vec<Member<'_>> {
        self.set_depths(faults);
        let mut above: HashMap<&BTreeSet<String>, (Vec<&str>, Vars)> = HashMap::new();
        let mut members = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            let (groups, vars) = above
                .entry(&host.groups)
                .or_insert_with(|| self.above(&host.groups));
            let mut vars = vars.clone();
            vars.extend(host.vars.clone());
            members.push(Member {
                host,
                groups: groups.clone(),
                vars,
            });
        }
        members
    }

    /// All groups above some, and what they say together.
    fn above<'a>(&'a self, direct: &'a BTreeSet<String>) -> (Vec<&'a str>, Vars) {
        let mut found: BTreeSet<&str> = BTreeSet::from(["all"]);
        let mut next: Vec<&str> = direct.iter().map(String::as_str).collect();
        while let Some(name) = next.pop() {
            if found.insert(name)
                && let Some(group) = self.groups.get(name)
            {
                next.extend(group.parents.iter().map(String::as_str));
            }
        }
        let depth = |name: &&str| self.groups.get(*name).map_or(0, |group| group.depth);
        let mut names: Vec<&str> = found.into_iter().collect();
        names.sort_by_key(|name| (depth(name), *name));
        let mut vars = Vars::new();
        for group in names.iter().filter_map(|name| self.groups.get(*name)) {
            vars.extend(group.vars.clone());
        }
        names.retain(|name| !matches!(*name, "all" | "ungrouped"));
        (names, vars)
    }

    /// How far each group is from `all`: its farthest way. Groups that contain themselves are a fault.
    fn set_depths(&mut self, faults: &mut Faults) {
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        let mut children: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, group) in &self.groups {
            waiting.insert(name.clone(), group.parents.len());
            for parent in &group.parents {
                children
                    .entry(parent.clone())
                    .or_default()
                    .push(name.clone());
            }
        }
        let ready = |(name, parents): (&String, &usize)| (*parents == 0).then(|| name.clone());
        let mut next: Vec<String> = waiting.iter().filter_map(ready).collect();
        let mut done = 0;
        while let Some(name) = next.pop() {
            done += 1;
            let depth = self.groups.get(&name).map_or(0, |group| group.depth);
            let own = if name == "all" { 0 } else { depth.max(1) };
            if let Some(group) = self.groups.get_mut(&name) {
                group.depth = own;
            }
            for child in children.remove(&name).unwrap_or_default() {
                if let Some(group) = self.groups.get_mut(&child) {
                    group.depth = group.depth.max(own + 1);
                }
                if let Some(left) = waiting.get_mut(&child) {
                    *left -= 1;
                    if *left == 0 {
                        next.push(child);
                    }
                }
            }
        }
        if done < self.groups.len() {
            let circle = waiting.iter().find(|(_, left)| **left > 0);
            let name = circle.map(|(name, _)| name.clone()).unwrap_or_default();
            let position = self.groups.get(&name).map(|group| group.position);
            faults.push(
                position.unwrap_or_default(),
                name,
                "the group is its own child, maybe over others",
                "take one of the children out",
            );
        }
    }
}

/// A fault that ends reading.
pub(super) fn fault(
    position: Position,
    field: &str,
    what: impl Into<String>,
    cure: impl Into<String>,
) -> FileError {
    Fault {
        position,
        field: field.chars().take(64).collect(),
        what: what.into(),
        cure: cure.into(),
    }
    .into()
}

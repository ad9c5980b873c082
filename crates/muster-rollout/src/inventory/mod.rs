//! Inventories of other tools, read as hosts of a fleet: k0sctl's cluster file, Ansible's inventories in INI and YAML.
//!
//! What is not understood is said: a [`Note`] where hosts can be joined without it, a fault with its line where not. It
//! refuses to know how hosts are joined.

mod ansible;
mod ansible_ini;
mod ansible_settings;
mod ansible_yaml;
mod k0sctl;

#[cfg(test)]
mod tests;

use crate::document::{At, FileError, Position};
use crate::fleet_file::written::{GroupEntry, HostEntry, MintOnEntry, Settings};
use crate::fleet_file::{Cap, FleetConfiguration};
use std::collections::HashSet;
use std::fmt;

/// What an inventory says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// What kind it is.
    pub format: Format,
    /// The hosts, each with all that is said about it there.
    pub hosts: Vec<At<HostEntry>>,
    /// What holds for all of them unless the fleet file says something else.
    pub defaults: Settings,
    /// A control-plane machine, if it names one.
    pub mint_on: Option<MintOnEntry>,
    /// How many hosts at once, if it says so.
    pub limit: Option<Cap>,
    /// What was passed over.
    pub notes: Vec<Note>,
}

/// A kind of inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Ansible's, as INI.
    #[default]
    AnsibleIni,
    /// Ansible's, as YAML.
    AnsibleYaml,
    /// k0sctl's `kind: Cluster`.
    K0sctl,
}

/// Something that an inventory says and a fleet does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub position: Position,
    /// What is done about it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

impl Inventory {
    /// Reads an inventory of any known kind.
    ///
    /// # Errors
    /// [`FileError`] with all that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if !looks_like_yaml(text) {
            return ansible_ini::read(text);
        }
        let node = crate::document::parse(text)?;
        match node.get("apiVersion") {
            Some(_) => k0sctl::read(&node),
            None => ansible_yaml::read(&node),
        }
    }

    /// Keeps the hosts that have one of the names, or are in a group of one of them.
    ///
    /// # Errors
    /// The names that are neither a host nor a group.
    pub fn limit_to(&mut self, names: &[String]) -> Result<(), Vec<String>> {
        let mut unused: HashSet<&String> = names.iter().collect();
        self.hosts.retain(|host| {
            let mut known = vec![&host.value.name.value];
            known.extend(host.value.groups.iter().flatten().map(|group| &group.value));
            let mut keep = false;
            for name in known {
                if names.contains(name) {
                    unused.remove(name);
                    keep = true;
                }
            }
            keep
        });
        if unused.is_empty() {
            return Ok(());
        }
        Err(names
            .iter()
            .filter(|name| unused.contains(name))
            .cloned()
            .collect())
    }
}

impl FleetConfiguration {
    /// The fleet file with the hosts of an inventory after its own. What the file says for all hosts wins over what the
    /// inventory says for all; what the inventory says of one host wins over what the file says of its groups.
    #[must_use]
    pub fn with_inventory(mut self, inventory: Inventory) -> Self {
        self.defaults = inventory.defaults.with(&self.defaults);
        let mut known: HashSet<String> = self
            .groups
            .0
            .iter()
            .map(|(name, _)| name.value.clone())
            .collect();
        for group in inventory
            .hosts
            .iter()
            .flat_map(|host| host.value.groups.iter().flatten())
        {
            if known.insert(group.value.clone()) {
                self.groups.0.push((group.clone(), GroupEntry::default()));
            }
        }
        if self.cluster.mint_on.is_none() && self.cluster.kubeconfig.is_none() {
            self.cluster.mint_on = inventory.mint_on.map(At::nowhere);
        }
        if self.k8s.kubeadm.join_parallelism.is_none() && self.concurrency.limit.is_none() {
            self.concurrency.limit = inventory.limit.map(At::nowhere);
        }
        self.hosts.extend(inventory.hosts);
        self
    }
}

/// Whether the first line that says something is YAML rather than INI.
fn looks_like_yaml(text: &str) -> bool {
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    let Some(line) = text.lines().map(str::trim).find(says_something) else {
        return false;
    };
    line == "---" || line.starts_with(['{', '%']) || line.ends_with(':') || line.contains(": ")
}

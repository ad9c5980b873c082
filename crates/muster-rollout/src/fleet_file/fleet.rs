//! A fleet in full: every host with everything that was said about it, here or above it.
//!
//! What hosts have in common is shared, so that a fleet of a hundred thousand is small. It refuses to know how the file
//! was written, and how a host is reached.

use super::cluster::ClusterAccess;
use super::host::{Connection, HostMethod, JumpHost, Provider, Role, Sudo, Taint};
use super::run::{Concurrency, Policy, Readiness, Timeouts, TokenLife};
use muster_identity::NodeName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A fleet: the cluster, the hosts that are to join it, and how the run goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The fleet's name: a DNS-1123 label; names the run's state directory and Leases.
    pub name: String,
    /// How the cluster is reached and where tokens come from.
    pub cluster: ClusterAccess,
    /// The hosts in the order of the file; names are unique.
    pub hosts: Vec<HostSpec>,
    /// The groups in the order of the file; hosts name them by position.
    pub groups: Vec<Group>,
    /// Every way through jump hosts that occurs, once; hosts name theirs by position, so that each can have a cap.
    pub jumps: Vec<Arc<[JumpHost]>>,
    /// What becomes of the others when a host fails, and in which waves hosts start.
    pub policy: Policy,
    /// How many at once.
    pub concurrency: Concurrency,
    /// How long.
    pub timeouts: Timeouts,
    /// How long tokens live.
    pub token: TokenLife,
    /// When a host counts as joined.
    pub readiness: Readiness,
}

/// A group of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How many of its hosts are worked on at once; `None`: no cap of its own. At least 1.
    pub limit: Option<u32>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// The name of the host and of its Node.
    pub name: NodeName,
    /// Where it is: the SSH address (or an alias of `ssh_config`), or the network namespace. `None`: its name.
    pub address: Option<Box<str>>,
    /// The node's own addresses, one or one of each family, or `auto`; `None`: what the method finds.
    pub node_ip: Option<Box<str>>,
    /// What it shares with other hosts.
    pub settings: Arc<HostSettings>,
}

impl HostSpec {
    /// Where the host is: its SSH address or its network namespace.
    pub fn address(&self) -> &str {
        self.address
            .as_deref()
            .unwrap_or_else(|| self.name.as_str())
    }

    /// A text from the settings with `{name}` and `{address}` replaced by this host's.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{name}", self.name.as_str())
            .replace("{address}", self.address())
    }
}

/// What one host or many have in common. Texts that say so may contain `{name}` and `{address}`: [`HostSpec::fill`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostSettings {
    /// How it is reached.
    pub connection: Connection,
    /// How commands become root's.
    pub sudo: Sudo,
    /// What it becomes.
    pub role: Role,
    /// Labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node.
    pub taints: Vec<Taint>,
    /// What joins it.
    pub join: HostMethod,
    /// What is run around the join.
    pub hooks: Hooks,
    /// What makes the machine, and unmakes it.
    pub provider: Provider,
    /// Its groups, as positions in [`Fleet::groups`]; ascending.
    pub groups: Vec<u32>,
    /// Its way through jump hosts, as a position in [`Fleet::jumps`]; `None`: directly.
    pub jump: Option<u32>,
}

/// Commands that are run on the host as root, one after the other; the first that fails ends the stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hooks {
    /// Before the join, once the machine is reached and locked.
    pub before_join: Vec<HookCommand>,
    /// After the node is ready.
    pub after_join: Vec<HookCommand>,
}

/// One command of a hook; `{name}` and `{address}` are filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HookCommand {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

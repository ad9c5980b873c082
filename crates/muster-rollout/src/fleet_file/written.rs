//! A fleet file as it is written: every field optional where it may be left out, everything with its place.
//!
//! It refuses to know what follows from it; that is said in `resolve`.

use super::host::{JumpHost, Kubelet, Role, Runtime, Sudo, Taint};
use super::run::CertificateKey;
use super::words::{MethodName, Positive};
pub use super::written_run::{
    ConcurrencyEntry, K8s, K8sKubeadm, PolicyEntry, ProbePod, ReadinessEntry, TimeoutsEntry,
    TokenEntry,
};
use crate::document::At;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use std::fmt;

/// A fleet file, `kind: FleetConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetConfiguration {
    /// `muster.dev/v1alpha1`.
    pub api_version: At<String>,
    /// `FleetConfiguration`.
    pub kind: At<String>,
    /// Its name.
    #[serde(default)]
    pub metadata: Metadata,
    /// The cluster.
    #[serde(default)]
    pub cluster: Cluster,
    /// What holds for every host.
    #[serde(default)]
    pub defaults: Settings,
    /// What holds for the hosts of a group.
    #[serde(default)]
    pub groups: Ordered<GroupEntry>,
    /// The hosts.
    #[serde(default)]
    pub hosts: Vec<At<HostEntry>>,
    /// What becomes of a run in which hosts fail.
    #[serde(default)]
    pub policy: PolicyEntry,
    /// How many at once.
    #[serde(default)]
    pub concurrency: ConcurrencyEntry,
    /// How long.
    #[serde(default)]
    pub timeouts: TimeoutsEntry,
    /// How long tokens live.
    #[serde(default)]
    pub token: TokenEntry,
    /// When a host counts as joined.
    #[serde(default)]
    pub readiness: ReadinessEntry,
    /// `k8s.kubeadm.join_parallelism`: another name of `concurrency.limit`.
    #[serde(default)]
    pub k8s: K8s,
}

/// What is said of the file itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The fleet's name.
    pub name: Option<At<String>>,
}

/// How the cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// A kubeconfig.
    pub kubeconfig: Option<String>,
    /// A context in it.
    pub context: Option<String>,
    /// A control-plane machine that mints tokens.
    pub mint_on: Option<At<MintOnEntry>>,
    /// The address that hosts are given.
    pub endpoint: Option<At<String>>,
    /// Pins of the CA.
    #[serde(default)]
    pub ca_cert_hashes: Vec<At<String>>,
    /// Where the key for control-plane hosts comes from.
    pub certificate_key: Option<CertificateKey>,
}

/// A control-plane machine that mints tokens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MintOnEntry {
    /// It over SSH.
    pub ssh: Option<Ssh>,
    /// It is this machine.
    pub local: Option<At<bool>>,
    /// It is a network namespace.
    pub namespace: Option<At<String>>,
    /// How commands become root's.
    pub sudo: Option<Sudo>,
    /// The program.
    pub kubeadm: Option<String>,
    /// The program's kubeconfig there.
    pub kubeconfig: Option<String>,
}

/// Defines a block that has all settings of a host beside fields of its own.
macro_rules! with_settings {
    ($(#[$about:meta])* $name:ident { $($(#[$own_about:meta])* $own:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$own_about])* pub $own: $kind,)*
            /// Reached over SSH.
            pub ssh: Option<Ssh>,
            /// Is this machine.
            pub local: Option<At<bool>>,
            /// Is a network namespace.
            pub namespace: Option<At<String>>,
            /// How commands become root's.
            pub sudo: Option<Sudo>,
            /// What it becomes.
            pub role: Option<Role>,
            /// Labels of the Node.
            #[serde(default)]
            pub labels: Ordered<String>,
            /// Taints of the Node.
            #[serde(default)]
            pub taints: Vec<Taint>,
            /// What joins it.
            pub join: Option<Join>,
            /// What is run around the join.
            #[serde(default)]
            pub hooks: HooksEntry,
            /// What makes the machine.
            pub provider: Option<At<ProviderEntry>>,
        }

        impl $name {
            /// The settings alone.
            pub(super) fn settings(&self) -> Settings {
                Settings {
                    ssh: self.ssh.clone(),
                    local: self.local,
                    namespace: self.namespace.clone(),
                    sudo: self.sudo.clone(),
                    role: self.role,
                    labels: self.labels.clone(),
                    taints: self.taints.clone(),
                    join: self.join.clone(),
                    hooks: self.hooks.clone(),
                    provider: self.provider.clone(),
                }
            }
        }
    };
}

with_settings! {
    /// What may be said of hosts: for all of them, for a group, for one.
    Settings {}
}

with_settings! {
    /// What holds for the hosts of a group.
    GroupEntry {
        /// How many of its hosts at once.
        concurrency: Option<Positive>,
    }
}

with_settings! {
    /// One host, or as many as its name has.
    HostEntry {
        /// The name, maybe with ranges.
        name: At<String>,
        /// Its groups.
        groups: Option<Vec<At<String>>>,
    }
}

/// A block whose keys are free, in the order of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<T>(pub Vec<(At<String>, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(std::marker::PhantomData))
    }
}

struct OrderedVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrderedVisitor<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block of names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Ordered<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value: At<T> = fields.next_value()?;
            entries.push((At::new(value.position, key), value.value));
        }
        Ok(Ordered(entries))
    }

    fn visit_unit<E>(self) -> Result<Ordered<T>, E> {
        Ok(Ordered::default())
    }
}

/// How to log in over SSH.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ssh {
    /// The address, or an alias of `ssh_config`; maybe with ranges.
    pub address: Option<At<String>>,
    /// The login.
    pub user: Option<String>,
    /// The port.
    pub port: Option<Port>,
    /// A file with a private key, or several.
    pub identity_file: Option<OneOrMore>,
    /// The jump hosts, first to last.
    pub jump: Option<Vec<Jump>>,
    /// An `ssh_config`.
    pub config_file: Option<String>,
    /// A `known_hosts`.
    pub known_hosts_file: Option<String>,
}

/// A port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err(D::Error::custom(crate::document::with_cure(
                format_args!("{number} is not a port"),
                "write a number from 1 to 65535",
            ))),
        }
    }
}

/// A text, or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMore(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMore, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(OneOrMore(texts))
    }
}

/// A jump host: `user@address:port`, or a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump(pub JumpHost);

/// A jump host as a block.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JumpBlock {
    address: String,
    user: Option<String>,
    port: Option<Port>,
    identity_file: Option<OneOrMore>,
}

impl<'de> Deserialize<'de> for Jump {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JumpVisitor)
    }
}

struct JumpVisitor;

impl<'de> Visitor<'de> for JumpVisitor {
    type Value = Jump;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("USER@ADDRESS:PORT, or a block with address, user, port, identityFile")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Jump, E> {
        JumpHost::parse(text).map(Jump).ok_or_else(|| {
            E::custom(crate::document::with_cure(
                format_args!("{text:?} is no jump host"),
                "write ADDRESS, USER@ADDRESS or USER@ADDRESS:PORT",
            ))
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Jump, A::Error> {
        let block = JumpBlock::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(Jump(JumpHost {
            address: block.address,
            user: block.user,
            port: block.port.map(|port| port.0),
            identity_files: block.identity_file.unwrap_or_default().0,
        }))
    }
}

/// What joins a host: a method's name, or a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Join(pub JoinBlock);

/// What joins a host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinBlock {
    /// Which.
    pub method: Option<MethodName>,
    /// The program.
    pub binary: Option<String>,
    /// The node's addresses, maybe with ranges.
    #[serde(rename = "nodeIP")]
    pub node_ip: Option<At<String>>,
    /// A directory that stands for `/`.
    pub root: Option<At<String>>,
    /// Which kubelet.
    pub kubelet: Option<At<Kubelet>>,
    /// What runs containers.
    pub runtime: Option<At<Runtime>>,
    /// The socket of the container runtime.
    pub cri_socket: Option<At<String>>,
    /// Checks whose failure is a warning.
    pub ignore_preflight_errors: Option<At<Vec<String>>>,
    /// More arguments.
    pub extra_args: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Join {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JoinVisitor)
    }
}

struct JoinVisitor;

impl<'de> Visitor<'de> for JoinVisitor {
    type Value = Join;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("muster, kubeadm, k3s or k0s, or a block with a method and its settings")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Join, E> {
        let word = serde::de::value::StrDeserializer::new(word);
        Ok(Join(JoinBlock {
            method: Some(MethodName::deserialize(word)?),
            ..JoinBlock::default()
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Join, A::Error> {
        JoinBlock::deserialize(MapAccessDeserializer::new(fields)).map(Join)
    }
}

/// What is run around a join.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HooksEntry {
    /// Before.
    pub before_join: Option<Vec<OneOrMore>>,
    /// After.
    pub after_join: Option<Vec<OneOrMore>>,
}

/// What makes a machine: `none`, `local`, or a block with one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProviderEntry(pub ProviderBlock);

/// What makes a machine; one of them, or none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderBlock {
    /// Vagrant.
    pub vagrant: Option<VagrantEntry>,
    /// Commands.
    pub command: Option<CommandEntry>,
    /// A network namespace.
    pub local: Option<LocalEntry>,
}

/// Vagrant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VagrantEntry {
    /// Where the Vagrantfile is.
    pub directory: Option<String>,
    /// The box.
    #[serde(rename = "box")]
    pub image: Option<String>,
    /// Processors.
    pub cpus: Option<Positive>,
    /// Memory, MiB.
    pub memory: Option<Positive>,
}

/// Commands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandEntry {
    /// Makes the machine.
    pub create: String,
    /// Unmakes it.
    pub destroy: String,
    /// Processors.
    pub cpus: Option<Positive>,
    /// Memory, MiB.
    pub memory: Option<Positive>,
}

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalEntry {
    /// Where its root directory is made.
    pub directory: Option<String>,
}

impl<'de> Deserialize<'de> for ProviderEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProviderVisitor)
    }
}

struct ProviderVisitor;

impl<'de> Visitor<'de> for ProviderVisitor {
    type Value = ProviderEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none, local, or a block with vagrant, command or local")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<ProviderEntry, E> {
        let local = match word {
            "none" => None,
            "local" => Some(LocalEntry::default()),
            other => return Err(E::unknown_variant(other, &["none", "local"])),
        };
        Ok(ProviderEntry(ProviderBlock {
            local,
            ..ProviderBlock::default()
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ProviderEntry, A::Error> {
        ProviderBlock::deserialize(MapAccessDeserializer::new(fields)).map(ProviderEntry)
    }
}

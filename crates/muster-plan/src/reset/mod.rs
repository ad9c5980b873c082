//! Resetting a machine: what may be removed, on which proof, and words for the rest.
//!
//! With a journal there is nothing to decide: every step is taken back in reverse. Without one, only what its content
//! proves to be a node's of kubeadm (or ours) goes; what merely stands at a known path is named and left.

mod evidence;
mod firewall;
mod foreign;
mod unjournalled;

use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, etcd_client_urls};
pub use firewall::{chains_removal, is_foreign_table, network_link};
pub use foreign::{ForeignPlan, ResetWishes, foreign_node, optional_purges};
pub use unjournalled::{ResetPlan, reset_without_journal};

/// Something to be removed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purge", rename_all = "kebab-case")]
pub enum Purge {
    /// Every pod that a kubelet made.
    Pods {
        /// The container runtime's socket, `unix://PATH`.
        endpoint: String,
    },
    /// What is mounted below a directory, the deepest first. What is in use stays.
    Mounts {
        /// The directory.
        below: String,
    },
    /// Whatever a directory holds, never at or below a live mount. The directory stays.
    Contents {
        /// The directory.
        dir: String,
    },
    /// A file or link.
    File {
        /// Its path.
        path: String,
    },
    /// The logs of pods and the links to them.
    PodLogs,
    /// Configuration and state of network plugins, and the interfaces they made.
    NetworkPlugins,
    /// Chains, tables and virtual servers of kube-proxy and of network plugins.
    Firewall,
}

impl Purge {
    /// One line: what it does.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Pods { endpoint } => format!("remove the kubelet's pods at {endpoint}"),
            Self::Mounts { below } => format!("unmount what is mounted below {below}"),
            Self::Contents { dir } => format!("empty {dir}"),
            Self::File { path } => format!("remove {path}"),
            Self::PodLogs => "remove the logs of pods".into(),
            Self::NetworkPlugins => {
                "remove configuration, state and interfaces of network plugins".into()
            }
            Self::Firewall => {
                "remove the packet filter's chains of kube-proxy and network plugins".into()
            }
        }
    }
}

/// A stacked etcd member, as its static pod's manifest tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackedMember {
    /// Its name, which is the node's.
    pub name: String,
    /// Its peer URL: what identifies it to the others.
    pub peer_url: String,
    /// Where it and the others that it was started with serve clients.
    pub client_urls: Vec<String>,
    /// Where its data is on this machine.
    pub data_dir: String,
    /// The etcd CA's certificate.
    pub ca: String,
    /// A client certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

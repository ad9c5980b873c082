//! How the built-in kubelet is told what it is. It reads no environment and no command line.

use crate::node::object::Taint;
use muster_identity::NodeName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What runs containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// Nothing: the machine is simulated, and its Node says so.
    Hollow,
    /// A container runtime behind this CRI socket (`unix://…` or a path).
    Cri(String),
}

/// Everything the kubelet needs to know.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// Every path lies under this folder.
    pub root: PathBuf,
    /// What runs containers.
    pub runtime: RuntimeChoice,
    /// The Node's name; `None` takes the one in the client certificate.
    pub name: Option<NodeName>,
    /// The Node's address, or one of each family; empty takes the one that packets to the API server leave from.
    pub node_ip: Vec<IpAddr>,
    /// Labels to register with.
    pub labels: BTreeMap<String, String>,
    /// Taints to register with.
    pub taints: Vec<Taint>,
    /// The version to report, `v1.36.2`.
    pub version: String,
    /// Fills keys; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
}

impl KubeletOptions {
    /// The kubeconfig that the join left behind.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        under(&self.root, "etc/kubernetes/kubelet.conf")
    }

    /// The kubelet's configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        under(&self.root, "var/lib/kubelet/config.yaml")
    }

    /// Where certificates and keys are.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        under(&self.root, "var/lib/kubelet/pki")
    }
}

fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path)
}

//! Secrets by name: what a step needs and the journal must not hold.
//!
//! A step names a secret; whoever performs it looks into the bag. The bag lives in memory only.

use std::collections::BTreeMap;

use muster_identity::Secret;
use muster_kubeadm::kubeconfigs::ControlPlaneConf;
use muster_kubeadm::manifests::StaticPod;
use muster_kubeadm::pki::Leaf;
use muster_kubeadm::shared_certs::Shared;
use serde::{Deserialize, Serialize};

/// The name of a secret that a step writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretName {
    /// The kubelet's private key, PEM.
    KubeletKey,
    /// The kubelet's certificate chain and private key in one PEM file.
    KubeletClient,
    /// The private key with which the kubelet serves, PEM.
    KubeletServingKey,
    /// The self-signed certificate with which the kubelet serves. Not secret, but made while the join runs.
    KubeletServing,
    /// A file that control-plane nodes share; empty when the cluster has none.
    Shared(Shared),
    /// The key of a control-plane node's own certificate.
    LeafKey(Leaf),
    /// A control-plane node's own certificate. Not secret, but known only while the join runs.
    Leaf(Leaf),
    /// A control-plane node's kubeconfig, with its key.
    Conf(ControlPlaneConf),
    /// etcd's static pod. Not secret, but its members are known only while the join runs.
    EtcdManifest,
    /// A static pod whose environment holds the password of a proxy.
    Manifest(StaticPod),
}

/// The secrets at hand.
#[derive(Clone, Debug, Default)]
pub struct SecretBag(BTreeMap<SecretName, Secret<Vec<u8>>>);

impl SecretBag {
    /// An empty bag.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a secret in, in the place of a former one.
    pub fn put(&mut self, name: SecretName, secret: Secret<Vec<u8>>) {
        self.0.insert(name, secret);
    }

    /// The secret of that name.
    #[must_use]
    pub fn get(&self, name: SecretName) -> Option<&Secret<Vec<u8>>> {
        self.0.get(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bag_can_be_printed_without_showing_anything() {
        let mut bag = SecretBag::new();
        bag.put(SecretName::KubeletKey, Secret::new(b"hunter2".to_vec()));
        let shown = format!("{bag:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
    }
}

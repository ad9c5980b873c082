//! What kubeadm writes down, as values: configuration kinds, shared certificates, static pod manifests, patches.
//!
//! The formats are kubeadm's own (`kubeadm.k8s.io/v1beta4` and `v1beta3`, the Secret `kubeadm-certs`, the files under
//! `/etc/kubernetes`), so that either tool reads what the other wrote. It refuses to know which step a join takes,
//! where a file lies below a root directory, and how anything is sent.

pub mod config;

pub mod blueprint;
mod key_algorithm;
pub mod kubeconfigs;
pub mod manifests;
pub mod patches;
pub mod pki;
pub mod serving;
pub mod shared_certs;

pub use blueprint::{Blueprint, ClusterBlueprint, ControlPlaneNode};
pub use key_algorithm::KeyAlgorithm;

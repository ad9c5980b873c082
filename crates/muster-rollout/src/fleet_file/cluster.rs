//! How the cluster of a fleet is reached, and where its tokens come from.
//!
//! It refuses to know kubeconfigs and connections; it only says which.

use super::fleet::HostSpec;
use super::run::CertificateKey;
use muster_identity::{CaPin, Endpoint};

/// The cluster that the hosts join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAccess {
    /// The kubeconfig on this machine; `None`: as kubectl finds it.
    pub kubeconfig: Option<String>,
    /// The context in it; `None`: the current one.
    pub context: Option<String>,
    /// Where tokens are minted; `None`: through the API with the kubeconfig.
    pub mint_on: Option<MintOn>,
    /// The address that hosts are given; `None`: the printed command's, or the kubeconfig's.
    pub endpoint: Option<Endpoint>,
    /// Pins of the CA; empty: those of the printed command, or of the kubeconfig's CA.
    pub pins: Vec<CaPin>,
    /// Where the key for control-plane hosts comes from.
    pub certificate_key: CertificateKey,
}

/// A control-plane machine on which tokens are minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintOn {
    /// The machine; its join settings and role say nothing.
    pub host: HostSpec,
    /// The program there; `None`: `kubeadm` in root's path.
    pub kubeadm: Option<String>,
    /// `kubeadm --kubeconfig` there.
    pub kubeconfig: Option<String>,
}

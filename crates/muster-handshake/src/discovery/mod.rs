//! Discovery: from a token and pins to a cluster that may be trusted, both halves.
//!
//! The joining half ([`Discovery`]) decides; the cluster half ([`ClusterInfo`], [`SignerPlan`]) says
//! what kube-public/cluster-info must hold. Neither knows sockets, clocks or controllers.

mod cluster;
mod document;
mod joiner;
#[cfg(test)]
mod tests;
mod trust;

pub use cluster::{
    ClusterInfo, EXPIRED_TOKENS_ANNOTATION, EXPIRED_TOKENS_KEPT, EXPIRED_TOKENS_LIMIT,
    ExpiredTokens, SignerPlan,
};
pub use joiner::{Discovery, DiscoveryEffect, DiscoveryEvent};
pub use trust::{Anchors, ChainFault, DiscoveryRequest, EndpointChoice, Trust, Trusting, Vouching};

/// Path of the ConfigMap that a cluster shows to strangers.
pub const CLUSTER_INFO_PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// Key of the signed kubeconfig in cluster-info.
pub const KUBECONFIG_KEY: &str = "kubeconfig";

/// Prefix of the keys of the signatures in cluster-info; the token id follows.
pub const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

//! The controllers of a control plane, on any Kubernetes API.
//!
//! Each is a pure `decide` and a thin shell that watches and writes through the API; none touches
//! storage or lives inside the API server. They take over, for the embedded server, what
//! kube-controller-manager does for joining: signing requests, bootstrap tokens, silent nodes,
//! namespaces and garbage. They are driven by watches; timers exist only where time itself is the event.

mod bootstrap_tokens;
mod certificates;
mod events;
mod failure;
mod garbage;
#[cfg(test)]
mod harness;
mod jitter;
pub mod join_token_requests;
mod keyed;
mod manager;
mod namespace;
mod namespace_defaults;
mod node_lifecycle;
mod resource_quota;
mod resources;
mod role_aggregation;
mod storage_protection;
mod token_secrets;

pub use certificates::{Approval, CertificateSettings, Decision, Facts};
pub use manager::{Controllers, Settings};
pub use node_lifecycle::{NodeDecision, NodeLifecycleSettings};
pub use token_secrets::{TokenSigner, TokenSubject};

/// The decisions of the controllers, without their shells: for tests and for other drivers.
pub mod decisions {
    pub use crate::certificates::decide as certificate;
    pub use crate::node_lifecycle::decide as node_lifecycle;
}

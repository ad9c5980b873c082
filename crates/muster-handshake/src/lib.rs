//! How a stranger becomes a node: discovery of a cluster that may be trusted, TLS bootstrap, renewal.
//!
//! Both halves are here, the joiner's and the cluster's, so that they can be tested against each other
//! in memory. Everything is a value or a small state machine: events and the time come in, effects go
//! out. This crate refuses to know sockets, TLS libraries, clocks, files, the environment and where
//! random bytes come from.

pub mod bootstrap;
pub mod discovery;
pub mod error;
pub mod progress;
pub mod renewal;
pub mod wire;

pub use bootstrap::{
    CertificateWish, ClusterConfig, ClusterText, Enrolled, Enrolment, ExistingNode, Issued,
    ProfileNameError, ProfileSearch, ProfileWish, Survey, Surveyed, TlsBootstrap,
    TlsBootstrapRequest, WorkerProfile, csr_name,
};
pub use discovery::{
    Anchors, ChainFault, ClusterInfo, Discovery, DiscoveryRequest, EndpointChoice, ExpiredTokens,
    SignerPlan, Trust, Trusting, Vouching,
};
pub use error::{ErrorClass, ErrorKind, HandshakeError};
pub use progress::Progress;
pub use renewal::{client_wish, node_subject, renewal_time, serving_wish};

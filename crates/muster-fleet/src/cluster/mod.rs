//! The port to a cluster: everything that a join asks of one, and nothing else.
//!
//! A join never speaks HTTP itself. One implementation speaks to a real API server; the simulated one lets joins run
//! by the thousand. What only the join of a control-plane node asks is a port of its own beside it.

mod api;
mod by_admin_conf;
mod control_plane;
mod credential;
mod credentials;
mod failures;

use async_trait::async_trait;
use jiff::Timestamp;
use muster_handshake::{ExistingNode, HandshakeError, Progress};
use muster_identity::{NodeName, PrivateKey, Secret};
use muster_plan::{ClusterAnswers, Wait};
use serde::{Deserialize, Serialize};

pub use api::ApiCluster;
pub use control_plane::{Administrator, ControlPlane, EtcdAccess, Etcds};
pub use credential::{Credential, Way};
pub use credentials::NodeCredentials;
pub(crate) use failures::{administration_failure, etcd_failure, missing_file, words};

/// Takes in what happens.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Why the cluster did not do what was asked.
pub type ClusterFailure = HandshakeError;

/// A certificate that the cluster issued. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The name of the CertificateSigningRequest.
    pub csr: String,
    /// The chain, leaf first, PEM.
    pub chain: String,
    /// The end of its validity.
    pub not_after: Timestamp,
}

/// What was seen of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSight {
    /// There is no such Node.
    Absent,
    /// It is there.
    Present {
        /// Whether its condition Ready is True.
        ready: bool,
        /// What that condition says, when it is not.
        message: String,
    },
    /// Our credential may not look.
    Unknown,
}

/// What became of a Node that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is no more, or was not there.
    Gone,
    /// Our credential may not delete it.
    Forbidden,
}

/// What is put on a Node once it is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Labels that the node may not give itself.
    pub admin_labels: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
}

/// A cluster.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Finds out whether the cluster is to be trusted, proves the token to it, and reads what a join must know.
    /// Changes nothing, and fails with a token that is not accepted.
    async fn introduce(
        &self,
        node: &NodeName,
        existing: ExistingNode,
        tell: Tell<'_>,
    ) -> Result<ClusterAnswers, ClusterFailure>;

    /// Gets a client certificate for a key. Asking again for the same key takes up the same request.
    async fn certify(
        &self,
        node: &NodeName,
        key: &PrivateKey,
        tell: Tell<'_>,
    ) -> Result<Certified, ClusterFailure>;

    /// The node's certificate and key in one PEM text, when the credential is that certificate already.
    fn certified_pem(&self) -> Option<Secret<Vec<u8>>> {
        None
    }

    /// Changes labels and annotations of a Node: as the node itself, or as whoever let us in where that is needed.
    async fn mark_node(
        &self,
        node: &str,
        marks: &Marks,
        credentials: &NodeCredentials,
    ) -> Result<(), ClusterFailure>;

    /// Looks for a Node, as the node itself if it has credentials, otherwise as whoever we are.
    async fn sight(
        &self,
        node: &str,
        credentials: Option<&NodeCredentials>,
    ) -> Result<NodeSight, ClusterFailure>;

    /// Waits until the Node is there, or Ready. Has no time limit of its own.
    async fn await_node(
        &self,
        node: &str,
        until: Wait,
        credentials: &NodeCredentials,
    ) -> Result<(), ClusterFailure>;

    /// Deletes a Node with every identity at hand, the strongest first.
    async fn delete_node(
        &self,
        node: &str,
        credentials: Option<&NodeCredentials>,
    ) -> Result<Deletion, ClusterFailure>;

    /// Says, as the node, that it is no longer Ready: pods go elsewhere at once, and the name can be joined again
    /// without waiting until the cluster notices by itself.
    async fn retire_node(
        &self,
        node: &str,
        credentials: &NodeCredentials,
    ) -> Result<(), ClusterFailure>;

    /// The Secret with the certificates that control-plane nodes share; `None` when there is none.
    async fn shared_certificates(&self) -> Result<Option<serde_json::Value>, ClusterFailure> {
        Ok(None)
    }

    /// Its control plane, for the join of a control-plane node: a real one with what lies on the machine, unless said
    /// otherwise.
    fn control_plane(&self) -> &dyn ControlPlane {
        &by_admin_conf::ByAdminConf
    }

    /// Whether somebody gave us an administrator's credentials, and so asks for the Node to go whoever made it.
    fn has_administrator(&self) -> bool {
        false
    }

    /// Whether the cluster still accepts the node's credentials.
    async fn admits(&self, credentials: &NodeCredentials) -> Result<bool, ClusterFailure>;
}

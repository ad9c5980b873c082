//! The port to a cluster's control plane: what the join of a control-plane node, and its reset, ask besides what every
//! join asks. Objects as the administrator, the members of etcd, and whether components are well.
//!
//! It refuses to know steps. One implementation speaks to real servers with what lies on the machine; the simulated one
//! lets joins of control-plane nodes run by the thousand.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_host::Host;
use muster_kubeadm::ClusterBlueprint;
use muster_net::etcd::{Added, Departure, Member, MemberHealth};
use muster_net::{ApiError, EtcdError};
use muster_plan::{ComponentHealth, StackedMember};
use muster_saga::Failure;
use serde_json::Value;

/// A cluster's control plane, reached from a machine that has, or had, a part of it.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// The administrator by the `admin.conf` on the machine; `None` when there is none.
    ///
    /// # Errors
    /// `certificate-unusable`, or the host's when it cannot be read.
    async fn administrator(
        &self,
        host: &dyn Host,
    ) -> Result<Option<Arc<dyn Administrator>>, Failure>;

    /// The etcds of the cluster.
    ///
    /// # Errors
    /// `certificate-unusable` when the files cannot be used, `etcd-unhealthy` without any endpoint.
    async fn etcds(&self, host: &dyn Host, access: &EtcdAccess) -> Result<Box<dyn Etcds>, Failure>;

    /// Whether a component says that it is well, asked once; otherwise why not.
    async fn component(&self, host: &dyn Host, component: &ComponentHealth) -> Result<(), String>;
}

/// Objects by their paths, in the administrator's name.
#[async_trait]
pub trait Administrator: Send + Sync + Debug {
    /// Reads an object or a list.
    async fn get(&self, path: &str) -> Result<Value, ApiError>;

    /// Creates an object in a collection.
    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError>;

    /// Replaces an object; a `resourceVersion` in it must be the present one.
    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError>;

    /// Changes an object by a JSON merge patch (RFC 7396).
    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError>;

    /// Deletes an object, with `DeleteOptions`.
    async fn delete(&self, path: &str, options: Option<&Value>) -> Result<(), ApiError>;
}

/// How the etcds of a cluster are reached. The last three are paths on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Client URLs of one member or more.
    pub endpoints: Vec<String>,
    /// The etcd CA's certificate.
    pub ca: String,
    /// A client certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl EtcdAccess {
    /// With the certificate for health checks that every control-plane node has.
    #[must_use]
    pub fn of(cluster: &ClusterBlueprint, endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            ca: cluster.certificate_path("etcd/ca.crt"),
            certificate: cluster.certificate_path("etcd/healthcheck-client.crt"),
            key: cluster.certificate_path("etcd/healthcheck-client.key"),
        }
    }
}

impl From<&StackedMember> for EtcdAccess {
    fn from(member: &StackedMember) -> Self {
        Self {
            endpoints: member.client_urls.clone(),
            ca: member.ca.clone(),
            certificate: member.certificate.clone(),
            key: member.key.clone(),
        }
    }
}

/// Membership and health of one cluster of etcds. Every change is idempotent, known by the member's peer URL, and ends
/// within its limit.
#[async_trait]
pub trait Etcds: Send + Sync {
    /// All members, as a quorum agrees on them.
    async fn members(&mut self, limit: Duration) -> Result<Vec<Member>, EtcdError>;

    /// Waits until most voters are well, and the member with this peer URL among them.
    async fn await_health(
        &mut self,
        peer_url: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<MemberHealth>, EtcdError>;

    /// Adds a member without a vote, or takes the one that is there.
    async fn add_learner(&mut self, peer_url: &str, limit: Duration) -> Result<Added, EtcdError>;

    /// Waits until a learner has caught up, and gives it its vote.
    async fn promote(&mut self, id: u64, limit: Duration) -> Result<(), EtcdError>;

    /// Takes a member out, where [`muster_net::etcd::may_leave`] lets it go.
    async fn remove(&mut self, peer_url: &str, limit: Duration) -> Result<Departure, EtcdError>;
}

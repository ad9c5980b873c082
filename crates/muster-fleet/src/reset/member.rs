//! Only the membership of the etcd that runs here ends; everything else of the node stays.

use std::sync::Arc;

use muster_host::Host;
use muster_saga::Residue;

use super::etcd::{Leaving, leave};
use super::{ResetOptions, foreign};
use crate::JoinError;
use crate::cluster::{ApiCluster, Cluster};

/// What became of the etcd member of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// No etcd of kubeadm's or ours runs here.
    None,
    /// It would be removed: its name.
    Planned(String),
    /// It is no member any more, or was the only one: its name.
    Over(String),
    /// It stays one, and why.
    Stays(Residue),
}

/// Takes the etcd member that runs here out of its cluster, when those who stay can go on without it. Its data and its
/// static pod stay for a reset, which finds the membership over.
///
/// # Errors
/// [`JoinError::Host`] when the machine cannot be looked at.
pub async fn remove_etcd_member(
    options: &ResetOptions,
    host: Arc<dyn Host>,
) -> Result<Membership, JoinError> {
    let cluster = ApiCluster::of_node(options.admin_kubeconfig.clone());
    let Some(member) = foreign::look(&*host, options, true).await?.member else {
        return Ok(Membership::None);
    };
    if options.dry_run {
        return Ok(Membership::Planned(member.name));
    }
    Ok(
        match leave(cluster.control_plane(), &*host, &member).await {
            Leaving::Over => Membership::Over(member.name),
            Leaving::Stays(residue) | Leaving::Held(residue) => Membership::Stays(residue),
        },
    )
}

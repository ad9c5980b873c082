//! A stacked etcd member leaves its cluster: only when those who stay can go on without it.

use std::time::Duration;

use muster_host::Host;
use muster_net::EtcdError;
use muster_net::etcd::Departure;
use muster_plan::StackedMember;
use muster_saga::Residue;

use crate::ControlPlane;
use crate::cluster::{EtcdAccess, words};

/// For the removal itself; members are asked side by side within the client's own limits.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of the member.
pub(super) enum Leaving {
    /// Its membership is over, or its cluster is.
    Over,
    /// Nobody could be asked: it stays in its cluster, and its data here.
    Stays(Residue),
    /// The others could not agree without it: it must go on.
    Held(Residue),
}

/// Takes the member out of its cluster, unless it is out already or the only one.
pub(super) async fn leave(
    plane: &dyn ControlPlane,
    host: &dyn Host,
    member: &StackedMember,
) -> Leaving {
    let remains = |why: String, remedy: String| Residue {
        what: format!("etcd member {}", member.name),
        why,
        remedy,
    };
    let by_hand = || {
        format!(
            "On another control-plane node: etcdctl member list, then etcdctl member remove ID for {}; then run the reset again",
            member.peer_url
        )
    };
    let mut etcds = match plane.etcds(host, &EtcdAccess::from(member)).await {
        Ok(etcds) => etcds,
        Err(failure) => return Leaving::Stays(remains(failure.message, by_hand())),
    };
    match etcds.remove(&member.peer_url, LIMIT).await {
        Ok(Departure::Removed | Departure::Gone | Departure::Last) => Leaving::Over,
        Err(error @ EtcdError::WouldLoseQuorum { .. }) => Leaving::Held(remains(
            words(&error),
            "Bring the members back that do not answer and reset again; to end the cluster's etcd all the same: --keep-etcd-member".into(),
        )),
        Err(error) => Leaving::Stays(remains(words(&error), by_hand())),
    }
}

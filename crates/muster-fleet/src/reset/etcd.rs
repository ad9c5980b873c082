//! A stacked etcd member leaves its cluster: only when those who stay can go on without it.

use std::time::Duration;

use muster_host::Host;
use muster_net::etcd::Departure;
use muster_plan::StackedMember;
use muster_saga::Residue;

use crate::ControlPlane;
use crate::cluster::{EtcdAccess, words};

/// For the removal itself; members are asked side by side within the client's own limits.
const LIMIT: Duration = Duration::from_secs(30);

/// Takes the member out of its cluster, unless it is out already or the only one.
pub(super) async fn leave(
    plane: &dyn ControlPlane,
    host: &dyn Host,
    member: &StackedMember,
) -> Result<(), Residue> {
    let remains = |why: String| Residue {
        what: format!("etcd member {}", member.name),
        why,
        remedy: format!(
            "On another control-plane node: etcdctl member list, then etcdctl member remove ID for {}; then run the reset again",
            member.peer_url
        ),
    };
    let etcds = plane.etcds(host, &EtcdAccess::from(member)).await;
    let mut etcds = etcds.map_err(|failure| remains(failure.message))?;
    match etcds.remove(&member.peer_url, LIMIT).await {
        Ok(Departure::Removed | Departure::Gone | Departure::Last) => Ok(()),
        Err(error) => Err(remains(words(&error))),
    }
}

//! What a cluster says of itself beside its kubeadm configuration: its version, and a worker profile of k0s.
//!
//! It refuses to know what becomes of either.

use jiff::Timestamp;
use muster_handshake::{HandshakeError, ProfileWish, WorkerProfile};
use muster_net::ApiClient;
use serde_json::Value;

use crate::cluster::Tell;

/// What a cluster says of itself.
pub(super) struct About {
    /// `gitVersion` of the API server.
    pub(super) version: Option<String>,
    /// The worker profile, where one was wanted and is there.
    pub(super) profile: Option<WorkerProfile>,
}

/// The version is for a warning, and for the name of a worker profile: no answer to it stops a join.
pub(super) async fn about(
    client: &ApiClient,
    wish: Option<ProfileWish>,
    deadline: Timestamp,
    tell: Tell<'_>,
) -> Result<About, HandshakeError> {
    let version = client.get::<Value>("/version").await.ok();
    let version = version.as_ref().and_then(|v| v["gitVersion"].as_str());
    let mut hear = |progress| tell(progress);
    let profile = match wish {
        Some(wish) => {
            muster_net::worker_profile(client, wish, version, deadline, &mut hear).await?
        }
        None => None,
    };
    Ok(About {
        version: version.map(str::to_owned),
        profile,
    })
}

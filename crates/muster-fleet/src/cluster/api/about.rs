//! What a cluster says of itself beside its kubeadm configuration: its version, and a worker profile of k0s.
//!
//! It refuses to know what becomes of either.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use muster_handshake::{HandshakeError, ProfileWish, WorkerProfile};
use muster_net::{ApiClient, ApiRequest, RetryPolicy};
use muster_plan::checks::NodeOfCluster;
use serde_json::Value;

use crate::cluster::Tell;
use crate::preflight::{date, node};

/// What a cluster says of itself.
pub(super) struct About {
    /// `gitVersion` of the API server.
    pub(super) version: Option<String>,
    /// The worker profile, where one was wanted and is there.
    pub(super) profile: Option<WorkerProfile>,
    /// The API server's clock and ours at the same moment.
    pub(super) clocks: Option<(Timestamp, Timestamp)>,
    /// Its Nodes, as far as they were asked for and came.
    pub(super) nodes: Vec<NodeOfCluster>,
}

/// No join waits longer for the sake of a warning.
const MOMENT: Duration = Duration::from_millis(250);
const SOME_NODES: &str = "/api/v1/nodes?limit=500";

/// The version is for a warning, and for the name of a worker profile: no answer to it stops a join. `lists` says
/// whether Nodes may be listed with this credential.
pub(super) async fn about(
    client: &ApiClient,
    wish: Option<ProfileWish>,
    deadline: Timestamp,
    lists: bool,
    tell: Tell<'_>,
) -> Result<About, HandshakeError> {
    let question = ApiRequest::new(Method::GET, "/version");
    let (answer, nodes) = tokio::join!(client.send(&question), nodes(client, lists));
    let own = Timestamp::now();
    let answer = answer.ok();
    let clocks = answer
        .as_ref()
        .and_then(|answer| date(&answer.headers))
        .map(|server| (server, own));
    let said: Option<Value> = answer.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let version = said.as_ref().and_then(|said| said["gitVersion"].as_str());
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
        clocks,
        nodes,
    })
}

/// The cluster's Nodes, or as many as come in a moment: they are for a warning.
async fn nodes(client: &ApiClient, lists: bool) -> Vec<NodeOfCluster> {
    if !lists {
        return Vec::new();
    }
    let client = client.clone().with_policy(RetryPolicy::once(MOMENT));
    let list = client.get::<Value>(SOME_NODES).await;
    let list = list.unwrap_or_default();
    let items = list["items"].as_array().into_iter().flatten();
    items.map(node).collect()
}

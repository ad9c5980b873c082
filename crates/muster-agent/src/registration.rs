//! Makes the Node and its Lease exist, and keeps them fresh: the requests of a kubelet, in its order.
//! It decides nothing about what a node is; that is `node`'s.

use crate::node::lease;
use jiff::Timestamp;
use muster_identity::NodeName;
use muster_net::client::STRATEGIC_MERGE_PATCH;
use muster_net::{ApiClient, ApiError};
use serde_json::{Value, json};

/// The path of a Node.
#[must_use]
pub fn node_path(name: &NodeName) -> String {
    format!("/api/v1/nodes/{name}")
}

/// Creates the Node; one that exists already is taken over: its labels and status become ours.
/// Answers with the Node as the server has it.
///
/// # Errors
/// [`ApiError`].
pub async fn register(
    client: &ApiClient,
    name: &NodeName,
    node: &Value,
) -> Result<Value, ApiError> {
    match client.create("/api/v1/nodes", node).await {
        Err(error) if error.is_already_exists() => {}
        result => return result,
    }
    let patch = json!({ "metadata": {
        "labels": node["metadata"]["labels"],
        "annotations": node["metadata"]["annotations"],
    }});
    let _: Value = client
        .patch(&node_path(name), STRATEGIC_MERGE_PATCH, &patch)
        .await?;
    post_status(client, name, &node["status"]).await
}

/// Patches the Node's status; conditions are merged by type, so that those of others stay.
///
/// # Errors
/// [`ApiError`].
pub async fn post_status(
    client: &ApiClient,
    name: &NodeName,
    status: &Value,
) -> Result<Value, ApiError> {
    let path = format!("{}/status", node_path(name));
    let mut status = status.clone();
    // Addresses are a merge list as well; ours are the whole list.
    if let Some(addresses) = status["addresses"].as_array_mut() {
        addresses.push(json!({ "$patch": "replace" }));
    }
    client
        .patch(&path, STRATEGIC_MERGE_PATCH, &json!({ "status": status }))
        .await
}

/// Renews the lease, or makes it. `known` is the lease as last seen; the newer one comes back.
///
/// # Errors
/// [`ApiError`]; a lease is not made for a Node that does not exist.
pub async fn renew_lease(
    client: &ApiClient,
    name: &NodeName,
    known: Option<Value>,
    now: Timestamp,
) -> Result<Value, ApiError> {
    if let Some(known) = known {
        match client
            .replace(&lease::path(name), &lease::renewed(known, name, now))
            .await
        {
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            result => return result,
        }
    }
    match client.get::<Value>(&lease::path(name)).await {
        Ok(found) => {
            client
                .replace(&lease::path(name), &lease::renewed(found, name, now))
                .await
        }
        Err(error) if error.is_not_found() => {
            let node: Value = client.get(&node_path(name)).await?;
            let uid = node["metadata"]["uid"].as_str().unwrap_or_default();
            client
                .create(&lease::collection(), &lease::new(name, uid, now))
                .await
        }
        Err(error) => Err(error),
    }
}

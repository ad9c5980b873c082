//! An administrator who joins a machine with their own kubeconfig and finds that nobody approves its request: they do.
//!
//! It approves one request only, whose key and name are this join's. It refuses to know how the request was made.

use jiff::Timestamp;
use muster_handshake::bootstrap::{CSR_PATH, CsrCondition, ReceivedRequest};
use muster_identity::{NodeName, PrivateKey};
use muster_net::{ApiClient, ApiError};
use serde_json::Value;

/// Approves the request of that name, if it is ours. Who may not, leaves it to others: that is no error.
pub(super) async fn approve(client: &ApiClient, name: &str, node: &NodeName, key: &PrivateKey) {
    match try_to_approve(client, name, node, key).await {
        Ok(true) => tracing::info!(
            name,
            "approved with the credential that lets this machine in"
        ),
        Ok(false) => tracing::warn!(name, "the request is not the one that was made here"),
        Err(error) => tracing::info!(name, %error, "this credential does not approve it"),
    }
}

async fn try_to_approve(
    client: &ApiClient,
    name: &str,
    node: &NodeName,
    key: &PrivateKey,
) -> Result<bool, ApiError> {
    let path = format!("{CSR_PATH}/{name}");
    let mut object: Value = client.get(&path).await?;
    let Ok(received) = ReceivedRequest::of(&object) else {
        return Ok(false);
    };
    let ours = received.csr.public_key() == key.public_key()
        && received.csr.subject().common_name == node.user_name();
    if !ours {
        return Ok(false);
    }
    let condition = CsrCondition {
        kind: "Approved",
        reason: "JoinedByAdministrator".to_owned(),
        message: "approved by whoever joins this node with their own kubeconfig".to_owned(),
    };
    condition.add_to(&mut object, Timestamp::now());
    let _: Value = client.replace(&format!("{path}/approval"), &object).await?;
    Ok(true)
}

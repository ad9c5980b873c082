//! The Lease by which a node says that it lives (KEP-589). Pure.

use jiff::Timestamp;
use muster_identity::NodeName;
use serde_json::{Value, json};
use std::time::Duration;

/// Namespace of all node leases.
pub const NAMESPACE: &str = "kube-node-lease";
/// How often it is renewed: a quarter of its duration, as the kubelet does.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// `leaseDurationSeconds`.
const DURATION_SECONDS: u32 = 40;

/// The path of a node's lease.
#[must_use]
pub fn path(name: &NodeName) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}")
}

/// The path of all leases, for creating one.
#[must_use]
pub fn collection() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")
}

/// A first lease, owned by its Node so that it goes with it.
#[must_use]
pub fn new(name: &NodeName, node_uid: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name.as_str(),
            "namespace": NAMESPACE,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": name.as_str(), "uid": node_uid,
            }],
        },
        "spec": {
            "holderIdentity": name.as_str(),
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": micro_time(now),
        },
    })
}

/// The same lease, renewed.
#[must_use]
pub fn renewed(mut lease: Value, name: &NodeName, now: Timestamp) -> Value {
    lease["spec"]["holderIdentity"] = json!(name.as_str());
    lease["spec"]["leaseDurationSeconds"] = json!(DURATION_SECONDS);
    lease["spec"]["renewTime"] = json!(micro_time(now));
    lease
}

/// A `metav1.MicroTime`.
fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewing_moves_the_time_and_keeps_the_owner() {
        let name = NodeName::parse("n1").expect("a name");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let lease = new(&name, "uid-1", at("2026-01-01T00:00:00Z"));
        assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:00.000000Z");
        let renewed = renewed(lease, &name, at("2026-01-01T00:00:10.5Z"));
        assert_eq!(renewed["spec"]["renewTime"], "2026-01-01T00:00:10.500000Z");
        assert_eq!(renewed["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    }
}

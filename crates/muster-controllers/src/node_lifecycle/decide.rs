//! What the conditions and taints of one node should be. Pure: silence and time are arguments.

use super::STARTUP_GRACE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The taint of a node whose Ready condition is False.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node whose Ready condition is Unknown.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The taint of a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that only the kubelet can know, and that become Unknown when it is silent.
const KUBELET_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Conditions that, when True, taint the node.
const CONDITION_TAINTS: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];

/// What has to be written; `None` where the node is right as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeDecision {
    /// The whole list of conditions.
    pub conditions: Option<Vec<NodeCondition>>,
    /// The whole list of taints.
    pub taints: Option<Vec<Taint>>,
}

/// Compares a node with what it should look like.
///
/// `silent`: no sign of life within the grace period.
#[must_use]
pub fn decide(node: &Node, silent: bool, now: Timestamp) -> NodeDecision {
    let empty = Vec::new();
    let current = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let current = current.unwrap_or(&empty);
    let mut conditions = current.clone();
    if silent {
        mark_unknown(&mut conditions, node, now);
    }
    let taints = desired_taints(node, &conditions, now);
    let have = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    NodeDecision {
        conditions: (conditions != *current).then_some(conditions),
        taints: (!same_taints(&taints, &have)).then_some(taints),
    }
}

fn mark_unknown(conditions: &mut Vec<NodeCondition>, node: &Node, now: Timestamp) {
    let created = node
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |at| at.0);
    for type_ in KUBELET_CONDITIONS {
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            Some(_) => {}
            None if now.duration_since(created) < STARTUP_GRACE => {}
            None => conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: Some(Time(created)),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
}

fn status_of<'c>(conditions: &'c [NodeCondition], type_: &str) -> Option<&'c str> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|c| c.status.as_str())
}

/// Whether this controller decides about the taint.
fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        "NoSchedule" => {
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
                || CONDITION_TAINTS.iter().any(|(_, key)| *key == taint.key)
        }
        "NoExecute" => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    }
}

fn desired_taints(node: &Node, conditions: &[NodeCondition], now: Timestamp) -> Vec<Taint> {
    let have = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let have = have.map(Vec::as_slice).unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match status_of(conditions, "Ready") {
        Some("False") => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        Some(_) => {}
        // Not heard of yet: what admission put there stays.
        None => wanted.extend(
            have.iter()
                .any(|taint| taint.key == NOT_READY)
                .then_some((NOT_READY, "NoSchedule")),
        ),
    }
    for (type_, key) in CONDITION_TAINTS {
        if status_of(conditions, type_) == Some("True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let mut taints: Vec<Taint> = have
        .iter()
        .filter(|taint| !is_ours(taint))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        let present = have
            .iter()
            .find(|taint| taint.key == key && taint.effect == effect);
        taints.push(present.cloned().unwrap_or_else(|| Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        }));
    }
    taints
}

/// Order does not matter to anybody.
fn same_taints(left: &[Taint], right: &[Taint]) -> bool {
    left.len() == right.len() && left.iter().all(|taint| right.contains(taint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    fn node(value: serde_json::Value) -> Node {
        serde_json::from_value(value).expect("a node")
    }

    fn ready(status: &str) -> serde_json::Value {
        json!({ "type": "Ready", "status": status, "reason": "KubeletReady",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn a_node_that_speaks_and_is_ready_is_left_alone() {
        let node = node(
            json!({ "metadata": { "name": "n" }, "status": { "conditions": [ready("True")] } }),
        );
        assert_eq!(
            decide(&node, false, at("2026-01-01T00:01:00Z")),
            NodeDecision::default()
        );
    }

    #[test]
    fn a_silent_node_becomes_unknown_and_unreachable_and_keeps_its_heartbeat() {
        let node = node(json!({
            "metadata": { "name": "n", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "taints": [{ "key": "own", "effect": "NoSchedule" }] },
            "status": { "conditions": [ready("True")] },
        }));
        let decision = decide(&node, true, at("2026-01-01T00:00:50Z"));
        let conditions = decision.conditions.expect("conditions change");
        assert_eq!(
            conditions.len(),
            1,
            "conditions that were never posted wait for the start-up grace"
        );
        assert_eq!(conditions[0].status, "Unknown");
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(
            conditions[0].last_heartbeat_time,
            Some(Time(at("2026-01-01T00:00:00Z")))
        );
        let taints = decision.taints.expect("taints change");
        let keys: Vec<_> = taints
            .iter()
            .map(|t| (t.key.as_str(), t.effect.as_str()))
            .collect();
        assert_eq!(
            keys,
            [
                ("own", "NoSchedule"),
                (UNREACHABLE, "NoSchedule"),
                (UNREACHABLE, "NoExecute")
            ]
        );
    }

    #[test]
    fn a_node_that_returns_loses_only_the_taints_of_this_controller() {
        let node = node(json!({
            "metadata": { "name": "n" },
            "spec": { "taints": [
                { "key": UNREACHABLE, "effect": "NoExecute" }, { "key": UNREACHABLE, "effect": "NoSchedule" },
                { "key": "own", "effect": "NoExecute" }] },
            "status": { "conditions": [ready("True")] },
        }));
        let taints = decide(&node, false, at("2026-01-01T00:00:50Z"))
            .taints
            .expect("taints change");
        assert_eq!(taints.len(), 1);
        assert_eq!(taints[0].key, "own");
    }

    #[test]
    fn deciding_twice_changes_nothing_more() {
        let mut node = node(json!({
            "metadata": { "name": "n", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "unschedulable": true },
            "status": { "conditions": [ready("False")] },
        }));
        let now = at("2026-01-01T02:00:00Z");
        let first = decide(&node, true, now);
        node.status.get_or_insert_default().conditions = first.conditions;
        node.spec.get_or_insert_default().taints = first.taints;
        assert_eq!(
            decide(&node, true, at("2026-01-01T03:00:00Z")),
            NodeDecision::default()
        );
    }
}

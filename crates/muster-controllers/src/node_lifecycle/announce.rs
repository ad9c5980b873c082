//! The event that tells people of a node's silence: `kubectl get events` and `kubectl describe node`
//! show it. It knows nothing of how the silence was noticed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;

/// Where events about cluster-scoped objects are kept.
pub(super) const EVENT_NAMESPACE: &str = "default";

/// Who reports, under upstream's name.
const COMPONENT: &str = "node-controller";

/// `NodeNotReady` in upstream's words (`RecordNodeStatusChange`).
pub(super) fn not_ready(node: &Node, now: Timestamp) -> Event {
    let name = node.name_any();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(EVENT_NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            kind: Some("Node".to_owned()),
            api_version: Some("v1".to_owned()),
            name: Some(name.clone()),
            uid: node.uid(),
            ..ObjectReference::default()
        },
        reason: Some("NodeNotReady".to_owned()),
        message: Some(format!("Node {name} status is now: NodeNotReady")),
        type_: Some("Normal".to_owned()),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            ..EventSource::default()
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_event_points_at_the_node_and_says_what_it_has_become() {
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "n1", "uid": "u1"}})).unwrap();
        let event = not_ready(&node, "2026-11-21T09:12:27Z".parse().unwrap());
        let event = serde_json::to_value(event).unwrap();
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(
            event["involvedObject"],
            json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"})
        );
        assert_eq!(event["message"], "Node n1 status is now: NodeNotReady");
        assert_eq!(event["lastTimestamp"], "2026-11-21T09:12:27Z");
    }
}

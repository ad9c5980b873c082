//! Kubernetes Events on the Nodes of a run: `kubectl describe node` and `kubectl get events` show how each one joined.
//!
//! What matters to whoever looks at a Node is told there; progress and attempts are not.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use muster_rollout::{Event, EventKind};
use serde_json::{Value, json};

use crate::rollout::access::Api;
use crate::rollout::bus::Sink;

/// Events on Nodes are in this namespace, as the kubelet's are.
const COLLECTION: &str = "/api/v1/namespaces/default/events";
/// Events that are written at once.
const SIDE_BY_SIDE: usize = 8;
/// The longest message that the API takes, in bytes.
const LONGEST: usize = 1000;

/// Tells the API server.
pub(crate) struct NodeEvents(pub(crate) Arc<dyn Api>);

#[async_trait]
impl Sink for NodeEvents {
    fn name(&self) -> &str {
        "Kubernetes Events"
    }

    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
        let api = &self.0;
        let objects: Vec<Value> = events.iter().filter_map(|event| object(event)).collect();
        let writes = futures::stream::iter(objects).map(|object| async move {
            match api.create(COLLECTION, &object).await {
                Err(error) if !error.is_already_exists() => Some(error.to_string()),
                _ => None,
            }
        });
        let failed: Vec<Option<String>> = writes.buffer_unordered(SIDE_BY_SIDE).collect().await;
        failed.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}

fn object(event: &Event) -> Option<Value> {
    let (node, reason, message, well) = match &event.kind {
        EventKind::ClusterNodeJoinStarted { host } => (
            &host.name,
            "ClusterNodeJoinStarted",
            "the join has begun".to_owned(),
            true,
        ),
        EventKind::ClusterNodeJoinCompleted { host, seconds } => (
            &host.name,
            "ClusterNodeJoinCompleted",
            format!("joined in {seconds:.1} s"),
            true,
        ),
        EventKind::ClusterNodeJoinFailed {
            host,
            stage,
            failure,
        } => (
            &host.name,
            "ClusterNodeJoinFailed",
            format!("{stage}: {} [{}]", failure.message, failure.id),
            false,
        ),
        EventKind::UndoCompleted { host } => (
            &host.name,
            "ClusterNodeJoinUndone",
            "the join was taken back".to_owned(),
            true,
        ),
        EventKind::UndoFailed {
            host,
            stage,
            failure,
        } => (
            &host.name,
            "ClusterNodeUndoFailed",
            format!("{stage}: {} [{}]", failure.message, failure.id),
            false,
        ),
        _ => return None,
    };
    let at = event.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut message = format!("{message} (fleet run {})", event.run);
    while message.len() > LONGEST {
        message.pop();
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{node}.{}.{}.{}", event.run, event.incarnation, event.sequence).to_lowercase(),
            "namespace": "default",
        },
        // The kubelet and the node controller name a Node's uid by its name too.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.as_ref(), "uid": node.as_ref()},
        "reason": reason,
        "message": message,
        "type": if well { "Normal" } else { "Warning" },
        "source": {"component": "muster"},
        "reportingComponent": "muster",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::access::memory::Memory;
    use jiff::Timestamp;
    use muster_rollout::{HostIndex, HostName, RunId, Stage, StageFailure};

    fn event(sequence: u64, kind: EventKind) -> Arc<Event> {
        Arc::new(Event {
            run: RunId("20260101-000000-ab".into()),
            incarnation: 0,
            sequence,
            at: Timestamp::UNIX_EPOCH,
            kind,
        })
    }

    fn host() -> HostName {
        HostName {
            host: HostIndex(0),
            name: "w1".into(),
        }
    }

    #[tokio::test]
    async fn a_node_has_events_for_its_beginning_and_its_end() {
        let api = Memory::default();
        let mut sink = NodeEvents(Arc::new(api.clone()));
        let failure = StageFailure::terminal("pin-mismatch", "another CA");
        let events = [
            event(0, EventKind::ClusterNodeJoinStarted { host: host() }),
            event(
                1,
                EventKind::Progress {
                    host: host(),
                    phase: "preflight".into(),
                },
            ),
            event(
                2,
                EventKind::ClusterNodeJoinFailed {
                    host: host(),
                    stage: Stage::Join,
                    failure,
                },
            ),
        ];
        sink.take(&events).await.unwrap();
        sink.take(&events[..1]).await.unwrap();
        let paths = api.paths(COLLECTION);
        assert_eq!(paths.len(), 2);
        let last = api.get(&paths[1]).await.unwrap();
        assert_eq!(last["type"], "Warning");
        assert_eq!(last["involvedObject"]["name"], "w1");
        assert!(
            last["message"]
                .as_str()
                .unwrap()
                .starts_with("join: another CA [pin-mismatch]")
        );
    }
}

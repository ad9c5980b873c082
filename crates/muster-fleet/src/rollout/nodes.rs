//! What becomes of the Nodes of a run, by one watch for all of them.
//!
//! Whoever waits for a Node waits for that one by its name and its conditions; how many others there are does not
//! matter. It refuses to know how a machine becomes a node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use muster_net::{ApiError, WatchEvent};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::access::{Api, delete_if_there};

const NODES: &str = "/api/v1/nodes";
/// Shortest and longest pause after a watch that ended badly.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What is known of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSight {
    /// Its uid.
    pub(crate) uid: String,
    /// Its condition Ready is True.
    pub(crate) ready: bool,
    /// What that condition says.
    pub(crate) message: String,
}

impl NodeSight {
    /// From a Node.
    pub(crate) fn of(node: &Value) -> Self {
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
        Self {
            uid: node
                .pointer("/metadata/uid")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            ready: ready.is_some_and(|condition| condition["status"] == "True"),
            message: ready
                .and_then(|condition| condition["message"].as_str())
                .unwrap_or("its kubelet has not told its conditions yet")
                .to_owned(),
        }
    }
}

#[derive(Default)]
struct Known {
    nodes: HashMap<String, NodeSight>,
    waiting: HashMap<String, watch::Sender<Option<NodeSight>>>,
}

impl Known {
    fn learn(&mut self, name: &str, sight: Option<NodeSight>) {
        match &sight {
            Some(sight) => self.nodes.insert(name.to_owned(), sight.clone()),
            None => self.nodes.remove(name),
        };
        if let Some(waiting) = self.waiting.get(name) {
            if waiting.is_closed() {
                self.waiting.remove(name);
            } else {
                waiting.send_if_modified(|before| {
                    let changed = *before != sight;
                    *before = sight;
                    changed
                });
            }
        }
    }
}

/// The Nodes of a cluster. Clones share the watch.
#[derive(Clone)]
pub(crate) struct Nodes {
    api: Arc<dyn Api>,
    known: Arc<Mutex<Known>>,
}

impl Nodes {
    /// The Nodes behind this API.
    pub(crate) fn new(api: Arc<dyn Api>) -> Self {
        Self {
            api,
            known: Arc::default(),
        }
    }

    /// Follows the Nodes until it is dropped: list, watch, and from the beginning again when the watch is lost.
    pub(crate) async fn follow(&self) {
        let mut pause = PAUSES.0;
        loop {
            match self.follow_once().await {
                Ok(()) => pause = PAUSES.0,
                Err(error) => {
                    tracing::debug!(%error, "the nodes cannot be watched");
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            sleep(pause).await;
        }
    }

    async fn follow_once(&self) -> Result<(), ApiError> {
        let list = self.api.get(NODES).await?;
        self.take_list(&list);
        let version = list
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        let path = format!(
            "{NODES}?watch=true&allowWatchBookmarks=true&resourceVersion={}",
            version.unwrap_or("0")
        );
        let mut events = self.api.watch(&path).await?;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    self.known
                        .lock()
                        .learn(name_of(&node), Some(NodeSight::of(&node)));
                }
                WatchEvent::Deleted(node) => self.known.lock().learn(name_of(&node), None),
                WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    }

    fn take_list(&self, list: &Value) {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let seen: HashMap<&str, NodeSight> = items
            .iter()
            .map(|node| (name_of(node), NodeSight::of(node)))
            .collect();
        let mut known = self.known.lock();
        let gone: Vec<String> = known
            .nodes
            .keys()
            .filter(|name| !seen.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            known.learn(&name, None);
        }
        for (name, sight) in seen {
            known.learn(name, Some(sight));
        }
    }

    /// The states of one Node from now on; `None` while it is not there.
    pub(crate) fn of(&self, name: &str) -> watch::Receiver<Option<NodeSight>> {
        let mut known = self.known.lock();
        let sight = known.nodes.get(name).cloned();
        let sender = known
            .waiting
            .entry(name.to_owned())
            .or_insert_with(|| watch::Sender::new(sight));
        sender.subscribe()
    }

    /// Resolves once the Node is Ready; tells `waits` what it waits for.
    pub(crate) async fn ready(&self, name: &str, waits: impl Fn(&str) + Send + Sync) {
        let mut states = self.of(name);
        loop {
            let reason = match &*states.borrow_and_update() {
                Some(sight) if sight.ready => return,
                Some(sight) => sight.message.clone(),
                None => "the Node is not registered".to_owned(),
            };
            waits(&reason);
            if states.changed().await.is_err() {
                // The sender is ours as long as somebody listens.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the Node is now, asked of the server.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(crate) async fn look(&self, name: &str) -> Result<Option<NodeSight>, ApiError> {
        match self.api.get(&format!("{NODES}/{name}")).await {
            Ok(node) => Ok(Some(NodeSight::of(&node))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Labels a Node as an administrator.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(crate) async fn label(
        &self,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<(), ApiError> {
        let labels: Map<String, Value> = labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let patch = json!({"metadata": {"labels": labels}});
        self.api
            .merge(&format!("{NODES}/{name}"), &patch)
            .await
            .map(drop)
    }

    /// Deletes a Node; one that is not there is no error.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        delete_if_there(&*self.api, &format!("{NODES}/{name}")).await
    }
}

fn name_of(node: &Value) -> &str {
    node.pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::access::memory::Memory;
    use super::*;

    async fn ready_of(nodes: &Nodes, name: &str) -> bool {
        let waiting = tokio::time::timeout(Duration::from_secs(60), nodes.ready(name, |_| {}));
        tokio::select! {
            () = nodes.follow() => unreachable!(),
            ready = waiting => ready.is_ok(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_named_node_counts_whatever_others_there_are() {
        let api = Memory::default();
        for other in ["cp-1", "cp-2", "cp-3", "old-worker"] {
            api.node(other, true);
        }
        let nodes = Nodes::new(Arc::new(api.clone()));
        assert!(!ready_of(&nodes, "w-1").await);
        api.node("w-1", false);
        assert!(!ready_of(&nodes, "w-1").await);
        api.node("w-1", true);
        assert!(ready_of(&nodes, "w-1").await);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_is_the_condition_and_not_the_printed_status() {
        let api = Memory::default();
        let cordoned = json!({
            "metadata": {"name": "w"},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        api.create(NODES, &cordoned).await.unwrap();
        let nodes = Nodes::new(Arc::new(api.clone()));
        assert!(ready_of(&nodes, "w").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_becomes_ready_while_the_server_is_away_is_seen_afterwards() {
        let api = Memory::default();
        let nodes = Nodes::new(Arc::new(api.clone()));
        api.is_away(true);
        let back = async {
            sleep(Duration::from_secs(20)).await;
            api.is_away(false);
            api.node("w", true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = back => unreachable!(),
            ready = ready_of(&nodes, "w") => assert!(ready),
        }
    }
}

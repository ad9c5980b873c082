//! Notices nodes that fall silent: their conditions become Unknown and they are tainted; nodes that
//! speak again are freed of the taints. A node's sign of life is its Lease or its Ready heartbeat,
//! timed by when the change was *seen here*, so that a node's wrong clock does not matter.
//!
//! It does not evict pods.

mod announce;
mod decide;

pub use decide::{NodeDecision, decide};

use crate::events::{Change, changes};
use crate::failure::is_outdated;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// Where nodes keep their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// How long a node may be silent, and how soon a failed write is tried again.
#[derive(Clone, Debug)]
pub struct NodeLifecycleSettings {
    /// Silence after which a node counts as lost (`--node-monitor-grace-period`, 50 s upstream).
    pub grace_period: Duration,
}

impl Default for NodeLifecycleSettings {
    fn default() -> Self {
        Self {
            grace_period: Duration::from_secs(50),
        }
    }
}

/// What is remembered of one node.
struct Watched {
    node: Node,
    seen_at: Instant,
    heartbeat: Option<Timestamp>,
}

struct Lifecycle {
    nodes: Api<Node>,
    announcements: Api<Event>,
    settings: NodeLifecycleSettings,
    known: HashMap<String, Watched>,
    /// Sign of life of a lease whose node is not known yet.
    renewals: HashMap<String, Timestamp>,
    /// When to look at which node again.
    due: BTreeSet<(Instant, String)>,
}

/// Watches nodes and leases for ever.
pub(crate) async fn run(client: Client, settings: NodeLifecycleSettings) {
    let mut nodes = pin!(changes(
        Api::<Node>::all(client.clone()),
        watcher::Config::default()
    ));
    let leases = Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE);
    let mut leases = pin!(changes(leases, watcher::Config::default()));
    let mut lifecycle = Lifecycle {
        announcements: Api::namespaced(client.clone(), announce::EVENT_NAMESPACE),
        nodes: Api::all(client),
        settings,
        known: HashMap::new(),
        renewals: HashMap::new(),
        due: BTreeSet::new(),
    };
    loop {
        let next = lifecycle.due.first().map(|(at, _)| *at);
        // Signs of life that have arrived come first: while writes about many lost nodes took their time,
        // the others have spoken and only wait to be heard.
        tokio::select! {
            biased;
            change = leases.next() => match change {
                Some(Change::Present(lease)) => lifecycle.on_lease(&lease).await,
                Some(Change::Gone(lease)) => { lifecycle.renewals.remove(&lease.name); }
                Some(Change::Listed) => {}
                None => return,
            },
            change = nodes.next() => match change {
                Some(Change::Present(node)) => lifecycle.on_node(node).await,
                Some(Change::Gone(node)) => lifecycle.forget(&node.name),
                Some(Change::Listed) => {}
                None => return,
            },
            () = sleep_until(next), if next.is_some() => lifecycle.on_due().await,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Lifecycle {
    async fn on_node(&mut self, node: Node) {
        let name = node.name_any();
        let heartbeat = ready_heartbeat(&node);
        let now = Instant::now();
        match self.known.get_mut(&name) {
            Some(watched) => {
                // Any other time is a sign of life: a clock that was set back is no silence.
                if heartbeat != watched.heartbeat {
                    watched.seen_at = now;
                    watched.heartbeat = heartbeat;
                }
                watched.node = node;
            }
            None => {
                self.known.insert(
                    name.clone(),
                    Watched {
                        node,
                        seen_at: now,
                        heartbeat,
                    },
                );
            }
        }
        self.look_at(&name).await;
    }

    async fn on_lease(&mut self, lease: &Lease) {
        let name = lease.name_any();
        let renewed = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.renew_time.as_ref())
            .map(|at| at.0);
        let Some(renewed) = renewed else { return };
        if self.renewals.insert(name.clone(), renewed) == Some(renewed) {
            return;
        }
        let Some(watched) = self.known.get_mut(&name) else {
            return;
        };
        let was_silent = watched.seen_at.elapsed() >= self.settings.grace_period;
        watched.seen_at = Instant::now();
        if was_silent {
            self.look_at(&name).await;
        }
    }

    fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.due.retain(|(_, due)| due != name);
    }

    /// Looks at the node that is due first, and at no other: between two of them there must be time to hear
    /// who has spoken meanwhile.
    async fn on_due(&mut self) {
        if let Some((_, name)) = self.due.pop_first() {
            self.look_at(&name).await;
        }
    }

    /// Decides about one node, writes what is decided, and notes when to look again.
    async fn look_at(&mut self, name: &str) {
        let Some(watched) = self.known.get(name) else {
            return;
        };
        let grace = self.settings.grace_period;
        let silence = watched.seen_at.elapsed();
        let decision = decide(&watched.node, silence >= grace, Timestamp::now());
        let result = self.carry_out(name, &decision).await;
        let pause = match result {
            Ok(()) if silence >= grace => grace,
            Ok(()) => grace.saturating_sub(silence),
            // The watch brings the newer node, which is looked at then.
            Err(error) if is_outdated(&error) => grace,
            Err(error) => {
                tracing::warn!(node = name, %error, "a node's condition could not be written");
                Duration::from_secs(1)
            }
        };
        self.due.retain(|(_, due)| due != name);
        self.due.insert((
            Instant::now() + pause.max(Duration::from_millis(50)),
            name.to_owned(),
        ));
    }

    async fn carry_out(&self, name: &str, decision: &NodeDecision) -> Result<(), kube::Error> {
        let Some(watched) = self.known.get(name) else {
            return Ok(());
        };
        let mut version = watched.node.resource_version();
        if let Some(conditions) = &decision.conditions {
            tracing::info!(node = name, "a node has fallen silent");
            let mut node = watched.node.clone();
            node.status.get_or_insert_default().conditions = Some(conditions.clone());
            let written = self
                .nodes
                .replace_status(name, &PostParams::default(), &node)
                .await?;
            version = written.resource_version();
            self.announce(&watched.node).await;
        }
        if let Some(taints) = &decision.taints {
            let patch = json!({
                "metadata": { "resourceVersion": version },
                "spec": { "taints": taints },
            });
            self.nodes
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        Ok(())
    }

    /// Tells of a silence once; that nobody can be told changes nothing about it.
    async fn announce(&self, node: &Node) {
        let event = announce::not_ready(node, Timestamp::now());
        let told = self
            .announcements
            .create(&PostParams::default(), &event)
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, "an event could not be written");
        }
    }
}

fn ready_heartbeat(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    ready.last_heartbeat_time.as_ref().map(|at| at.0)
}

/// The pause that upstream leaves before it believes a fresh node without any condition to be lost.
pub(crate) const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::client;

    #[tokio::test]
    async fn between_two_lost_nodes_others_are_heard() {
        let (client, _) = client(|_| None);
        let mut lifecycle = Lifecycle {
            announcements: Api::namespaced(client.clone(), announce::EVENT_NAMESPACE),
            nodes: Api::all(client),
            settings: NodeLifecycleSettings::default(),
            known: HashMap::new(),
            renewals: HashMap::new(),
            due: BTreeSet::new(),
        };
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            let mut node = Node::default();
            node.metadata.name = Some(name.to_owned());
            let watched = Watched {
                node,
                seen_at: now,
                heartbeat: None,
            };
            lifecycle.known.insert(name.to_owned(), watched);
            lifecycle.due.insert((now, name.to_owned()));
        }
        lifecycle.on_due().await;
        let still_due: Vec<&str> = lifecycle
            .due
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, name)| name.as_str())
            .collect();
        assert_eq!(still_due, ["b", "c"]);
        assert_eq!(lifecycle.due.len(), 3);
    }
}

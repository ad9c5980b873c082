//! Joining control-plane nodes go one after the other: whoever holds the Lease kube-system/muster-control-plane-join
//! may change the etcds; the others wait for their turn.
//!
//! The holder renews the Lease while it joins. A Lease that is no longer renewed is adopted, judged by how long it has
//! not changed here and not by the other machine's clock. A second process on the same node takes its own Lease over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_net::ApiError;
use muster_saga::Failure;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cluster::Administrator;

/// How long a turn lasts that is not renewed.
const LIFE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(4);
/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait for one's turn: a few joins that take all their time.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// How long a turn may not be to be had because the API does not answer.
const API_PATIENCE: Duration = Duration::from_secs(60);

/// A turn that is held and renewed until it is given back or dropped.
#[derive(Debug)]
pub(super) struct Turn {
    administrator: Arc<dyn Administrator>,
    path: String,
    holder: String,
    renewal: JoinHandle<()>,
}

/// Says who is waited for, once for each.
pub(super) type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

fn path(lease: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{lease}")
}

fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn spec(holder: &str, transitions: u64) -> Value {
    let now = micro(Timestamp::now());
    json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": LIFE.as_secs(),
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": transitions,
    })
}

fn holder_of(lease: &Value) -> &str {
    lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What has to stay the same for a Lease to be stale.
fn version_of(lease: &Value) -> String {
    lease
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn life_of(lease: &Value) -> Duration {
    let seconds = lease
        .pointer("/spec/leaseDurationSeconds")
        .and_then(Value::as_u64)
        .unwrap_or(LIFE.as_secs());
    Duration::from_secs(seconds.clamp(1, 300))
}

impl Turn {
    /// Waits for the turn and takes it.
    pub(super) async fn take(
        administrator: Arc<dyn Administrator>,
        lease: &str,
        holder: &str,
        tell: Tell<'_>,
    ) -> Result<Self, Failure> {
        let path = path(lease);
        let mut waiting = Waiting::default();
        let begun = Instant::now();
        loop {
            let obstacle = match attempt(&*administrator, &path, lease, holder, &mut waiting).await
            {
                Ok(Attempt::Taken) => break,
                Ok(Attempt::HeldBy(other)) => {
                    waiting.api_trouble = None;
                    waiting.name(&other, tell);
                    format!("node {other} is still joining the control plane")
                }
                Err(error) => {
                    let since = *waiting.api_trouble.get_or_insert_with(Instant::now);
                    let message = format!("the Lease kube-system/{lease} cannot be had: {error}");
                    if error.is_forbidden() || since.elapsed() >= API_PATIENCE {
                        return Err(busy(message));
                    }
                    message
                }
            };
            if begun.elapsed() >= PATIENCE {
                return Err(busy(obstacle));
            }
            sleep(LOOK).await;
        }
        let renewal = tokio::spawn(renew(
            Arc::clone(&administrator),
            path.clone(),
            holder.to_owned(),
        ));
        Ok(Self {
            administrator,
            path,
            holder: holder.to_owned(),
            renewal,
        })
    }

    /// Gives the turn back, so that nobody waits for it to become stale.
    pub(super) async fn give_back(self) {
        self.renewal.abort();
        give_back(&*self.administrator, &self.path, &self.holder).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Gives back a turn that this node may hold from an earlier process.
pub(super) async fn give_back_former(administrator: &dyn Administrator, lease: &str, holder: &str) {
    give_back(administrator, &path(lease), holder).await;
}

/// Deletes the Lease if it is still ours. A refusal costs the next one a few seconds and nothing else.
async fn give_back(administrator: &dyn Administrator, path: &str, holder: &str) {
    let Ok(lease) = administrator.get(path).await else {
        return;
    };
    if holder_of(&lease) != holder {
        return;
    }
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"resourceVersion": version_of(&lease)},
    });
    if let Err(error) = administrator.delete(path, Some(&options)).await {
        tracing::debug!(%error, "the turn was not given back");
    }
}

enum Attempt {
    Taken,
    HeldBy(String),
}

#[derive(Default)]
struct Waiting {
    /// The Lease's version and since when it has not changed.
    seen: Option<(String, Instant)>,
    told: String,
    api_trouble: Option<Instant>,
}

impl Waiting {
    fn name(&mut self, other: &str, tell: Tell<'_>) {
        if self.told != other {
            self.told = other.to_owned();
            tell(other);
        }
    }

    /// Whether the Lease has not changed for its own life.
    fn is_stale(&mut self, lease: &Value) -> bool {
        let version = version_of(lease);
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() >= life_of(lease),
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }
}

async fn attempt(
    administrator: &dyn Administrator,
    path: &str,
    name: &str,
    holder: &str,
    waiting: &mut Waiting,
) -> Result<Attempt, ApiError> {
    let lease = match administrator.get(path).await {
        Ok(lease) => lease,
        Err(error) if error.is_not_found() => {
            let object = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-system"},
                "spec": spec(holder, 0),
            });
            let collection = path
                .rsplit_once('/')
                .map_or(path, |(collection, _)| collection);
            return match administrator.create(collection, &object).await {
                Ok(_) => Ok(Attempt::Taken),
                // Somebody was faster: look again.
                Err(error) if error.is_already_exists() => {
                    Ok(Attempt::HeldBy(waiting.told.clone()))
                }
                Err(error) => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    let other = holder_of(&lease).to_owned();
    if !other.is_empty() && other != holder && !waiting.is_stale(&lease) {
        return Ok(Attempt::HeldBy(other));
    }
    let transitions = lease
        .pointer("/spec/leaseTransitions")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let mut taken = lease.clone();
    taken["spec"] = spec(holder, transitions.saturating_add(1));
    match administrator.replace(path, &taken).await {
        Ok(_) => Ok(Attempt::Taken),
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(Attempt::HeldBy(other)),
        Err(error) => Err(error),
    }
}

async fn renew(administrator: Arc<dyn Administrator>, path: String, holder: String) {
    loop {
        sleep(RENEWAL).await;
        let Ok(mut lease) = administrator.get(&path).await else {
            continue;
        };
        if holder_of(&lease) != holder {
            // Somebody took it for stale. What is under way is idempotent; etcd itself keeps the order now.
            return;
        }
        lease["spec"]["renewTime"] = Value::from(micro(Timestamp::now()));
        if let Err(error) = administrator.replace(&path, &lease).await {
            tracing::debug!(%error, "the turn was not renewed");
        }
    }
}

fn busy(message: String) -> Failure {
    Failure {
        id: "control-plane-busy".into(),
        message,
        remedy: Some("Join again when no other control-plane node is joining; the Lease goes by itself when its holder has gone.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(version: &str, seconds: u64) -> Value {
        json!({
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": "n2", "leaseDurationSeconds": seconds, "renewTime": "2001-01-01T00:00:00.000000Z"},
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_adopted_only_after_it_stood_still_here_for_its_own_life() {
        let mut waiting = Waiting::default();
        // However old its holder's clock says it is: what counts is what is seen here.
        assert!(!waiting.is_stale(&lease("7", 15)));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(!waiting.is_stale(&lease("7", 15)));
        // Renewed: the wait begins again.
        assert!(!waiting.is_stale(&lease("8", 15)));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(!waiting.is_stale(&lease("8", 15)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(waiting.is_stale(&lease("8", 15)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_nobody_would_live_to_see_is_cut_short() {
        assert_eq!(life_of(&lease("1", 0)), Duration::from_secs(1));
        assert_eq!(life_of(&lease("1", u64::MAX)), Duration::from_secs(300));
        assert_eq!(life_of(&json!({})), LIFE);
        let mut waiting = Waiting::default();
        assert!(!waiting.is_stale(&lease("1", u64::MAX)));
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(waiting.is_stale(&lease("1", u64::MAX)));
    }
}

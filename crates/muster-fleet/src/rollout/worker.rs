//! One stage of one host, done or taken back: what stands behind the coordinator's effects.
//!
//! It decides nothing about other hosts, attempts or time: it does what it is asked and says how it went.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_identity::TokenId;
use muster_rollout::fleet_file::{Fleet, HostSpec, Provider, Until};
use muster_rollout::{HostIndex, Receipt, Stage, StageFailure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::access::Api;
use super::checks;
use super::fault::{self, ids};
use super::lease::{LeaseError, Leases, Taken};
use super::machines::{Connections, Made, Provisioner};
use super::method::{Binaries, Seen, Site};
use super::nodes::Nodes;
use super::token::Admission;

/// The name of a host's Lease.
pub(crate) fn host_lease(name: &str) -> String {
    format!("muster-host-{name}")
}

/// What a stage works with besides the host.
pub(crate) struct Worker {
    pub(crate) run: String,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) api: Arc<dyn Api>,
    pub(crate) nodes: Nodes,
    pub(crate) leases: Leases,
    pub(crate) connections: Connections,
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) binaries: Binaries,
    pub(crate) admissions: Mutex<HashMap<TokenId, Arc<Admission>>>,
    /// Hosts that this process began to reach and has never reached, and since when: nothing was done on them.
    pub(crate) unreached: Mutex<HashMap<u32, Instant>>,
}

/// How often what may pass by itself is tried on a host, unless the API server asks for patience.
const MOST_ATTEMPTS: u32 = 6;

/// One thing to do.
pub(crate) struct Task {
    pub(crate) index: HostIndex,
    pub(crate) stage: Stage,
    pub(crate) attempt: u32,
    pub(crate) limit: Duration,
    pub(crate) token: Option<TokenId>,
    /// What earlier stages of the host gave.
    pub(crate) made: Option<Receipt>,
    pub(crate) seen: Option<Receipt>,
}

/// Takes in what a host is doing.
pub(crate) type Say = Arc<dyn Fn(String) + Send + Sync>;

fn read<T: serde::de::DeserializeOwned + Default>(receipt: Option<&Receipt>) -> T {
    receipt
        .and_then(|receipt| serde_json::from_value(receipt.clone()).ok())
        .unwrap_or_default()
}

fn write(value: &impl serde::Serialize) -> Receipt {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

impl Worker {
    fn host(&self, index: HostIndex) -> Result<&HostSpec, StageFailure> {
        self.fleet.hosts.get(index.as_usize()).ok_or_else(|| {
            StageFailure::terminal(
                ids::ACCESS,
                "the fleet has no such host: it is not the one of the run",
            )
        })
    }

    async fn site(&self, task: &Task) -> Result<Site, StageFailure> {
        let host = self.host(task.index)?;
        let made: Made = read(task.made.as_ref());
        let machine = self
            .connections
            .get(task.index.0, host, made.address.as_deref())
            .await?;
        self.unreached.lock().remove(&task.index.0);
        Ok(Site {
            run: self.run.clone(),
            host: host.clone(),
            machine,
            binaries: self.binaries.clone(),
        })
    }

    /// Does a stage.
    pub(crate) async fn perform(&self, task: Task, say: Say) -> Result<Receipt, StageFailure> {
        if task.stage == Stage::Prepare && task.attempt == 1 {
            self.unreached.lock().insert(task.index.0, Instant::now());
        }
        let result = match task.stage {
            Stage::Provision => self.provision(&task, &say).await,
            Stage::Lock => self.lock(&task, &say).await,
            Stage::Prepare => self.prepare(&task, &say).await,
            Stage::Join => self.join(&task, &say).await,
            Stage::Ready => self.ready(&task, &say).await,
        };
        self.let_go_of_broken(task.index, result.as_ref().err());
        result.map_err(|failure| self.patience(&task, failure))
    }

    /// What may pass by itself is not tried for ever: a machine that is down fails in about twice the time that reaching
    /// one may take.
    fn patience(&self, task: &Task, failure: StageFailure) -> StageFailure {
        let limit = self.fleet.timeouts.connect.saturating_mul(2);
        let since = self
            .unreached
            .lock()
            .get(&task.index.0)
            .map(Instant::elapsed);
        let given_up = match task.stage {
            Stage::Prepare => {
                since.is_some_and(|since| since >= limit) || task.attempt >= 4 * MOST_ATTEMPTS
            }
            Stage::Join => task.attempt >= MOST_ATTEMPTS && fault::crowded(&failure).is_none(),
            Stage::Provision | Stage::Lock | Stage::Ready => false,
        };
        StageFailure {
            transient: failure.transient && !given_up,
            ..failure
        }
    }

    /// Takes a stage back, however far it got.
    pub(crate) async fn undo(&self, task: Task, say: Say) -> Result<(), StageFailure> {
        let result = match task.stage {
            Stage::Provision => self.destroy(&task).await,
            Stage::Lock => self.unlock(&task).await,
            // Nothing was done on a host that was never reached.
            Stage::Prepare if self.unreached.lock().contains_key(&task.index.0) => Ok(()),
            Stage::Prepare => match self.site(&task).await {
                Ok(site) => site.unprepare().await,
                Err(failure) => Err(failure),
            },
            Stage::Join => self.unjoin(&task, &say).await,
            Stage::Ready => Ok(()),
        };
        self.let_go_of_broken(task.index, result.as_ref().err());
        // What was only brought there is not waited for as long as a join that must be taken back.
        let given_up = task.stage == Stage::Prepare && task.attempt >= MOST_ATTEMPTS;
        result.map_err(|failure| StageFailure {
            transient: failure.transient && !given_up,
            ..failure
        })
    }

    /// After a failure that may lie with the connection, the next attempt opens another one.
    fn let_go_of_broken(&self, index: HostIndex, failure: Option<&StageFailure>) {
        if failure.is_some_and(|failure| failure.transient || failure.id.starts_with("ssh-")) {
            self.connections.forget(index.0);
        }
    }

    async fn provision(&self, task: &Task, say: &Say) -> Result<Receipt, StageFailure> {
        let host = self.host(task.index)?;
        say("making the machine".to_owned());
        let tell = |phase: &str| say(phase.to_owned());
        let made = self.provisioner.create(host, &tell).await?;
        Ok(write(&made))
    }

    async fn destroy(&self, task: &Task) -> Result<(), StageFailure> {
        let host = self.host(task.index)?;
        self.connections.close(task.index.0).await;
        self.provisioner.destroy(host).await
    }

    async fn lock(&self, task: &Task, say: &Say) -> Result<Receipt, StageFailure> {
        let name = host_lease(self.host(task.index)?.name.as_str());
        match self.leases.take(&name).await {
            Ok(Taken::Free) => Ok(Value::Null),
            Ok(Taken::Adopted { from, .. }) => {
                say(format!("took over the expired Lease of {from}"));
                Ok(json!({"adoptedFrom": from}))
            }
            Err(error) => Err(lease_failure(&error)),
        }
    }

    async fn unlock(&self, task: &Task) -> Result<(), StageFailure> {
        let name = host_lease(self.host(task.index)?.name.as_str());
        self.connections.close(task.index.0).await;
        self.leases
            .give_up(&name)
            .await
            .map_err(|error| lease_failure(&error))
    }

    async fn prepare(&self, task: &Task, say: &Say) -> Result<Receipt, StageFailure> {
        let host = self.host(task.index)?;
        say("connecting".to_owned());
        let site = self.site(task).await?;
        say("looking at the host".to_owned());
        let seen = site.prepare().await?;
        let node = self.nodes.look(host.name.as_str()).await;
        let node = node.map_err(|error| fault::of_api("look for the Node", &error))?;
        match (seen.was_node, node) {
            // It may be another cluster's.
            (true, None) => Err(StageFailure::terminal(
                ids::JOINED_ELSEWHERE,
                format!("{} is a node already, and this cluster has no Node of that name", host.name),
            )
            .with_cure("take it out of its cluster first, on the host: muster reset, or the tool that joined it")),
            (false, Some(node)) if node.ready => Err(StageFailure::terminal(
                "node-name-taken",
                format!("a Ready node with the name {} is already in the cluster", host.name),
            )
            .with_cure(format!("choose another name, or remove the old node: kubectl delete node {}", host.name))),
            _ => Ok(write(&seen)),
        }
    }

    async fn join(&self, task: &Task, say: &Say) -> Result<Receipt, StageFailure> {
        let seen: Seen = read(task.seen.as_ref());
        if seen.was_node {
            say("it is a node already".to_owned());
            return Ok(Value::Null);
        }
        let admission = task
            .token
            .as_ref()
            .and_then(|id| self.admissions.lock().get(id).cloned());
        let admission = admission.ok_or_else(|| StageFailure {
            token_refused: true,
            ..StageFailure::transient(
                ids::TOKEN_NOT_MINTED,
                "the token of this join is not known here any more",
            )
        })?;
        let site = self.site(task).await?;
        let tell = |phase: &str| say(phase.to_owned());
        site.hooks(&site.host.settings.hooks.before_join, &tell)
            .await?;
        if task.attempt > 1 && site.begins_anew() {
            say("taking back what the attempt before left".to_owned());
            self.take_back(&site).await?;
        }
        site.join(&seen, &admission, task.limit, &tell).await?;
        Ok(Value::Null)
    }

    async fn unjoin(&self, task: &Task, say: &Say) -> Result<(), StageFailure> {
        let seen: Seen = read(task.seen.as_ref());
        if seen.was_node {
            return Ok(());
        }
        let host = self.host(task.index)?;
        say("resetting".to_owned());
        // A machine that goes as a whole needs no reset, and may be gone already.
        if matches!(host.settings.provider, Provider::None) || task.attempt == 1 {
            match self.site(task).await {
                Ok(site) => site.reset().await?,
                Err(failure) if matches!(host.settings.provider, Provider::None) => {
                    return Err(failure);
                }
                Err(_) => {}
            }
        }
        say("deleting the Node".to_owned());
        let deleted = self.nodes.delete(host.name.as_str()).await;
        deleted.map_err(|error| fault::of_api("delete the Node", &error))
    }

    /// The host first: a kubelet that runs would register its Node again.
    async fn take_back(&self, site: &Site) -> Result<(), StageFailure> {
        site.reset().await?;
        let deleted = self.nodes.delete(site.host.name.as_str()).await;
        deleted.map_err(|error| fault::of_api("delete the Node", &error))
    }

    async fn ready(&self, task: &Task, say: &Say) -> Result<Receipt, StageFailure> {
        let host = self.host(task.index)?;
        let name = host.name.as_str();
        let waits = {
            let say = Arc::clone(say);
            let last = Mutex::new(String::new());
            move |reason: &str| {
                let mut last = last.lock();
                if *last != reason {
                    reason.clone_into(&mut last);
                    say(format!("waiting: {reason}"));
                }
            }
        };
        let patience = task.limit.saturating_sub(Duration::from_secs(1));
        let why = Arc::new(Mutex::new(String::new()));
        let waiting = async {
            let waits = |reason: &str| {
                reason.clone_into(&mut why.lock());
                waits(reason);
            };
            self.registered(name, &waits).await;
            self.label(host).await?;
            if self.fleet.readiness.until == Until::Ready {
                self.nodes.ready(name, &waits).await;
            }
            if self.fleet.readiness.serving_certificate {
                checks::serving_certificate(&*self.api, name, &waits).await;
            }
            if let Some(image) = &self.fleet.readiness.probe_pod {
                checks::probe_pod(&*self.api, &self.run, name, image, &waits).await?;
            }
            Ok(())
        };
        match timeout(patience, waiting).await {
            Ok(result) => result?,
            Err(_) => {
                let message = format!(
                    "the Node did not become ready within {} s: {}",
                    patience.as_secs(),
                    why.lock()
                );
                return Err(
                    StageFailure::terminal(ids::NODE_NOT_READY, message).with_cure(format!(
                        "kubectl describe node {name}; the kubelet's log on the host says more"
                    )),
                );
            }
        }
        if !host.settings.hooks.after_join.is_empty() {
            let site = self.site(task).await?;
            let tell = |phase: &str| say(phase.to_owned());
            site.hooks(&host.settings.hooks.after_join, &tell).await?;
        }
        Ok(Value::Null)
    }

    async fn registered(&self, name: &str, waits: &(dyn Fn(&str) + Send + Sync)) {
        let mut states = self.nodes.of(name);
        while states.borrow_and_update().is_none() {
            waits("the Node is not registered");
            if states.changed().await.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// What a node may not say of itself (NodeRestriction) is said by an administrator.
    async fn label(&self, host: &HostSpec) -> Result<(), StageFailure> {
        let labels = host
            .settings
            .labels
            .iter()
            .filter(|(key, _)| !muster_plan::may_node_set(key));
        let labels: Vec<(String, String)> = labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if labels.is_empty() {
            return Ok(());
        }
        let done = self.nodes.label(host.name.as_str(), &labels).await;
        done.map_err(|error| fault::of_api("label the Node", &error))
    }
}

fn lease_failure(error: &LeaseError) -> StageFailure {
    match error {
        LeaseError::Held { stands, .. } => StageFailure {
            retry_after: Some((*stands).min(Duration::from_secs(5))),
            ..StageFailure::transient(ids::HOST_LOCKED, error.to_string())
        }
        .with_cure(
            "another run works on this host: wait for it, or stop it; its Lease then expires",
        ),
        LeaseError::Api { source, .. } => fault::of_api("take the Lease", source),
    }
}

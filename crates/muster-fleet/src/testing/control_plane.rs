//! The simulated cluster's control plane: what the administrator on a machine can do to objects, what the etcds do, and
//! which components run. Every change is an operation before and after which the machine's power may go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_handshake::HandshakeError;
use muster_host::Host;
use muster_host::sim::Entry;
use muster_identity::Kubeconfig;
use muster_net::etcd::{Added, Departure, Member, MemberHealth, Refusal, Verdict, may_leave};
use muster_net::{ApiError, EtcdError};
use muster_plan::ComponentHealth;
use muster_saga::Failure;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::SimCluster;
use super::cluster::Inside;
use super::objects::refusal;
use crate::cluster::{Administrator, ControlPlane, EtcdAccess, Etcds, etcd_failure, missing_file};
use crate::run::{CONFIGURATION, ETCD_PODS};

const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const PAUSE: Duration = Duration::from_millis(500);

/// Something that a control plane can be told to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Showing the shared certificates.
    ShareCertificates,
    /// Giving somebody the turn.
    TakeTurn,
    /// Saying how etcd is.
    EtcdHealth,
    /// Taking in a member.
    AddLearner,
    /// Giving it its vote.
    Promote,
    /// Taking it out.
    RemoveMember,
    /// Labels and taints.
    Mark,
    /// Taking them away.
    Unmark,
    /// Saying that a component is well.
    Components,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ShareCertificates,
        Self::TakeTurn,
        Self::EtcdHealth,
        Self::AddLearner,
        Self::Promote,
        Self::RemoveMember,
        Self::Mark,
        Self::Unmark,
        Self::Components,
    ];
}

/// Everything that a control-plane join may change in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// Nodes, and whether they are Ready.
    pub nodes: BTreeMap<String, bool>,
    /// Objects by path.
    pub objects: BTreeMap<String, Value>,
    /// Members of etcd: name, peer URL, whether it votes, whether it is well.
    pub members: Vec<(String, String, bool, bool)>,
}

/// Why a simulated change did not come about, or nobody heard that it did.
enum Trouble {
    Off,
    Refused,
}

impl SimCluster {
    /// Publishes a ClusterConfiguration.
    pub fn configure(&self, text: &str) {
        let object = json!({
            "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
            "data": {"ClusterConfiguration": text},
        });
        self.inside.lock().objects.put(CONFIGURATION, object);
    }

    /// Publishes the Secret with shared certificates.
    pub fn share(&self, secret: Value) {
        self.inside.lock().shared = Some(secret);
    }

    /// An etcd that runs elsewhere: its name and address.
    pub fn put_etcd(&self, name: &str, host: &str) {
        self.inside.lock().etcds.put(name, host);
    }

    /// Lets an etcd elsewhere die or come back.
    pub fn etcd_lives(&self, name: &str, alive: bool) {
        self.inside.lock().etcds.live(name, alive);
    }

    /// Takes an etcd elsewhere out of the cluster.
    pub fn etcd_departs(&self, name: &str) {
        self.inside.lock().etcds.depart(name);
    }

    /// Lets the Lease of the turn belong to a node that is no more.
    pub fn turn_of(&self, holder: &str) {
        let lease = json!({
            "metadata": {"name": muster_plan::TURN, "namespace": "kube-system"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4},
        });
        let path = format!("{LEASES}/{}", muster_plan::TURN);
        self.inside.lock().objects.put(&path, lease);
    }

    /// Refuses a deed from now on: before anything was done, or after. `None` no longer.
    pub fn refuse(&self, deed: Deed, after_deed: Option<bool>) {
        let mut inside = self.inside.lock();
        match after_deed {
            Some(after) => inside.refused.insert(deed, after),
            None => inside.refused.remove(&deed),
        };
    }

    /// Everything that a control-plane join may change.
    #[must_use]
    pub fn state(&self) -> ClusterState {
        let mut inside = self.inside.lock();
        inside.run_pods();
        let member = |one: MemberHealth| {
            let url = one.member.peer_urls.first().cloned().unwrap_or_default();
            let votes = !one.member.is_learner;
            (one.member.name, url, votes, one.state.is_ok())
        };
        ClusterState {
            nodes: inside.nodes.clone(),
            objects: inside.objects.timeless(),
            members: inside.etcds.health().into_iter().map(member).collect(),
        }
    }

    fn refuses(&self, deed: Deed, after_deed: bool) -> bool {
        self.inside.lock().refused.get(&deed) == Some(&after_deed)
    }

    /// Makes a change in the cluster, unless the power goes before it; its answer may be lost with the power.
    fn change<T>(&self, deed: Deed, act: impl FnOnce(&mut Inside) -> T) -> Result<T, Trouble> {
        if self.refuses(deed, false) {
            return Err(Trouble::Refused);
        }
        if !self.host.counts() {
            return Err(Trouble::Off);
        }
        let done = act(&mut self.inside.lock());
        if !self.host.counts() {
            return Err(Trouble::Off);
        }
        if self.refuses(deed, true) {
            return Err(Trouble::Refused);
        }
        Ok(done)
    }

    fn change_object(
        &self,
        deed: Deed,
        act: impl FnOnce(&mut Inside) -> Result<Value, ApiError>,
    ) -> Result<Value, ApiError> {
        match self.change(deed, act) {
            Ok(answer) => answer,
            Err(Trouble::Off) => Err(no_answer()),
            Err(Trouble::Refused) => Err(refusal(500, "InternalError", "made to fail")),
        }
    }
}

fn no_answer() -> ApiError {
    ApiError::Transport {
        error: HandshakeError::ServerError {
            what: "answer".into(),
            status: 0,
            reason: String::new(),
            message: "the power is off".into(),
        },
        unsent: false,
    }
}

#[async_trait]
impl ControlPlane for SimCluster {
    async fn administrator(
        &self,
        host: &dyn Host,
    ) -> Result<Option<Arc<dyn Administrator>>, Failure> {
        let text = host.read(ADMIN_CONF).await;
        let Some(text) = text.map_err(|error| error.to_failure())? else {
            return Ok(None);
        };
        let conf = Kubeconfig::parse(text.expose()).and_then(|conf| conf.resolve());
        conf.map_err(|error| Failure {
            id: "certificate-unusable".into(),
            message: error.to_string(),
            remedy: None,
        })?;
        Ok(Some(Arc::new(self.clone())))
    }

    async fn etcds(&self, host: &dyn Host, access: &EtcdAccess) -> Result<Box<dyn Etcds>, Failure> {
        for path in [&access.ca, &access.certificate, &access.key] {
            let found = host.read(path).await;
            let found = found.map_err(|error| error.to_failure())?;
            found.ok_or_else(|| missing_file(path))?;
        }
        if access.endpoints.is_empty() {
            return Err(etcd_failure(&EtcdError::NoEndpoint));
        }
        Ok(Box::new(SimEtcdClient {
            cluster: self.clone(),
            endpoints: access.endpoints.clone(),
        }))
    }

    async fn component(&self, _host: &dyn Host, component: &ComponentHealth) -> Result<(), String> {
        let path = format!("/etc/kubernetes/manifests/{}.yaml", component.name);
        let there = self.host.with_world(|world| {
            matches!(world.tree.get(&path), Some(Entry::File { content, .. }) if content.ends_with(b"status: {}\n"))
        });
        if self.host.is_off() || !self.host.kubelet_runs() || !there {
            return Err("it does not run".into());
        }
        if self.refuses(Deed::Components, false) || self.refuses(Deed::Components, true) {
            return Err("made to fail".into());
        }
        Ok(())
    }
}

#[async_trait]
impl Administrator for SimCluster {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        if self.host.is_off() {
            return Err(no_answer());
        }
        let mut inside = self.inside.lock();
        if path != ETCD_PODS {
            return inside.objects.get(path);
        }
        inside.run_pods();
        let running = inside.etcds.health().into_iter();
        let running = running.filter(|one| one.member.has_started());
        let pods: Vec<Value> = running
            .map(|one| {
                json!({"metadata": {
                    "name": format!("etcd-{}", one.member.name),
                    "annotations": {"kubeadm.kubernetes.io/etcd.advertise-client-urls": one.member.client_urls[0]},
                }})
            })
            .collect();
        Ok(json!({"items": pods}))
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.change_object(Deed::TakeTurn, |inside| inside.objects.create(path, object))
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.change_object(Deed::TakeTurn, |inside| {
            inside.objects.replace(path, object)
        })
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        let labels = patch.pointer("/metadata/labels").and_then(Value::as_object);
        let gives = labels.is_some_and(|labels| labels.values().any(Value::is_string));
        let deed = if gives { Deed::Mark } else { Deed::Unmark };
        self.change_object(deed, |inside| inside.objects.merge(path, patch))
    }

    async fn delete(&self, path: &str, options: Option<&Value>) -> Result<(), ApiError> {
        // Never refused: what comes after a turn that was not given back is another's patience.
        if !self.host.counts() {
            return Err(no_answer());
        }
        let mut inside = self.inside.lock();
        inside.objects.delete(path, options)?;
        if let Some(node) = path.strip_prefix("/api/v1/nodes/") {
            inside.nodes.remove(node);
        }
        Ok(())
    }
}

impl std::fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimCluster")
    }
}

/// A client of the simulated etcds.
struct SimEtcdClient {
    cluster: SimCluster,
    endpoints: Vec<String>,
}

impl SimEtcdClient {
    fn unreachable(&self) -> EtcdError {
        let silent = self.endpoints.iter();
        EtcdError::Unreachable {
            members: silent
                .map(|url| (url.clone(), "no answer".to_owned()))
                .collect(),
        }
    }

    /// How all are, as a quorum agrees; tried until the limit.
    async fn seen(&mut self, deadline: Instant) -> Result<Vec<MemberHealth>, EtcdError> {
        loop {
            if self.cluster.host.is_off() {
                return Err(self.unreachable());
            }
            {
                let mut inside = self.cluster.inside.lock();
                inside.run_pods();
                if inside.etcds.has_quorum() && inside.etcds.answers(&self.endpoints) {
                    let members = inside.etcds.members();
                    let voters = members.iter().filter(|member| !member.is_learner);
                    self.endpoints = voters.flat_map(|one| one.client_urls.clone()).collect();
                    return Ok(inside.etcds.health());
                }
            }
            self.hold(deadline, || self.unreachable()).await?;
        }
    }

    async fn hold(
        &self,
        deadline: Instant,
        error: impl FnOnce() -> EtcdError,
    ) -> Result<(), EtcdError> {
        if Instant::now() >= deadline || self.cluster.host.is_off() {
            return Err(error());
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn change<T>(
        &self,
        deed: Deed,
        call: &'static str,
        act: impl FnOnce(&mut Inside) -> T,
    ) -> Result<T, EtcdError> {
        self.cluster
            .change(deed, act)
            .map_err(|trouble| match trouble {
                Trouble::Off => self.unreachable(),
                Trouble::Refused => EtcdError::Refused {
                    call,
                    refusal: Refusal::Other,
                    message: "made to fail".into(),
                },
            })
    }
}

fn at(health: &[MemberHealth], peer_url: &str) -> Option<Member> {
    let found = health
        .iter()
        .find(|one| one.member.peer_urls.iter().any(|url| url == peer_url));
    found.map(|one| one.member.clone())
}

#[async_trait]
impl Etcds for SimEtcdClient {
    async fn members(&mut self, limit: Duration) -> Result<Vec<Member>, EtcdError> {
        let health = self.seen(Instant::now() + limit).await?;
        Ok(health.into_iter().map(|one| one.member).collect())
    }

    async fn await_health(
        &mut self,
        peer_url: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<MemberHealth>, EtcdError> {
        let deadline = Instant::now() + limit;
        loop {
            let health = self.seen(deadline).await?;
            let own = peer_url.is_none_or(|url| {
                health.iter().any(|one| {
                    one.state.is_ok() && one.member.peer_urls.iter().any(|known| known == url)
                })
            });
            let refused = self.cluster.refuses(Deed::EtcdHealth, false)
                || self.cluster.refuses(Deed::EtcdHealth, true);
            if own && !refused {
                return Ok(health);
            }
            self.hold(deadline, || self.unreachable()).await?;
        }
    }

    async fn add_learner(&mut self, peer_url: &str, limit: Duration) -> Result<Added, EtcdError> {
        let deadline = Instant::now() + limit;
        loop {
            let health = self.seen(deadline).await?;
            let members = || health.iter().map(|one| one.member.clone()).collect();
            if let Some(found) = at(&health, peer_url) {
                return Ok(Added {
                    id: found.id,
                    members: members(),
                    already: true,
                });
            }
            if self.cluster.inside.lock().etcds.has_learner() {
                self.hold(deadline, || self.unreachable()).await?;
                continue;
            }
            let call = "take in the new member";
            return self.change(Deed::AddLearner, call, |inside| Added {
                id: inside.etcds.add_learner(peer_url),
                members: inside.etcds.members(),
                already: false,
            });
        }
    }

    async fn promote(&mut self, id: u64, limit: Duration) -> Result<(), EtcdError> {
        let deadline = Instant::now() + limit;
        loop {
            let health = self.seen(deadline).await?;
            let own = health.iter().find(|one| one.member.id == id);
            let Some(own) = own else {
                return Err(EtcdError::NoMember {
                    member: format!("{id:x}"),
                });
            };
            if !own.member.is_learner {
                return Ok(());
            }
            if self.cluster.inside.lock().etcds.caught_up(id) {
                let call = "give the new member its vote";
                return self.change(Deed::Promote, call, |inside| inside.etcds.promote(id));
            }
            self.hold(deadline, || self.unreachable()).await?;
        }
    }

    async fn remove(&mut self, peer_url: &str, limit: Duration) -> Result<Departure, EtcdError> {
        let health = self.seen(Instant::now() + limit).await?;
        match may_leave(&health, peer_url) {
            Verdict::Gone => Ok(Departure::Gone),
            Verdict::Last => Ok(Departure::Last),
            Verdict::Remove { id } => {
                let call = "remove the member";
                self.change(Deed::RemoveMember, call, |inside| inside.etcds.remove(id))?;
                Ok(Departure::Removed)
            }
            Verdict::LosesQuorum {
                healthy,
                needed,
                silent,
            } => Err(EtcdError::WouldLoseQuorum {
                name: peer_url.to_owned(),
                healthy,
                needed,
                dead: silent,
            }),
        }
    }
}

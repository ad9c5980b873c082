//! The steps of a control-plane join on the cluster: shared certificates, the turn, etcd's members, marks, health.

use std::time::Duration;

use muster_identity::{CertificateBundle, PrivateKey};
use muster_kubeadm::Blueprint;
use muster_kubeadm::blueprint::Etcd;
use muster_kubeadm::manifests::{StaticPod, initial_cluster};
use muster_kubeadm::shared_certs::{CertificateKey, SharedCerts, SharedCertsError};
use muster_net::etcd::{EtcdClient, EtcdError, Member};
use muster_net::tls::ClientCertificate;
use muster_plan::{Step, StepContent};
use muster_saga::{Driver, Failure, Residue};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::turn::{Turn, give_back_former};
use super::{Run, damaged, to_value};
use crate::Event;
use crate::cluster::{Administration, MarksBefore};

/// How long an undo waits for etcd: the cluster may be gone.
const UNDO_LIMIT: Duration = Duration::from_secs(30);

/// What a control-plane join holds in memory.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    /// Opens the shared certificates.
    pub(crate) certificate_key: Option<CertificateKey>,
    shared: Mutex<Option<SharedCerts>>,
    turn: tokio::sync::Mutex<Option<Turn>>,
}

impl Plane {
    /// With the key of the shared certificates, if there is one.
    pub(crate) fn new(certificate_key: Option<CertificateKey>) -> Self {
        Self {
            certificate_key,
            ..Self::default()
        }
    }
}

/// A member that was added, as the journal remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learner {
    /// etcd's id of it; texts, as JSON has no such numbers.
    id: String,
    /// The text of `--initial-cluster`.
    pub(super) members: String,
}

/// What was known of the member before it was added or promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "member", rename_all = "kebab-case")]
enum MemberBefore {
    Absent,
    Present,
}

fn fail(id: &str, message: impl Into<String>, remedy: &str) -> Failure {
    Failure {
        id: id.into(),
        message: message.into(),
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    }
}

fn etcd_failure(error: &EtcdError) -> Failure {
    let (id, remedy) = match error {
        EtcdError::Refused { .. } | EtcdError::NoMember { .. } => (
            "etcd-refused",
            "Look at the members of etcd (`etcdctl member list`) and at its log.",
        ),
        EtcdError::WouldLoseQuorum { .. } => (
            "etcd-refused",
            "Bring the members back that do not answer, or remove them, and try again.",
        ),
        EtcdError::Tls(_) => (
            "certificate-unusable",
            "See that the certificates below pki/etcd are of this cluster.",
        ),
        EtcdError::NoEndpoint | EtcdError::Unreachable { .. } | EtcdError::TimedOut { .. } => (
            "etcd-unhealthy",
            "Mend the members that are named, or remove them (`etcdctl member remove`), and join again.",
        ),
    };
    fail(id, error.to_string(), remedy)
}

/// The plan's blueprint, from the journal.
pub(super) fn blueprint(driver: &Driver) -> Option<Blueprint> {
    let steps = driver.state()?.header().definition.steps();
    steps
        .iter()
        .find_map(|spec| match StepContent::of(spec).ok()?.step {
            Step::PrepareControlPlane { blueprint, .. } => Some(*blueprint),
            _ => None,
        })
}

/// A static pod of the plan that waits for the values of proxy variables.
pub(super) fn withheld_pod(driver: &Driver, component: StaticPod) -> Option<Value> {
    let steps = driver.state()?.header().definition.steps();
    steps
        .iter()
        .find_map(|spec| match StepContent::of(spec).ok()?.step {
            Step::PrepareControlPlane { mut pods, .. } => pods.remove(&component),
            _ => None,
        })
}

/// The members as they were when this one was added, and the manifest that waits for them.
pub(super) fn etcd_manifest(driver: &Driver) -> Option<String> {
    let state = driver.state()?;
    let steps = state.header().definition.steps();
    let (spec, template) =
        steps
            .iter()
            .find_map(|spec| match StepContent::of(spec).ok()?.step {
                Step::AddEtcdLearner { template, .. } => Some((spec, template)),
                _ => None,
            })?;
    let receipt = state.step(&spec.id)?.receipt.clone()?;
    let learner: Learner = serde_json::from_value(receipt).ok()?;
    Some(muster_kubeadm::manifests::with_initial_cluster(
        &template,
        &learner.members,
    ))
}

fn members_text(members: &[Member], name: &str, peer_url: &str) -> String {
    let each: Vec<(String, String)> = members
        .iter()
        .filter_map(|member| {
            let url = member.peer_urls.first()?.clone();
            let own = member.peer_urls.iter().any(|known| known == peer_url);
            Some(if own {
                (name.to_owned(), peer_url.to_owned())
            } else {
                (member.display_name(), url)
            })
        })
        .collect();
    initial_cluster(each.iter().map(|(name, url)| (name.as_str(), url.as_str())))
}

impl Run<'_> {
    pub(super) async fn observe_control_plane(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        match step {
            Step::AddEtcdLearner { peer_url, .. } => {
                let members = self.etcd(driver).await?.members_within(UNDO_LIMIT).await;
                let members = members.map_err(|error| etcd_failure(&error))?;
                let there = members
                    .iter()
                    .any(|member| member.peer_urls.contains(peer_url));
                to_value(&if there {
                    MemberBefore::Present
                } else {
                    MemberBefore::Absent
                })
            }
            Step::MarkControlPlane { node_name, taints } => to_value(
                &self
                    .administration()
                    .await?
                    .marks_before(node_name, taints)
                    .await?,
            ),
            _ => Ok(Value::Null),
        }
    }

    pub(super) async fn perform_on_control_plane(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        match step {
            Step::PrepareControlPlane {
                blueprint,
                fetch: true,
                ..
            } => {
                self.fetch_shared(blueprint).await?;
            }
            Step::TakeTurn { .. } => self.take_turn(driver).await?,
            Step::ReleaseTurn { .. } => {
                if let Some(turn) = self.plane.turn.lock().await.take() {
                    turn.give_back().await;
                }
            }
            Step::AwaitEtcd { peer_url, seconds } => {
                self.take_turn(driver).await?;
                let limit = Duration::from_secs((*seconds).into());
                let health = self
                    .etcd(driver)
                    .await?
                    .await_health(peer_url.as_deref(), limit)
                    .await;
                let health = health.map_err(|error| etcd_failure(&error))?;
                for ailing in health.iter().filter(|one| one.state.is_err()) {
                    let reason = ailing.state.as_ref().err().cloned().unwrap_or_default();
                    tracing::warn!(
                        member = ailing.member.display_name(),
                        reason,
                        "an etcd member is not well"
                    );
                }
            }
            Step::AddEtcdLearner {
                name,
                peer_url,
                seconds,
                ..
            } => {
                self.take_turn(driver).await?;
                let limit = Duration::from_secs((*seconds).into());
                let added = self.etcd(driver).await?.add_learner(peer_url, limit).await;
                let added = added.map_err(|error| etcd_failure(&error))?;
                return to_value(&Learner {
                    id: format!("{:x}", added.id),
                    members: members_text(&added.members, name, peer_url),
                });
            }
            Step::PromoteEtcdMember {
                peer_url, seconds, ..
            } => {
                self.take_turn(driver).await?;
                let limit = Duration::from_secs((*seconds).into());
                let mut etcd = self.etcd(driver).await?;
                let members = etcd
                    .members_within(limit)
                    .await
                    .map_err(|error| etcd_failure(&error))?;
                let own = members
                    .iter()
                    .find(|member| member.peer_urls.contains(peer_url));
                let gone = || {
                    etcd_failure(&EtcdError::NoMember {
                        member: peer_url.clone(),
                    })
                };
                let id = own.ok_or_else(gone)?.id;
                etcd.promote(id, limit)
                    .await
                    .map_err(|error| etcd_failure(&error))?;
            }
            Step::MarkControlPlane { node_name, taints } => {
                self.administration().await?.mark(node_name, taints).await?;
            }
            Step::AwaitComponents {
                components,
                seconds,
            } => {
                let limit = Duration::from_secs((*seconds).into());
                super::component_health::await_all(self.host, components, limit).await?;
            }
            _ => {}
        }
        Ok(Value::Null)
    }

    pub(super) async fn undo_on_control_plane(
        &self,
        driver: &Driver,
        step: &Step,
        prior: &Value,
    ) -> Result<Vec<Residue>, Failure> {
        match step {
            Step::TakeTurn { lease, holder } => {
                match self.plane.turn.lock().await.take() {
                    Some(turn) => turn.give_back().await,
                    None => {
                        if let Some(administration) = Administration::of(self.host).await? {
                            give_back_former(&administration, lease, holder).await;
                        }
                    }
                }
                Ok(Vec::new())
            }
            // Whether it was there before is known from the step that added it.
            Step::PromoteEtcdMember { name, peer_url, .. } => {
                if member_before(driver, peer_url) == Some(MemberBefore::Present) {
                    return Ok(Vec::new());
                }
                self.remove_member(driver, name, peer_url).await
            }
            Step::AddEtcdLearner { name, peer_url, .. } => {
                let before: MemberBefore =
                    serde_json::from_value(prior.clone()).map_err(|error| damaged(&error))?;
                if before == MemberBefore::Present {
                    return Ok(Vec::new());
                }
                self.remove_member(driver, name, peer_url).await
            }
            Step::MarkControlPlane { node_name, taints } => {
                let before: MarksBefore =
                    serde_json::from_value(prior.clone()).map_err(|error| damaged(&error))?;
                match Administration::of(self.host).await? {
                    Some(administration) => {
                        administration.unmark(node_name, taints, &before).await?;
                        Ok(Vec::new())
                    }
                    None => Ok(vec![Residue {
                        what: format!("labels and taints of node {node_name}"),
                        why: "there is no admin.conf any more to take them away with".into(),
                        remedy: format!(
                            "kubectl label node {node_name} node-role.kubernetes.io/control-plane- node.kubernetes.io/exclude-from-external-load-balancers-"
                        ),
                    }]),
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Removes the member unless too few would be left to decide anything; then it stays and is named.
    async fn remove_member(
        &self,
        driver: &Driver,
        name: &str,
        peer_url: &str,
    ) -> Result<Vec<Residue>, Failure> {
        let stays = |why: String| {
            vec![Residue {
                what: format!("etcd member {name} ({peer_url})"),
                why,
                remedy: "etcdctl member list, then etcdctl member remove ID, on a control-plane node that stays".into(),
            }]
        };
        let mut etcd = match self.etcd(driver).await {
            Ok(etcd) => etcd,
            Err(failure) => return Ok(stays(failure.message)),
        };
        match etcd.remove(peer_url, UNDO_LIMIT).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Ok(stays(error.to_string())),
        }
    }

    /// A node may not delete its own Node object; the administrator on a control-plane node may.
    pub(super) async fn deleted_by_administrator(&self, node: &str) -> bool {
        let Ok(Some(administration)) = Administration::of(self.host).await else {
            return false;
        };
        let path = format!("/api/v1/nodes/{node}");
        match administration.call(http::Method::DELETE, &path, None).await {
            Ok(_) => true,
            Err(error) => error.is_not_found(),
        }
    }

    async fn administration(&self) -> Result<Administration, Failure> {
        Administration::of(self.host).await?.ok_or_else(|| {
            fail(
                "certificate-unusable",
                "there is no /etc/kubernetes/admin.conf on this node",
                "Copy it from another control-plane node, or join with --certificate-key.",
            )
        })
    }

    /// A client of the cluster's etcds, with the certificate for health checks that the join made.
    async fn etcd(&self, driver: &Driver) -> Result<EtcdClient, Failure> {
        let blueprint = blueprint(driver).ok_or_else(no_blueprint)?;
        if !matches!(blueprint.cluster.etcd, Etcd::Local(_)) {
            return Err(no_blueprint());
        }
        let endpoints = self.administration().await?.etcd_endpoints().await?;
        let file = |name: &'static str| blueprint.cluster.certificate_path(name);
        let ca = self.pki_file(&file("etcd/ca.crt")).await?;
        let chain = self.pki_file(&file("etcd/healthcheck-client.crt")).await?;
        let key = self.pki_file(&file("etcd/healthcheck-client.key")).await?;
        let unusable = |error: &dyn std::error::Error| {
            fail(
                "certificate-unusable",
                format!("the certificates for etcd cannot be used: {error}"),
                "",
            )
        };
        let ca = CertificateBundle::from_pem(&ca).map_err(|error| unusable(&error))?;
        let identity = ClientCertificate {
            chain: CertificateBundle::from_pem(&chain).map_err(|error| unusable(&error))?,
            key: PrivateKey::from_pem(&key).map_err(|error| unusable(&error))?,
        };
        EtcdClient::new(endpoints, &ca, &identity).map_err(|error| etcd_failure(&error))
    }

    /// A file below the directory of certificates, which must be there.
    pub(super) async fn pki_file(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let found = self
            .host
            .read(path)
            .await
            .map_err(|error| error.to_failure())?;
        let missing = || {
            fail(
                "certificate-unusable",
                format!("{path} is not on this node"),
                "Copy it from another control-plane node, or join with --certificate-key.",
            )
        };
        Ok(found.ok_or_else(missing)?.expose().clone())
    }

    /// The turn, taken if it is not held yet: also after a crash, when the journal says that it was.
    async fn take_turn(&self, driver: &Driver) -> Result<(), Failure> {
        let mut held = self.plane.turn.lock().await;
        if held.is_some() {
            return Ok(());
        }
        let Some((lease, holder)) = turn_of(driver) else {
            return Ok(());
        };
        let administration = self.administration().await?;
        let tell = |other: &str| {
            self.events.tell(Event::Waiting {
                node_name: self.node_name.clone(),
                reason: format!(
                    "node {other} is joining the control plane; it is our turn after it"
                ),
            });
        };
        *held = Some(Turn::take(administration, &lease, &holder, &tell).await?);
        Ok(())
    }

    /// The shared certificates, fetched once.
    pub(super) async fn shared(&self, driver: &Driver) -> Result<SharedCerts, Failure> {
        if let Some(shared) = self.plane.shared.lock().clone() {
            return Ok(shared);
        }
        let blueprint = blueprint(driver).ok_or_else(no_blueprint)?;
        self.fetch_shared(&blueprint).await
    }

    async fn fetch_shared(&self, blueprint: &Blueprint) -> Result<SharedCerts, Failure> {
        let again = "Upload them again on a control-plane node and join with the key that it prints: kubeadm init phase upload-certs --upload-certs";
        let key = self.plane.certificate_key.as_ref().ok_or_else(|| {
            fail(
                "certificate-key-wrong",
                "the certificate key is not at hand",
                "Give it again: --certificate-key.",
            )
        })?;
        let object = self.cluster.shared_certificates().await;
        let object = object.map_err(|error| super::cluster_steps::handshake_failure(&error))?;
        let object = object.ok_or_else(|| {
            fail(
                "shared-certificates-gone",
                "the Secret kube-system/kubeadm-certs is not there: uploaded certificates expire after two hours",
                again,
            )
        })?;
        let opened = SharedCerts::open(&object, key).and_then(|certs| {
            certs.require(&blueprint.cluster)?;
            Ok(certs)
        });
        let certs = opened.map_err(|error| {
            let id = match error {
                SharedCertsError::WrongKey => "certificate-key-wrong",
                _ => "shared-certificates-damaged",
            };
            fail(id, error.to_string(), again)
        })?;
        *self.plane.shared.lock() = Some(certs.clone());
        Ok(certs)
    }
}

fn no_blueprint() -> Failure {
    fail(
        "plan-unusable",
        "the journal does not say what the control plane is made of",
        "Take the join back with `muster reset` and join again.",
    )
}

fn turn_of(driver: &Driver) -> Option<(String, String)> {
    let steps = driver.state()?.header().definition.steps();
    steps
        .iter()
        .find_map(|spec| match StepContent::of(spec).ok()?.step {
            Step::TakeTurn { lease, holder } => Some((lease, holder)),
            _ => None,
        })
}

fn member_before(driver: &Driver, peer_url: &str) -> Option<MemberBefore> {
    let state = driver.state()?;
    let steps = state.header().definition.steps();
    let spec = steps.iter().find(|spec| {
        StepContent::of(spec).is_ok_and(|content| {
            matches!(&content.step, Step::AddEtcdLearner { peer_url: of, .. } if of == peer_url)
        })
    })?;
    let prior = state.step(&spec.id)?.prior.clone()?;
    serde_json::from_value(prior).ok()
}

//! The steps of a control-plane join on the cluster: which is done by whom. Shared certificates and the turn are here;
//! etcd's members, marks and health have files of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_kubeadm::Blueprint;
use muster_kubeadm::manifests::StaticPod;
use muster_kubeadm::shared_certs::{CertificateKey, SharedCerts, SharedCertsError};
use muster_plan::{Step, StepContent};
use muster_saga::{Driver, Failure, Residue, StepId, StepState};
use parking_lot::Mutex;
use serde_json::Value;

use super::membership::Farewell;
use super::turn::{Turn, give_back_former};
use super::{Run, component_health, damaged, marks, to_value};
use crate::Event;
use crate::cluster::{Administrator, missing_file};

/// What a control-plane join holds in memory.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    /// Opens the shared certificates.
    pub(crate) certificate_key: Option<CertificateKey>,
    /// How its member leaves the etcds.
    pub(crate) farewell: Farewell,
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

    /// For a reset.
    pub(crate) fn leaving(farewell: Farewell) -> Self {
        Self {
            farewell,
            ..Self::default()
        }
    }
}

pub(super) fn fail(id: &str, message: impl Into<String>, remedy: &str) -> Failure {
    Failure {
        id: id.into(),
        message: message.into(),
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    }
}

/// A step of the saga by its id, and how it stands.
pub(super) fn step_of<'a>(driver: &'a Driver, id: &str) -> Option<(Step, Option<&'a StepState>)> {
    let (state, id) = (driver.state()?, StepId::new(id));
    let spec = state.header().definition.step(&id)?;
    Some((StepContent::of(spec).ok()?.step, state.step(&id)))
}

/// The plan's blueprint and the static pods that wait for values, from the journal.
fn prepared(driver: &Driver) -> Option<(Blueprint, BTreeMap<StaticPod, Value>)> {
    match step_of(driver, "prepare-control-plane")?.0 {
        Step::PrepareControlPlane {
            blueprint, pods, ..
        } => Some((*blueprint, pods)),
        _ => None,
    }
}

/// The plan's blueprint.
pub(super) fn blueprint(driver: &Driver) -> Option<Blueprint> {
    prepared(driver).map(|(blueprint, _)| blueprint)
}

/// A static pod of the plan that waits for values which the journal does not hold.
pub(super) fn withheld_pod(driver: &Driver, component: StaticPod) -> Option<Value> {
    prepared(driver)?.1.remove(&component)
}

impl Run<'_> {
    pub(super) async fn observe_control_plane(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        match step {
            Step::AddEtcdLearner { peer_url, .. } => {
                self.observe_membership(driver, peer_url).await
            }
            Step::MarkControlPlane { node_name, taints } => {
                let administrator = self.administrator().await?;
                to_value(&marks::before(&*administrator, node_name, taints).await?)
            }
            _ => Ok(Value::Null),
        }
    }

    pub(super) async fn perform_on_control_plane(
        &self,
        driver: &Driver,
        step: &Step,
    ) -> Result<Value, Failure> {
        let seconds = |seconds: &u32| Duration::from_secs((*seconds).into());
        match step {
            Step::PrepareControlPlane {
                blueprint,
                fetch: true,
                ..
            } => {
                self.fetch_shared(blueprint).await?;
            }
            Step::TakeTurn { .. } => self.take_turn(driver).await?,
            Step::ReleaseTurn { lease, holder } => self.release_turn(lease, holder).await?,
            Step::AwaitEtcd {
                peer_url,
                seconds: limit,
            } => {
                self.take_turn(driver).await?;
                let limit = seconds(limit);
                self.await_etcd(driver, peer_url.as_deref(), limit).await?;
            }
            Step::AddEtcdLearner {
                name,
                peer_url,
                seconds: limit,
                ..
            } => {
                self.take_turn(driver).await?;
                let limit = seconds(limit);
                return self.add_learner(driver, name, peer_url, limit).await;
            }
            Step::PromoteEtcdMember {
                peer_url,
                seconds: limit,
                ..
            } => {
                self.take_turn(driver).await?;
                self.promote(driver, peer_url, seconds(limit)).await?;
            }
            Step::MarkControlPlane { node_name, taints } => {
                marks::give(&*self.administrator().await?, node_name, taints).await?;
            }
            Step::AwaitComponents {
                components,
                seconds: limit,
            } => {
                let plane = self.cluster.control_plane();
                let limit = seconds(limit);
                component_health::await_all(plane, self.host, components, limit).await?;
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
                self.release_turn(lease, holder).await?;
                Ok(Vec::new())
            }
            Step::MarkControlPlane { node_name, taints } => {
                let before =
                    serde_json::from_value(prior.clone()).map_err(|error| damaged(&error))?;
                let plane = self.cluster.control_plane();
                Ok(match plane.administrator(self.host).await? {
                    Some(one) => marks::take_away(&*one, node_name, taints, &before).await,
                    None => {
                        let why = "there is no admin.conf any more to take them away with";
                        vec![marks::left(node_name, why.into())]
                    }
                })
            }
            _ => self.undo_membership(driver, step, prior).await,
        }
    }

    /// A node may not delete its own Node object; the administrator on a control-plane node may.
    pub(super) async fn deleted_by_administrator(&self, node: &str) -> bool {
        let plane = self.cluster.control_plane();
        let Ok(Some(administrator)) = plane.administrator(self.host).await else {
            return false;
        };
        let path = format!("/api/v1/nodes/{node}");
        match administrator.delete(&path, None).await {
            Ok(()) => true,
            Err(error) => error.is_not_found(),
        }
    }

    pub(super) async fn administrator(&self) -> Result<Arc<dyn Administrator>, Failure> {
        let found = self
            .cluster
            .control_plane()
            .administrator(self.host)
            .await?;
        found.ok_or_else(|| missing_file("/etc/kubernetes/admin.conf"))
    }

    /// A file below the directory of certificates, which must be there.
    pub(super) async fn pki_file(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let found = self.host.read(path).await;
        let found = found.map_err(|error| error.to_failure())?;
        Ok(found.ok_or_else(|| missing_file(path))?.expose().clone())
    }

    /// Gives the turn back, also one that this node holds from an earlier process.
    async fn release_turn(&self, lease: &str, holder: &str) -> Result<(), Failure> {
        if let Some(turn) = self.plane.turn.lock().await.take() {
            turn.give_back().await;
            return Ok(());
        }
        let plane = self.cluster.control_plane();
        if let Some(administrator) = plane.administrator(self.host).await? {
            give_back_former(&*administrator, lease, holder).await;
        }
        Ok(())
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
        let administrator = self.administrator().await?;
        let tell = |other: &str| {
            self.events.tell(Event::Waiting {
                node_name: self.node_name.clone(),
                reason: format!(
                    "node {other} is joining the control plane; it is our turn after it"
                ),
            });
        };
        *held = Some(Turn::take(administrator, &lease, &holder, &tell).await?);
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

pub(super) fn no_blueprint() -> Failure {
    fail(
        "plan-unusable",
        "the journal does not say what the control plane is made of",
        "Take the join back with `muster reset` and join again.",
    )
}

fn turn_of(driver: &Driver) -> Option<(String, String)> {
    match step_of(driver, "take-turn")?.0 {
        Step::TakeTurn { lease, holder } => Some((lease, holder)),
        _ => None,
    }
}

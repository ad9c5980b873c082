//! What a control-plane node has besides a worker's: shared and own certificates, kubeconfigs, a place among the
//! etcds, static pods, and its marks.
//!
//! The order is kubeadm's, but for one thing: no static pod that needs etcd is written before etcd here has a vote, so
//! that none of them fails and is held back by the kubelet.

use std::collections::{BTreeMap, BTreeSet};

use muster_kubeadm::Blueprint;
use muster_kubeadm::blueprint::{CONTROLLER_MANAGER_PORT, Etcd, SCHEDULER_PORT};
use muster_kubeadm::kubeconfigs::ControlPlaneConf;
use muster_kubeadm::manifests::{
    Circumstances, INITIAL_CLUSTER, StaticPod, etcd_pod, lacks_secrets, manifest, pod,
    without_secrets,
};
use muster_kubeadm::patches::{Patches, Target};
use muster_kubeadm::pki::leaves;
use muster_kubeadm::shared_certs::shared_files;
use serde_json::Value;

use super::{Ingredients, Phase, Steps};
use crate::control_plane::ControlPlaneRequest;
use crate::request::Wait;
use crate::step::{ComponentHealth, Step};
use crate::{PlanError, SecretName, paths};

/// The Lease that one joining control-plane node at a time holds.
pub const TURN: &str = "muster-control-plane-join";

/// A control-plane node in the making.
pub(crate) struct Plane<'a> {
    pub(crate) request: &'a ControlPlaneRequest,
    pub(crate) patches: &'a Patches,
    pub(crate) blueprint: Blueprint,
    /// The cluster's authority has its key elsewhere.
    pub(crate) external_ca: bool,
}

impl Plane<'_> {
    /// Certificates and kubeconfigs: all that can be made before anything runs.
    pub(super) fn prepare(&self, steps: &mut Steps) {
        const PHASE: Phase = Phase::ControlPlanePrepare;
        let cluster = &self.blueprint.cluster;
        // The journal needs no environment.
        let mut blueprint = without_secrets(&self.blueprint);
        blueprint.node.proxies.clear();
        steps.add(
            PHASE,
            "prepare-control-plane",
            &[],
            Step::PrepareControlPlane {
                blueprint: Box::new(blueprint),
                fetch: self.request.has_certificate_key,
                pods: BTreeMap::new(),
            },
        );
        let pki: &[&str] = &["make-pki-dir", "prepare-control-plane"];
        let made = |path: String, mode: u32| Step::MakeDir { path, mode };
        let mut dirs = pki.to_vec();
        if cluster.certificates_dir.trim_end_matches('/') != paths::PKI_DIR {
            let dir = made(cluster.certificates_dir.clone(), 0o755);
            steps.add(PHASE, "make-certificates-dir", pki, dir);
            dirs.push("make-certificates-dir");
        }
        if cluster.is_stacked() {
            let dir = made(cluster.certificate_path("etcd"), 0o755);
            steps.add(PHASE, "make-etcd-certificates-dir", &dirs, dir);
            dirs.push("make-etcd-certificates-dir");
        }
        let elsewhere = self.dirs_elsewhere();
        let ids: Vec<String> = (1..=elsewhere.len())
            .map(|number| format!("make-shared-dir-{number}"))
            .collect();
        for (id, path) in ids.iter().zip(elsewhere) {
            steps.add(PHASE, id, &dirs, made(path, 0o755));
        }
        let made: Vec<&str> = dirs
            .iter()
            .copied()
            .chain(ids.iter().map(String::as_str))
            .collect();
        let dirs = made.as_slice();
        if self.request.has_certificate_key {
            for shared in shared_files(cluster)
                .into_iter()
                .filter(|shared| !shared.path.is_empty())
            {
                let mode = if shared.file.is_key() { 0o600 } else { 0o644 };
                let step = Step::WriteMade {
                    path: shared.path,
                    mode,
                    secret: SecretName::Shared(shared.file),
                };
                steps.add(PHASE, &format!("share-{}", shared.file.name()), dirs, step);
            }
        }
        self.own_certificates(dirs, steps);
        if let Etcd::Local(etcd) = &cluster.etcd {
            let claim = Step::ClaimDir {
                path: etcd.data_dir.clone(),
                mode: 0o700,
            };
            steps.add(PHASE, "claim-etcd-data", &["prepare-control-plane"], claim);
        }
    }

    /// Directories of shared files outside that of the certificates: the files for an external etcd may be anywhere.
    fn dirs_elsewhere(&self) -> BTreeSet<String> {
        let cluster = &self.blueprint.cluster;
        let usual = [
            cluster.certificates_dir.trim_end_matches('/').to_owned(),
            cluster.certificate_path("etcd"),
        ];
        let stacked = cluster.is_stacked();
        let shared = shared_files(cluster).into_iter();
        let dirs = shared.filter_map(|file| Some(file.path.rsplit_once('/')?.0.to_owned()));
        dirs.filter(|dir| !dir.is_empty() && *dir != usual[0] && !(stacked && *dir == usual[1]))
            .filter(|_| self.request.has_certificate_key)
            .collect()
    }

    fn own_certificates(&self, dirs: &[&str], steps: &mut Steps) {
        const PHASE: Phase = Phase::ControlPlanePrepare;
        let cluster = &self.blueprint.cluster;
        for leaf in leaves(cluster) {
            let (key, certificate) = (
                format!("key-{}", leaf.name()),
                format!("certificate-{}", leaf.name()),
            );
            let path =
                |suffix: &str| cluster.certificate_path(&format!("{}.{suffix}", leaf.base_name()));
            let step = |path, mode, secret| Step::WriteMade { path, mode, secret };
            steps.add(
                PHASE,
                &key,
                dirs,
                step(path("key"), 0o600, SecretName::LeafKey(leaf)),
            );
            steps.add(
                PHASE,
                &certificate,
                &[&key],
                step(path("crt"), 0o644, SecretName::Leaf(leaf)),
            );
        }
        for conf in ControlPlaneConf::OF_A_JOIN {
            let step = Step::WriteMade {
                path: format!("{}/{}", paths::KUBERNETES_DIR, conf.file_name()),
                mode: 0o600,
                secret: SecretName::Conf(conf),
            };
            steps.add(PHASE, &conf_id(conf), dirs, step);
        }
    }

    /// Everything after the kubelet is up.
    pub(super) fn raise(
        &self,
        ingredients: &Ingredients<'_>,
        steps: &mut Steps,
    ) -> Result<(), PlanError> {
        let pods = ["await-kubelet", "make-manifests-dir"];
        let mut after: Vec<&str> = pods.into();
        let withheld = without_secrets(&self.blueprint);
        if self.blueprint.cluster.is_stacked() {
            self.join_etcd(steps)?;
            after.push("release-turn");
        }
        for component in [
            StaticPod::ApiServer,
            StaticPod::ControllerManager,
            StaticPod::Scheduler,
        ] {
            let circumstances = Circumstances {
                external_ca: self.external_ca,
            };
            let object = self.patched(component, pod(component, &withheld, circumstances))?;
            let (path, mode) = (component.path(), 0o600);
            let step = if lacks_secrets(&object) {
                steps.keep_pod(component, object);
                let secret = SecretName::Manifest(component);
                Step::WriteMade { path, mode, secret }
            } else {
                let content = manifest(&object);
                Step::WriteFile {
                    path,
                    mode,
                    content,
                }
            };
            steps.add(
                Phase::ControlPlane,
                &format!("pod-{}", component.name()),
                &after,
                step,
            );
        }
        let seconds = self.request.component_seconds;
        let api = ComponentHealth {
            name: StaticPod::ApiServer.name().to_owned(),
            url: format!("{}/livez", self.blueprint.node.url()),
            verified: true,
        };
        steps.add(
            Phase::WaitControlPlane,
            "await-api-server",
            &["pod-kube-apiserver"],
            Step::AwaitComponents {
                components: vec![api],
                seconds,
            },
        );
        self.mark(ingredients, steps);
        Ok(())
    }

    fn join_etcd(&self, steps: &mut Steps) -> Result<(), PlanError> {
        const PHASE: Phase = Phase::EtcdJoin;
        let node = &self.blueprint.node;
        let (name, peer_url) = (node.name.clone(), node.etcd_peer_url());
        let seconds = self.request.etcd_seconds;
        let turn = || (TURN.to_owned(), name.clone());
        let (lease, holder) = turn();
        // All that was prepared, as an etcd that cannot leave goes on and needs its certificates and data.
        let prepared = steps.0.iter();
        let prepared = prepared.filter(|step| step.phase == Phase::ControlPlanePrepare);
        let mut before: Vec<String> = prepared.map(|step| step.id.clone()).collect();
        before.push("await-kubelet".to_owned());
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        steps.add(
            PHASE,
            "take-turn",
            &before,
            Step::TakeTurn { lease, holder },
        );
        let wait = |peer_url| Step::AwaitEtcd { peer_url, seconds };
        steps.add(PHASE, "await-etcd", &["take-turn"], wait(None));
        let pod = etcd_pod(&without_secrets(&self.blueprint), Some(INITIAL_CLUSTER));
        let pod = self.patched(StaticPod::Etcd, pod)?;
        let template = manifest(&pod);
        if lacks_secrets(&pod) {
            steps.keep_pod(StaticPod::Etcd, pod);
        }
        steps.add(
            PHASE,
            "add-etcd-learner",
            &["await-etcd"],
            Step::AddEtcdLearner {
                name: name.clone(),
                peer_url: peer_url.clone(),
                template,
                seconds,
            },
        );
        steps.add(
            PHASE,
            "pod-etcd",
            &["add-etcd-learner", "make-manifests-dir"],
            Step::WriteMade {
                path: StaticPod::Etcd.path(),
                mode: 0o600,
                secret: SecretName::EtcdManifest,
            },
        );
        steps.add(
            PHASE,
            "promote-etcd-member",
            &["pod-etcd"],
            Step::PromoteEtcdMember {
                name: name.clone(),
                peer_url: peer_url.clone(),
                seconds,
            },
        );
        steps.add(
            PHASE,
            "await-etcd-member",
            &["promote-etcd-member"],
            wait(Some(peer_url)),
        );
        let (lease, holder) = turn();
        steps.add(
            PHASE,
            "release-turn",
            &["await-etcd-member"],
            Step::ReleaseTurn { lease, holder },
        );
        Ok(())
    }

    fn mark(&self, ingredients: &Ingredients<'_>, steps: &mut Steps) {
        let node_name = self.blueprint.node.name.clone();
        for step in &mut steps.0 {
            if step.phase == Phase::NodeWait {
                step.after.push("mark-control-plane".to_owned());
            }
        }
        steps.add(
            Phase::MarkControlPlane,
            "await-control-plane-node",
            &["await-api-server"],
            Step::AwaitNode {
                node_name: node_name.clone(),
                until: Wait::Registered,
                seconds: ingredients.request.wait_seconds,
            },
        );
        steps.add(
            Phase::MarkControlPlane,
            "mark-control-plane",
            &["await-control-plane-node"],
            Step::MarkControlPlane {
                node_name,
                taints: self.request.taints(),
            },
        );
        let components = [
            (
                StaticPod::ControllerManager,
                CONTROLLER_MANAGER_PORT,
                "healthz",
                &self.blueprint.cluster.controller_manager,
            ),
            (
                StaticPod::Scheduler,
                SCHEDULER_PORT,
                "livez",
                &self.blueprint.cluster.scheduler,
            ),
        ];
        let components = components.map(|(component, port, path, settings)| {
            let given = settings
                .extra_args
                .iter()
                .rfind(|(name, _)| name == "bind-address");
            let host = given.and_then(|(_, value)| value.parse().ok());
            let host = host.filter(|host: &std::net::IpAddr| !host.is_unspecified());
            let address = std::net::SocketAddr::new(
                host.unwrap_or_else(|| self.blueprint.node.loopback()),
                port,
            );
            ComponentHealth {
                name: component.name().to_owned(),
                url: format!("https://{address}/{path}"),
                verified: false,
            }
        });
        steps.add(
            Phase::WaitControlPlane,
            "await-components",
            &[
                "mark-control-plane",
                "pod-kube-controller-manager",
                "pod-kube-scheduler",
            ],
            Step::AwaitComponents {
                components: components.into(),
                seconds: self.request.component_seconds,
            },
        );
    }

    fn patched(&self, component: StaticPod, object: Value) -> Result<Value, PlanError> {
        let target = match component {
            StaticPod::ApiServer => Target::KubeApiserver,
            StaticPod::ControllerManager => Target::KubeControllerManager,
            StaticPod::Scheduler => Target::KubeScheduler,
            StaticPod::Etcd => Target::Etcd,
        };
        let patched = self.patches.apply(target, object);
        patched.map_err(|source| PlanError::Patches {
            source: Box::new(source),
        })
    }
}

impl Steps {
    /// Remembers a pod that is completed only when its file is written.
    fn keep_pod(&mut self, component: StaticPod, pod: Value) {
        for planned in &mut self.0 {
            if let Step::PrepareControlPlane { pods, .. } = &mut planned.step {
                pods.insert(component, pod.clone());
            }
        }
    }
}

fn conf_id(conf: ControlPlaneConf) -> String {
    format!("conf-{}", conf.file_name().trim_end_matches(".conf"))
}

/// A control-plane node has the CA from the shared certificates: nothing else writes it, and what would have waited for
/// that waits for nothing. Its manifests are root's alone, as kubeadm's.
pub(super) fn adapt_workers(steps: &mut Steps) {
    for planned in &mut steps.0 {
        if planned.id == "make-manifests-dir"
            && let Step::MakeDir { mode, .. } = &mut planned.step
        {
            *mode = 0o700;
        }
    }
    steps.0.retain(|step| step.id != "write-ca");
    for step in &mut steps.0 {
        step.after.retain(|id| id != "write-ca");
    }
}

#[cfg(test)]
mod tests;

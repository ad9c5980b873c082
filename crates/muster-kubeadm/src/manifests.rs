//! The static pods of a control-plane node: API server, controller manager, scheduler and etcd.
//!
//! The bytes are those that kubeadm 1.36 writes from the same configuration. Patches are laid over a pod as a value
//! by whoever has them. It refuses to know the disk and the cluster's state: the members of etcd come in as data.

mod commands;
mod etcd;
mod pod;
mod volumes;
mod withheld;

pub use etcd::{INITIAL_CLUSTER, etcd_pod, initial_cluster, with_initial_cluster};
pub use withheld::{Lacking, lacks_secrets, with_secrets, without_secrets};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blueprint::Blueprint;
use crate::config::to_yaml;

/// A component of a control plane that runs as a static pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StaticPod {
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// etcd.
    Etcd,
}

impl StaticPod {
    /// All of them, in kubeadm's order.
    pub const ALL: [Self; 4] = [
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Etcd,
    ];

    /// Its name: of the pod, the container, the image and the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Etcd => "etcd",
        }
    }

    /// Where its manifest lies.
    #[must_use]
    pub fn path(self) -> String {
        format!("/etc/kubernetes/manifests/{}.yaml", self.name())
    }
}

/// What a node has besides its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The key of the cluster's authority is not on the node: its controller manager signs nothing.
    pub external_ca: bool,
}

/// The pod of a component as an object. etcd's is the one of a first member; see [`etcd_pod`] for others.
#[must_use]
pub fn pod(component: StaticPod, blueprint: &Blueprint, circumstances: Circumstances) -> Value {
    match component {
        StaticPod::ApiServer => commands::api_server(blueprint),
        StaticPod::ControllerManager => commands::controller_manager(blueprint, circumstances),
        StaticPod::Scheduler => commands::scheduler(blueprint),
        StaticPod::Etcd => etcd_pod(blueprint, None),
    }
}

/// The text of a pod, as kubeadm writes it into a manifest.
#[must_use]
pub fn manifest(pod: &Value) -> String {
    to_yaml(pod)
}

#[cfg(test)]
mod tests;

//! The static pods of a control-plane node: API server, controller manager, scheduler and etcd.
//!
//! The bytes are those that kubeadm 1.36 writes from the same configuration. Patches are laid over a pod as a value
//! by whoever has them. It refuses to know the disk and the cluster's state: the members of etcd come in as data.

mod commands;
mod etcd;
mod pod;
mod volumes;

pub use etcd::{INITIAL_CLUSTER, etcd_pod, initial_cluster, with_initial_cluster};

use std::collections::BTreeMap;

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

/// Stands in a pod for the value of a proxy variable whose URL holds a password.
const WITHHELD: &str = "withheld: a proxy with a password";

/// The blueprint without what proxies are entered with, if there is such: a variable whose URL names a user has a
/// stand-in for its value, for [`with_proxies`] to fill.
#[must_use]
pub fn without_proxy_passwords(blueprint: &Blueprint) -> Option<Blueprint> {
    let mut withheld = blueprint.clone();
    for value in withheld.node.proxies.values_mut() {
        let rest = value
            .split_once("://")
            .map_or(value.as_str(), |(_, rest)| rest);
        if rest
            .split('/')
            .next()
            .is_some_and(|authority| authority.contains('@'))
        {
            WITHHELD.clone_into(value);
        }
    }
    (withheld.node.proxies != blueprint.node.proxies).then_some(withheld)
}

/// Puts the values into a pod that [`without_proxy_passwords`] kept out of it.
///
/// # Errors
/// The name of a variable that `proxies` lacks: it was there when the pod was planned.
pub fn with_proxies(pod: &Value, proxies: &BTreeMap<String, String>) -> Result<Value, String> {
    let mut pod = pod.clone();
    let containers = pod.pointer_mut("/spec/containers");
    let containers = containers
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    let variables = containers
        .filter_map(|container| container.get_mut("env")?.as_array_mut())
        .flatten();
    for variable in variables.filter(|variable| variable["value"] == WITHHELD) {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let value = proxies.get(&name).ok_or(name)?;
        variable["value"] = Value::from(value.as_str());
    }
    Ok(pod)
}

/// The text of a pod, as kubeadm writes it into a manifest.
#[must_use]
pub fn manifest(pod: &Value) -> String {
    to_yaml(pod)
}

#[cfg(test)]
mod tests;

//! Values in a static pod's environment that whoever plans it must not write down: passwords in the URLs of proxies, and
//! whatever `extraEnvs` gives. A stand-in keeps their place until the file itself is written.

use std::collections::BTreeMap;

use serde_json::Value;

use super::StaticPod;
use crate::blueprint::{Blueprint, ClusterBlueprint, Etcd};

/// Stands for the value of a proxy variable whose URL holds a password.
const PROXY: &str = "withheld: a proxy with a password";
/// Stands for a value of `extraEnvs`: nothing says which of them are secret.
const GIVEN: &str = "withheld: a value of extraEnvs";

/// What a pod cannot be completed without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// A proxy variable that this environment had when the pod was planned. Set it again.
    #[error("the environment lacks {0}, which it had when the join began")]
    Proxy(String),
    /// A variable of `extraEnvs` that the cluster's configuration had when the pod was planned. Put it back.
    #[error(
        "extraEnvs of {component} in the cluster's configuration lacks {name}, which it had when the join began"
    )]
    Given {
        /// Of which component.
        component: &'static str,
        /// Its name.
        name: String,
    },
}

/// The blueprint without such values: stand-ins are in their place, for [`with_secrets`] to fill.
#[must_use]
pub fn without_secrets(blueprint: &Blueprint) -> Blueprint {
    let mut withheld = blueprint.clone();
    for value in withheld.node.proxies.values_mut() {
        let rest = value
            .split_once("://")
            .map_or(value.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            PROXY.clone_into(value);
        }
    }
    let cluster = &mut withheld.cluster;
    let given = [
        &mut cluster.api_server.extra_envs,
        &mut cluster.controller_manager.extra_envs,
        &mut cluster.scheduler.extra_envs,
    ];
    given.into_iter().for_each(|variables| withhold(variables));
    if let Etcd::Local(etcd) = &mut cluster.etcd {
        withhold(&mut etcd.extra_envs);
    }
    withheld
}

fn withhold(variables: &mut [Value]) {
    for value in variables.iter_mut().filter_map(|one| one.get_mut("value")) {
        if value.as_str() != Some("") {
            *value = Value::from(GIVEN);
        }
    }
}

/// Whether something in a pod waits for [`with_secrets`].
#[must_use]
pub fn lacks_secrets(pod: &Value) -> bool {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let variables = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("env")?.as_array())
        .flatten();
    let mut values = variables.filter_map(|variable| variable.get("value"));
    values.any(|value| value == PROXY || value == GIVEN)
}

/// Puts the values into a pod that [`without_secrets`] kept out of it: those of proxies from this environment, the others
/// from the cluster's configuration.
///
/// # Errors
/// [`Lacking`] what was there when the pod was planned.
pub fn with_secrets(
    component: StaticPod,
    pod: &Value,
    proxies: &BTreeMap<String, String>,
    cluster: &ClusterBlueprint,
) -> Result<Value, Lacking> {
    let mut pod = pod.clone();
    let containers = pod.pointer_mut("/spec/containers");
    let containers = containers
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    let variables = containers
        .filter_map(|container| container.get_mut("env")?.as_array_mut())
        .flatten();
    for variable in variables {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let whole = match variable.get("value").and_then(Value::as_str) {
            Some(PROXY) => match proxies.get(&name) {
                Some(value) => Value::from(value.as_str()),
                None => return Err(Lacking::Proxy(name)),
            },
            Some(GIVEN) => {
                let mut given = given(cluster, component).iter();
                // A later one of the same name wins.
                let found = given.rfind(|one| one["name"] == name.as_str());
                let lacking = || Lacking::Given {
                    component: component.name(),
                    name: name.clone(),
                };
                let value = found.and_then(|one| one.get("value"));
                value.ok_or_else(lacking)?.clone()
            }
            _ => continue,
        };
        variable["value"] = whole;
    }
    Ok(pod)
}

fn given(cluster: &ClusterBlueprint, component: StaticPod) -> &[Value] {
    match (component, &cluster.etcd) {
        (StaticPod::ApiServer, _) => &cluster.api_server.extra_envs,
        (StaticPod::ControllerManager, _) => &cluster.controller_manager.extra_envs,
        (StaticPod::Scheduler, _) => &cluster.scheduler.extra_envs,
        (StaticPod::Etcd, Etcd::Local(etcd)) => &etcd.extra_envs,
        (StaticPod::Etcd, Etcd::External(_)) => &[],
    }
}

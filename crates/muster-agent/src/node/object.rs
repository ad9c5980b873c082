//! The Node object of this machine, as a kubelet registers it. Pure.

use crate::cri::RuntimeState;
use crate::machine::Machine;
use muster_identity::NodeName;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The label of simulated machines.
pub const HOLLOW_LABEL: &str = "muster.dev/hollow";
/// How many pods a node takes (kubelet default).
const PODS: &str = "110";

/// A taint that the Node is registered with: `key[=value]:effect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value, empty for none.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A text that is no taint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a taint: it should look like key=value:NoSchedule")]
pub struct TaintError {
    /// The text.
    pub text: String,
}

impl Taint {
    /// Reads `key=value:effect` or `key:effect`, as `--register-with-taints` does.
    ///
    /// # Errors
    /// [`TaintError`] when the key is missing or the effect is none of the three.
    pub fn parse(text: &str) -> Result<Self, TaintError> {
        let error = || TaintError {
            text: text.to_owned(),
        };
        let (name, effect) = text.rsplit_once(':').ok_or_else(error)?;
        let (key, value) = name.split_once('=').unwrap_or((name, ""));
        if key.is_empty() || !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(error());
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        })
    }
}

/// What a Node says of itself beyond the machine's facts.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub name: NodeName,
    /// Its addresses; the first one is what others use.
    pub addresses: Vec<IpAddr>,
    /// Extra labels.
    pub labels: BTreeMap<String, String>,
    /// Taints from the start.
    pub taints: Vec<Taint>,
    /// The version that is reported, `v1.36.2`.
    pub kubelet_version: String,
}

/// The object for `POST /api/v1/nodes`, with its status but without conditions.
#[must_use]
pub fn node(registration: &Registration, machine: &Machine, runtime: &RuntimeState) -> Value {
    let taints: Vec<Value> = registration.taints.iter().map(taint).collect();
    let mut spec = Map::new();
    if !taints.is_empty() {
        spec.insert("taints".to_owned(), Value::Array(taints));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": registration.name.as_str(),
            "labels": labels(registration, machine, runtime),
            "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
        },
        "spec": spec,
        "status": status(registration, machine, runtime),
    })
}

fn taint(taint: &Taint) -> Value {
    let mut value = json!({ "key": taint.key, "effect": taint.effect });
    if !taint.value.is_empty() {
        value["value"] = json!(taint.value);
    }
    value
}

/// The labels that every kubelet sets, and the extra ones.
#[must_use]
pub fn labels(
    registration: &Registration,
    machine: &Machine,
    runtime: &RuntimeState,
) -> BTreeMap<String, String> {
    let mut labels = registration.labels.clone();
    for (key, value) in [
        ("beta.kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("kubernetes.io/hostname", registration.name.as_str()),
        ("kubernetes.io/os", "linux"),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    if runtime.is_hollow() {
        labels.insert(HOLLOW_LABEL.to_owned(), "true".to_owned());
    }
    labels
}

/// The status without conditions.
#[must_use]
pub fn status(registration: &Registration, machine: &Machine, runtime: &RuntimeState) -> Value {
    let mut addresses: Vec<Value> = registration
        .addresses
        .iter()
        .map(|address| json!({ "type": "InternalIP", "address": address }))
        .collect();
    addresses.push(json!({ "type": "Hostname", "address": registration.name.as_str() }));
    let reserved_kib = 100 * 1024;
    json!({
        "addresses": addresses,
        "capacity": {
            "cpu": machine.cpus.to_string(),
            "memory": format!("{}Ki", machine.memory_kib),
            "ephemeral-storage": format!("{}Ki", machine.disk_kib),
            "pods": PODS,
        },
        // The kubelet's hard eviction thresholds are held back: 100 MiB of memory, 10 % of the disk.
        "allocatable": {
            "cpu": machine.cpus.to_string(),
            "memory": format!("{}Ki", machine.memory_kib.saturating_sub(reserved_kib)),
            "ephemeral-storage": (machine.disk_kib * 1024 / 10 * 9).to_string(),
            "pods": PODS,
        },
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel_version,
            "osImage": machine.os_image,
            "containerRuntimeVersion": runtime.version(),
            "kubeletVersion": registration.kubelet_version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.architecture,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_as_the_kubelet_reads_them() {
        let taint = Taint::parse("dedicated=gpu:NoSchedule").expect("a taint");
        assert_eq!(
            (taint.key.as_str(), taint.value.as_str()),
            ("dedicated", "gpu")
        );
        assert_eq!(Taint::parse("key:NoExecute").expect("a taint").value, "");
        for wrong in ["", "key", "key=value", "=v:NoSchedule", "key:Never"] {
            assert!(Taint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hollow_node_says_so_and_own_labels_win() {
        let registration = Registration {
            name: NodeName::parse("n1").expect("a name"),
            addresses: vec!["10.0.0.7".parse().expect("an address")],
            labels: BTreeMap::from([
                ("kubernetes.io/os".to_owned(), "plan9".to_owned()),
                ("rack".to_owned(), "7".to_owned()),
            ]),
            taints: Vec::new(),
            kubelet_version: "v1.36.2".to_owned(),
        };
        let node = node(
            &registration,
            &Machine::read("/".as_ref()),
            &RuntimeState::hollow(),
        );
        let labels = &node["metadata"]["labels"];
        assert_eq!(
            (&labels[HOLLOW_LABEL], &labels["kubernetes.io/os"]),
            (&json!("true"), &json!("linux"))
        );
        assert_eq!(labels["rack"], "7");
        assert_eq!(node["status"]["addresses"][0]["address"], "10.0.0.7");
        assert!(node["spec"].get("taints").is_none());
    }
}

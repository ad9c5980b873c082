//! The objects that the benchmark writes, as large as such objects are.
//!
//! Refuses to know: servers.

use bytes::Bytes;
use serde_json::{Value, json};

/// A ConfigMap of about a kilobyte.
pub(super) fn config_map(name: &str, text: &str) -> Bytes {
    body(&json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "backend"}},
        "data": {"stamp": text, "settings": "verbose=true\n".repeat(60)},
    }))
}

/// A node's lease; `version` names the one that it replaces, `second` when it is renewed.
pub(super) fn lease(name: &str, version: Option<&str>, second: usize) -> Bytes {
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASES},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": format!("2026-01-01T{:02}:{:02}:{:02}.000000Z", second / 3600 % 24, second / 60 % 60, second % 60),
        },
    });
    if let Some(version) = version {
        lease["metadata"]["resourceVersion"] = version.into();
    }
    body(&lease)
}

/// The namespace of the leases.
pub(super) const LEASES: &str = "kube-node-lease";

/// A Node as a kubelet keeps it, with fifty images: about ten kilobytes.
pub(super) fn node(number: usize) -> Bytes {
    let name = format!("node-{number:05}");
    let quantities = |cpu: &str| {
        json!({"cpu": cpu, "memory": "32779612Ki", "ephemeral-storage": "209702892Ki", "pods": "110",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0"})
    };
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "False", "reason": reason,
            "message": format!("kubelet has no {kind}"),
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let images: Vec<Value> = (0..50)
        .map(|image| {
            json!({"names": [
                format!("registry.example.org/team/service-{image}@sha256:{image:064x}"),
                format!("registry.example.org/team/service-{image}:v1.{image}.0"),
            ], "sizeBytes": 10_000_000 + image})
        })
        .collect();
    body(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
            "node.kubernetes.io/instance-type": "m5.2xlarge"},
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
        "spec": {"podCIDR": format!("10.{}.{}.0/24", number / 256 % 256, number % 256),
            "providerID": format!("example:///{name}")},
        "status": {
            "capacity": quantities("8"), "allocatable": quantities("7910m"),
            "conditions": [
                condition("MemoryPressure", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "KubeletHasSufficientPID"),
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
                    "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "addresses": [{"type": "InternalIP", "address": format!("10.0.{}.{}", number / 250 % 256, number % 250)},
                {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"),
                "bootID": format!("{number:032x}"), "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13",
                "containerRuntimeVersion": "containerd://2.1.0", "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"},
            "images": images,
        },
    }))
}

/// A patch of one field.
pub(super) fn patch(text: &str) -> Bytes {
    body(&json!({"data": {"stamp": text}}))
}

fn body(value: &Value) -> Bytes {
    value.to_string().into()
}

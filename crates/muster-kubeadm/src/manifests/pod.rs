//! What all static pods have in common: the shape of the pod, probes, arguments and environment.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::blueprint::ControlPlaneNode;

/// Seconds between two probes while a component starts.
const STARTUP_PERIOD: u32 = 10;
/// The value of the priority class `system-node-critical`.
const PRIORITY: u32 = 2_000_001_000;

/// What differs between static pods.
pub(super) struct Parts {
    pub(super) name: &'static str,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<Value>,
    pub(super) port: u16,
    pub(super) probes: Probes,
    pub(super) requests: Value,
    pub(super) volume_mounts: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    pub(super) annotations: Map<String, Value>,
}

/// Where a component's health is asked for.
pub(super) struct Probes {
    /// Empty: the pod's own address.
    pub(super) host: String,
    pub(super) scheme: &'static str,
    pub(super) live: &'static str,
    pub(super) ready: Option<&'static str>,
    pub(super) startup: &'static str,
    pub(super) startup_seconds: u32,
}

pub(super) fn pod(parts: Parts) -> Value {
    let mut container = json!({
        "name": parts.name,
        "image": parts.image,
        "imagePullPolicy": "IfNotPresent",
        "command": parts.command,
        "ports": [{"name": "probe-port", "containerPort": parts.port, "protocol": "TCP"}],
        "resources": {"requests": parts.requests},
    });
    let probes = &parts.probes;
    container["livenessProbe"] = probe(probes, probes.live, 10, 8, 10);
    if let Some(ready) = probes.ready {
        container["readinessProbe"] = probe(probes, ready, 0, 3, 1);
    }
    let failures = probes.startup_seconds.div_ceil(STARTUP_PERIOD);
    container["startupProbe"] = probe(
        probes,
        probes.startup,
        STARTUP_PERIOD,
        failures,
        STARTUP_PERIOD,
    );
    if !parts.env.is_empty() {
        container["env"] = Value::from(parts.env);
    }
    if !parts.volume_mounts.is_empty() {
        container["volumeMounts"] = Value::from(parts.volume_mounts);
    }
    let mut metadata = json!({
        "name": parts.name,
        "namespace": "kube-system",
        "labels": {"component": parts.name, "tier": "control-plane"},
    });
    if !parts.annotations.is_empty() {
        metadata["annotations"] = Value::Object(parts.annotations);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [container],
            "hostNetwork": true,
            "priority": PRIORITY,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": parts.volumes,
        },
        "status": {},
    })
}

/// Zeros are left out, as Go leaves them out.
fn probe(probes: &Probes, path: &str, delay: u32, failures: u32, period: u32) -> Value {
    let mut get = json!({"path": path, "port": "probe-port", "scheme": probes.scheme});
    if !probes.host.is_empty() {
        get["host"] = Value::from(probes.host.as_str());
    }
    let mut probe = json!({"httpGet": get, "timeoutSeconds": 15});
    for (field, value) in [
        ("initialDelaySeconds", delay),
        ("failureThreshold", failures),
        ("periodSeconds", period),
    ] {
        if value > 0 {
            probe[field] = Value::from(value);
        }
    }
    probe
}

/// An address that a probe can ask: none for the addresses that mean all.
pub(super) fn probe_host(address: &str) -> String {
    match address {
        "0.0.0.0" | "::" => String::new(),
        other => other.to_owned(),
    }
}

/// The last value of an argument.
pub(super) fn argument<'a>(args: &'a [(String, String)], name: &str) -> Option<&'a str> {
    args.iter()
        .rfind(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// Program and arguments: ours sorted, without those that are given otherwise; then the given ones, in their order.
pub(super) fn command(
    program: &str,
    ours: &[(&str, String)],
    given: &[(String, String)],
) -> Vec<String> {
    let given_names: BTreeSet<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    let mut base: Vec<&(&str, String)> = ours
        .iter()
        .filter(|(name, _)| !given_names.contains(name))
        .collect();
    base.sort();
    let base = base
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"));
    let given = given
        .iter()
        .map(|(name, value)| format!("--{name}={value}"));
    std::iter::once(program.to_owned())
        .chain(base)
        .chain(given)
        .collect()
}

/// The proxy variables and the given ones, by name; a given one wins.
pub(super) fn environment(node: Option<&ControlPlaneNode>, given: &[Value]) -> Vec<Value> {
    let mut merged: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in node.into_iter().flat_map(|node| &node.proxies) {
        merged.insert(name.clone(), json!({"name": name, "value": value}));
    }
    for variable in given {
        let name = variable
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut variable = variable.clone();
        // Go leaves an empty value out.
        if let Some(fields) = variable.as_object_mut()
            && fields.get("value").and_then(Value::as_str) == Some("")
        {
            fields.remove("value");
        }
        merged.insert(name.to_owned(), variable);
    }
    merged.into_values().collect()
}

//! Pods and the pod templates inside other kinds.

use serde_json::{Map, Value, json};

use super::fill::{child, each, existing, fill, fill_text};
use crate::meta;

/// File mode 0644 of projected files.
const FILE_MODE: u32 = 0o644;

/// Defaults of a pod itself: those of its spec, and requests taken from limits.
pub(super) fn pod(pod: &mut Value) {
    let Some(spec) = child(pod, "spec") else {
        return;
    };
    pod_spec(spec);
    fill(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        each(spec, list).for_each(requests_from_limits);
    }
}

/// Defaults of a template's spec.
pub(super) fn template(template: Option<&mut Value>) {
    if let Some(spec) = template.and_then(|template| existing(template, "spec")) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Value) {
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", Map::new());
    // `serviceAccount` is the old name of `serviceAccountName`; both are always written.
    let account = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|key| meta::str_at(spec, &[key]).filter(|name| !name.is_empty()))
        .map(str::to_owned);
    if let Some(account) = account {
        fill_text(spec, "serviceAccountName", &account);
        fill_text(spec, "serviceAccount", &account);
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list).for_each(|container| self::container(container, host_network));
    }
    each(spec, "volumes").for_each(volume);
}

fn container(container: &mut Value, host_network: bool) {
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    fill(container, "resources", Map::new());
    let policy = pull_policy(meta::str_at(container, &["image"]).unwrap_or(""));
    fill_text(container, "imagePullPolicy", policy);
    for port in each(container, "ports") {
        fill_text(port, "protocol", "TCP");
        if let (true, Some(number)) = (host_network, port.get("containerPort").cloned()) {
            fill(port, "hostPort", number);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        existing(container, probe).into_iter().for_each(self::probe);
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            existing(lifecycle, hook).into_iter().for_each(http_get);
        }
    }
    for variable in each(container, "env") {
        existing(variable, "valueFrom")
            .into_iter()
            .for_each(field_reference);
    }
}

/// Images without a tag, or with `latest`, are always pulled; a digest pins an image.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    if image.contains('@') {
        return "IfNotPresent";
    }
    match name.rsplit_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ => "Always",
    }
}

fn probe(probe: &mut Value) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = existing(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = existing(handler, "httpGet") {
        fill_text(get, "path", "/");
        fill_text(get, "scheme", "HTTP");
    }
}

fn field_reference(source: &mut Value) {
    if let Some(reference) = existing(source, "fieldRef") {
        fill_text(reference, "apiVersion", "v1");
    }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else {
        return;
    };
    if map
        .iter()
        .all(|(key, value)| key == "name" || value.is_null())
    {
        map.insert("emptyDir".into(), json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, kind) {
            fill(source, "defaultMode", FILE_MODE);
            each(source, "items").for_each(field_reference);
            each(source, "sources").for_each(projection);
        }
    }
    if let Some(host_path) = existing(volume, "hostPath") {
        fill(host_path, "type", "");
    }
}

fn projection(source: &mut Value) {
    if let Some(token) = existing(source, "serviceAccountToken") {
        fill(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = existing(source, "downwardAPI") {
        each(downward, "items").for_each(field_reference);
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = existing(container, "resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let Some(requests) = child(resources, "requests") else {
        return;
    };
    for (resource, limit) in limits {
        fill(requests, &resource, limit);
    }
}

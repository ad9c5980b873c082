//! Namespaces, secrets, config maps, accounts, quotas.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, count, name, text};
use super::column::{self, AGE, Column, NAME, Printer};
use crate::meta::{at, items, str_at};
use crate::quantity::canonical;

const NAMESPACE: &[Column] = &[
    NAME,
    column::text("Status", "The status of the namespace"),
    AGE,
];

const SECRET: &[Column] = &[
    NAME,
    column::text(
        "Type",
        "Used to facilitate programmatic handling of secret data.",
    ),
    column::text(
        "Data",
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'.",
    ),
    AGE,
];

const CONFIG_MAP: &[Column] = &[
    NAME,
    column::text(
        "Data",
        "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'.",
    ),
    AGE,
];

const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column::text(
        "Secrets",
        "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are allowed to use.",
    ),
    AGE,
];

const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    column::text(
        "Request",
        "Request represents a minimum amount of cpu/memory that a container may consume.",
    ),
    column::text(
        "Limit",
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
    ),
    AGE,
];

const COMPONENT_STATUS: &[Column] = &[
    NAME,
    column::text("Status", "Status of the component conditions"),
    column::text("Message", "Message of the component conditions"),
    column::text("Error", "Error of the component conditions"),
];

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "Namespace" => Printer::new(NAMESPACE, |o, now| {
            vec![name(o), text(o, &["status", "phase"]), age_of(o, now)]
        }),
        "Secret" => Printer::new(SECRET, |o, now| {
            vec![
                name(o),
                text(o, &["type"]),
                entries(o, &["data"]).into(),
                age_of(o, now),
            ]
        }),
        "ConfigMap" => Printer::new(CONFIG_MAP, |o, now| {
            let data = entries(o, &["data"]) + entries(o, &["binaryData"]);
            vec![name(o), data.into(), age_of(o, now)]
        }),
        "ServiceAccount" => Printer::new(SERVICE_ACCOUNT, |o, now| {
            vec![name(o), count(o, &["secrets"]), age_of(o, now)]
        }),
        "ResourceQuota" => Printer::new(RESOURCE_QUOTA, resource_quota),
        "ComponentStatus" => Printer::new(COMPONENT_STATUS, component_status),
        _ => return None,
    })
}

fn entries(object: &Value, path: &[&str]) -> usize {
    at(object, path)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

fn resource_quota(quota: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let hard = at(quota, &["status", "hard"]).and_then(Value::as_object);
    for (resource, hard) in hard.into_iter().flatten() {
        let used = at(quota, &["status", "used", resource]).map_or_else(|| "0".into(), canonical);
        let text = format!("{resource}: {used}/{}", canonical(hard));
        if resource.starts_with("limits.") {
            &mut limits
        } else {
            &mut requests
        }
        .push(text);
    }
    vec![
        name(quota),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age_of(quota, now),
    ]
}

fn component_status(component: &Value, _: Timestamp) -> Vec<Value> {
    let healthy = items(component, &["conditions"])
        .iter()
        .find(|condition| str_at(condition, &["type"]) == Some("Healthy"));
    let Some(healthy) = healthy else {
        return vec![name(component), "Unknown".into(), "".into(), "".into()];
    };
    let status = match str_at(healthy, &["status"]) {
        Some("True") => "Healthy",
        _ => "Unhealthy",
    };
    vec![
        name(component),
        status.into(),
        text(healthy, &["message"]),
        text(healthy, &["error"]),
    ]
}

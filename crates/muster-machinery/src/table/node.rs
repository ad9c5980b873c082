//! Nodes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, flag, has_condition, name, text, text_or};
use super::column::{self, AGE, Column, NAME, Printer, wide};
use crate::meta::{self, items, str_at};

const ADDRESSES: &str = "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses";

const COLUMNS: &[Column] = &[
    NAME,
    column::text("Status", "The status of the node"),
    column::text("Roles", "The roles of the node"),
    AGE,
    column::text("Version", "Kubelet Version reported by the node."),
    wide("Internal-IP", ADDRESSES),
    wide("External-IP", ADDRESSES),
    wide(
        "OS-Image",
        "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
    ),
    wide(
        "Kernel-Version",
        "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
    ),
    wide(
        "Container-Runtime",
        "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
    ),
];

pub(super) fn printer(kind: &str) -> Option<Printer> {
    (kind == "Node").then_some(Printer::new(COLUMNS, cells))
}

fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field| text_or(node, &["status", "nodeInfo", field], "<unknown>");
    vec![
        name(node),
        status(node).into(),
        roles(node).into(),
        age_of(node, now),
        text(node, &["status", "nodeInfo", "kubeletVersion"]),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let known = items(node, &["status", "conditions"])
        .iter()
        .any(|condition| str_at(condition, &["type"]) == Some("Ready"));
    let ready = match (known, has_condition(node, "Ready")) {
        (false, _) => "Unknown",
        (true, true) => "Ready",
        (true, false) => "NotReady",
    };
    if flag(node, &["spec", "unschedulable"], false) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.into()
    }
}

/// Roles are told by labels `node-role.kubernetes.io/ROLE` and `kubernetes.io/role=ROLE`.
fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in meta::labels(node).into_iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            None if key == "kubernetes.io/role" => value.as_str(),
            other => other,
        };
        roles.extend(role.filter(|role| !role.is_empty()));
    }
    if roles.is_empty() {
        return "<none>".into();
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(node: &'a Value, type_: &str) -> &'a str {
    items(node, &["status", "addresses"])
        .iter()
        .find(|address| str_at(address, &["type"]) == Some(type_))
        .and_then(|address| str_at(address, &["address"]))
        .unwrap_or("<none>")
}

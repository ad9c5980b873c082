//! The kinds that only need a field or two.

use serde_json::{Value, json};

use super::fill::{child, each, existing, fill, fill_text};
use crate::meta;

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Secret" => fill_text(object, "type", "Opaque"),
        "Namespace" => namespace(object),
        "Node" => node(object),
        "PersistentVolume" => {
            if let Some(spec) = child(object, "spec") {
                fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
                fill(spec, "volumeMode", "Filesystem");
            }
        }
        "PersistentVolumeClaim" => {
            if let Some(spec) = child(object, "spec") {
                fill(spec, "volumeMode", "Filesystem");
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => binding(object),
        "StorageClass" => {
            fill(object, "reclaimPolicy", "Delete");
            fill(object, "volumeBindingMode", "Immediate");
        }
        "CSIDriver" => csi_driver(object),
        "PriorityClass" => fill(object, "preemptionPolicy", "PreemptLowerPriority"),
        "FlowSchema" => {
            if let Some(spec) = existing(object, "spec") {
                fill(spec, "matchingPrecedence", 1000);
            }
        }
        "PriorityLevelConfiguration" => priority_level(object),
        "TokenRequest" => {
            if let Some(spec) = child(object, "spec") {
                fill(spec, "expirationSeconds", 3600);
            }
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            each(object, "webhooks").for_each(|hook| webhook(hook, kind.starts_with("Mutating")));
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            if let Some(spec) = existing(object, "spec") {
                fill(spec, "failurePolicy", "Fail");
                existing(spec, "matchConstraints")
                    .into_iter()
                    .for_each(match_resources);
            }
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            let resources =
                existing(object, "spec").and_then(|spec| existing(spec, "matchResources"));
            resources.into_iter().for_each(match_resources);
        }
        "CustomResourceDefinition" => custom_resource_definition(object),
        "APIService" => {
            let service = existing(object, "spec").and_then(|spec| existing(spec, "service"));
            service
                .into_iter()
                .for_each(|service| fill(service, "port", 443));
        }
        _ => {}
    }
}

/// Upstream labels each namespace with its name, so that selectors can find it.
fn namespace(namespace: &mut Value) {
    let name = meta::name(namespace).to_owned();
    if !name.is_empty() {
        meta::set_label(namespace, "kubernetes.io/metadata.name", &name);
    }
}

/// Without other word everything a node has can be given to pods.
fn node(node: &mut Value) {
    let Some(status) = existing(node, "status") else {
        return;
    };
    if let Some(capacity) = status.get("capacity").filter(|c| !c.is_null()).cloned() {
        fill(status, "allocatable", capacity);
    }
}

fn binding(binding: &mut Value) {
    if let Some(role) = existing(binding, "roleRef") {
        fill_text(role, "apiGroup", RBAC);
    }
    for subject in each(binding, "subjects") {
        if matches!(meta::str_at(subject, &["kind"]), Some("User" | "Group")) {
            fill_text(subject, "apiGroup", RBAC);
        }
    }
}

fn csi_driver(driver: &mut Value) {
    let Some(spec) = child(driver, "spec") else {
        return;
    };
    fill(spec, "attachRequired", true);
    for off in [
        "podInfoOnMount",
        "storageCapacity",
        "requiresRepublish",
        "seLinuxMount",
    ] {
        fill(spec, off, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if meta::items(spec, &["volumeLifecycleModes"]).is_empty() {
        spec["volumeLifecycleModes"] = json!(["Persistent"]);
    }
}

fn priority_level(level: &mut Value) {
    let Some(spec) = existing(level, "spec") else {
        return;
    };
    if let Some(exempt) = existing(spec, "exempt") {
        fill(exempt, "nominalConcurrencyShares", 0);
        fill(exempt, "lendablePercent", 0);
    }
    let Some(limited) = existing(spec, "limited") else {
        return;
    };
    fill(limited, "nominalConcurrencyShares", 30);
    fill(limited, "lendablePercent", 0);
    let queuing = existing(limited, "limitResponse").and_then(|r| existing(r, "queuing"));
    if let Some(queuing) = queuing {
        fill(queuing, "queues", 64);
        fill(queuing, "handSize", 8);
        fill(queuing, "queueLengthLimit", 50);
    }
}

fn match_resources(constraints: &mut Value) {
    fill(constraints, "matchPolicy", "Equivalent");
    fill(constraints, "namespaceSelector", json!({}));
    fill(constraints, "objectSelector", json!({}));
    each(constraints, "resourceRules").for_each(|rule| fill(rule, "scope", "*"));
    each(constraints, "excludeResourceRules").for_each(|rule| fill(rule, "scope", "*"));
}

fn webhook(hook: &mut Value, mutating: bool) {
    fill(hook, "failurePolicy", "Fail");
    fill(hook, "matchPolicy", "Equivalent");
    fill(hook, "namespaceSelector", json!({}));
    fill(hook, "objectSelector", json!({}));
    fill(hook, "timeoutSeconds", 10);
    if mutating {
        fill(hook, "reinvocationPolicy", "Never");
    }
    each(hook, "rules").for_each(|rule| fill(rule, "scope", "*"));
    let service = existing(hook, "clientConfig").and_then(|config| existing(config, "service"));
    service
        .into_iter()
        .for_each(|service| fill(service, "port", 443));
}

fn custom_resource_definition(definition: &mut Value) {
    let Some(spec) = existing(definition, "spec") else {
        return;
    };
    fill(spec, "conversion", json!({"strategy": "None"}));
    let Some(names) = existing(spec, "names") else {
        return;
    };
    let kind = meta::str_at(names, &["kind"]).unwrap_or("").to_owned();
    if !kind.is_empty() {
        fill_text(names, "singular", &kind.to_lowercase());
        fill_text(names, "listKind", &format!("{kind}List"));
    }
}

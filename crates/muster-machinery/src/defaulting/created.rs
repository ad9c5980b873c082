//! What a kind's create strategy does: the first status, and fields that are set once.

use serde_json::{Map, Value, json};

use super::fill::{child, each, existing, fill};
use crate::meta;
use crate::quantity::Quantity;
use crate::resources::Resource;

/// Prepares a new object after [`super::apply`]: drops the status a client sent where that is a
/// subresource, sets the first one, and writes what is derived from the rest of the object.
///
/// `metadata.uid` should be set before (a Job's selector is made from it).
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if !object.is_object() {
        return;
    }
    // A node may bring its status: the kubelet registers with it.
    let keeps_status = resource.group.is_empty() && resource.kind == "Node";
    if resource.has_status()
        && !keeps_status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    meta::set_generation(object, 0);
    if has_generation(resource) {
        meta::set_generation(object, 1);
    } else if let Some(metadata) = meta::metadata_mut(object) {
        metadata.remove("generation");
    }
    match (&*resource.group, &*resource.kind) {
        ("", "Namespace") => namespace(object),
        ("", "Pod") => {
            object["status"] = json!({"phase": "Pending", "qosClass": pod_qos_class(object)});
        }
        ("", "PersistentVolume" | "PersistentVolumeClaim") => {
            object["status"] = json!({"phase": "Pending"});
        }
        ("", "Service") => object["status"] = json!({"loadBalancer": {}}),
        ("networking.k8s.io", "Ingress") => object["status"] = json!({"loadBalancer": {}}),
        ("batch", "Job") => job_selector(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            crate::crd::prepare_definition(object)
        }
        _ => {}
    }
    if resource.has_status() {
        fill(object, "status", Map::new());
    }
}

/// Whether upstream counts changes of the spec of this kind in `metadata.generation`.
fn has_generation(resource: &Resource) -> bool {
    match &*resource.group {
        "" => matches!(&*resource.kind, "Pod" | "ReplicationController"),
        "apps" => resource.kind != "ControllerRevision",
        "batch" | "networking.k8s.io" => !matches!(&*resource.kind, "IPAddress" | "ServiceCIDR"),
        "policy"
        | "discovery.k8s.io"
        | "admissionregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "flowcontrol.apiserver.k8s.io" => true,
        "resource.k8s.io" => resource.kind == "DeviceClass" || resource.kind == "ResourceSlice",
        _ => resource.kind == "CSIDriver" || resource.kind == "PriorityClass",
    }
}

fn namespace(namespace: &mut Value) {
    namespace["status"] = json!({"phase": "Active"});
    let Some(spec) = child(namespace, "spec") else {
        return;
    };
    let Some(finalizers) = spec.as_object_mut() else {
        return;
    };
    let slot = finalizers.entry("finalizers").or_insert(Value::Null);
    let named = slot
        .as_array()
        .is_some_and(|list| list.iter().any(|f| f == "kubernetes"));
    match slot {
        Value::Array(list) if !named => list.push("kubernetes".into()),
        Value::Array(_) => {}
        other => *other = json!(["kubernetes"]),
    }
}

/// A Job selects its pods by its own UID unless it says otherwise.
fn job_selector(job: &mut Value) {
    let (uid, name) = (meta::uid(job).to_owned(), meta::name(job).to_owned());
    let Some(spec) = existing(job, "spec") else {
        return;
    };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) || uid.is_empty() {
        return;
    }
    let Some(template) = child(spec, "template") else {
        return;
    };
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        meta::set_label(template, key, value);
    }
    spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}

/// The quality-of-service class of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn pod_qos_class(pod: &Value) -> &'static str {
    let mut containers: Vec<Value> = Vec::new();
    let mut copy = pod.get("spec").cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        containers.extend(each(&mut copy, list).map(std::mem::take));
    }
    let amount = |container: &Value, bound: &str, resource: &str| {
        meta::at(container, &["resources", bound, resource])
            .and_then(|value| Quantity::from_json(value).ok())
            .filter(|quantity| quantity.nano() > 0)
    };
    let pairs = |container: &Value| {
        ["cpu", "memory"].map(|resource| {
            (
                amount(container, "requests", resource),
                amount(container, "limits", resource),
            )
        })
    };
    let any = containers
        .iter()
        .flat_map(&pairs)
        .any(|(r, l)| r.is_some() || l.is_some());
    let all = containers
        .iter()
        .flat_map(&pairs)
        .all(|(request, limit)| limit.is_some() && request.is_none_or(|r| Some(r) == limit));
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

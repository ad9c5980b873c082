//! Pods: their grace, being bound to a node, and the two subresources that change a
//! part of their spec.
//!
//! Refuses to know: scheduling and kubelets.

use muster_machinery::{meta, status::Status};
use serde_json::{Value, json};

use super::{
    super::{Call, Refusal},
    copy_field,
};

/// Seconds a pod has for its end when it does not say.
const DEFAULT_GRACE: i64 = 30;

/// Seconds until the pod is gone: what is asked for, else what the pod says. A pod that runs nowhere, or
/// has finished, needs none.
pub(super) fn grace(pod: &Value, asked: Option<i64>) -> i64 {
    let bound = meta::str_at(pod, &["spec", "nodeName"]).is_some_and(|node| !node.is_empty());
    let phase = meta::str_at(pod, &["status", "phase"]).unwrap_or_default();
    if !bound || matches!(phase, "Failed" | "Succeeded") {
        return 0;
    }
    let own = meta::at(pod, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    match asked.or(own).unwrap_or(DEFAULT_GRACE) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

pub(super) fn only_ephemeral_containers(new: &mut Value, old: &Value) {
    let containers = meta::at(new, &["spec", "ephemeralContainers"]).cloned();
    *new = old.clone();
    if let (Some(spec), Some(containers)) = (meta::map_mut(new, "spec"), containers) {
        spec.insert("ephemeralContainers".to_owned(), containers);
    }
}

pub(super) fn only_resources(new: &mut Value, old: &Value) {
    let asked = new.clone();
    *new = old.clone();
    for list in ["containers", "initContainers"] {
        let Some(containers) = new
            .pointer_mut(&format!("/spec/{list}"))
            .and_then(Value::as_array_mut)
        else {
            continue;
        };
        for container in containers {
            let name = container.get("name").cloned();
            let wanted = meta::items(&asked, &["spec", list])
                .iter()
                .find(|wanted| wanted.get("name").cloned() == name);
            if let Some(wanted) = wanted {
                copy_field(container, wanted, "resources");
                copy_field(container, wanted, "resizePolicy");
            }
        }
    }
}

/// Puts a pod on a node, once.
pub(in super::super) fn bind(
    call: &Call<'_>,
    pod: &Value,
    binding: &Value,
) -> Result<Value, Refusal> {
    let node = meta::str_at(binding, &["target", "name"]).unwrap_or_default();
    let kind = meta::str_at(binding, &["target", "kind"]).unwrap_or("Node");
    if node.is_empty() || !matches!(kind, "" | "Node") {
        return Err(
            Status::bad_request("a binding needs a target of kind Node with a name").into(),
        );
    }
    let refuse =
        |why: String| Status::conflict_because(call.resource.group_resource(), call.name(), &why);
    if meta::is_being_deleted(pod) {
        return Err(refuse(format!(
            "pod {} is being deleted, cannot be assigned to a host",
            call.name()
        ))
        .into());
    }
    match meta::str_at(pod, &["spec", "nodeName"]) {
        None | Some("") => {}
        Some(there) => {
            return Err(refuse(format!(
                "pod {} is already assigned to node {there:?}",
                call.name()
            ))
            .into());
        }
    }
    let mut pod = pod.clone();
    if let Some(spec) = meta::map_mut(&mut pod, "spec") {
        spec.insert("nodeName".to_owned(), node.into());
    }
    for (key, value) in meta::annotations(binding).into_iter().flatten() {
        if let Some(value) = value.as_str() {
            meta::set_annotation(&mut pod, key, value);
        }
    }
    set_scheduled(call, &mut pod);
    Ok(pod)
}

fn set_scheduled(call: &Call<'_>, pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": meta::format_time(call.now),
    });
    let Some(status) = meta::map_mut(pod, "status") else {
        return;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition.get("type") != Some(&json!("PodScheduled")));
        conditions.push(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_node_needs_no_grace() {
        assert_eq!(grace(&json!({"spec": {}}), Some(30)), 0);
        let bound = json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}});
        assert_eq!(
            (
                grace(&bound, None),
                grace(&bound, Some(0)),
                grace(&bound, Some(-1))
            ),
            (5, 0, 1)
        );
    }
}

//! One object under two names: what is stored in one version and served in another.
//!
//! Two built-in kinds need it: events (`v1` and `events.k8s.io/v1`) and autoscalers
//! (`autoscaling/v2` and `v1`). All other resources are stored as they are served.

use serde_json::{Map, Value, json};

use crate::meta;
use crate::resources::Resource;

/// Fields of an event: name in `v1`, name in `events.k8s.io/v1`.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Where an autoscaler of `v1` keeps what only `v2` has a field for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Turns an object as it is served by a resource into the form that is stored.
pub fn to_storage(resource: &Resource, object: &mut Value) {
    match (&*resource.group, &*resource.version, &*resource.kind) {
        ("events.k8s.io", _, "Event") => {
            rename(object, EVENT_FIELDS.iter().map(|(v1, new)| (*new, *v1)))
        }
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v2(object),
        _ => return,
    }
    meta::set_gvk(object, &resource.storage_api_version(), &resource.kind);
}

/// Turns a stored object into the form that a resource serves.
pub fn from_storage(resource: &Resource, object: &mut Value) {
    match (&*resource.group, &*resource.version, &*resource.kind) {
        ("events.k8s.io", _, "Event") => rename(object, EVENT_FIELDS.iter().copied()),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => autoscaler_to_v1(object),
        _ => return,
    }
    meta::set_gvk(object, &resource.api_version(), &resource.kind);
}

fn rename<'a>(object: &mut Value, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (from, to) in fields {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

fn is_cpu_utilization(metric: &Value) -> bool {
    meta::str_at(metric, &["type"]) == Some("Resource")
        && meta::str_at(metric, &["resource", "name"]) == Some("cpu")
        && meta::at(metric, &["resource", "target", "averageUtilization"]).is_some()
}

fn autoscaler_to_v2(object: &mut Value) {
    let metrics = take_annotation(object, METRICS);
    let behavior = take_annotation(object, BEHAVIOR);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut list = metrics
            .and_then(|m| m.as_array().cloned())
            .unwrap_or_default();
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            list.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !list.is_empty() {
            spec.insert("metrics".into(), list.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".into(), behavior);
        }
    }
    let status = object.get_mut("status").and_then(Value::as_object_mut);
    if let Some(status) = status
        && let Some(percent) = status.remove("currentCPUUtilizationPercentage")
    {
        let current = json!({"averageUtilization": percent});
        status.insert(
            "currentMetrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]),
        );
    }
}

fn autoscaler_to_v1(object: &mut Value) {
    let mut extra = Map::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = match spec.remove("metrics") {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        };
        if let Some(at) = metrics.iter().position(is_cpu_utilization) {
            let cpu = metrics.remove(at);
            let percent = cpu["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        if !metrics.is_empty() {
            extra.insert(METRICS.into(), metrics.into());
        }
        if let Some(behavior) = spec.remove("behavior") {
            extra.insert(BEHAVIOR.into(), behavior);
        }
    }
    for (key, value) in extra {
        meta::set_annotation(object, &key, &value.to_string());
    }
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    status.remove("conditions");
    if let Some(Value::Array(list)) = status.remove("currentMetrics") {
        let percent = list
            .iter()
            .filter(|metric| meta::str_at(metric, &["resource", "name"]) == Some("cpu"))
            .find_map(|metric| meta::at(metric, &["resource", "current", "averageUtilization"]));
        if let Some(percent) = percent {
            status.insert("currentCPUUtilizationPercentage".into(), percent.clone());
        }
    }
}

/// Takes an annotation that holds JSON.
fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object
        .get_mut("metadata")?
        .get_mut("annotations")?
        .as_object_mut()?;
    let value = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
    annotations.remove(key);
    if annotations.is_empty() {
        meta::metadata_mut(object)?.remove("annotations");
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::find;

    #[test]
    fn an_event_is_the_same_under_both_names() {
        let events = find("events.k8s.io", "v1", "events").unwrap();
        let served = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n",
            "regarding": {"kind": "Node"}, "reportingController": "c", "eventTime": "t"});
        let mut object = served.clone();
        to_storage(events, &mut object);
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "Event", "message": "n",
                "involvedObject": {"kind": "Node"}, "reportingComponent": "c", "eventTime": "t"})
        );
        from_storage(events, &mut object);
        assert_eq!(object, served);
    }

    #[test]
    fn an_autoscaler_of_v1_keeps_what_only_v2_can_say() {
        let v1 = find("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
        let stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {}}, "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "q"}}},
                {"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80}}}]},
            "status": {"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": 12}}}]}});
        let mut object = stored.clone();
        from_storage(v1, &mut object);
        assert_eq!(
            object["spec"],
            json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 80})
        );
        assert_eq!(
            object["status"],
            json!({"currentCPUUtilizationPercentage": 12})
        );
        to_storage(v1, &mut object);
        assert_eq!(object, stored);
    }

    #[test]
    fn other_kinds_are_stored_as_they_are_served() {
        let pods = find("", "v1", "pods").unwrap();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "message": "x"});
        to_storage(pods, &mut pod);
        from_storage(pods, &mut pod);
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod", "message": "x"})
        );
    }
}

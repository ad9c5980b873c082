//! Resources that are served under two names and kept under one: the fields that are called differently.
//!
//! Refuses to know: when to convert. Reading and writing do it at the edge of the registry.

use muster_machinery::{meta, resources::Resource};
use serde_json::{Map, Value, json};

/// How the served form of a resource relates to its stored form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// They are the same.
    None,
    /// `events.k8s.io/v1` over core events.
    Events,
    /// `autoscaling/v1` over `autoscaling/v2`.
    Autoscaling,
}

/// Core event fields and what `events.k8s.io/v1` calls them.
const EVENT_FIELDS: [(&str, &str); 8] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingInstance", "reportingInstance"),
];

/// Where `autoscaling/v1` keeps what it has no fields for.
const OTHER_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

impl Conversion {
    /// The conversion of a resource.
    pub(crate) fn of(resource: &Resource) -> Self {
        match (&*resource.group, &*resource.version, &*resource.plural) {
            ("events.k8s.io", _, "events") => Self::Events,
            ("autoscaling", "v1", "horizontalpodautoscalers") => Self::Autoscaling,
            _ => Self::None,
        }
    }

    /// Turns a stored object into the served form.
    pub(crate) fn serve(self, resource: &Resource, object: &mut Value) {
        match self {
            Self::None => return,
            Self::Events => rename(object, |(core, new)| (core, new)),
            Self::Autoscaling => autoscaler_to_v1(object),
        }
        meta::set_gvk(object, &resource.api_version(), &resource.kind);
    }

    /// Turns a served object into the stored form.
    pub(crate) fn store(self, resource: &Resource, object: &mut Value) {
        match self {
            Self::None => return,
            Self::Events => rename(object, |(core, new)| (new, core)),
            Self::Autoscaling => autoscaler_to_v2(object),
        }
        meta::set_gvk(object, &resource.storage_api_version(), &resource.kind);
    }
}

fn rename(
    object: &mut Value,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for pair in EVENT_FIELDS {
        let (from, to) = direction(pair);
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

fn autoscaler_to_v1(object: &mut Value) {
    let mut others = Vec::new();
    let mut behavior = None;
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        behavior = spec.remove("behavior");
        if let Some(Value::Array(metrics)) = spec.remove("metrics") {
            for metric in metrics {
                match cpu_target(&metric) {
                    Some(percent) if !spec.contains_key("targetCPUUtilizationPercentage") => {
                        spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
                    }
                    _ => others.push(metric),
                }
            }
        }
    }
    if !others.is_empty() {
        meta::set_annotation(object, OTHER_METRICS, &Value::Array(others).to_string());
    }
    if let Some(behavior) = behavior {
        meta::set_annotation(object, BEHAVIOR, &behavior.to_string());
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let current = status.remove("currentMetrics");
        status.remove("conditions");
        let percent = current
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find_map(|metric| {
                metric
                    .pointer("/resource/current/averageUtilization")
                    .cloned()
            });
        if let Some(percent) = percent {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
    }
}

fn cpu_target(metric: &Value) -> Option<Value> {
    let cpu = metric.get("type") == Some(&json!("Resource"))
        && metric.pointer("/resource/name") == Some(&json!("cpu"));
    metric
        .pointer("/resource/target/averageUtilization")
        .filter(|_| cpu)
        .cloned()
}

fn autoscaler_to_v2(object: &mut Value) {
    let annotation = |object: &mut Value, key: &str| {
        let map = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)?;
        serde_json::from_str::<Value>(map.remove(key)?.as_str()?).ok()
    };
    let others = annotation(object, OTHER_METRICS);
    let behavior = annotation(object, BEHAVIOR);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let mut metrics = Vec::new();
    if let Some(percent) = spec
        .remove("targetCPUUtilizationPercentage")
        .filter(|p| !p.is_null())
    {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}));
    }
    if let Some(Value::Array(others)) = others {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), Value::Array(metrics));
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut)
        && let Some(percent) = status.remove("currentCPUUtilizationPercentage")
    {
        let current: Map<String, Value> =
            Map::from_iter([("averageUtilization".to_owned(), percent)]);
        status.insert(
            "currentMetrics".to_owned(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]),
        );
    }
}

#[cfg(test)]
mod tests {
    use muster_machinery::resources;

    use super::*;

    #[test]
    fn events_change_their_field_names_both_ways() {
        let resource = resources::find("events.k8s.io", "v1", "events").unwrap();
        let stored = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"name": "n"}, "message": "m", "count": 3, "reason": "r"});
        let mut served = stored.clone();
        Conversion::of(resource).serve(resource, &mut served);
        assert_eq!(served["apiVersion"], "events.k8s.io/v1");
        assert_eq!(
            (&served["note"], &served["regarding"]["name"]),
            (&json!("m"), &json!("n"))
        );
        Conversion::of(resource).store(resource, &mut served);
        assert_eq!(served, stored);
    }

    #[test]
    fn an_autoscaler_keeps_metrics_that_its_first_version_cannot_say() {
        let resource = resources::find("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
        let stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "annotations": {}}, "spec": {"maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}},
            {"type": "Pods", "pods": {}}]}});
        let mut object = stored.clone();
        let conversion = Conversion::of(resource);
        conversion.serve(resource, &mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        conversion.store(resource, &mut object);
        assert_eq!(object, stored);
    }
}

//! RuntimeClass: a pod of a class carries what the class costs, and goes where the class is there.
//!
//! Refuses to know: runtimes.

use muster_machinery::{meta, quantity::Quantity};
use serde_json::{Map, Value};

use super::{AdmissionRequest, Admitted, Judged};
use crate::request::ObjectReader;

const OVERHEAD_DIFFERS: &str =
    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// Fills in overhead, node selector and tolerations of a new pod.
pub(super) fn admit(
    reader: &dyn ObjectReader,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
) -> Admitted {
    let judged = Judged::of(request, Some(&*pod), None);
    let name = meta::str_at(pod, &["spec", "runtimeClassName"]).unwrap_or_default();
    let overhead = overhead(pod);
    if name.is_empty() {
        if overhead.is_some() {
            return Err(judged.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ));
        }
        return Ok(());
    }
    let Some(class) = reader.get("node.k8s.io", "runtimeclasses", None, name) else {
        let why = format!("pod rejected: RuntimeClass {name:?} not found");
        return Err(judged.forbidden(&why));
    };
    let fixed = meta::at(&class, &["overhead", "podFixed"]).and_then(Value::as_object);
    match (overhead, fixed) {
        (Some(_), None) => {
            return Err(judged.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ));
        }
        (Some(own), Some(fixed)) if !same(own, fixed) => {
            return Err(judged.forbidden(OVERHEAD_DIFFERS));
        }
        _ => {}
    }
    let wanted = meta::at(&class, &["scheduling", "nodeSelector"]).and_then(Value::as_object);
    for (key, value) in wanted.into_iter().flatten() {
        let own = meta::at(pod, &["spec", "nodeSelector", key]);
        if let Some(own) = own.filter(|own| *own != value) {
            let (own, value) = (own.as_str(), value.as_str());
            return Err(judged.forbidden(&format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                value.unwrap_or_default(),
                own.unwrap_or_default()
            )));
        }
    }
    let Some(spec) = meta::map_mut(pod, "spec") else {
        return Ok(());
    };
    if let Some(fixed) = fixed {
        spec.insert("overhead".to_owned(), Value::Object(fixed.clone()));
    }
    if let Some(wanted) = wanted {
        let selector = spec.entry("nodeSelector").or_insert(Value::Null);
        let mut all = selector.as_object().cloned().unwrap_or_default();
        all.extend(wanted.clone());
        *selector = Value::Object(all);
    }
    let tolerations = meta::items(&class, &["scheduling", "tolerations"]);
    if !tolerations.is_empty() {
        let own = spec.entry("tolerations").or_insert(Value::Null);
        let mut all = own.as_array().cloned().unwrap_or_default();
        let new: Vec<Value> = tolerations
            .iter()
            .filter(|one| !all.contains(one))
            .cloned()
            .collect();
        all.extend(new);
        *own = Value::Array(all);
    }
    Ok(())
}

fn overhead(pod: &Value) -> Option<&Map<String, Value>> {
    let overhead = meta::at(pod, &["spec", "overhead"])?.as_object()?;
    Some(overhead).filter(|overhead| !overhead.is_empty())
}

fn same(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let equal = |key: &String, value: &Value| {
        let other = b.get(key).and_then(|other| Quantity::from_json(other).ok());
        Quantity::from_json(value).ok() == other
    };
    a.len() == b.len() && a.iter().all(|(key, value)| equal(key, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::harness::{Bench, account, namespace};

    fn bench() -> Bench {
        let class = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
            "handler": "kata", "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {
                "nodeSelector": {"kata": "yes"},
                "tolerations": [{"key": "kata", "operator": "Exists"}],
            },
        });
        Bench::new([namespace("default"), account("default", "default"), class])
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn a_pod_carries_its_class_along() {
        let spec = json!({"runtimeClassName": "kata", "nodeSelector": {"a": "b"}, "overhead": {"cpu": "0.25"}});
        let made = bench().create("default/pods", pod(spec)).expect("admitted");
        assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
        assert_eq!(
            made["spec"]["nodeSelector"],
            json!({"a": "b", "kata": "yes"})
        );
        let tolerations = meta::items(&made, &["spec", "tolerations"]);
        assert!(tolerations.contains(&json!({"key": "kata", "operator": "Exists"})));
    }

    #[test]
    fn what_contradicts_the_class_is_refused() {
        for (spec, expected) in [
            (
                json!({"runtimeClassName": "gone"}),
                "pod rejected: RuntimeClass \"gone\" not found",
            ),
            (
                json!({"runtimeClassName": "kata", "overhead": {"cpu": "1"}}),
                OVERHEAD_DIFFERS,
            ),
            (
                json!({"overhead": {"cpu": "1"}}),
                "Pod Overhead set without corresponding RuntimeClass",
            ),
            (
                json!({"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; pod.spec.nodeSelector[kata] = no",
            ),
        ] {
            let refused = bench()
                .create("default/pods", pod(spec))
                .expect_err("refused");
            assert!(refused.message().contains(expected), "{refused}");
        }
    }
}

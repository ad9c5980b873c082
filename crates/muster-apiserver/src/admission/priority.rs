//! Priority: the number behind a pod's priority class, and at most one class that is the default.
//!
//! Refuses to know: preemption itself.

use muster_machinery::meta;
use serde_json::{Value, json};

use super::{AdmissionRequest, Admitted, Judged, Operation};
use crate::request::ObjectReader;

const GROUP: &str = "scheduling.k8s.io";
const PREEMPT: &str = "PreemptLowerPriority";

/// What a class gives to a pod.
struct Given {
    name: String,
    priority: i64,
    preemption: String,
}

impl Given {
    fn by(class: &Value) -> Self {
        let preemption = meta::str_at(class, &["preemptionPolicy"]).unwrap_or(PREEMPT);
        Self {
            name: meta::name(class).to_owned(),
            priority: class
                .get("value")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            preemption: preemption.to_owned(),
        }
    }

    /// What a pod without a class gets: the default class, or zero.
    fn by_default(reader: &dyn ObjectReader) -> Self {
        let classes = reader.list(GROUP, "priorityclasses", None);
        let defaults = classes
            .iter()
            .filter(|class| is_default(class))
            .map(|class| Self::by(class));
        // Should there be two after all, Kubernetes takes the lower.
        defaults
            .min_by_key(|given| given.priority)
            .unwrap_or_else(|| Self {
                name: String::new(),
                priority: 0,
                preemption: PREEMPT.to_owned(),
            })
    }
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault") == Some(&Value::Bool(true))
}

/// Fills in `priorityClassName`, `priority` and `preemptionPolicy` of a new pod.
pub(super) fn admit(
    reader: &dyn ObjectReader,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
) -> Admitted {
    let given = {
        let judged = Judged::of(request, Some(&*pod), None);
        let pod = judged.object.unwrap_or(&Value::Null);
        let wanted = meta::str_at(pod, &["spec", "priorityClassName"]).unwrap_or_default();
        let given = if wanted.is_empty() {
            Given::by_default(reader)
        } else {
            let class = reader.get(GROUP, "priorityclasses", None, wanted);
            let missing =
                || judged.forbidden(&format!("no PriorityClass with name {wanted} was found"));
            let class = class.ok_or_else(missing)?;
            Given::by(&class)
        };
        check_own_values(&judged, pod, &given)?;
        given
    };
    if let Some(spec) = meta::map_mut(pod, "spec") {
        if !given.name.is_empty() {
            spec.insert("priorityClassName".to_owned(), given.name.into());
        }
        spec.insert("priority".to_owned(), json!(given.priority));
        spec.insert("preemptionPolicy".to_owned(), given.preemption.into());
    }
    Ok(())
}

/// A pod may repeat what its class gives and nothing else.
fn check_own_values(request: &Judged<'_>, pod: &Value, given: &Given) -> Admitted {
    const WHO: &str = "must not be provided in pod spec; priority admission controller computed";
    let own = meta::at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(own) = own.filter(|own| *own != given.priority) {
        let why = format!(
            "the integer value of priority ({own}) {WHO} {} from the given PriorityClass name",
            given.priority
        );
        return Err(request.forbidden(&why));
    }
    let own = meta::str_at(pod, &["spec", "preemptionPolicy"]);
    if let Some(own) = own.filter(|own| *own != given.preemption) {
        let why = format!(
            "the string value of PreemptionPolicy ({own}) {WHO} {} from the given PriorityClass name",
            given.preemption
        );
        return Err(request.forbidden(&why));
    }
    Ok(())
}

/// Refuses a second default class.
pub(super) fn admit_class(reader: &dyn ObjectReader, request: &Judged<'_>) -> Admitted {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let marks = request.object.is_some_and(is_default);
    if !request.is_about(GROUP, "priorityclasses") || !writes || !marks {
        return Ok(());
    }
    let classes = reader.list(GROUP, "priorityclasses", None);
    let other = classes
        .iter()
        .find(|class| is_default(class) && meta::name(class) != request.name());
    match other {
        None => Ok(()),
        Some(other) => Err(request.forbidden(&format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            meta::name(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::harness::{Bench, account, namespace};

    fn class(name: &str, value: i64, default: bool) -> Value {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "globalDefault": default,
        })
    }

    fn bench(classes: impl IntoIterator<Item = Value>) -> Bench {
        let base = [namespace("default"), account("default", "default")];
        Bench::new(base.into_iter().chain(classes))
    }

    fn pod(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn a_pod_gets_the_number_of_its_class() {
        let bench = bench([class("high", 1000, false)]);
        let pod = bench.create("default/pods", pod(json!({"priorityClassName": "high"})));
        let spec = &pod.expect("admitted")["spec"];
        assert_eq!(
            (&spec["priority"], &spec["preemptionPolicy"]),
            (&json!(1000), &json!(PREEMPT))
        );
    }

    #[test]
    fn a_pod_without_a_class_gets_the_default_one_or_zero() {
        let admitted = bench([])
            .create("default/pods", pod(json!({})))
            .expect("admitted");
        assert_eq!(
            (
                &admitted["spec"]["priority"],
                admitted["spec"].get("priorityClassName")
            ),
            (&json!(0), None)
        );
        let admitted = bench([class("usual", 5, true)]).create("default/pods", pod(json!({})));
        let spec = &admitted.expect("admitted")["spec"];
        assert_eq!(
            (&spec["priority"], &spec["priorityClassName"]),
            (&json!(5), &json!("usual"))
        );
    }

    #[test]
    fn unknown_classes_and_numbers_of_ones_own_are_refused() {
        let refused = bench([]).create("default/pods", pod(json!({"priorityClassName": "x"})));
        assert_eq!(
            refused.expect_err("refused").message(),
            r#"pods "p" is forbidden: no PriorityClass with name x was found"#
        );
        let refused = bench([]).create("default/pods", pod(json!({"priority": 7})));
        assert!(
            refused
                .expect_err("refused")
                .message()
                .contains("(7) must not be provided")
        );
    }

    #[test]
    fn there_is_only_one_default_class() {
        let bench = bench([class("usual", 5, true)]);
        let target = "priorityclasses.scheduling.k8s.io";
        assert!(bench.create(target, class("second", 6, true)).is_err());
        assert!(bench.create(target, class("second", 6, false)).is_ok());
        let named = format!("-/{target}/usual");
        assert!(
            bench
                .update(&named, class("usual", 5, true), class("usual", 5, true))
                .is_ok()
        );
    }
}

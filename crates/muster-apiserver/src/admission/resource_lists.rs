//! Amounts of resources by name, and what a pod asks for as a whole.
//!
//! Refuses to know: who limits them.

use std::collections::BTreeMap;

use muster_machinery::{meta, quantity::Quantity};
use serde_json::Value;

/// Amounts by the names of resources.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// The amounts at a path; what cannot be read is left out.
pub(super) fn amounts(object: &Value, path: &[&str]) -> Amounts {
    let map = meta::at(object, path).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount).ok()?)))
        .collect()
}

/// Adds one set of amounts to another.
pub(super) fn add(all: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let own = all.entry(name.clone()).or_insert(Quantity::ZERO);
        *own = own.plus(*amount);
    }
}

fn raise(all: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let own = all.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

/// What a pod's containers ask for (`requests`) or may have (`limits`) at any one time: all that run side by side, or
/// the largest that runs before them.
pub(super) fn of_pod(pod: &Value, which: &str) -> Amounts {
    let of = |container: &Value| amounts(container, &["resources", which]);
    let mut all = Amounts::new();
    for container in meta::items(pod, &["spec", "containers"]) {
        add(&mut all, &of(container));
    }
    let (mut staying, mut before) = (Amounts::new(), Amounts::new());
    for container in meta::items(pod, &["spec", "initContainers"]) {
        let own = of(container);
        let mut then = staying.clone();
        add(&mut then, &own);
        if meta::str_at(container, &["restartPolicy"]) == Some("Always") {
            add(&mut all, &own);
            staying.clone_from(&then);
        }
        raise(&mut before, &then);
    }
    raise(&mut all, &before);
    for (name, amount) in amounts(pod, &["spec", "resources", which]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            all.insert(name, amount);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_needs_what_runs_together_or_the_largest_that_runs_before() {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| {
            let mut sidecar = asks(cpu);
            sidecar["restartPolicy"] = "Always".into();
            sidecar
        };
        for (before, beside, expected) in [
            (json!([]), json!([asks("1"), asks("500m")]), "1500m"),
            (json!([asks("3")]), json!([asks("1")]), "3"),
            (json!([sidecar("1"), asks("3")]), json!([asks("1")]), "4"),
            (
                json!([asks("3"), sidecar("1")]),
                json!([asks("2500m")]),
                "3500m",
            ),
        ] {
            let pod = json!({"spec": {"initContainers": before, "containers": beside}});
            assert_eq!(of_pod(&pod, "requests")["cpu"].to_string(), expected);
        }
    }
}

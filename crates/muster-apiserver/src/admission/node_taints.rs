//! TaintNodesByCondition: a fresh node takes no pods until the node controller has seen it ready.
//!
//! Refuses to know: conditions; taking the taint away is the controller's business.

use muster_machinery::meta;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Adds the taint `node.kubernetes.io/not-ready:NoSchedule` unless it is there.
pub(super) fn add_not_ready(node: &mut Value) {
    let present = meta::items(node, &["spec", "taints"]).iter().any(|taint| {
        meta::str_at(taint, &["key"]) == Some(NOT_READY)
            && meta::str_at(taint, &["effect"]) == Some("NoSchedule")
    });
    if present {
        return;
    }
    let Some(spec) = meta::map_mut(node, "spec") else {
        return;
    };
    let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
    match spec.get_mut("taints").and_then(Value::as_array_mut) {
        Some(taints) => taints.push(taint),
        None => {
            spec.insert("taints".to_owned(), json!([taint]));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::admission::harness::Bench;
    use serde_json::json;

    #[test]
    fn a_new_node_is_tainted_once_beside_its_own_taints() {
        let bench = Bench::new([]);
        let own = json!({"key": "mine", "effect": "NoExecute"});
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        for (taints, expected) in [
            (json!(null), json!([not_ready])),
            (json!([own]), json!([own, not_ready])),
            (json!([not_ready]), json!([not_ready])),
        ] {
            let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}});
            let admitted = bench.create("nodes", node).expect("admitted");
            assert_eq!(admitted["spec"]["taints"], expected);
        }
    }
}

//! DefaultTolerationSeconds: pods stay five minutes on a node that is lost, unless they say otherwise.
//!
//! Refuses to know: who evicts them then.

use muster_machinery::meta;
use serde_json::{Value, json};

const SECONDS: i64 = 300;
const LOST: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// Adds a toleration for each of the two taints of a lost node that the pod does not tolerate by itself.
pub(super) fn tolerate_lost_nodes(pod: &mut Value) {
    let tolerates = |taint: &str| {
        meta::items(pod, &["spec", "tolerations"])
            .iter()
            .any(|toleration| {
                let text = |field| meta::str_at(toleration, &[field]).unwrap_or_default();
                (text("key") == taint || text("key").is_empty())
                    && matches!(text("effect"), "" | "NoExecute")
            })
    };
    let missing: Vec<&str> = LOST.into_iter().filter(|taint| !tolerates(taint)).collect();
    let added = missing.into_iter().map(|key| {
        json!({
            "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
        })
    });
    let Some(spec) = meta::map_mut(pod, "spec") else {
        return;
    };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    if let Some(tolerations) = tolerations.as_array_mut() {
        tolerations.extend(added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_after(tolerations: Value) -> Vec<String> {
        let mut pod = json!({"spec": {"tolerations": tolerations}});
        tolerate_lost_nodes(&mut pod);
        meta::items(&pod, &["spec", "tolerations"])
            .iter()
            .map(|toleration| toleration["key"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn a_pod_tolerates_both_taints_of_a_lost_node_for_five_minutes() {
        assert_eq!(keys_after(json!(null)), LOST);
        let own = json!([{"key": LOST[0], "operator": "Exists", "effect": "NoExecute"}]);
        assert_eq!(keys_after(own), LOST);
        let other_effect = json!([{"key": LOST[0], "operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(keys_after(other_effect), [LOST[0], LOST[0], LOST[1]]);
    }

    #[test]
    fn a_pod_that_tolerates_everything_gets_nothing_added() {
        assert_eq!(keys_after(json!([{"operator": "Exists"}])), [""]);
    }
}

//! Sums up aggregated ClusterRoles, as upstream's `clusterrole-aggregation` controller does: the rules of every role
//! that an `aggregationRule` selects are written into the role that has it. It grants nothing by itself: what counts
//! is decided where rights are decided.

use crate::events::{Change, changes};
use crate::failure::outcome_of;
use crate::keyed::{self, Outcome};
use futures::{Stream, StreamExt, future};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{Selector, SelectorExt as _};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

/// The owner of the rules that are written (upstream's field manager).
const MANAGER: &str = "clusterrole-aggregation-controller";

/// Sums roles up for ever.
pub(crate) async fn run(client: Client) {
    let handle = |()| {
        let client = client.clone();
        async move { sum_up(&client).await }
    };
    keyed::run(any_change(client.clone()), 1, handle).await;
}

/// Every role may be part of any sum, so all changes are one item.
fn any_change(client: Client) -> impl Stream<Item = ((), ())> {
    changes(Api::<ClusterRole>::all(client), watcher::Config::default()).filter_map(|change| {
        future::ready(match change {
            Change::Present(_) | Change::Gone(_) => Some(((), ())),
            Change::Listed => None,
        })
    })
}

async fn sum_up(client: &Client) -> Outcome {
    let roles = Api::<ClusterRole>::all(client.clone());
    let all = match roles.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => return outcome_of::<()>("listing cluster roles", "", Err(error)),
    };
    let mut outcome = Outcome::Done;
    for role in &all {
        let Some(rules) = decide(role, &all) else {
            continue;
        };
        let name = role.name_any();
        let applied = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        });
        let params = PatchParams::apply(MANAGER).force();
        let result = roles.patch(&name, &params, &Patch::Apply(&applied)).await;
        match outcome_of("summing up a cluster role", &name, result) {
            Outcome::Done => {}
            other => outcome = other,
        }
    }
    outcome
}

/// The rules that `role` should have; `None` when it has them or is no sum. Roles are taken in the order of their
/// names, each rule once.
fn decide(role: &ClusterRole, all: &[ClusterRole]) -> Option<Vec<PolicyRule>> {
    let selectors = role
        .aggregation_rule
        .as_ref()?
        .cluster_role_selectors
        .as_deref()
        .unwrap_or_default();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        // A selector that cannot be read selects nothing: that grants less.
        let Ok(selector) = Selector::try_from(selector.clone()) else {
            continue;
        };
        let mut parts: Vec<&ClusterRole> = all
            .iter()
            .filter(|part| part.name_any() != role.name_any() && selector.matches(part.labels()))
            .collect();
        parts.sort_by_key(|part| part.name_any());
        for rule in parts.iter().flat_map(|part| part.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules != role.rules.as_deref().unwrap_or_default()).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: Option<&str>, resources: &[&str]) -> ClusterRole {
        let rules: Vec<_> = resources
            .iter()
            .map(|resource| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]}))
            .collect();
        let labels = label.map(|label| json!({label: "true"}));
        let role = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        serde_json::from_value(role).expect("a role")
    }

    fn sum(label: &str, resources: &[&str]) -> ClusterRole {
        let mut sum = role("sum", Some(label), resources);
        let rule = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        sum.aggregation_rule = serde_json::from_value(rule).expect("a rule");
        sum
    }

    fn resources(rules: Option<Vec<PolicyRule>>) -> Option<Vec<String>> {
        let one = |rule: PolicyRule| rule.resources.into_iter().flatten();
        rules.map(|rules| rules.into_iter().flat_map(one).collect())
    }

    #[test]
    fn a_sum_is_the_rules_of_its_parts_by_name_and_each_once() {
        let all = [
            role("z", Some("part"), &["pods", "nodes"]),
            role("a", Some("part"), &["secrets", "pods"]),
            role("other", Some("else"), &["events"]),
            role("bare", None, &["leases"]),
        ];
        let decided = resources(decide(&sum("part", &["old"]), &all));
        let wanted = ["secrets", "pods", "nodes"].map(str::to_owned);
        assert_eq!(decided, Some(wanted.to_vec()));
        assert_eq!(
            decide(&sum("part", &["secrets", "pods", "nodes"]), &all),
            None
        );
    }

    #[test]
    fn a_sum_without_parts_is_empty_and_never_its_own_part() {
        let own = sum("part", &["pods"]);
        let decided = decide(&own, std::slice::from_ref(&own));
        assert_eq!(decided, Some(Vec::new()));
    }

    #[test]
    fn a_role_without_a_rule_of_aggregation_is_left_alone() {
        assert_eq!(decide(&role("a", Some("part"), &["pods"]), &[]), None);
    }
}

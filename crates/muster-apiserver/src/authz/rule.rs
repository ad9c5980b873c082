//! One RBAC rule and when it applies to a request: verbs, groups, resources with subresources, names, and
//! non-resource paths. From `rbac.authorization.k8s.io/v1 PolicyRule`.
//!
//! Refuses to know: roles, bindings and users.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::{RequestInfo, ResourceRequest};

const ANY: &str = "*";

/// A set of things that may be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyRule {
    /// What may be done; `*` is everything.
    #[serde(deserialize_with = "list_or_null")]
    pub verbs: Vec<String>,
    /// The API groups; the core group is empty, `*` is all.
    #[serde(
        deserialize_with = "list_or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub api_groups: Vec<String>,
    /// Plurals, `plural/subresource`, `*/subresource` or `*`.
    #[serde(
        deserialize_with = "list_or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub resources: Vec<String>,
    /// The names the rule is limited to; empty means any, including requests without a name.
    #[serde(
        deserialize_with = "list_or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub resource_names: Vec<String>,
    /// Paths outside of resources; a trailing `*` matches any rest.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "list_or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// Go writes an empty list as `null` too.
fn list_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl PolicyRule {
    /// The rules of a Role or ClusterRole object. An item that is no rule grants nothing.
    pub fn all_of(role: &Value) -> Vec<Self> {
        let Some(rules) = role.get("rules").and_then(Value::as_array) else {
            return Vec::new();
        };
        rules
            .iter()
            .filter_map(|rule| Self::deserialize(rule).ok())
            .collect()
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, info: &RequestInfo) -> bool {
        if !matches_any(&self.verbs, info.verb.as_str()) {
            return false;
        }
        match &info.resource {
            Some(resource) => self.applies_to(resource),
            None => self
                .non_resource_urls
                .iter()
                .any(|url| url_covers(url, &info.path)),
        }
    }

    fn applies_to(&self, request: &ResourceRequest) -> bool {
        matches_any(&self.api_groups, &request.group)
            && self
                .resources
                .iter()
                .any(|rule| resource_matches(rule, request))
            && (self.resource_names.is_empty()
                || self
                    .resource_names
                    .iter()
                    .any(|name| Some(name) == request.name.as_ref()))
    }
}

fn matches_any(allowed: &[String], asked: &str) -> bool {
    allowed.iter().any(|own| own == ANY || own == asked)
}

fn resource_matches(rule: &str, request: &ResourceRequest) -> bool {
    if rule == ANY {
        return true;
    }
    match (rule.split_once('/'), request.subresource.as_deref()) {
        (None, None) => rule == request.resource,
        (Some((resource, sub)), Some(asked)) => {
            (resource == ANY || resource == request.resource) && sub == asked
        }
        _ => false,
    }
}

/// Whether the non-resource URL of a rule covers a path, or another rule's URL.
pub(super) fn url_covers(url: &str, path: &str) -> bool {
    url == path
        || url
            .strip_suffix('*')
            .is_some_and(|start| path.starts_with(start.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::authz::sample::ask;

    fn rule(rule: Value) -> PolicyRule {
        PolicyRule::deserialize(rule).expect("a rule")
    }

    #[rstest]
    #[case("get", "pods", true)]
    #[case("get", "default/pods/a", true)]
    #[case("get", "default/pods/a/log", false)]
    #[case("get", "default/deployments.apps/a/scale", true)]
    #[case("get", "default/deployments.apps/a", false)]
    #[case("get", "default/pods/a/status", true)]
    #[case("get", "nodes", false)]
    #[case("delete", "pods", false)]
    fn resources_and_subresources_are_different_things(
        #[case] verb: &str,
        #[case] target: &str,
        #[case] allowed: bool,
    ) {
        let rule = rule(json!({
            "verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["pods", "*/scale", "pods/status"]
        }));
        assert_eq!(rule.allows(&ask(verb, target)), allowed);
    }

    #[test]
    fn a_star_matches_every_resource_and_subresource_but_no_path() {
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(all.allows(&ask("proxy", "default/pods/a/exec")));
        assert!(!all.allows(&ask("get", "/healthz")));
    }

    #[test]
    fn names_limit_a_rule_to_requests_that_carry_one() {
        let rule = rule(json!({
            "verbs": ["get", "list", "create"], "apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": ["cluster-info"]
        }));
        assert!(rule.allows(&ask("get", "kube-public/configmaps/cluster-info")));
        assert!(!rule.allows(&ask("get", "kube-public/configmaps/other")));
        assert!(!rule.allows(&ask("list", "kube-public/configmaps")));
        assert!(!rule.allows(&ask("create", "kube-public/configmaps")));
    }

    #[test]
    fn a_trailing_star_of_a_path_matches_the_rest() {
        let rule = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        assert!(rule.allows(&ask("get", "/healthz")));
        assert!(!rule.allows(&ask("get", "/healthz/etcd")));
        assert!(rule.allows(&ask("get", "/apis/apps/v1")));
        assert!(!rule.allows(&ask("get", "/apis")));
        assert!(!rule.allows(&ask("post", "/healthz")));
    }

    #[test]
    fn malformed_rules_grant_nothing() {
        let role = json!({"rules": [{"verbs": "get"}, 7, {"verbs": null, "resources": ["pods"]}]});
        let rules = PolicyRule::all_of(&role);
        assert!(rules.iter().all(|rule| !rule.allows(&ask("get", "pods"))));
        assert!(PolicyRule::all_of(&json!({"rules": null})).is_empty());
    }
}

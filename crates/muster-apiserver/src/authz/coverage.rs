//! Does one set of rules contain another? The question behind RBAC's guard against escalation: nobody may
//! hand out rights they do not have.
//!
//! Refuses to know: users, roles and requests; it compares rules with rules.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{PolicyRule, url_covers};

/// A rule that names exactly one verb on one thing; what a set of rules is broken into for comparison.
fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut atoms = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            atoms.push(PolicyRule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..PolicyRule::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let atom = PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    atoms.push(atom.clone());
                }
                for name in &rule.resource_names {
                    atoms.push(PolicyRule {
                        resource_names: vec![name.clone()],
                        ..atom.clone()
                    });
                }
            }
        }
    }
    atoms
}

/// What `wanted` grants beyond `held`, one right per rule; empty when `held` contains it all.
pub(crate) fn missing_rules(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted
        .iter()
        .flat_map(atoms)
        .filter(|atom| !held.iter().any(|own| covers(own, atom)))
        .collect()
}

/// Whether `own` covers a rule made by [`atoms`].
fn covers(own: &PolicyRule, atom: &PolicyRule) -> bool {
    let contains = |own: &[String], asked: &[String]| {
        own.iter().any(|item| item == "*") || asked.iter().all(|item| own.contains(item))
    };
    contains(&own.verbs, &atom.verbs)
        && contains(&own.api_groups, &atom.api_groups)
        && atom.resources.iter().all(|asked| {
            own.resources
                .iter()
                .any(|item| covers_resource(item, asked))
        })
        && atom.non_resource_urls.iter().all(|asked| {
            own.non_resource_urls
                .iter()
                .any(|item| url_covers(item, asked))
        })
        && (own.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && contains_all(&own.resource_names, &atom.resource_names)))
}

/// Names know no wildcard.
fn contains_all(own: &[String], asked: &[String]) -> bool {
    asked.iter().all(|item| own.contains(item))
}

fn covers_resource(own: &str, asked: &str) -> bool {
    own == "*"
        || own == asked
        || asked.split_once('/').is_some_and(|(_, sub)| {
            own.split_once('/')
                .is_some_and(|(resource, own_sub)| resource == "*" && own_sub == sub)
        })
}

/// Joins rules on one thing that differ only in the verb, and prints them as Kubernetes does in the message
/// about an escalation, sorted.
pub(crate) fn compact(missing: &[PolicyRule]) -> Vec<String> {
    let mut verbs: BTreeMap<PolicyRule, Vec<String>> = BTreeMap::new();
    for rule in missing {
        let thing = PolicyRule {
            verbs: Vec::new(),
            ..rule.clone()
        };
        let known = verbs.entry(thing).or_default();
        known.extend(rule.verbs.iter().cloned());
    }
    let lines: BTreeSet<String> = verbs
        .into_iter()
        .map(|(thing, verbs)| line(&PolicyRule { verbs, ..thing }))
        .collect();
    lines.into_iter().collect()
}

fn line(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(name, items)| format!("{name}:{}", quoted(items)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// A list of strings as Go's `%q` prints it: `["a" "b"]`.
pub(crate) fn quoted(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn rules(rules: Value) -> Vec<PolicyRule> {
        Vec::deserialize(rules).expect("rules")
    }

    fn on(verbs: &[&str], resources: &[&str]) -> Value {
        json!([{"verbs": verbs, "apiGroups": [""], "resources": resources}])
    }

    #[rstest]
    #[case(on(&["get", "list"], &["pods"]), on(&["get"], &["pods"]), true)]
    #[case(on(&["get"], &["pods"]), on(&["get", "list"], &["pods"]), false)]
    #[case(on(&["*"], &["*"]), on(&["*"], &["pods/exec"]), true)]
    #[case(on(&["get"], &["pods"]), on(&["*"], &["pods"]), false)]
    #[case(on(&["get"], &["*/scale"]), on(&["get"], &["pods/scale"]), true)]
    #[case(on(&["get"], &["*/scale"]), on(&["get"], &["pods"]), false)]
    #[case(on(&["get"], &["pods"]), on(&["get"], &["pods/log"]), false)]
    fn held_rules_must_contain_every_wanted_right(
        #[case] held: Value,
        #[case] wanted: Value,
        #[case] contained: bool,
    ) {
        let missing = missing_rules(&rules(held), &rules(wanted));
        assert_eq!(missing.is_empty(), contained, "{missing:?}");
    }

    #[test]
    fn a_right_on_one_name_does_not_contain_the_right_on_all() {
        let named = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]);
        let all = on(&["get"], &["pods"]);
        assert_eq!(
            missing_rules(&rules(named.clone()), &rules(all.clone())).len(),
            1
        );
        assert!(missing_rules(&rules(all), &rules(named)).is_empty());
    }

    #[test]
    fn several_rules_together_can_contain_one() {
        let held = json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "nonResourceURLs": ["/logs/*"]}
        ]);
        let wanted = json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "nonResourceURLs": ["/logs/*", "/logs/x"]}
        ]);
        assert!(missing_rules(&rules(held), &rules(wanted)).is_empty());
    }

    #[test]
    fn missing_rights_are_told_one_line_per_thing() {
        let wanted = json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "secrets"]},
            {"verbs": ["get"], "nonResourceURLs": ["/x"]}
        ]);
        let missing = missing_rules(&[], &rules(wanted));
        assert_eq!(
            compact(&missing),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
                r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
            ]
        );
    }

    fn any_rule() -> impl Strategy<Value = PolicyRule> {
        let some = |items: &'static [&'static str]| {
            proptest::collection::vec(proptest::sample::select(items), 1..3)
                .prop_map(|items| items.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let names = proptest::collection::vec(proptest::sample::select(&["a", "b"][..]), 0..2);
        (
            some(&["get", "list", "*"]),
            some(&["", "apps", "*"]),
            some(&["pods", "pods/log", "*/log", "*"]),
            names,
        )
            .prop_map(|(verbs, api_groups, resources, names)| PolicyRule {
                verbs,
                api_groups,
                resources,
                resource_names: names.into_iter().map(str::to_owned).collect(),
                non_resource_urls: Vec::new(),
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever the wanted rules allow, the held ones allow, or it is among what is missing.
        #[test]
        fn containment_never_lets_a_new_request_through(
            held in proptest::collection::vec(any_rule(), 0..3),
            wanted in proptest::collection::vec(any_rule(), 1..3),
        ) {
            let missing = missing_rules(&held, &wanted);
            for verb in ["get", "list", "watch"] {
                for target in ["pods", "d/pods/a", "d/pods/c", "d/pods/a/log", "d/x.apps/b/log", "d/x.y/b"] {
                    let info = crate::authz::sample::ask(verb, target);
                    let grants = |rules: &[PolicyRule]| rules.iter().any(|rule| rule.allows(&info));
                    let accounted = grants(&held) || grants(&missing);
                    prop_assert!(!grants(&wanted) || accounted, "{verb} {target}");
                }
            }
        }
    }
}

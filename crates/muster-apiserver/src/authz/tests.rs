//! The chain as a whole: roles, bindings, aggregation, dangling references, and the order of authorizers.

use serde_json::{Value, json};

use super::{
    sample::{Objects, ask, grant, grant_everywhere, node},
    *,
};

const VERSION: &str = "rbac.authorization.k8s.io/v1";

fn over(objects: impl IntoIterator<Item = Value>) -> (Authorizer, Arc<Objects>) {
    let reader = Objects::of(objects);
    (Authorizer::new(reader.clone()), reader)
}

fn read(resource: &str) -> Value {
    json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}])
}

fn denied(reason: &str) -> Decision {
    Decision::Deny {
        reason: reason.to_owned(),
    }
}

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, ["system:authenticated"])
}

#[test]
fn without_a_binding_everything_is_denied_without_a_reason() {
    let (authorizer, _) = over([]);
    for target in ["nodes", "default/pods/a", "/healthz"] {
        assert_eq!(
            authorizer.authorize(&user("u"), &ask("get", target)),
            denied("")
        );
    }
}

#[test]
fn masters_may_do_everything_without_any_role() {
    let (authorizer, _) = over([]);
    let root = UserInfo::new("root", [MASTERS]);
    assert!(
        authorizer
            .authorize(&root, &ask("delete", "-/nodes/n1"))
            .is_allowed()
    );
}

#[test]
fn a_role_grants_in_its_namespace_and_a_cluster_role_everywhere() {
    let local = grant("local", "default", read("pods"));
    let wide = grant_everywhere("User", "wide", read("pods"));
    let (authorizer, _) = over(local.into_iter().chain(wide));
    let may = |name: &str, target: &str| {
        authorizer
            .authorize(&user(name), &ask("get", target))
            .is_allowed()
    };
    assert!(may("local", "default/pods/a"));
    assert!(!may("local", "other/pods/a"));
    assert!(!may("local", "pods"));
    assert!(may("wide", "other/pods/a"));
    assert!(may("wide", "pods"));
    assert!(!may("other", "default/pods/a"));
}

#[test]
fn a_role_binding_to_a_cluster_role_grants_in_its_namespace_only() {
    let [role, _] = grant_everywhere("User", "nobody", read("pods"));
    let binding = json!({
        "apiVersion": VERSION, "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": "default"},
        "roleRef": {"kind": "ClusterRole", "name": "granted-nobody"},
        "subjects": [{"kind": "Group", "name": "team"}],
    });
    let (authorizer, _) = over([role, binding]);
    let member = UserInfo::new("m", ["team"]);
    assert!(
        authorizer
            .authorize(&member, &ask("get", "default/pods/a"))
            .is_allowed()
    );
    assert!(
        !authorizer
            .authorize(&member, &ask("get", "other/pods/a"))
            .is_allowed()
    );
}

#[test]
fn service_accounts_are_subjects_by_namespace_and_name() {
    let [role, _] = grant("x", "default", read("pods"));
    let binding = |namespace: Value| {
        json!({
            "apiVersion": VERSION, "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "default"},
            "roleRef": {"kind": "Role", "name": "granted-x"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}],
        })
    };
    for (stated, user_name) in [
        (json!("tools"), "system:serviceaccount:tools:robot"),
        (json!(null), "system:serviceaccount:default:robot"),
    ] {
        let (authorizer, _) = over([role.clone(), binding(stated)]);
        let may = |name: &str| {
            authorizer
                .authorize(&user(name), &ask("get", "default/pods/a"))
                .is_allowed()
        };
        assert!(may(user_name));
        assert!(!may("robot"));
        assert!(!may("system:serviceaccount:other:robot"));
    }
}

#[test]
fn dangling_references_are_told_in_the_order_of_bindings_and_once() {
    let binding = |name: &str, role: &str| {
        json!({
            "apiVersion": VERSION, "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "Group", "name": "system:authenticated"}],
        })
    };
    let one = r#"clusterrole.rbac.authorization.k8s.io "gone" not found"#;
    let (authorizer, reader) = over([binding("a", "gone")]);
    let decision = || authorizer.authorize(&user("u"), &ask("get", "nodes"));
    assert_eq!(decision(), denied(&format!("RBAC: {one}")));
    reader.put(binding("b", "gone"));
    assert_eq!(decision(), denied(&format!("RBAC: {one}")));
    reader.put(binding("c", "lost"));
    let other = r#"clusterrole.rbac.authorization.k8s.io "lost" not found"#;
    assert_eq!(decision(), denied(&format!("RBAC: [{one}, {other}]")));
}

#[test]
fn an_aggregated_role_is_the_sum_of_those_it_selects_through_any_depth() {
    let role = |name: &str, labels: Value, aggregates: Value, resource: &str| {
        json!({
            "apiVersion": VERSION, "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels},
            "aggregationRule": aggregates, "rules": read(resource),
        })
    };
    let selecting =
        |label: &str| json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    let [_, binding] = grant_everywhere("User", "u", json!([]));
    let top = role("granted-u", json!({}), selecting("to-top"), "stale");
    let middle = role(
        "middle",
        json!({"to-top": "true"}),
        selecting("to-middle"),
        "stale",
    );
    let leaf = role("leaf", json!({"to-middle": "true"}), json!(null), "pods");
    let (authorizer, reader) = over([binding, top, middle, leaf.clone()]);
    let may = |resource: &str| {
        authorizer
            .authorize(&user("u"), &ask("get", resource))
            .is_allowed()
    };
    assert!(may("pods"));
    assert!(
        !may("stale"),
        "stored rules of an aggregated role do not count"
    );
    reader.remove(&leaf);
    assert!(!may("pods"), "the sum follows its parts at once");
    reader.put(role(
        "loop",
        json!({"to-top": "true"}),
        selecting("to-top"),
        "x",
    ));
    assert!(!may("pods"), "aggregations in a circle end");
}

#[test]
fn a_change_of_roles_counts_for_the_next_request() {
    let [role, binding] = grant("u", "default", read("pods"));
    let (authorizer, reader) = over([role]);
    let may = || {
        authorizer
            .authorize(&user("u"), &ask("get", "default/pods/a"))
            .is_allowed()
    };
    assert!(!may());
    reader.put(binding.clone());
    assert!(may());
    reader.remove(&binding);
    assert!(!may());
}

#[test]
fn a_node_that_the_node_authorizer_denies_may_still_be_allowed_by_rbac() {
    let (authorizer, reader) = over([]);
    let ask_for_config = ask("get", "kube-system/configmaps/kubeadm-config");
    let reason = "no relationship found between node 'n1' and this object";
    assert_eq!(
        authorizer.authorize(&node("n1"), &ask_for_config),
        denied(reason)
    );
    for object in grant_everywhere("Group", "system:nodes", read("configmaps")) {
        reader.put(object);
    }
    assert!(
        authorizer
            .authorize(&node("n1"), &ask_for_config)
            .is_allowed()
    );
}

#[test]
fn listed_rules_come_in_order_and_say_when_they_are_incomplete() {
    let both = grant("u", "default", read("pods"))
        .into_iter()
        .chain(grant_everywhere("User", "u", read("nodes")));
    let (authorizer, _) = over(both);
    let listed = authorizer.rules_for(&user("u"), Some("default"));
    let resources: Vec<&str> = listed
        .rules
        .iter()
        .map(|rule| rule.resources[0].as_str())
        .collect();
    assert_eq!((resources, listed.errors), (vec!["nodes", "pods"], vec![]));
    assert_eq!(authorizer.rules_for(&user("u"), None).rules.len(), 1);
    assert_eq!(
        authorizer
            .rules_for(&node("n"), Some("default"))
            .errors
            .len(),
        1
    );
}

#[test]
fn malformed_objects_neither_grant_nor_break_anything() {
    let bad = |kind: &str, extra: Value| {
        let mut object = json!({"apiVersion": VERSION, "kind": kind, "metadata": {"name": "x"}});
        if let (Some(object), Some(extra)) = (object.as_object_mut(), extra.as_object()) {
            object.extend(extra.clone());
        }
        object
    };
    let (authorizer, _) = over([
        bad("ClusterRole", json!({"rules": "all"})),
        bad(
            "ClusterRoleBinding",
            json!({"subjects": [{"kind": "User"}, 3], "roleRef": []}),
        ),
        bad(
            "RoleBinding",
            json!({"subjects": {"kind": "User", "name": "u"}}),
        ),
    ]);
    assert_eq!(
        authorizer.authorize(&user("u"), &ask("get", "nodes")),
        denied("")
    );
}

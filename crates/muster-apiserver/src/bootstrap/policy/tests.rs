//! The data file reads, its objects have the shape of a real cluster's, and a joining node's rights are in it.

use std::collections::BTreeSet;

use muster_machinery::meta;
use serde_json::json;

use super::*;
use crate::{
    authz::{
        Authorizer,
        sample::{Objects, ask, node},
    },
    request::UserInfo,
};

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|one| meta::kind(one) == kind && meta::name(one) == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

#[test]
fn every_object_has_a_name_of_its_own() {
    let objects = objects();
    let keys: BTreeSet<_> = objects
        .iter()
        .map(|one| (meta::kind(one), meta::namespace(one), meta::name(one)))
        .collect();
    assert_eq!(keys.len(), objects.len());
}

#[test]
fn every_binding_leads_to_a_role() {
    let objects = objects();
    for binding in objects
        .iter()
        .filter(|one| meta::kind(one).ends_with("Binding"))
    {
        let role = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default();
        let found = named(&objects, role("kind"), role("name"));
        assert_eq!(meta::kind(found), role("kind"));
    }
}

#[test]
fn rules_have_verbs_and_something_to_apply_them_to() {
    for object in objects()
        .iter()
        .filter(|one| meta::kind(one).ends_with("Role"))
    {
        for rule in PolicyRule::all_of(object) {
            let has_things = !rule.resources.is_empty() && !rule.api_groups.is_empty();
            assert!(!rule.verbs.is_empty(), "{object}");
            assert_eq!(has_things, rule.non_resource_urls.is_empty(), "{object}");
        }
    }
}

#[test]
fn a_role_looks_as_in_a_real_cluster() {
    let objects = objects();
    assert_eq!(
        *named(
            &objects,
            "ClusterRole",
            "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver"
        ),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
                "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                "name": "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
            },
            "rules": [{
                "apiGroups": ["certificates.k8s.io"],
                "resourceNames": ["kubernetes.io/kube-apiserver-client-kubelet"],
                "resources": ["signers"],
                "verbs": ["approve"],
            }],
        })
    );
}

#[test]
fn a_binding_looks_as_in_a_real_cluster() {
    let objects = objects();
    let bootstrap = named(&objects, "ClusterRoleBinding", "kubeadm:kubelet-bootstrap");
    assert_eq!(
        *bootstrap,
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kubeadm:kubelet-bootstrap"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "system:node-bootstrapper",
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                "name": "system:bootstrappers:kubeadm:default-node-token",
            }],
        })
    );
    assert_eq!(
        named(&objects, "ClusterRoleBinding", "system:node").get("subjects"),
        None
    );
    let controller = named(
        &objects,
        "ClusterRoleBinding",
        "system:controller:certificate-controller",
    );
    assert_eq!(
        controller["subjects"],
        json!([{"kind": "ServiceAccount", "name": "certificate-controller", "namespace": "kube-system"}])
    );
}

fn cluster() -> Authorizer {
    Authorizer::new(Objects::of(objects()))
}

#[test]
fn a_bootstrap_token_may_do_what_a_joining_machine_needs_and_no_more() {
    let groups = [
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:authenticated",
    ];
    let token = UserInfo::new("system:bootstrap:abcdef", groups);
    let cluster = cluster();
    let may = |verb: &str, target: &str| cluster.authorize(&token, &ask(verb, target)).is_allowed();
    for (verb, target) in [
        ("get", "kube-system/configmaps/kubeadm-config"),
        ("get", "kube-system/configmaps/kubelet-config"),
        ("get", "kube-system/configmaps/kube-proxy"),
        ("get", "-/nodes/n1"),
        ("create", "certificatesigningrequests.certificates.k8s.io"),
        (
            "watch",
            "-/certificatesigningrequests.certificates.k8s.io/c",
        ),
        ("create", "certificatesigningrequests.certificates.k8s.io"),
        (
            "create",
            "-/certificatesigningrequests.certificates.k8s.io//nodeclient",
        ),
        ("get", "/version"),
        ("get", "/apis"),
    ] {
        assert!(may(verb, target), "{verb} {target}");
    }
    for (verb, target) in [
        ("list", "nodes"),
        ("create", "nodes"),
        ("get", "kube-system/configmaps/other"),
        ("list", "kube-system/configmaps"),
        ("get", "kube-system/secrets/bootstrap-token-abcdef"),
        (
            "update",
            "-/certificatesigningrequests.certificates.k8s.io/c/approval",
        ),
        (
            "create",
            "-/certificatesigningrequests.certificates.k8s.io//selfnodeclient",
        ),
        ("list", "pods"),
        ("get", "/metrics"),
    ] {
        assert!(!may(verb, target), "{verb} {target}");
    }
}

#[test]
fn a_stranger_may_read_cluster_info_and_the_health_of_the_server() {
    let anonymous = UserInfo::new("system:anonymous", ["system:unauthenticated"]);
    let cluster = cluster();
    let may = |verb: &str, target: &str| {
        cluster
            .authorize(&anonymous, &ask(verb, target))
            .is_allowed()
    };
    assert!(may("get", "kube-public/configmaps/cluster-info"));
    assert!(may("get", "/livez") && may("get", "/readyz") && may("get", "/version"));
    assert!(!may("list", "kube-public/configmaps"));
    assert!(!may("get", "kube-system/configmaps/kubeadm-config"));
    assert!(!may("get", "/apis"));
    assert!(!may(
        "create",
        "selfsubjectaccessreviews.authorization.k8s.io"
    ));
    assert!(!may("get", "-/nodes/x"));
}

#[test]
fn a_node_may_renew_its_certificate_and_read_kubeadms_configuration() {
    let cluster = cluster();
    for (verb, target) in [
        (
            "create",
            "-/certificatesigningrequests.certificates.k8s.io//selfnodeclient",
        ),
        ("get", "kube-system/configmaps/kubelet-config"),
        ("get", "kube-system/configmaps/kubeadm-config"),
    ] {
        assert!(
            cluster
                .authorize(&node("n1"), &ask(verb, target))
                .is_allowed(),
            "{target}"
        );
    }
    let denied = ask(
        "get",
        "kube-system/configmaps/extension-apiserver-authentication",
    );
    assert!(!cluster.authorize(&node("n1"), &denied).is_allowed());
}

#[test]
fn administrators_of_kubeadm_may_do_everything() {
    let admin = UserInfo::new("kubernetes-admin", ["kubeadm:cluster-admins"]);
    let cluster = cluster();
    for (verb, target) in [
        ("delete", "-/nodes/n1"),
        ("get", "/metrics"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
    ] {
        assert!(cluster.authorize(&admin, &ask(verb, target)).is_allowed());
    }
}

#[test]
fn view_edit_and_admin_build_on_each_other() {
    let objects = objects();
    let bind = |role: &str| {
        json!({
            "apiVersion": API_VERSION, "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": "default"},
            "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": role}],
        })
    };
    let cluster = Authorizer::new(Objects::of(
        objects
            .iter()
            .cloned()
            .chain(["view", "edit", "admin"].map(bind)),
    ));
    let may = |user: &str, verb: &str, target: &str| {
        cluster
            .authorize(&UserInfo::new(user, []), &ask(verb, target))
            .is_allowed()
    };
    for user in ["view", "edit", "admin"] {
        assert!(may(user, "list", "default/pods"), "{user}");
        assert_eq!(may(user, "create", "default/pods"), user != "view");
        assert_eq!(may(user, "get", "default/secrets/s"), user != "view");
        assert_eq!(
            may(
                user,
                "create",
                "default/rolebindings.rbac.authorization.k8s.io"
            ),
            user == "admin"
        );
        assert!(!may(user, "list", "nodes"));
    }
    // A reader of the stored object sees the sum too.
    let shown = PolicyRule::all_of(named(&objects, "ClusterRole", "admin"));
    let parts = [
        "system:aggregate-to-view",
        "system:aggregate-to-edit",
        "system:aggregate-to-admin",
    ];
    let sum: usize = parts
        .iter()
        .map(|part| cluster_role_rules(part).len())
        .sum();
    assert_eq!(shown.len(), sum);
}

#[test]
fn the_rules_of_nodes_are_built_in() {
    assert!(!cluster_role_rules("system:node").is_empty());
    assert!(cluster_role_rules("no such role").is_empty());
}

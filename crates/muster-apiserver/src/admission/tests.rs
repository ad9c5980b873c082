//! The chain: what it leaves alone, and that its parts come in the right order.

use serde_json::json;

use super::{
    harness::{Bench, account, namespace},
    *,
};
use crate::{authz::sample, request::UserInfo};

#[test]
fn objects_without_a_rule_pass_unchanged() {
    let bench = Bench::new([namespace("default")]);
    let object = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
    let admitted = bench
        .create("default/configmaps", object.clone())
        .expect("admitted");
    assert_eq!(admitted, object);
    assert!(
        bench
            .run(
                Operation::Delete,
                "default/configmaps/c",
                None,
                Some(object)
            )
            .is_ok()
    );
}

#[test]
fn a_pod_of_a_user_gets_all_its_defaults() {
    let bench = Bench::new([namespace("default"), account("default", "default")]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    let spec = bench.create("default/pods", pod).expect("admitted")["spec"].take();
    for field in [
        "serviceAccountName",
        "volumes",
        "tolerations",
        "priority",
        "preemptionPolicy",
    ] {
        assert!(
            spec.get(field).is_some_and(|value| !value.is_null()),
            "{field}"
        );
    }
}

#[test]
fn a_changed_pod_keeps_tolerating_lost_nodes() {
    let bench = Bench::new([namespace("default"), account("default", "default")]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    let old = bench.create("default/pods", pod).expect("admitted");
    let mut new = old.clone();
    new["spec"]["tolerations"] =
        json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]);
    let changed = bench.run(Operation::Update, "default/pods/p", Some(new), Some(old));
    let tolerations = &changed.expect("admitted")["spec"]["tolerations"];
    assert_eq!(
        tolerations.as_array().map(Vec::len),
        Some(3),
        "{tolerations}"
    );
}

#[test]
fn a_mirror_pod_of_a_node_passes_though_defaults_are_added() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1"}});
    let bench = Bench::new([namespace("kube-system"), node]).by(sample::node("n1"));
    let pod = json!({
        "metadata": {
            "name": "static-n1", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true,
            }],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
    });
    let admitted = bench.create("kube-system/pods", pod).expect("admitted");
    assert_eq!(admitted["spec"]["priority"], 0);
    assert_eq!(admitted["spec"].get("serviceAccountName"), None);
}

#[test]
fn nodes_are_tainted_before_they_are_judged() {
    let bench = Bench::new([]).by(sample::node("n1"));
    let node = json!({"metadata": {"name": "n1"}, "spec": {}});
    let admitted = bench.create("nodes", node).expect("admitted");
    assert_eq!(
        admitted["spec"]["taints"][0]["key"],
        "node.kubernetes.io/not-ready"
    );
}

#[test]
fn a_change_that_makes_an_object_takes_the_right_to_create() {
    let lease = || json!({"metadata": {"name": "l"}});
    let by = |verbs: &[&str]| {
        let rules = json!([{
            "verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        }]);
        let granted = sample::grant("u", "default", rules);
        Bench::new(granted.into_iter().chain([namespace("default")])).by(UserInfo::new("u", []))
    };
    let target = "default/leases.coordination.k8s.io/l";
    let refused = by(&["update", "patch"])
        .create(target, lease())
        .expect_err("refused");
    assert_eq!(
        refused.message(),
        "leases.coordination.k8s.io \"l\" is forbidden: User \"u\" cannot create resource \"leases\" in \
         API group \"coordination.k8s.io\" in the namespace \"default\""
    );
    assert!(by(&["update", "create"]).create(target, lease()).is_ok());
}

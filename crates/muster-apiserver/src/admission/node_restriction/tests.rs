//! A node against its own and others' objects.

use muster_identity::{PrivateKey, Subject, SubjectAltNames};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    admission::harness::{Bench, account, namespace},
    authz::sample,
    entropy::system_entropy,
    request::UserInfo,
};

fn bench(objects: impl IntoIterator<Item = Value>) -> Bench {
    let base = [
        namespace("default"),
        namespace("kube-node-lease"),
        account("default", "default"),
    ];
    Bench::new(base.into_iter().chain(objects)).by(sample::node("n1"))
}

fn why(result: Result<Value, Box<muster_machinery::Status>>) -> String {
    let refused = result.expect_err("refused");
    let message = refused.message();
    message
        .split_once(" is forbidden: ")
        .map_or(message, |(_, why)| why)
        .to_owned()
}

fn node(name: &str, labels: Value, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": "u1", "labels": labels}, "spec": spec,
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": node},
        "metadata": {"name": name, "namespace": "default", "uid": format!("{name}-uid")},
    })
}

#[test]
fn a_node_makes_and_changes_itself_only() {
    let bench = bench([]);
    let own = node("n1", json!({"kubernetes.io/hostname": "n1"}), json!({}));
    let other = node("n2", json!({}), json!({}));
    assert!(bench.create("nodes", own.clone()).is_ok());
    assert_eq!(
        why(bench.create("nodes", other.clone())),
        r#"node "n1" is not allowed to modify node "n2""#
    );
    assert!(bench.update("-/nodes/n1/status", own.clone(), own).is_ok());
    assert!(
        bench
            .update("-/nodes/n2/status", other.clone(), other)
            .is_err()
    );
}

#[test]
fn a_node_does_not_take_a_role_for_itself() {
    let bench = bench([]);
    let role = json!({"node-role.kubernetes.io/control-plane": "", "node-restriction.kubernetes.io/a": "b"});
    assert_eq!(
        why(bench.create("nodes", node("n1", role.clone(), json!({})))),
        "node \"n1\" is not allowed to set the following labels: \
         node-restriction.kubernetes.io/a, node-role.kubernetes.io/control-plane"
    );
    let plain = node("n1", json!({}), json!({}));
    let marked = node("n1", role, json!({}));
    assert_eq!(
        why(bench.update("-/nodes/n1", plain.clone(), marked.clone())),
        "is not allowed to modify labels: \
         node-restriction.kubernetes.io/a, node-role.kubernetes.io/control-plane"
    );
    assert!(
        bench.update("-/nodes/n1", marked.clone(), plain).is_err(),
        "nor gives it up"
    );
    assert!(bench.update("-/nodes/n1", marked.clone(), marked).is_ok());
}

#[rstest]
#[case("taints", json!([]), json!([{"key": "a", "effect": "NoSchedule"}]), "is not allowed to modify taints")]
#[case("configSource", json!({}), json!({"configMap": {}}), "is not allowed to update configSource to a new non-nil configSource")]
fn a_node_leaves_what_steers_work_to_it_alone(
    #[case] field: &str,
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: &str,
) {
    let with = |value| node("n1", json!({}), json!({field: value}));
    let refused = bench([]).update("-/nodes/n1", with(old), with(new));
    assert_eq!(why(refused), format!("node \"n1\" {expected}"));
}

#[test]
fn a_node_gives_itself_no_owner() {
    let plain = node("n1", json!({}), json!({}));
    let mut owned = plain.clone();
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]);
    let refused = bench([]).update("-/nodes/n1", plain, owned);
    assert_eq!(
        why(refused),
        r#"node "n1" is not allowed to modify ownerReferences"#
    );
}

#[test]
fn leases_and_csi_nodes_carry_the_nodes_name() {
    let bench = bench([]);
    let named = |name: &str| json!({"metadata": {"name": name}});
    let leases = "kube-node-lease/leases.coordination.k8s.io";
    assert!(bench.create(leases, named("n1")).is_ok());
    assert_eq!(
        why(bench.create(leases, named("n2"))),
        "can only access node lease with the same name as the requesting node"
    );
    assert_eq!(
        why(bench.create("default/leases.coordination.k8s.io", named("n1"))),
        "can only access leases in the \"kube-node-lease\" system namespace"
    );
    assert!(bench.create("csinodes.storage.k8s.io", named("n1")).is_ok());
    assert_eq!(
        why(bench.create("csinodes.storage.k8s.io", named("n2"))),
        "can only access CSINode with the same name as the requesting node"
    );
}

fn mirror(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = pod("m", "n1");
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true},
    ]);
    change(&mut pod);
    pod
}

#[rstest]
#[case(|pod: &mut Value| pod["spec"]["nodeName"] = "n2".into(), "node \"n1\" can only create pods with spec.nodeName set to itself")]
#[case(|pod: &mut Value| pod["metadata"]["ownerReferences"] = json!([]), "node \"n1\" can only create pods with an owner reference set to itself")]
#[case(|pod: &mut Value| pod["metadata"]["ownerReferences"][0]["name"] = "n2".into(), "node \"n1\" can only create pods with an owner reference set to itself")]
#[case(|pod: &mut Value| pod["metadata"]["ownerReferences"][0]["controller"] = false.into(), "node \"n1\" can only create pods with a controller owner reference set to itself")]
#[case(|pod: &mut Value| pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = true.into(), "node \"n1\" must not set blockOwnerDeletion on an owner reference")]
#[case(|pod: &mut Value| pod["metadata"]["ownerReferences"][0]["uid"] = "x".into(), "node n1 UID mismatch: expected x got u1")]
#[case(|pod: &mut Value| pod["spec"]["volumes"] = json!([{"secret": {"secretName": "s"}}]), "node \"n1\" can not create pods that reference secrets")]
#[case(|pod: &mut Value| pod["spec"]["containers"] = json!([{"envFrom": [{"configMapRef": {"name": "c"}}]}]), "node \"n1\" can not create pods that reference configmaps")]
#[case(|pod: &mut Value| pod["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "c"}}]), "node \"n1\" can not create pods that reference persistentvolumeclaims")]
#[case(|pod: &mut Value| pod["spec"]["volumes"] = json!([{"projected": {"sources": [{"clusterTrustBundle": {"name": "b"}}]}}]), "node \"n1\" can not create pods that reference clustertrustbundles")]
#[case(|pod: &mut Value| pod["spec"]["resourceClaims"] = json!([{"name": "r"}]), "node \"n1\" can not create pods that reference resourceclaims")]
fn a_mirror_pod_gives_its_node_nothing(#[case] change: fn(&mut Value), #[case] expected: &str) {
    let bench = bench([node("n1", json!({}), json!({}))]);
    assert!(bench.create("default/pods", mirror(|_| {})).is_ok());
    assert_eq!(why(bench.create("default/pods", mirror(change))), expected);
}

#[test]
fn a_node_makes_no_other_pods_than_mirrors() {
    let bench = bench([node("n1", json!({}), json!({}))]);
    assert_eq!(
        why(bench.create("default/pods", pod("p", "n1"))),
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods"
    );
    assert_eq!(
        why(bench.update("default/pods/p", pod("p", "n1"), pod("p", "n1"))),
        "unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods"
    );
}

#[test]
fn pods_are_deleted_evicted_and_reported_on_by_their_own_node() {
    let bench = bench([pod("mine", "n1"), pod("theirs", "n2")]);
    let delete = |name: &str| {
        bench.run(
            Operation::Delete,
            &format!("default/pods/{name}"),
            None,
            Some(pod(name, "n1")),
        )
    };
    assert!(delete("mine").is_ok());
    assert_eq!(
        why(delete("theirs")),
        "node \"n1\" can only delete pods with spec.nodeName set to itself"
    );
    assert_eq!(delete("none").expect_err("refused").code(), 404);

    let evict = |name: &str| {
        let eviction = json!({"kind": "Eviction", "metadata": {"name": name}});
        bench.create(&format!("default/pods/{name}/eviction"), eviction)
    };
    assert!(evict("mine").is_ok());
    assert_eq!(
        why(evict("theirs")),
        "node n1 can only evict pods with spec.nodeName set to itself"
    );

    let report = |old: Value, new: Value| bench.update("default/pods/p/status", old, new);
    assert!(report(pod("p", "n1"), pod("p", "n1")).is_ok());
    assert_eq!(
        why(report(pod("p", "n2"), pod("p", "n1"))),
        "node \"n1\" can only update pod status for pods with spec.nodeName set to itself"
    );
    let mut labelled = pod("p", "n1");
    labelled["metadata"]["labels"] = json!({"app": "x"});
    assert_eq!(
        why(report(pod("p", "n1"), labelled)),
        "node \"n1\" cannot update labels through pod status"
    );
}

#[test]
fn tokens_are_bound_to_a_pod_on_the_node() {
    let mut mine = pod("mine", "n1");
    mine["spec"]["volumes"] = json!([{"projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}},
        {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
    ]}}]);
    let bench = bench([mine, pod("theirs", "n2")]);
    let ask = |reference: Value, audiences: Value| {
        let request = json!({"spec": {"boundObjectRef": reference, "audiences": audiences}});
        bench.create("default/serviceaccounts/default/token", request)
    };
    let to = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    assert!(ask(to("mine", "mine-uid"), json!([])).is_ok());
    assert!(ask(to("mine", "mine-uid"), json!(["vault"])).is_ok());
    assert_eq!(
        why(ask(to("mine", "mine-uid"), json!(["other"]))),
        "audience \"other\" not found in pod spec volume"
    );
    assert_eq!(
        why(ask(to("mine", "mine-uid"), json!(["a", "b"]))),
        "node may only request 0 or 1 audiences"
    );
    assert_eq!(
        why(ask(json!(null), json!([]))),
        "node requested token not bound to a pod"
    );
    assert_eq!(
        why(ask(to("mine", ""), json!([]))),
        "node requested token with a pod binding without a uid"
    );
    assert!(why(ask(to("mine", "x"), json!([]))).contains("does not match the UID in record"));
    assert_eq!(
        why(ask(to("theirs", "theirs-uid"), json!([]))),
        "node requested token bound to a pod scheduled on a different node"
    );
    assert_eq!(
        ask(to("none", "x"), json!([])).expect_err("refused").code(),
        404
    );
}

#[test]
fn claims_are_changed_in_the_parts_a_node_knows() {
    let claim = |capacity: &str, class: &str| {
        json!({
            "metadata": {"name": "c", "resourceVersion": capacity},
            "spec": {"storageClassName": class}, "status": {"capacity": {"storage": capacity}},
        })
    };
    let target = "default/persistentvolumeclaims/c/status";
    assert!(
        bench([])
            .update(target, claim("1Gi", "a"), claim("2Gi", "a"))
            .is_ok()
    );
    assert!(
        bench([])
            .update(target, claim("1Gi", "a"), claim("1Gi", "b"))
            .is_err()
    );
    let whole = bench([]).update(
        "default/persistentvolumeclaims/c",
        claim("1Gi", "a"),
        claim("2Gi", "a"),
    );
    assert_eq!(why(whole), "may only update PVC status");
}

#[test]
fn slices_name_the_node() {
    let slice = |node: &str| json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}});
    let target = "resourceslices.resource.k8s.io";
    assert!(bench([]).create(target, slice("n1")).is_ok());
    assert_eq!(
        why(bench([]).create(target, slice("n2"))),
        "can only create ResourceSlice with the same NodeName as the requesting node"
    );
    let delete = |of: &str| bench([]).run(Operation::Delete, target, None, Some(slice(of)));
    assert!(delete("n1").is_ok());
    assert!(delete("n2").is_err());
}

fn csr(common_name: &str, signer: &str) -> Value {
    let key = PrivateKey::generate(&mut system_entropy()).expect("a key");
    let subject = Subject::new(common_name, ["system:nodes"]);
    let csr = Csr::build(&key, &subject, &SubjectAltNames::default()).expect("built");
    use base64::Engine as _;
    let request = base64::engine::general_purpose::STANDARD.encode(csr.to_pem());
    json!({"metadata": {"name": "c"}, "spec": {
        "request": request, "signerName": signer, "usages": ["client auth"],
    }})
}

#[test]
fn certificates_are_asked_for_in_the_nodes_own_name() {
    let target = "certificatesigningrequests.certificates.k8s.io";
    let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
    assert!(
        bench([])
            .create(target, csr("system:node:n1", kubelet))
            .is_ok()
    );
    assert_eq!(
        why(bench([]).create(target, csr("system:node:n2", kubelet))),
        "can only create a node CSR with CN=system:node:n1"
    );
    assert!(
        bench([])
            .create(target, csr("anyone", "example.com/signer"))
            .is_ok()
    );
}

#[test]
fn a_node_that_cannot_be_told_writes_nothing_and_others_are_not_restricted() {
    let nameless = bench([]).by(sample::node(""));
    assert_eq!(
        why(nameless.create("default/configmaps", json!({"metadata": {"name": "c"}}))),
        "could not determine node from user \"system:node:\""
    );
    let user = bench([]).by(UserInfo::new("u", []));
    assert!(
        user.create(
            "nodes",
            node("n2", json!({"kubernetes.io/x": "y"}), json!({}))
        )
        .is_ok()
    );
}

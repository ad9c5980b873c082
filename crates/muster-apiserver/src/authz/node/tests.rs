//! What a kubelet may and may not do, resource by resource.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::authz::sample::{Objects, ask, node};

fn decide(objects: impl IntoIterator<Item = Value>, info: &RequestInfo) -> Decision {
    NodeAuthorizer::new(Objects::of(objects)).authorize(&node("n1"), info)
}

fn reason(decision: Decision) -> String {
    match decision {
        Decision::Allow => "allowed".to_owned(),
        Decision::Deny { reason } => reason,
    }
}

fn pod(node: &str, mut spec: Value) -> Value {
    spec["nodeName"] = node.into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"}, "spec": spec,
    })
}

#[rstest]
// Its own objects.
#[case("get", "-/nodes/n1", "allowed")]
#[case("watch", "-/nodes/n1", "allowed")]
#[case("create", "nodes", "allowed")]
#[case("patch", "-/nodes/n2", "allowed")]
#[case("patch", "-/nodes/n1/status", "allowed")]
#[case(
    "get",
    "-/nodes/n2",
    "node 'n1' cannot read 'n2', only its own Node object"
)]
#[case(
    "list",
    "nodes",
    "node 'n1' cannot read all nodes, only its own Node object"
)]
#[case("delete", "-/nodes/n1", "")]
#[case("get", "-/nodes/n1/proxy", "")]
#[case("update", "kube-node-lease/leases.coordination.k8s.io/n1", "allowed")]
#[case("create", "kube-node-lease/leases.coordination.k8s.io", "allowed")]
#[case(
    "update",
    "kube-node-lease/leases.coordination.k8s.io/n2",
    "can only access node lease with the same name as the requesting node"
)]
#[case(
    "get",
    "default/leases.coordination.k8s.io/n1",
    "can only access leases in the \"kube-node-lease\" system namespace"
)]
#[case(
    "list",
    "kube-node-lease/leases.coordination.k8s.io",
    "can only get, create, update, patch, or delete a node lease"
)]
#[case("get", "-/csinodes.storage.k8s.io/n1", "allowed")]
#[case("create", "csinodes.storage.k8s.io", "allowed")]
#[case(
    "get",
    "-/csinodes.storage.k8s.io/n2",
    "can only access CSINode with the same name as the requesting node"
)]
#[case(
    "list",
    "csinodes.storage.k8s.io",
    "can only get, create, update, patch, or delete a CSINode"
)]
// What all nodes have alike.
#[case("watch", "services", "allowed")]
#[case("delete", "default/services/s", "")]
#[case("create", "default/events", "allowed")]
#[case("patch", "default/events/e", "allowed")]
#[case("list", "default/events", "")]
#[case("watch", "runtimeclasses.node.k8s.io", "allowed")]
#[case("watch", "csidrivers.storage.k8s.io", "allowed")]
#[case("create", "certificatesigningrequests.certificates.k8s.io", "allowed")]
#[case(
    "watch",
    "-/certificatesigningrequests.certificates.k8s.io/c",
    "allowed"
)]
#[case(
    "update",
    "-/certificatesigningrequests.certificates.k8s.io/c/approval",
    ""
)]
#[case("create", "tokenreviews.authentication.k8s.io", "allowed")]
#[case("create", "subjectaccessreviews.authorization.k8s.io", "allowed")]
#[case("get", "/healthz", "")]
// Pods.
#[case("create", "default/pods", "allowed")]
#[case("delete", "default/pods/p", "allowed")]
#[case("patch", "default/pods/p/status", "allowed")]
#[case("create", "default/pods/p/eviction", "allowed")]
#[case("create", "default/pods/p/exec", "")]
#[case("update", "default/pods/p", "")]
#[case(
    "list",
    "pods",
    "can only list/watch pods with spec.nodeName field selector"
)]
// Related objects, of which there are none here.
#[case("create", "default/secrets", "can only read resources of this type")]
#[case("list", "default/secrets", "No Object name found")]
#[case("list", "secrets", "can only read namespaced object of this type")]
#[case(
    "list",
    "-/persistentvolumes/v",
    "can only get individual resources of this type"
)]
#[case(
    "get",
    "default/persistentvolumeclaims/c/status",
    "can only get/update/patch this type"
)]
#[case(
    "get",
    "-/volumeattachments.storage.k8s.io/v/status",
    "cannot get subresource"
)]
#[case(
    "create",
    "default/serviceaccounts",
    "can only create tokens for individual service accounts"
)]
#[case(
    "create",
    "default/serviceaccounts/a/other",
    "can only create token subresource of serviceaccount"
)]
#[case("create", "resourceslices.resource.k8s.io", "allowed")]
#[case(
    "list",
    "resourceslices.resource.k8s.io",
    "can only list/watch/deletecollection resourceslices with nodeName field selector"
)]
fn a_node_may_do_what_its_work_needs(
    #[case] verb: &str,
    #[case] target: &str,
    #[case] expected: &str,
) {
    assert_eq!(reason(decide([], &ask(verb, target))), expected);
}

#[rstest]
#[case("default/pods", "list")]
#[case("pods", "watch")]
#[case("resourceslices.resource.k8s.io", "deletecollection")]
fn lists_are_allowed_when_they_are_pinned_to_the_node(#[case] target: &str, #[case] verb: &str) {
    let mut info = ask(verb, target);
    for (value, allowed) in [("n1", true), ("n2", false)] {
        let resource = info.resource.as_mut().expect("a resource request");
        resource.pinned_fields = vec![("spec.nodeName".to_owned(), value.to_owned())];
        assert_eq!(decide([], &info).is_allowed(), allowed, "{value}");
    }
}

#[rstest]
#[case("secrets/s", json!({"volumes": [{"secret": {"secretName": "s"}}]}))]
#[case("secrets/s", json!({"imagePullSecrets": [{"name": "s"}]}))]
#[case("secrets/s", json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}))]
#[case("secrets/s", json!({"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}))]
#[case("secrets/s", json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}))]
#[case("secrets/s", json!({"volumes": [{"csi": {"nodePublishSecretRef": {"name": "s"}}}]}))]
#[case("configmaps/c", json!({"volumes": [{"configMap": {"name": "c"}}]}))]
#[case("configmaps/c", json!({"volumes": [{"projected": {"sources": [{"configMap": {"name": "c"}}]}}]}))]
#[case("configmaps/c", json!({"ephemeralContainers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}))]
#[case("persistentvolumeclaims/d", json!({"volumes": [{"persistentVolumeClaim": {"claimName": "d"}}]}))]
#[case("persistentvolumeclaims/p-v", json!({"volumes": [{"name": "v", "ephemeral": {}}]}))]
#[case("serviceaccounts/a", json!({"serviceAccountName": "a"}))]
#[case("resourceclaims.resource.k8s.io/r", json!({"resourceClaims": [{"resourceClaimName": "r"}]}))]
fn an_object_is_readable_only_for_the_node_of_a_pod_that_uses_it(
    #[case] target: &str,
    #[case] spec: Value,
) {
    let info = ask("get", &format!("default/{target}"));
    assert!(decide([pod("n1", spec.clone())], &info).is_allowed());
    let unrelated = "no relationship found between node 'n1' and this object";
    assert_eq!(reason(decide([pod("n2", spec.clone())], &info)), unrelated);
    assert_eq!(reason(decide([pod("n1", json!({}))], &info)), unrelated);
    let elsewhere = ask("get", &format!("other/{target}"));
    assert_eq!(
        reason(decide([pod("n1", spec.clone())], &elsewhere)),
        unrelated
    );
    let mut mirror = pod("n1", spec);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(
        reason(decide([mirror], &info)),
        unrelated,
        "a mirror pod gives its node nothing"
    );
}

#[test]
fn a_token_may_be_asked_for_the_account_of_a_pod_on_the_node() {
    let info = ask("create", "default/serviceaccounts/a/token");
    let spec = json!({"serviceAccountName": "a"});
    assert!(decide([pod("n1", spec.clone())], &info).is_allowed());
    assert!(!decide([pod("n2", spec)], &info).is_allowed());
}

#[test]
fn a_volume_and_its_secret_are_reached_through_the_claim_of_a_pod() {
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {
            "claimRef": {"namespace": "default", "name": "d"},
            "csi": {"nodeStageSecretRef": {"namespace": "storage", "name": "s"}},
        },
    });
    let user = pod(
        "n1",
        json!({"volumes": [{"persistentVolumeClaim": {"claimName": "d"}}]}),
    );
    for target in ["-/persistentvolumes/v", "storage/secrets/s"] {
        let info = ask("get", target);
        assert!(
            decide([volume.clone(), user.clone()], &info).is_allowed(),
            "{target}"
        );
        assert!(!decide([volume.clone()], &info).is_allowed(), "{target}");
    }
    assert!(!decide([volume, user], &ask("get", "default/secrets/s")).is_allowed());
}

#[test]
fn attachments_slices_and_pods_name_their_node() {
    let object = |version: &str, kind: &str, node: &str| {
        json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": "x"},
            "spec": {"nodeName": node},
        })
    };
    let attachment = |node| object("storage.k8s.io/v1", "VolumeAttachment", node);
    let slice = |node| object("resource.k8s.io/v1", "ResourceSlice", node);
    for (own, other, info) in [
        (
            attachment("n1"),
            attachment("n2"),
            ask("get", "-/volumeattachments.storage.k8s.io/x"),
        ),
        (
            slice("n1"),
            slice("n2"),
            ask("delete", "-/resourceslices.resource.k8s.io/x"),
        ),
        (
            pod("n1", json!({})),
            pod("n2", json!({})),
            ask("get", "default/pods/p"),
        ),
    ] {
        assert!(decide([own], &info).is_allowed());
        assert!(!decide([other], &info).is_allowed());
    }
}

#[test]
fn a_node_is_one_by_name_and_group_together() {
    let authorizer = NodeAuthorizer::new(Objects::of([]));
    let info = ask("get", "-/nodes/n1");
    let asks = |name: &str, group: &str| {
        reason(authorizer.authorize(&UserInfo::new(name, [group]), &info))
    };
    assert_eq!(asks("system:node:n1", "system:nodes"), "allowed");
    assert_eq!(asks("system:node:n1", "other"), "");
    assert_eq!(asks("n1", "system:nodes"), "");
    assert_eq!(
        asks("system:node:", "system:nodes"),
        "unknown node for user \"system:node:\""
    );
}

#[test]
fn the_graph_follows_pods_and_volumes_and_forgets_with_the_last_that_refers() {
    let volume = |secret: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
            "spec": {
                "claimRef": {"namespace": "default", "name": "c"},
                "csi": {"nodePublishSecretRef": {"name": secret, "namespace": "storage"}},
            },
        })
    };
    let named = |name: &str| {
        let mut pod = pod(
            "n1",
            json!({
                "volumes": [
                    {"name": "a", "secret": {"secretName": "s"}},
                    {"name": "b", "secret": {"secretName": "s"}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
                ],
            }),
        );
        pod["metadata"]["name"] = name.into();
        pod
    };
    let reader = Objects::of([]);
    let nodes = NodeAuthorizer::new(reader.clone());
    let may = |target: &str| {
        nodes
            .authorize(&node("n1"), &ask("get", target))
            .is_allowed()
    };
    let (secret, storage) = ("default/secrets/s", "storage/secrets/k");
    assert!(!may(secret));
    reader.put(named("p"));
    reader.put(named("q"));
    reader.put(volume("k"));
    assert!(may(secret) && may(storage) && may("-/persistentvolumes/v"));
    reader.remove(&named("p"));
    assert!(may(secret) && may(storage));
    reader.put(volume("other"));
    assert!(may("storage/secrets/other") && !may(storage));
    reader.remove(&named("q"));
    assert!(!may(secret) && !may("-/persistentvolumes/v") && !may("storage/secrets/other"));
}

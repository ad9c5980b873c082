//! Rights end where they were given to end, however a request is spelled.

use http::Method;
use muster_apiserver::UserInfo;
use serde_json::{Value, json};

use super::harness::{Cluster, config_map, names};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";

/// Gives the user `u` these rules in the namespace `default`.
async fn grant(cluster: &Cluster, rules: Value) {
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    let binding = json!({
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}],
    });
    let admin = cluster.admin();
    admin.post(&format!("{RBAC}/roles"), &role).await.ok();
    admin
        .post(&format!("{RBAC}/rolebindings"), &binding)
        .await
        .ok();
}

fn user() -> UserInfo {
    UserInfo::new("u", ["system:authenticated"])
}

#[tokio::test]
async fn rights_in_one_namespace_reach_no_other_one() {
    let cluster = Cluster::start().await;
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    grant(&cluster, everything).await;
    let u = cluster.user(user());
    let inside = "/api/v1/namespaces/default/namespaces";
    for path in [inside.to_owned(), format!("{inside}/kube-system")] {
        assert_eq!(u.get(&path).await.code, 404, "{path}");
        let answer = u.delete(&path, &json!({})).await;
        assert!(matches!(answer.code.as_u16(), 404 | 405), "{path}");
    }
    let made = u.post(inside, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(made.code, 404);
    assert_eq!(
        u.get("/api/v1/namespaces/default").await.ok()["metadata"]["name"],
        "default"
    );
}

#[tokio::test]
async fn a_second_selector_does_not_widen_what_the_first_one_allows() {
    let cluster = Cluster::start().await;
    let rules = json!([{
        "verbs": ["list", "watch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"],
    }]);
    grant(&cluster, rules).await;
    let path = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b"] {
        cluster.admin().post(path, &config_map(name)).await.ok();
    }
    let u = cluster.user(user());
    let query = "fieldSelector=metadata.name%3Da&fieldSelector=metadata.name!%3Da";
    let list = u.get(&format!("{path}?{query}")).await.ok();
    assert_eq!(names(&list), ["a"]);
    let query = "fieldSelector=metadata.name!%3Da&fieldSelector=metadata.name%3Da";
    assert_eq!(u.get(&format!("{path}?{query}")).await.code, 403);
}

#[tokio::test]
async fn who_may_only_update_makes_nothing_by_it() {
    let cluster = Cluster::start().await;
    let rules = json!([{
        "verbs": ["get", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
    }]);
    grant(&cluster, rules).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l", "namespace": "default"}, "spec": {},
    });
    let refused = cluster.user(user()).put(path, &lease).await;
    assert_eq!(refused.refusal(), (403, "Forbidden".to_owned()));
    assert_eq!(cluster.admin().put(path, &lease).await.code, 201);
}

#[tokio::test]
async fn a_node_evicts_its_own_pods_and_no_others() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pods = "/api/v1/namespaces/default/pods";
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        });
        admin.post(pods, &pod).await.ok();
    }
    let node = cluster.user(UserInfo::new(
        "system:node:n1",
        ["system:nodes", "system:authenticated"],
    ));
    let evict = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": "default"},
        })
    };
    let path = format!("{pods}/theirs/eviction");
    assert_eq!(node.post(&path, &evict("theirs")).await.code, 403);
    let path = format!("{pods}/mine/eviction");
    node.post(&path, &evict("mine")).await.ok();
}

#[tokio::test]
async fn a_method_that_is_none_does_not_make_a_collection_of_one_object() {
    let cluster = Cluster::start().await;
    let rules = json!([{
        "verbs": ["get", "list", "deletecollection"], "apiGroups": [""], "resources": ["configmaps"],
        "resourceNames": ["a"],
    }]);
    grant(&cluster, rules).await;
    let path = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b"] {
        cluster.admin().post(path, &config_map(name)).await.ok();
    }
    let one = format!("{path}/a");
    for user in [user(), UserInfo::new("admin", ["system:masters"])] {
        for method in ["LIST", "DELETECOLLECTION", "list", "BREW"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = cluster.user(user.clone()).call(method, &one, &[], "").await;
            assert!(
                matches!(answer.code.as_u16(), 403 | 405),
                "{}",
                answer.text()
            );
        }
    }
    assert!(names(&cluster.admin().get(path).await.ok()).contains(&"b".to_owned()));
}

#[tokio::test]
async fn strangers_invent_no_labels_of_metrics() {
    let cluster = Cluster::start().await;
    let stranger = UserInfo::new("system:anonymous", ["system:unauthenticated"]);
    for (method, path) in [
        ("BREW", "/api/v1/nodes/n"),
        ("BREW", "/brewed"),
        ("GET", "/api/v1/nodes/n/brewed"),
        ("GET", "/api/v1/brewed"),
        ("GET", "/apis/brewed/v1/nodes"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        cluster
            .user(stranger.clone())
            .call(method, path, &[], "")
            .await;
    }
    let metrics = cluster.admin().get("/metrics").await.text();
    assert!(metrics.contains("verb=\"other\""));
    assert!(!metrics.to_lowercase().contains("brew"), "{metrics}");
}

#[tokio::test]
async fn nobody_approves_a_request_by_making_it() {
    let cluster = Cluster::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let mut request = super::certificates::request("made");
    request["status"] = json!({
        "certificate": "eA==",
        "conditions": [{"type": "Approved", "status": "True", "reason": "R", "message": "m"}],
    });
    let made = cluster.admin().post(path, &request).await.ok();
    assert_eq!(made["status"], json!({}));
}

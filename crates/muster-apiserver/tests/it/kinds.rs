//! What single kinds do differently: bindings, evictions, scales, services, tokens, events under two names.

use serde_json::{Value, json};

use crate::harness::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(PODS, &pod("p")).await.ok();
    let binding =
        |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let bound = admin
        .post(&format!("{PODS}/p/binding"), &binding("n1"))
        .await;
    assert_eq!(
        (bound.code.as_u16(), bound.json()["status"].clone()),
        (201, json!("Success"))
    );
    let read = admin.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(read["spec"]["nodeName"], "n1");
    assert_eq!(read["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(
        admin
            .post(&format!("{PODS}/p/binding"), &binding("n2"))
            .await
            .code,
        409
    );
    let selected = admin
        .get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")
        .await
        .ok();
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    admin.post(PODS, &pod("q")).await.ok();
    let mut other = binding("n1");
    other["metadata"]["name"] = json!("q");
    assert_eq!(
        admin
            .post("/api/v1/namespaces/default/bindings", &other)
            .await
            .code,
        201
    );
}

#[tokio::test]
async fn an_eviction_deletes_unless_a_budget_forbids_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut labelled = pod("p");
    labelled["metadata"]["labels"] = json!({"app": "web"});
    admin.post(PODS, &labelled).await.ok();
    admin
        .merge(
            &format!("{PODS}/p/status"),
            &json!({"status": {"phase": "Running"}}),
        )
        .await
        .ok();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1,
        "selector": {"matchLabels": {"app": "web"}}}});
    admin.post(budgets, &budget).await.ok();
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let refused = admin.post(&format!("{PODS}/p/eviction"), &eviction).await;
    assert_eq!(refused.refusal(), (429, "TooManyRequests".into()));
    assert!(refused.headers.contains_key("retry-after"));
    admin
        .delete(&format!("{budgets}/b"), &Value::Null)
        .await
        .ok();
    assert_eq!(
        admin
            .post(&format!("{PODS}/p/eviction"), &eviction)
            .await
            .code,
        201
    );
    assert_eq!(admin.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let port = json!([{"port": 80}]);
    let a = admin
        .post(services, &service("a", json!({"ports": port})))
        .await
        .ok();
    let b = admin
        .post(
            services,
            &service("b", json!({"ports": port, "type": "NodePort"})),
        )
        .await
        .ok();
    let address = a["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    assert_ne!(a["spec"]["clusterIP"], b["spec"]["clusterIP"]);
    assert!(b["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30_000);
    let headless = service("h", json!({"clusterIP": "None", "ports": port}));
    let headless = admin.post(services, &headless).await;
    assert_eq!(headless.ok()["spec"]["clusterIP"], "None");
    let taken = service("t", json!({"clusterIP": "10.96.0.1", "ports": port}));
    assert_eq!(admin.post(services, &taken).await.code, 422);
    let kubernetes = admin.get(&format!("{services}/kubernetes")).await.ok();
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
    let labels = json!({"metadata": {"labels": {"x": "y"}}});
    let kept = admin.merge(&format!("{services}/a"), &labels).await;
    assert_eq!(kept.ok()["spec"]["clusterIP"], a["spec"]["clusterIP"]);
}

#[tokio::test]
async fn a_workload_is_scaled_and_counts_its_generations() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let made = admin
        .post(
            deployments,
            &json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
        )
        .await
        .ok();
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{deployments}/d");
    let mut scale = admin.get(&format!("{path}/scale")).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    assert_eq!(scale["status"]["selector"], "a=b");
    scale["spec"]["replicas"] = json!(3);
    admin.put(&format!("{path}/scale"), &scale).await.ok();
    let scaled = admin
        .merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 4}}))
        .await
        .ok();
    assert_eq!(scaled["spec"]["replicas"], 4);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let shown = admin.get_as(&format!("{path}/scale"), table).await.ok();
    assert_eq!(shown["columnDefinitions"][1]["name"], "Desired");
    assert_eq!(shown["rows"][0]["cells"][1], 4);
    let status = json!({"status": {"replicas": 4}, "metadata": {"labels": {"not": "this"}}});
    admin.merge(&format!("{path}/status"), &status).await.ok();
    let read = admin.get(&path).await.ok();
    assert_eq!(
        (&read["spec"]["replicas"], &read["status"]["replicas"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(read["metadata"]["generation"], 3);
    assert!(read["metadata"].get("labels").is_none());
}

#[tokio::test]
async fn a_service_account_gets_a_token_that_the_server_knows() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    admin
        .post(accounts, &json!({"metadata": {"name": "robot"}}))
        .await
        .ok();
    let asked = json!({"spec": {"expirationSeconds": 3600}});
    let issued = admin
        .post(&format!("{accounts}/robot/token"), &asked)
        .await
        .ok();
    let token = issued["status"]["token"].as_str().unwrap();
    let review = json!({"spec": {"token": token}});
    let reviewed = admin
        .post("/apis/authentication.k8s.io/v1/tokenreviews", &review)
        .await
        .ok();
    assert_eq!(reviewed["status"]["authenticated"], true, "{reviewed}");
    assert_eq!(
        reviewed["status"]["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    let short = json!({"spec": {"expirationSeconds": 5}});
    assert_eq!(
        admin
            .post(&format!("{accounts}/robot/token"), &short)
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn events_are_the_same_under_both_their_names() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let core = "/api/v1/namespaces/default/events";
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    admin.post(core, &json!({"metadata": {"name": "e"}, "message": "hello", "reason": "Test",
        "type": "Normal", "involvedObject": {"kind": "Node", "name": "n1", "namespace": "default"}})).await.ok();
    let read = admin.get(&format!("{new}/e")).await.ok();
    assert_eq!(read["apiVersion"], "events.k8s.io/v1");
    assert_eq!(
        (&read["note"], &read["regarding"]["name"]),
        (&json!("hello"), &json!("n1"))
    );
    let selected = admin
        .get(&format!("{new}?fieldSelector=regarding.name%3Dn1"))
        .await
        .ok();
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    let patched = admin
        .merge(&format!("{new}/e"), &json!({"note": "changed"}))
        .await
        .ok();
    assert_eq!(patched["note"], "changed");
    assert_eq!(
        admin.get(&format!("{core}/e")).await.ok()["message"],
        "changed"
    );
}

#[tokio::test]
async fn every_stored_resource_can_be_listed_and_watched() {
    use muster_machinery::resources::{self, Nature};

    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for resource in resources::all()
        .iter()
        .filter(|r| r.nature == Nature::Stored)
    {
        let list = admin.get(&resource.path("", "")).await.ok();
        assert_eq!(list["kind"], *resource.list_kind, "{}", resource.plural);
        assert_eq!(list["apiVersion"], resource.api_version());
    }
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(PODS, &pod("p")).await.ok();
    assert_eq!(admin.get(&format!("{PODS}/p/log")).await.code, 501);
    assert_eq!(admin.get("/api/v1/nodes/n/proxy").await.code, 501);
    assert_eq!(admin.get(&format!("{PODS}/p/nothing")).await.code, 404);
}

#[tokio::test]
async fn a_lease_is_made_by_replacing_it_unless_a_lost_one_is_meant() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}});
    let made = admin.put(path, &lease).await;
    assert_eq!(made.code, 201, "{}", made.text());
    admin.delete(path, &Value::Null).await.ok();
    assert_eq!(
        admin.put(path, &made.json()).await.refusal(),
        (409, "Conflict".into())
    );
    assert_eq!(
        admin
            .put("/api/v1/nodes/n1", &json!({"metadata": {"name": "n1"}}))
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn an_address_is_free_again_after_a_rehearsal_a_refusal_and_a_deletion() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let services = "/api/v1/namespaces/default/services";
    let service = |port: i64| {
        json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.0.77",
        "type": "NodePort", "ports": [{"port": port, "nodePort": 30_777}]}})
    };
    let rehearsal = admin
        .post(&format!("{services}?dryRun=All"), &service(80))
        .await;
    assert_eq!(rehearsal.code, 201, "{}", rehearsal.text());
    assert_eq!(admin.post(services, &service(99_999)).await.code, 422);
    admin.post(services, &service(80)).await.ok();
    let mut other = service(80);
    other["metadata"]["name"] = json!("other");
    assert_eq!(admin.post(services, &other).await.code, 422, "it is taken");
    let path = format!("{services}/s");
    admin.delete(&path, &serde_json::Value::Null).await.ok();
    admin.post(services, &other).await.ok();
}

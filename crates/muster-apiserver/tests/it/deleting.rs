//! Deletions: preconditions, finalizers, grace, namespaces, collections.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Cluster, config_map, names, told};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    if let Some(node) = node {
        spec["nodeName"] = json!(node);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_deletion_answers_what_was_deleted_and_checks_its_preconditions() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let wrong = json!({"preconditions": {"uid": "other"}});
    let refused = admin.delete(&path, &wrong).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
    let stale = json!({"preconditions": {"resourceVersion": "1"}});
    assert_eq!(admin.delete(&path, &stale).await.code, 409);
    let right = json!({"kind": "DeleteOptions", "apiVersion": "v1",
        "preconditions": {"uid": made["metadata"]["uid"]}});
    let status = admin.delete(&path, &right).await.ok();
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(status["details"]["uid"], made["metadata"]["uid"]);
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "example.com/disk"});
    admin.post(classes, &class).await.ok();
    let deleted = admin.delete(&format!("{classes}/fast"), &Value::Null).await;
    assert_eq!(
        deleted.ok()["kind"],
        "StorageClass",
        "some kinds are told whole"
    );
    assert_eq!(admin.delete(&path, &Value::Null).await.code, 404);
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/one"]);
    admin.post(CONFIG_MAPS, &object).await.ok();
    let marked = admin.delete(&path, &Value::Null).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let again = admin.delete(&path, &Value::Null).await.ok();
    assert_eq!(
        again["metadata"]["resourceVersion"],
        marked["metadata"]["resourceVersion"]
    );
    let added = admin
        .merge(
            &path,
            &json!({"metadata": {"finalizers": ["example.com/one", "example.com/two"]}}),
        )
        .await;
    assert_eq!(added.code, 422, "{}", added.text());
    admin
        .merge(&path, &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    assert_eq!(admin.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_becomes_a_finalizer_for_the_garbage_collector() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (name, policy, finalizer) in [
        ("a", "Foreground", "foregroundDeletion"),
        ("b", "Orphan", "orphan"),
    ] {
        admin.post(CONFIG_MAPS, &config_map(name)).await.ok();
        let path = format!("{CONFIG_MAPS}/{name}");
        let marked = admin
            .delete(&path, &json!({"propagationPolicy": policy}))
            .await
            .ok();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert_eq!(admin.get(&path).await.code, 200);
    }
}

#[tokio::test]
async fn a_pod_on_a_node_gets_its_grace_and_one_without_goes_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(PODS, &pod("free", None)).await.ok();
    assert_eq!(
        admin
            .delete(&format!("{PODS}/free"), &Value::Null)
            .await
            .code,
        200
    );
    assert_eq!(admin.get(&format!("{PODS}/free")).await.code, 404);

    admin.post(PODS, &pod("bound", Some("n1"))).await.ok();
    let path = format!("{PODS}/bound");
    let marked = admin.delete(&path, &Value::Null).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let shorter = admin
        .delete(&path, &json!({"gracePeriodSeconds": 5}))
        .await
        .ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let longer = admin
        .delete(&path, &json!({"gracePeriodSeconds": 60}))
        .await
        .ok();
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    admin
        .delete(&path, &json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    assert_eq!(admin.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_namespace_ends_when_its_content_is_declared_gone() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = "/api/v1/namespaces/mine";
    let made = admin
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "mine"}}))
        .await
        .ok();
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "mine"
    );
    let mut ending = admin.delete(path, &Value::Null).await.ok();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let late = admin
        .post(&format!("{path}/configmaps"), &config_map("late"))
        .await;
    assert_eq!(late.refusal(), (403, "Forbidden".into()));
    assert_eq!(
        late.json()["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    ending["spec"]["finalizers"] = json!([]);
    admin.put(&format!("{path}/finalize"), &ending).await.ok();
    assert_eq!(admin.get(path).await.code, 404);
    let refused = admin
        .delete("/api/v1/namespaces/kube-system", &Value::Null)
        .await;
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"l": label});
        admin.post(CONFIG_MAPS, &object).await.ok();
    }
    let deleted = admin
        .delete(&format!("{CONFIG_MAPS}?labelSelector=l%3Dx"), &Value::Null)
        .await;
    assert_eq!(names(&deleted.ok()), ["a", "c"]);
    let left = names(
        &admin
            .get(&format!("{CONFIG_MAPS}?labelSelector=l"))
            .await
            .ok(),
    );
    assert_eq!(left, ["b"]);
}

#[tokio::test]
async fn the_servers_own_service_comes_back_when_somebody_deletes_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let services = "/api/v1/namespaces/default/services";
    let made = admin.get(&format!("{services}/kubernetes")).await.ok();
    let mut watch = admin
        .watch(&format!(
            "{services}?watch=true&resourceVersion={}",
            made["metadata"]["resourceVersion"].as_str().unwrap()
        ))
        .await;
    admin
        .delete(&format!("{services}/kubernetes"), &Value::Null)
        .await
        .ok();
    assert_eq!(watch.tell().await, told("DELETED", "kubernetes"));
    assert_eq!(watch.tell().await, told("ADDED", "kubernetes"));
    let again = admin.get(&format!("{services}/kubernetes")).await.ok();
    assert_eq!(again["spec"]["clusterIP"], made["spec"]["clusterIP"]);
}

#[tokio::test]
async fn evictions_use_a_budget_up_and_then_have_to_wait() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["a", "b", "c"] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "x"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        });
        admin.post(pods, &pod).await.ok();
        let running = json!({"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        }});
        admin
            .merge(&format!("{pods}/{name}/status"), &running)
            .await
            .ok();
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
    });
    let made = admin.post(budgets, &budget).await.ok();
    let status = json!({"status": {
        "observedGeneration": made["metadata"]["generation"], "disruptionsAllowed": 2,
        "currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3,
    }});
    admin
        .merge(&format!("{budgets}/b/status"), &status)
        .await
        .ok();
    let evict = |name: &'static str, dry_run: &'static str| {
        let admin = cluster.admin();
        async move {
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
            });
            admin
                .post(&format!("{pods}/{name}/eviction{dry_run}"), &eviction)
                .await
        }
    };
    assert_eq!(evict("a", "?dryRun=All").await.code, 201);
    let (a, b) = tokio::join!(evict("a", ""), evict("b", ""));
    assert_eq!((a.code.as_u16(), b.code.as_u16()), (201, 201));
    let left = admin.get(&format!("{budgets}/b")).await.ok();
    assert_eq!(left["status"]["disruptionsAllowed"], 0);
    let disrupted = left["status"]["disruptedPods"].as_object().unwrap();
    assert_eq!(disrupted.keys().collect::<Vec<_>>(), ["a", "b"]);
    let gone = admin.get(&format!("{pods}/a")).await.ok();
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    let conditions = gone["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|one| one["reason"] == "EvictionByEvictionAPI")
    );
    let refused = evict("c", "").await;
    assert_eq!(refused.refusal(), (429, "TooManyRequests".to_owned()));
    assert_eq!(
        refused.json()["details"]["causes"][0]["reason"],
        "DisruptionBudget"
    );
}

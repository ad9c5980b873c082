//! Resource quotas: charged when objects are made, and refused in upstream's words when they are used up.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Client, Cluster, config_map};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A quota that its controller has counted already.
async fn quota(admin: &Client<'_>, name: &str, hard: Value, spec: Value) {
    let mut quota = json!({"metadata": {"name": name}, "spec": spec});
    quota["spec"]["hard"] = hard.clone();
    admin.post(QUOTAS, &quota).await.ok();
    let mut used = hard.clone();
    for amount in used.as_object_mut().unwrap().values_mut() {
        *amount = "0".into();
    }
    let status = json!({"status": {"hard": hard, "used": used}});
    admin
        .merge(&format!("{QUOTAS}/{name}/status"), &status)
        .await
        .ok();
}

async fn used(admin: &Client<'_>, name: &str) -> Value {
    let quota = admin.get(&format!("{QUOTAS}/{name}")).await.ok();
    quota["status"]["used"].clone()
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": resources},
    ]}})
}

#[tokio::test]
async fn objects_are_charged_until_nothing_is_left() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    quota(
        &admin,
        "q",
        json!({"configmaps": "2", "count/secrets": "1"}),
        json!({}),
    )
    .await;
    admin
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("dry"))
        .await
        .ok();
    let (a, b) = tokio::join!(
        async { admin.post(CONFIG_MAPS, &config_map("a")).await.code },
        async { admin.post(CONFIG_MAPS, &config_map("b")).await.code },
    );
    assert_eq!((a.as_u16(), b.as_u16()), (201, 201));
    assert_eq!(
        used(&admin, "q").await,
        json!({"configmaps": "2", "count/secrets": "0"})
    );
    let refused = admin.post(CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(refused.refusal(), (403, "Forbidden".to_owned()));
    assert_eq!(
        refused.json()["message"],
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: \
         configmaps=2"
    );
    admin
        .merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}}))
        .await
        .ok();
    assert_eq!(
        used(&admin, "q").await["configmaps"],
        "2",
        "a change takes nothing"
    );
}

#[tokio::test]
async fn pods_say_what_they_want_where_a_quota_is_on_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    quota(
        &admin,
        "q",
        json!({"requests.cpu": "1", "pods": "5"}),
        json!({}),
    )
    .await;
    quota(
        &admin,
        "idle",
        json!({"pods": "1"}),
        json!({"scopes": ["BestEffort"]}),
    )
    .await;
    let refused = admin.post(PODS, &pod("p", json!({}))).await;
    assert_eq!(
        refused.json()["message"],
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    admin.post(PODS, &pod("p", asks("600m"))).await.ok();
    assert_eq!(
        used(&admin, "q").await,
        json!({"requests.cpu": "600m", "pods": "1"})
    );
    assert_eq!(
        used(&admin, "idle").await,
        json!({"pods": "0"}),
        "it asks for something"
    );
    let refused = admin.post(PODS, &pod("r", asks("500m"))).await;
    assert_eq!(
        refused.json()["message"],
        "pods \"r\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: \
         requests.cpu=1"
    );
}

#[tokio::test]
async fn a_quota_that_nobody_has_counted_limits_nothing_yet() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let fresh = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "0"}}});
    admin.post(QUOTAS, &fresh).await.ok();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
}

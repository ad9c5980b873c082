//! Lists: selectors, pages, resource versions.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Client, Cluster, config_map, names};

async fn fill(admin: &Client<'_>, count: usize) {
    for n in 0..count {
        let mut object = config_map(&format!("c{n:02}"));
        object["metadata"]["labels"] = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        admin.post(CONFIG_MAPS, &object).await.ok();
    }
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 4).await;
    let list = |query: &str| {
        let path = format!("{CONFIG_MAPS}?{query}");
        let admin = &admin;
        async move { names(&admin.get(&path).await.ok()) }
    };
    assert_eq!(list("labelSelector=parity%3Dodd").await, ["c01", "c03"]);
    assert_eq!(
        list("labelSelector=parity%20notin%20(odd)%2Cparity").await,
        ["c00", "c02"]
    );
    assert_eq!(list("fieldSelector=metadata.name%3Dc02").await, ["c02"]);
    assert_eq!(
        list("fieldSelector=metadata.name%21%3Dc02&labelSelector=parity%3Deven").await,
        ["c00"]
    );
    let unknown = admin
        .get(&format!("{CONFIG_MAPS}?fieldSelector=data.a%3D1"))
        .await;
    assert_eq!(unknown.code, 400);
    assert_eq!(
        admin
            .get(&format!("{CONFIG_MAPS}?labelSelector=%21%21"))
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn a_list_in_pages_is_one_consistent_list() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 7).await;
    let first = admin.get(&format!("{CONFIG_MAPS}?limit=3")).await.ok();
    assert_eq!(names(&first), ["c00", "c01", "c02"]);
    let total = names(&admin.get(CONFIG_MAPS).await.ok()).len() as u64;
    assert_eq!(first["metadata"]["remainingItemCount"], json!(total - 3));

    // What changes between the pages is not in the list.
    admin
        .delete(&format!("{CONFIG_MAPS}/c04"), &Value::Null)
        .await
        .ok();
    admin.post(CONFIG_MAPS, &config_map("c03b")).await.ok();

    let mut seen = names(&first);
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = admin
            .get(&format!("{CONFIG_MAPS}?limit=3&continue={token}"))
            .await
            .ok();
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        seen.extend(names(&page));
    }
    seen.retain(|name| name.starts_with('c'));
    assert_eq!(seen, ["c00", "c01", "c02", "c03", "c04", "c05", "c06"]);
}

#[tokio::test]
async fn a_page_whose_revision_is_forgotten_has_expired() {
    use muster_storage::Store;

    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 3).await;
    let first = admin.get(&format!("{CONFIG_MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    admin.post(CONFIG_MAPS, &config_map("later")).await.ok();
    cluster
        .store
        .compact(cluster.store.current_revision())
        .await
        .unwrap();
    let expired = admin
        .get(&format!("{CONFIG_MAPS}?limit=1&continue={token}"))
        .await;
    assert_eq!(expired.refusal(), (410, "Expired".into()));
    assert_eq!(
        admin
            .get(&format!("{CONFIG_MAPS}?continue=junk"))
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn resource_versions_say_how_fresh_a_list_is() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 2).await;
    let before = admin.get(CONFIG_MAPS).await.ok();
    let revision = before["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    admin.post(CONFIG_MAPS, &config_map("later")).await.ok();
    let at = |query: String| {
        let path = format!("{CONFIG_MAPS}?{query}");
        let admin = &admin;
        async move { admin.get(&path).await }
    };
    let exact = at(format!(
        "resourceVersion={revision}&resourceVersionMatch=Exact"
    ))
    .await
    .ok();
    assert_eq!(names(&exact), names(&before));
    let newer = at(format!(
        "resourceVersion={revision}&resourceVersionMatch=NotOlderThan"
    ))
    .await;
    assert!(names(&newer.ok()).contains(&"later".to_owned()));
    assert_eq!(at("resourceVersion=0".into()).await.code, 200);
    assert_eq!(at("resourceVersionMatch=Exact".into()).await.code, 422);
    assert_eq!(
        at("resourceVersion=0&resourceVersionMatch=Exact".into())
            .await
            .code,
        422
    );
    assert_eq!(at("resourceVersion=x".into()).await.code, 400);
    let future = at("resourceVersion=999999".into()).await;
    assert_eq!(future.refusal(), (504, "Timeout".into()));
    assert_eq!(
        future.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn a_list_over_all_namespaces_has_them_all() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin
        .post(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": "other"}}),
        )
        .await
        .ok();
    admin
        .post("/api/v1/namespaces/other/configmaps", &config_map("there"))
        .await
        .ok();
    admin.post(CONFIG_MAPS, &config_map("here")).await.ok();
    let all = names(&admin.get("/api/v1/configmaps").await.ok());
    assert!(
        all.contains(&"there".to_owned()) && all.contains(&"here".to_owned()),
        "{all:?}"
    );
    let named = "/api/v1/configmaps?fieldSelector=metadata.name%3Dthere";
    assert_eq!(names(&admin.get(named).await.ok()), ["there"]);
    assert_eq!(admin.get("/api/v1/namespaces/other/nodes").await.code, 404);
}

#[tokio::test]
async fn whoever_takes_any_state_gets_all_of_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 5).await;
    let list = |query: &str| {
        let path = format!("{CONFIG_MAPS}?limit=2{query}");
        let admin = &admin;
        async move { admin.get(&path).await.ok() }
    };
    let all = list("&resourceVersion=0").await;
    assert!(names(&all).len() >= 5);
    assert_eq!(all["metadata"].get("continue"), None);
    let page = list("").await;
    assert_eq!(names(&page).len(), 2);
    let left = names(&all).len() - 2;
    assert_eq!(page["metadata"]["remainingItemCount"], left);
    let selected = list("&labelSelector=!nothing").await;
    assert!(selected["metadata"]["continue"].is_string());
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
}

#[tokio::test]
async fn an_expired_page_says_how_to_go_on_with_what_is_there_now() {
    use muster_storage::Store;

    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 4).await;
    let first = admin.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    admin.post(CONFIG_MAPS, &config_map("later")).await.ok();
    let store = &cluster.store;
    store.compact(store.current_revision()).await.unwrap();

    let expired = admin
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await;
    assert_eq!(expired.refusal(), (410, "Expired".into()));
    let token = expired.json()["metadata"]["continue"].clone();
    let token = token.as_str().unwrap();
    let rest = admin.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    let rest = rest.ok();
    assert!(names(&rest).contains(&"later".to_owned()));
    assert!(
        names(&first)
            .iter()
            .all(|told| !names(&rest).contains(told))
    );

    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(admin.get(&exact).await.refusal(), (410, "Expired".into()));
}

#[tokio::test]
async fn a_continue_token_is_of_no_use_elsewhere() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 4).await;
    let first = admin.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    for path in [
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/kube-system/configmaps",
    ] {
        let refused = admin.get(&format!("{path}?continue={token}")).await;
        assert_eq!(refused.code, 400, "{path}");
    }
    let both = format!("{CONFIG_MAPS}?continue={token}&resourceVersion=5");
    assert_eq!(admin.get(&both).await.code, 400);
}

#[tokio::test]
async fn lists_are_the_same_in_protobuf() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    fill(&admin, 3).await;
    let json = admin.get(CONFIG_MAPS).await.ok();
    for _ in 0..2 {
        let answer = admin
            .get_as(CONFIG_MAPS, "application/vnd.kubernetes.protobuf")
            .await;
        let list = muster_machinery::protobuf::decode(&answer.bytes).unwrap();
        assert_eq!(names(&list), names(&json));
        assert_eq!(
            list["metadata"]["resourceVersion"],
            json["metadata"]["resourceVersion"]
        );
        assert_eq!(list["items"][0]["data"], json["items"][0]["data"]);
    }
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for number in 0..40 {
        let mut object = config_map(&format!("c{number}"));
        object["metadata"]["labels"] = json!({"half": (number % 2).to_string()});
        admin.post(CONFIG_MAPS, &object).await.ok();
    }
    let one = format!("{CONFIG_MAPS}?labelSelector=half%3D1");
    let dry = format!("{one}&dryRun=All");
    let dry = admin.delete(&dry, &Value::Null).await.ok();
    assert_eq!(names(&dry).len(), 20);
    let deleted = admin.delete(&one, &Value::Null).await.ok();
    assert_eq!(
        (&deleted["kind"], names(&deleted).len()),
        (&json!("ConfigMapList"), 20)
    );
    assert!(names(&admin.get(&one).await.ok()).is_empty());
    let other = format!("{CONFIG_MAPS}?labelSelector=half%3D0");
    assert_eq!(names(&admin.get(&other).await.ok()).len(), 20);
}

//! Watches: where they begin, what they tell, how they end.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Cluster, config_map, told};

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_watch_after_a_list_tells_every_change_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("before")).await.ok();
    let list = admin.get(CONFIG_MAPS).await.ok();
    let mut watch = admin
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&resourceVersion={}",
            revision(&list)
        ))
        .await;
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    admin
        .merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}}))
        .await
        .ok();
    admin
        .delete(&format!("{CONFIG_MAPS}/a"), &Value::Null)
        .await
        .ok();
    let added = watch.next().await.unwrap();
    assert_eq!(added["type"], "ADDED");
    assert_eq!(added["object"], made);
    assert_eq!(watch.next().await.unwrap()["object"]["data"]["b"], "2");
    let deleted = watch.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["data"]["b"]),
        (&json!("DELETED"), &json!("2"))
    );
    let at = |event: &Value| revision(&event["object"]).parse::<u64>().unwrap();
    assert!(at(&deleted) > at(&added));

    // Resumed at the first event, the others come again, and only they.
    let mut resumed = admin
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&resourceVersion={}",
            revision(&made)
        ))
        .await;
    assert_eq!(resumed.tell().await, told("MODIFIED", "a"));
    assert_eq!(resumed.tell().await, told("DELETED", "a"));
}

#[tokio::test]
async fn a_watch_without_version_begins_with_what_is_there() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let mut watch = admin
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da"
        ))
        .await;
    assert_eq!(watch.tell().await, told("ADDED", "a"));
    admin.post(CONFIG_MAPS, &config_map("b")).await.ok();
    admin
        .merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}}))
        .await
        .ok();
    assert_eq!(watch.tell().await, told("MODIFIED", "a"));
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let mut watch = admin
        .watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes"))
        .await;
    admin
        .merge(&path, &json!({"metadata": {"labels": {"on": "yes"}}}))
        .await
        .ok();
    admin.merge(&path, &json!({"data": {"b": "2"}})).await.ok();
    let left = admin
        .merge(&path, &json!({"metadata": {"labels": {"on": "no"}}}))
        .await
        .ok();
    assert_eq!(watch.tell().await, told("ADDED", "a"));
    assert_eq!(watch.tell().await, told("MODIFIED", "a"));
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(
        gone["object"]["metadata"]["labels"]["on"], "yes",
        "as it was when it matched"
    );
    assert_eq!(
        revision(&gone["object"]),
        revision(&left),
        "at the revision of the change"
    );
}

#[tokio::test]
async fn a_streaming_list_ends_with_an_annotated_bookmark() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da";
    let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.tell().await, told("ADDED", "a"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let missing = admin
        .get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"))
        .await;
    assert_eq!(missing.code, 422);
}

#[tokio::test]
async fn a_watch_ends_at_its_time_with_a_last_bookmark() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let list = admin.get(CONFIG_MAPS).await.ok();
    let query = format!(
        "watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={}",
        revision(&list)
    );
    let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert!(bookmark["object"]["metadata"].get("annotations").is_none());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_from_before_the_cache_is_answered_from_history_until_that_is_gone() {
    use std::sync::Arc;

    use muster_apiserver::{ApiServer, Config, UserInfo};
    use muster_storage::{MemoryStore, Store};

    let store = Arc::new(MemoryStore::new());
    let data = tempfile::TempDir::new().unwrap();
    let start = || {
        let address = "127.0.0.1:0".parse().unwrap();
        ApiServer::start(Config::new(data.path(), address, Arc::clone(&store) as _))
    };
    let first = crate::harness::Cluster::over(start().await.unwrap(), Arc::clone(&store));
    let made = first.admin().post(CONFIG_MAPS, &config_map("a")).await.ok();
    first
        .admin()
        .merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}}))
        .await
        .ok();
    first.server.shutdown().await;

    let second = crate::harness::Cluster::over(start().await.unwrap(), Arc::clone(&store));
    let admin = second.user(UserInfo::new("admin", [crate::harness::MASTERS]));
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision(&made));
    let mut resumed = admin.watch(&path).await;
    assert_eq!(resumed.tell().await, told("MODIFIED", "a"));
    admin
        .delete(&format!("{CONFIG_MAPS}/a"), &Value::Null)
        .await
        .ok();
    assert_eq!(resumed.tell().await, told("DELETED", "a"));

    store.compact(store.current_revision()).await.unwrap();
    let mut gone = admin.watch(&path).await;
    let event = gone.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(gone.next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_one_name_by_path_hears_of_no_other() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut watch = admin
        .watch("/api/v1/watch/namespaces/default/configmaps/b")
        .await;
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    admin.post(CONFIG_MAPS, &config_map("b")).await.ok();
    assert_eq!(watch.tell().await, told("ADDED", "b"));
}

#[tokio::test]
async fn a_watch_from_the_future_waits_for_it_and_a_streaming_list_does_not_for_long() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let version: u64 = revision(&made).parse().unwrap();
    let query = format!(
        "watch=1&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion={}",
        version + 1
    );
    let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    admin.post(CONFIG_MAPS, &config_map("b")).await.ok();
    admin.post(CONFIG_MAPS, &config_map("c")).await.ok();
    assert_eq!(watch.tell().await, told("ADDED", "c"));
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");

    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999";
    let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(504))
    );
    assert_eq!(
        event["object"]["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn a_server_that_stops_tells_its_watchers_how_far_they_are() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let list = admin.get(CONFIG_MAPS).await.ok();
    let query = format!(
        "watch=1&allowWatchBookmarks=true&resourceVersion={}",
        revision(&list)
    );
    let mut watch = admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let secret = json!({"metadata": {"name": "s"}});
    let last = admin.post("/api/v1/namespaces/default/secrets", &secret);
    let last = last.await.ok();
    cluster.server.shutdown().await;
    assert_eq!(watch.tell().await, told("ADDED", "a"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(revision(&bookmark["object"]), revision(&last));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn many_watchers_hear_the_same_in_their_own_form() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let list = admin.get(CONFIG_MAPS).await.ok();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision(&list));
    let mut plain = vec![admin.watch(&path).await, admin.watch(&path).await];
    let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut metadata = admin.watch_as(&path, partial).await;
    let mut entered = admin.watch(&format!("{path}&labelSelector=on%3Dyes")).await;
    let mut object = config_map("a");
    admin.post(CONFIG_MAPS, &object).await.ok();
    object["metadata"]["labels"] = json!({"on": "yes"});
    admin.put(&format!("{CONFIG_MAPS}/a"), &object).await.ok();
    for watch in &mut plain {
        assert_eq!(watch.tell().await, told("ADDED", "a"));
        assert_eq!(watch.tell().await, told("MODIFIED", "a"));
    }
    let event = metadata.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(event["object"].get("data"), None);
    assert_eq!(entered.tell().await, told("ADDED", "a"));
}

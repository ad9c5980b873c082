//! The same objects as tables, metadata, YAML and protobuf.

use http::Method;
use muster_machinery::protobuf;
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Cluster, config_map};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf,application/json";

#[tokio::test]
async fn lists_objects_and_watches_come_as_tables() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let one = admin.get_as(&format!("{CONFIG_MAPS}/a"), TABLE).await.ok();
    assert_eq!(one["kind"], "Table");
    assert_eq!(one["columnDefinitions"][0]["name"], "Name");
    assert_eq!(one["rows"][0]["cells"][0], "a");
    assert_eq!(one["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let many = admin
        .get_as(&format!("{CONFIG_MAPS}?includeObject=Object"), TABLE)
        .await
        .ok();
    let kinds: Vec<_> = many["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["object"]["kind"])
        .collect();
    assert!(kinds.iter().all(|kind| **kind == "ConfigMap"), "{kinds:?}");
    let watch = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da");
    let told = admin.get_as(&watch, TABLE).await;
    let event: Value = serde_json::from_str(told.text().lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
}

#[tokio::test]
async fn metadata_alone_can_be_asked_for() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let list = admin.get_as(CONFIG_MAPS, METADATA).await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let item = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["metadata"]["name"] == "a");
    assert!(item.is_some_and(|item| item.get("data").is_none()));
}

#[tokio::test]
async fn protobuf_goes_both_ways_and_over_watches() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = protobuf::encode(&config_map("a")).unwrap();
    let headers = [
        ("content-type", protobuf::CONTENT_TYPE),
        ("accept", PROTOBUF),
    ];
    let made = admin.call(Method::POST, CONFIG_MAPS, &headers, body).await;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(made.headers["content-type"], protobuf::CONTENT_TYPE);
    assert_eq!(protobuf::decode(&made.bytes).unwrap()["data"]["a"], "1");
    let list = admin.get_as(CONFIG_MAPS, PROTOBUF).await;
    assert_eq!(
        protobuf::decode(&list.bytes).unwrap()["kind"],
        "ConfigMapList"
    );
    let missing = admin.get_as(&format!("{CONFIG_MAPS}/none"), PROTOBUF).await;
    assert_eq!(
        protobuf::decode(&missing.bytes).unwrap()["reason"],
        "NotFound"
    );

    let watch = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da");
    let told = admin.get_as(&watch, PROTOBUF).await;
    assert_eq!(
        told.headers["content-type"],
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let length = u32::from_be_bytes(told.bytes[..4].try_into().unwrap()) as usize;
    let (kind, object) = protobuf::decode_watch_event(&told.bytes[4..4 + length]).unwrap();
    assert_eq!(
        (kind.as_str(), &object["metadata"]["name"]),
        ("ADDED", &json!("a"))
    );
}

#[tokio::test]
async fn yaml_is_read_and_written() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'yes'\n";
    let headers = [
        ("content-type", "application/yaml"),
        ("accept", "application/yaml"),
    ];
    let made = admin.call(Method::POST, CONFIG_MAPS, &headers, body).await;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(made.headers["content-type"], "application/yaml");
    assert!(made.text().contains("name: a"), "{}", made.text());
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let refused = admin.get_as(CONFIG_MAPS, "image/png").await;
    assert_eq!(refused.refusal(), (406, "NotAcceptable".into()));
    let headers = [("content-type", "text/csv")];
    let refused = admin.call(Method::POST, CONFIG_MAPS, &headers, "a,b").await;
    assert_eq!(refused.refusal(), (415, "UnsupportedMediaType".into()));
}

#[tokio::test]
async fn a_review_has_no_table() {
    let cluster = Cluster::start().await;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "nonResourceAttributes": { "path": "/", "verb": "get" } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let only_table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (accept, code) in [(only_table, 406), (TABLE, 201)] {
        let headers = [("accept", accept), ("content-type", "application/json")];
        let answer = cluster
            .admin()
            .call(Method::POST, path, &headers, review.to_string())
            .await;
        assert_eq!(answer.code, code, "{accept}");
    }
}

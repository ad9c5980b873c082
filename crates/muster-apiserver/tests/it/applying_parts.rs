//! Server-side apply to a part of an object, and in another version than the one that is kept.

use http::Method;
use serde_json::{Value, json};

use crate::{
    applying::{DEPLOYMENTS, apply, owned, web},
    harness::Cluster,
};

#[tokio::test]
async fn the_status_is_applied_apart_from_the_rest() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{DEPLOYMENTS}/web");
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 7}, "status": {"observedGeneration": 1}});
    let missing = apply(&admin, &format!("{path}/status"), ("ctl", ""), &status).await;
    assert_eq!(missing.refusal(), (404, "NotFound".into()));
    let mut config = web(&json!(2));
    config["status"] = json!({"replicas": 9});
    let made = apply(&admin, &path, ("one", ""), &config).await.ok();
    assert!(owned(&made, "one", "Apply", "").get("f:status").is_none());
    let done = apply(&admin, &format!("{path}/status"), ("ctl", ""), &status)
        .await
        .ok();
    assert_eq!(done["status"]["observedGeneration"], 1);
    assert_eq!(done["spec"]["replicas"], 2);
    assert_eq!(
        owned(&done, "ctl", "Apply", "status"),
        json!({"f:status": {"f:observedGeneration": {}}})
    );
    let updated = json!({"status": {"observedGeneration": 2}});
    let seen = admin
        .merge(&format!("{path}/status?fieldManager=other"), &updated)
        .await
        .ok();
    assert_eq!(
        owned(&seen, "other", "Update", "status"),
        json!({"f:status": {"f:observedGeneration": {}}})
    );
    let refused = apply(&admin, &format!("{path}/status"), ("ctl", ""), &status).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
}

#[tokio::test]
async fn whoever_scales_owns_the_replicas_of_the_workload() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{DEPLOYMENTS}/web");
    let scale = format!("{path}/scale");
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    apply(&admin, &path, ("one", ""), &web(&json!(2)))
        .await
        .ok();
    let asked = json!({"spec": {"replicas": 3}});
    let scaled = admin
        .merge(&format!("{scale}?fieldManager=hpa"), &asked)
        .await
        .ok();
    assert_eq!(
        (&scaled["spec"]["replicas"], &scaled["kind"]),
        (&json!(3), &json!("Scale"))
    );
    let web_now = admin.get(&path).await.ok();
    assert_eq!(web_now["spec"]["replicas"], 3);
    assert_eq!(owned(&web_now, "hpa", "Update", "scale"), replicas);
    let one = owned(&web_now, "one", "Apply", "");
    assert!(one["f:spec"].get("f:replicas").is_none(), "{one}");
    let refused = apply(&admin, &path, ("one", ""), &web(&json!(2))).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
    assert!(
        refused.text().contains("with subresource"),
        "{}",
        refused.text()
    );

    let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let refused = apply(&admin, &scale, ("ctl", ""), &config).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
    let applied = apply(&admin, &scale, ("ctl", "&force=true"), &config)
        .await
        .ok();
    assert_eq!(applied["spec"]["replicas"], 4);
    let web_now = admin.get(&path).await.ok();
    assert_eq!(owned(&web_now, "ctl", "Apply", "scale"), replicas);
    assert_eq!(owned(&web_now, "hpa", "Update", "scale"), Value::Null);

    let mut put = admin.get(&scale).await.ok();
    put["spec"]["replicas"] = json!(1);
    admin
        .put(&format!("{scale}?fieldManager=putter"), &put)
        .await
        .ok();
    let web_now = admin.get(&path).await.ok();
    assert_eq!(web_now["spec"]["replicas"], 1);
    assert_eq!(owned(&web_now, "putter", "Update", "scale"), replicas);
}

#[tokio::test]
async fn owners_speak_of_the_version_that_was_asked_for() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/h")
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80, "scaleTargetRef": target}});
    let made = apply(&admin, &path("v1"), ("one", ""), &config).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let newer = admin.get(&path("v2")).await.ok();
    assert_eq!(
        newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    let entry = &newer["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "autoscaling/v1");
    assert!(
        entry["fieldsV1"]["f:spec"]
            .get("f:targetCPUUtilizationPercentage")
            .is_some()
    );
    let more = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"}, "spec": {"maxReplicas": 5}});
    let refused = apply(&admin, &path("v2"), ("two", ""), &more).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
    let updated = json!({"spec": {"maxReplicas": 4}});
    let patched = admin
        .merge(&format!("{}?fieldManager=three", path("v1")), &updated)
        .await
        .ok();
    assert_eq!(
        owned(&patched, "three", "Update", ""),
        json!({"f:spec": {"f:maxReplicas": {}}})
    );
}

#[tokio::test]
async fn owners_survive_every_format_and_strict_patches() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{DEPLOYMENTS}/web");
    let made = apply(&admin, &path, ("one", ""), &web(&json!(2)))
        .await
        .ok();
    let media = "application/vnd.kubernetes.protobuf";
    let binary = admin.get_as(&path, media).await;
    let decoded =
        muster_machinery::protobuf::decode_with_default(&binary.bytes, "apps/v1", "Deployment");
    let mut decoded = decoded.unwrap();
    assert_eq!(
        decoded["metadata"]["managedFields"],
        made["metadata"]["managedFields"]
    );
    decoded["spec"]["replicas"] = json!(3);
    let headers = [("content-type", media), ("user-agent", "binary/1")];
    let body = muster_machinery::protobuf::encode(&decoded).unwrap();
    let put = admin.call(Method::PUT, &path, &headers, body).await.ok();
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    assert_eq!(owned(&put, "binary", "Update", ""), replicas);
    let strict = format!("{path}?fieldValidation=Strict&fieldManager=strict");
    for (media, replicas) in [("merge-patch", 4), ("strategic-merge-patch", 5)] {
        let asked = json!({"spec": {"replicas": replicas}});
        let media = format!("application/{media}+json");
        let patched = admin.patch(&strict, &media, &asked).await;
        assert!(!patched.headers.contains_key("warning"), "{media}");
        let patched = patched.ok();
        assert_eq!(patched["spec"]["replicas"], replicas);
        assert_eq!(
            owned(&patched, "strict", "Update", ""),
            json!({"f:spec": {"f:replicas": {}}})
        );
    }
}

#[tokio::test]
async fn a_secret_is_applied_in_plain_words() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = "/api/v1/namespaces/default/secrets/s";
    let config = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "1"}});
    let made = apply(&admin, path, ("one", ""), &config).await.ok();
    assert_eq!(made["data"], json!({"a": "MQ=="}));
    let again = apply(&admin, path, ("one", ""), &config).await.ok();
    assert_eq!(again, made);
}

#[tokio::test]
async fn what_the_server_decides_for_a_new_object_belongs_to_nobody() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let namespace = json!({"metadata": {"name": "shop"}});
    let made = admin.post("/api/v1/namespaces", &namespace).await.ok();
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(
        owned(&made, "admin", "Update", ""),
        json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}})
    );
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let services = "/api/v1/namespaces/default/services";
    let made = admin.post(services, &service).await.ok();
    assert!(made["spec"]["clusterIP"].is_string());
    let fields = owned(&made, "admin", "Update", "");
    assert!(fields["f:spec"].get("f:clusterIP").is_none(), "{fields}");
    assert!(fields["f:spec"].get("f:ports").is_some(), "{fields}");
}

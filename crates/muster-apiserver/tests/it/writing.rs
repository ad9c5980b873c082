//! Creating, replacing and patching.

use http::Method;
use muster_apiserver::UserInfo;
use serde_json::json;

use crate::harness::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn a_created_object_gets_its_identity_and_can_be_read_back() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await;
    assert_eq!(made.code, 201);
    let made = made.json();
    let metadata = &made["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(
        metadata["creationTimestamp"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let read = admin.get(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(read, made);
    let again = admin.post(CONFIG_MAPS, &config_map("a")).await;
    assert_eq!(again.refusal(), (409, "AlreadyExists".into()));
}

#[tokio::test]
async fn a_name_is_generated_where_only_its_beginning_is_given() {
    let cluster = Cluster::start().await;
    let body = json!({"metadata": {"generateName": "web-"}});
    let one = cluster.admin().post(CONFIG_MAPS, &body).await.ok();
    let two = cluster.admin().post(CONFIG_MAPS, &body).await.ok();
    let name = |object: &serde_json::Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(
        name(&one).starts_with("web-") && name(&one).len() == 9,
        "{}",
        name(&one)
    );
    assert_ne!(name(&one), name(&two));
}

#[tokio::test]
async fn bad_objects_are_refused_with_the_right_reason() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let cases = [
        (CONFIG_MAPS, config_map("Bad_Name"), 422, "Invalid"),
        (CONFIG_MAPS, json!({"metadata": {}}), 422, "Invalid"),
        (
            CONFIG_MAPS,
            json!({"kind": "Secret", "metadata": {"name": "a"}}),
            400,
            "BadRequest",
        ),
        (
            CONFIG_MAPS,
            json!({"metadata": {"name": "a", "namespace": "other"}}),
            400,
            "BadRequest",
        ),
        (
            "/api/v1/namespaces/nowhere/configmaps",
            config_map("a"),
            404,
            "NotFound",
        ),
        (
            "/api/v1/configmaps",
            config_map("a"),
            405,
            "MethodNotAllowed",
        ),
        (
            "/api/v1/namespaces/a%2Fb/configmaps",
            config_map("a"),
            400,
            "BadRequest",
        ),
        (
            "/api/v1/namespaces/default/nothings",
            config_map("a"),
            404,
            "NotFound",
        ),
    ];
    for (path, body, code, reason) in cases {
        let answer = admin.post(path, &body).await;
        assert_eq!(
            answer.refusal(),
            (code, reason.to_owned()),
            "{body}: {}",
            answer.text()
        );
    }
    let huge = json!({"metadata": {"name": "h"}, "message": "x".repeat(2 << 20),
        "involvedObject": {"namespace": "default"}});
    let refused = admin.post("/api/v1/namespaces/default/events", &huge).await;
    assert_eq!(refused.refusal(), (413, "RequestEntityTooLarge".into()));
    let enormous = admin
        .call(Method::POST, CONFIG_MAPS, &[], vec![b' '; (3 << 20) + 1])
        .await;
    assert_eq!(enormous.refusal(), (413, "RequestEntityTooLarge".into()));
}

#[tokio::test]
async fn an_update_of_an_old_version_is_a_conflict() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let old = object.clone();
    object["data"]["a"] = json!("2");
    let newer = admin.put(&path, &object).await.ok();
    assert_ne!(
        newer["metadata"]["resourceVersion"],
        old["metadata"]["resourceVersion"]
    );
    let stale = admin.put(&path, &old).await;
    assert_eq!(stale.refusal(), (409, "Conflict".into()));
    let mut unconditional = old.clone();
    unconditional["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        admin.put(&path, &unconditional).await.ok()["data"]["a"],
        "1"
    );
    let same = admin.get(&path).await.ok();
    let unchanged = admin.put(&path, &same).await.ok();
    assert_eq!(
        unchanged["metadata"]["resourceVersion"],
        same["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn identity_cannot_be_changed() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let mut other = made.clone();
    other["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(admin.put(&path, &other).await.code, 409);
    let mut renamed = made.clone();
    renamed["metadata"]["name"] = json!("b");
    assert_eq!(admin.put(&path, &renamed).await.code, 400);
    let older = json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}});
    let patched = admin.merge(&path, &older).await;
    assert_eq!(
        patched.ok()["metadata"]["creationTimestamp"],
        made["metadata"]["creationTimestamp"]
    );
}

#[tokio::test]
async fn three_kinds_of_patches_are_understood_and_others_are_not() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let merged = admin
        .merge(&path, &json!({"data": {"a": null, "b": "2"}}))
        .await
        .ok();
    assert_eq!(merged["data"], json!({"b": "2"}));
    let operations = json!([{"op": "test", "path": "/data/b", "value": "2"},
        {"op": "add", "path": "/data/c", "value": "3"}]);
    let patched = admin
        .patch(&path, "application/json-patch+json", &operations)
        .await
        .ok();
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
    let failing = json!([{"op": "test", "path": "/data/b", "value": "9"}]);
    assert_eq!(
        admin
            .patch(&path, "application/json-patch+json", &failing)
            .await
            .code,
        422
    );
    let strategic = json!({"metadata": {"finalizers": ["example.com/x"]}});
    let media = "application/strategic-merge-patch+json";
    let patched = admin.patch(&path, media, &strategic).await.ok();
    assert_eq!(patched["metadata"]["finalizers"], json!(["example.com/x"]));
    let other = admin.patch(&path, "application/json", &json!({})).await;
    assert_eq!(other.refusal(), (415, "UnsupportedMediaType".into()));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "z"}});
    assert_eq!(admin.merge(&path, &stale).await.code, 409);
}

#[tokio::test]
async fn concurrent_patches_all_take_effect() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let patches = (0..12).map(|n| {
        let (admin, path) = (&admin, &path);
        async move {
            admin
                .merge(path, &json!({"data": {format!("k{n}"): "v"}}))
                .await
                .code
        }
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    let data = admin.get(&path).await.ok()["data"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(data, 13);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a"))
        .await;
    assert_eq!(made.code, 201);
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(admin.get(&path).await.code, 404);
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let patched = admin
        .merge(&format!("{path}?dryRun=All"), &json!({"data": {"b": "2"}}))
        .await;
    assert_eq!(patched.ok()["data"]["b"], "2");
    admin
        .delete(&format!("{path}?dryRun=All"), &json!(null))
        .await
        .ok();
    assert_eq!(admin.get(&path).await.ok()["data"], json!({"a": "1"}));
    assert_eq!(
        admin
            .post(&format!("{CONFIG_MAPS}?dryRun=Some"), &config_map("b"))
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn unknown_fields_are_warned_about_ignored_or_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = |name: &str| json!({"metadata": {"name": name}, "dada": {}});
    let warned = admin.post(CONFIG_MAPS, &body("a")).await;
    assert_eq!(warned.code, 201);
    let warning = warned.headers.get("warning").unwrap().to_str().unwrap();
    assert_eq!(warning, r#"299 - "unknown field \"dada\"""#);
    let ignored = admin
        .post(&format!("{CONFIG_MAPS}?fieldValidation=Ignore"), &body("b"))
        .await;
    assert!(ignored.headers.get("warning").is_none());
    let strict = admin
        .post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), &body("c"))
        .await;
    assert_eq!(strict.refusal(), (400, "BadRequest".into()));
}

#[tokio::test]
async fn status_and_the_rest_of_an_object_are_written_apart() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let node = json!({"metadata": {"name": "n", "labels": {"a": "b"}}, "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {"capacity": {"cpu": "2"}}});
    let made = admin.post("/api/v1/nodes", &node).await.ok();
    assert_eq!(
        made["status"]["capacity"]["cpu"], "2",
        "a node brings its status along"
    );
    let mut both = made.clone();
    both["spec"]["unschedulable"] = json!(true);
    both["status"]["capacity"]["cpu"] = json!("4");
    let status = admin.put("/api/v1/nodes/n/status", &both).await.ok();
    assert_eq!(status["status"]["capacity"]["cpu"], "4");
    assert!(status["spec"].get("unschedulable").is_none());
    both["metadata"] = status["metadata"].clone();
    both["status"]["capacity"]["cpu"] = json!("8");
    let main = admin.put("/api/v1/nodes/n", &both).await.ok();
    assert_eq!(main["spec"]["unschedulable"], true);
    assert_eq!(main["status"]["capacity"]["cpu"], "4");
}

#[tokio::test]
async fn permissions_are_denied_by_default_in_upstreams_words() {
    let cluster = Cluster::start().await;
    let nobody = cluster.user(UserInfo::new("nobody", ["system:authenticated"]));
    let refused = nobody.get("/api/v1/nodes/x").await;
    assert_eq!(refused.refusal(), (403, "Forbidden".into()));
    assert_eq!(
        refused.json()["message"],
        r#"nodes "x" is forbidden: User "nobody" cannot get resource "nodes" in API group "" at the cluster scope"#
    );
    assert_eq!(nobody.post(CONFIG_MAPS, &config_map("a")).await.code, 403);
}

#[tokio::test]
async fn what_a_kind_has_no_field_for_and_what_is_empty_is_not_kept() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "", "flavour": "x",
        "taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let made = admin
        .post("/api/v1/nodes?fieldValidation=Ignore", &node)
        .await
        .ok();
    assert!(made["spec"].get("flavour").is_none(), "{made}");
    assert!(made["spec"].get("podCIDR").is_none(), "{made}");

    let strategic = "application/strategic-merge-patch+json";
    let no_taints = json!({"spec": {"taints": []}});
    let changed = admin.merge("/api/v1/nodes/n1", &no_taints).await.ok();
    assert!(changed["spec"].get("taints").is_none(), "{changed}");
    let unknown = json!({"spec": {"bogus": 1}});
    let same = admin
        .patch("/api/v1/nodes/n1?fieldValidation=Warn", strategic, &unknown)
        .await;
    assert!(same.headers.contains_key("warning"));
    assert_eq!(same.ok(), changed, "nothing that is known changed");
}

#[tokio::test]
async fn an_object_that_was_never_stored_may_say_so_with_version_zero() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut map = config_map("a");
    map["metadata"]["resourceVersion"] = "7".into();
    assert_eq!(admin.post(CONFIG_MAPS, &map).await.refusal().0, 400);
    map["metadata"]["resourceVersion"] = "0".into();
    let made = admin.post(CONFIG_MAPS, &map).await.ok();
    assert_ne!(made["metadata"]["resourceVersion"], "0");
}

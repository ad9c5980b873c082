//! Server-side apply and the owners of fields.

use http::Method;
use muster_apiserver::UserInfo;
use serde_json::{Value, json};

use crate::harness::{Answer, CONFIG_MAPS, Client, Cluster, config_map};

const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Applies `config` as `manager`; `more` is appended to the query.
pub(crate) async fn apply(
    client: &Client<'_>,
    path: &str,
    (manager, more): (&str, &str),
    config: &Value,
) -> Answer {
    let path = format!("{path}?fieldManager={manager}{more}");
    client.patch(&path, APPLY, config).await
}

fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

pub(crate) fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

pub(crate) fn web(replicas: &Value) -> Value {
    deployment(
        &json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]}}}),
    )
}

/// The fields of one manager; null if it has none.
pub(crate) fn owned(object: &Value, manager: &str, operation: &str, subresource: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let of = entries.into_iter().flatten().find(|entry| {
        (text(entry, "manager"), text(entry, "operation"))
            == (manager.to_owned(), operation.to_owned())
            && text(entry, "subresource") == subresource
    });
    of.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn managers(object: &Value) -> Vec<&str> {
    let entries = object["metadata"]["managedFields"].as_array();
    let names = entries.into_iter().flatten();
    names
        .map(|entry| entry["manager"].as_str().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn an_apply_makes_the_object_and_again_changes_nothing() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let config = map(&json!({"k": "1"}));
    let made = apply(&admin, &path, ("one", ""), &config).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(
        owned(&made, "one", "Apply", ""),
        json!({"f:data": {"f:k": {}}})
    );
    let again = apply(&admin, &path, ("one", ""), &config).await;
    assert_eq!(again.code, 200);
    assert_eq!(again.json(), made);
    assert_eq!(admin.get(&path).await.ok(), made);
}

#[tokio::test]
async fn yaml_is_applied_and_unreadable_or_unknown_things_are_not() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    let send = async |path: &str, body: &'static str| {
        let headers = [("content-type", APPLY)];
        admin.call(Method::PATCH, path, &headers, body).await
    };
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: \"1\"\n";
    assert_eq!(send(&path, yaml).await.ok()["data"]["k"], "1");

    assert_eq!(send(&path, "a: [").await.code, 400);
    let unknown = "apiVersion: v1\nkind: ConfigMap\ndada: {}\n";
    let refused = send(&path, unknown).await;
    assert_eq!(refused.code, 400);
    assert!(
        refused.text().contains("field not declared in schema"),
        "{}",
        refused.text()
    );
    let twice = "apiVersion: v1\nkind: ConfigMap\ndata: {k: \"1\"}\ndata: {k: \"2\"}\n";
    let strict = send(&format!("{path}&fieldValidation=Strict"), twice).await;
    assert_eq!(strict.code, 400, "{}", strict.text());
    let warned = send(&format!("{path}&fieldValidation=Warn"), twice).await;
    assert!(warned.headers.contains_key("warning"));
    assert_eq!(warned.ok()["data"]["k"], "2");
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"1"},"data":{"k":"3"}}"#;
    let strict = send(&format!("{path}&fieldValidation=Strict"), twice).await;
    assert_eq!(strict.code, 400, "{}", strict.text());
    let other = "apiVersion: v1\nkind: Secret\n";
    assert_eq!(send(&path, other).await.code, 400);
    let owners = "apiVersion: v1\nkind: ConfigMap\nmetadata: {managedFields: [{manager: x}]}\n";
    assert_eq!(send(&path, owners).await.code, 400);

    let headers = [("content-type", "application/apply-patch+cbor")];
    let cbor = admin.call(Method::PATCH, &path, &headers, yaml).await;
    assert_eq!(cbor.refusal(), (415, "UnsupportedMediaType".into()));
}

#[tokio::test]
async fn an_applier_has_a_name_and_only_an_applier_has_force() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let config = map(&json!({"k": "1"}));
    let nameless = admin.patch(&path, APPLY, &config).await;
    assert_eq!(nameless.refusal(), (422, "Invalid".into()));
    assert_eq!(
        nameless.json()["message"],
        r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
    );
    let long = "m".repeat(129);
    for name in [long.as_str(), "a%07b"] {
        let refused = apply(&admin, &path, (name, ""), &config).await;
        assert_eq!(refused.refusal(), (422, "Invalid".into()), "{name}");
    }
    admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let forced = admin.merge(&format!("{path}?force=true"), &json!({})).await;
    assert_eq!(forced.refusal(), (422, "Invalid".into()));
}

#[tokio::test]
async fn what_another_manager_owns_is_a_conflict_until_it_is_forced() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let first = map(&json!({"k": "1", "l": "1"}));
    apply(&admin, &path, ("one", ""), &first).await.ok();
    let second = map(&json!({"k": "2", "m": "2"}));
    let refused = apply(&admin, &path, ("two", ""), &second).await;
    assert_eq!(refused.refusal(), (409, "Conflict".into()));
    let status = refused.json();
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.k"}])
    );
    assert_eq!(
        status["message"],
        r#"Apply failed with 1 conflict: conflict with "one": .data.k"#
    );
    let taken = apply(&admin, &path, ("two", "&force=true"), &second)
        .await
        .ok();
    assert_eq!(taken["data"], json!({"k": "2", "l": "1", "m": "2"}));
    assert_eq!(
        owned(&taken, "one", "Apply", ""),
        json!({"f:data": {"f:l": {}}})
    );
    // The same value is nobody's conflict: both own it.
    let shared = map(&json!({"l": "1", "m": "2"}));
    let shared = apply(&admin, &path, ("one", ""), &shared).await.ok();
    assert_eq!(
        owned(&shared, "one", "Apply", ""),
        json!({"f:data": {"f:l": {}, "f:m": {}}})
    );
}

#[tokio::test]
async fn what_an_applier_no_longer_names_goes_unless_others_own_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let both = map(&json!({"k": "1", "l": "1", "m": "1"}));
    apply(&admin, &path, ("one", ""), &both).await.ok();
    let shared = map(&json!({"l": "1"}));
    apply(&admin, &path, ("two", ""), &shared).await.ok();
    let less = map(&json!({"k": "1"}));
    let left = apply(&admin, &path, ("one", ""), &less).await.ok();
    assert_eq!(left["data"], json!({"k": "1", "l": "1"}));
    assert_eq!(
        owned(&left, "two", "Apply", ""),
        json!({"f:data": {"f:l": {}}})
    );
}

#[tokio::test]
async fn two_appliers_share_a_list_by_its_keys_and_defaults_belong_to_nobody() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{DEPLOYMENTS}/web");
    let made = apply(&admin, &path, ("one", ""), &web(&json!(2))).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["spec"]["revisionHistoryLimit"], 10);
    let fields = owned(&made, "one", "Apply", "");
    assert!(fields["f:spec"].get("f:revisionHistoryLimit").is_none());
    let side = deployment(&json!({"template": {"spec": {"containers": [
        {"name": "side", "image": "example.com/side:1"}]}}}));
    let both = apply(&admin, &path, ("two", ""), &side).await.ok();
    let names = |object: &Value| {
        let containers = &object["spec"]["template"]["spec"]["containers"];
        let containers = containers.as_array().unwrap().iter();
        let names = containers.map(|container| container["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&both), ["c", "side"]);
    assert_eq!(
        owned(&both, "two", "Apply", "")["f:spec"]["f:template"]["f:spec"]["f:containers"],
        json!({"k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}}})
    );
    let gone = deployment(&json!({}));
    let one = apply(&admin, &path, ("two", ""), &gone).await.ok();
    assert_eq!(names(&one), ["c"]);
}

#[tokio::test]
async fn whoever_creates_updates_or_patches_owns_what_it_changed() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "maker/v1.2 (linux)"),
    ];
    let body = config_map("a").to_string();
    let made = admin.call(Method::POST, CONFIG_MAPS, &headers, body).await;
    let mut made = made.ok();
    assert_eq!(
        owned(&made, "maker", "Update", ""),
        json!({"f:data": {".": {}, "f:a": {}}})
    );
    made["data"]["b"] = json!("2");
    let put = admin
        .put(&format!("{path}?fieldManager=putter"), &made)
        .await
        .ok();
    assert_eq!(
        owned(&put, "putter", "Update", ""),
        json!({"f:data": {"f:b": {}}})
    );
    let label = json!({"metadata": {"labels": {"x": "y"}}, "data": {"a": null}});
    let patched = admin
        .merge(&format!("{path}?fieldManager=patcher"), &label)
        .await
        .ok();
    assert_eq!(
        owned(&patched, "patcher", "Update", ""),
        json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}})
    );
    assert_eq!(
        owned(&patched, "maker", "Update", ""),
        json!({"f:data": {}}),
        "what is gone has no owner"
    );
    let same = admin
        .merge(&format!("{path}?fieldManager=idle"), &json!({}))
        .await
        .ok();
    assert_eq!(same, patched);
}

#[tokio::test]
async fn owners_are_forgotten_on_demand_and_the_first_apply_finds_what_was_there() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    for reset in [json!([]), json!([{}])] {
        let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
        assert_eq!(managers(&made), ["admin"]);
        let reset = json!({"metadata": {"managedFields": reset}});
        let forgotten = admin.merge(&path, &reset).await.ok();
        assert!(forgotten["metadata"].get("managedFields").is_none());
        let untracked = admin.merge(&path, &json!({"data": {"b": "2"}})).await.ok();
        assert!(untracked["metadata"].get("managedFields").is_none());
        let config = map(&json!({"a": "9"}));
        let refused = apply(&admin, &path, ("one", ""), &config).await;
        assert!(
            refused.text().contains("before-first-apply"),
            "{}",
            refused.text()
        );
        let taken = apply(&admin, &path, ("one", "&force=true"), &config)
            .await
            .ok();
        assert_eq!(managers(&taken), ["one", "before-first-apply"]);
        admin.delete(&path, &Value::Null).await.ok();
    }
}

#[tokio::test]
async fn malformed_owners_change_nothing_of_who_owns_what() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let made = admin.post(CONFIG_MAPS, &config_map("a")).await.ok();
    for bad in [json!([{"manager": "x"}]), json!("x"), json!(null)] {
        let bad = json!({"metadata": {"managedFields": bad}});
        let answer = admin.merge(&path, &bad).await;
        if answer.code == 200 {
            assert_eq!(answer.json()["metadata"], made["metadata"], "{bad}");
        }
        let stored = admin.get(&path).await.ok();
        assert_eq!(stored, made, "{bad}");
    }
}

#[tokio::test]
async fn a_dry_run_of_an_apply_changes_nothing() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let config = map(&json!({"k": "1"}));
    let would = apply(&admin, &path, ("one", "&dryRun=All"), &config).await;
    assert_eq!(would.code, 201, "{}", would.text());
    assert_eq!(admin.get(&path).await.code, 404);
    let made = apply(&admin, &path, ("one", ""), &config).await.ok();
    let changed = map(&json!({"k": "2"}));
    let would = apply(&admin, &path, ("one", "&dryRun=All"), &changed).await;
    assert_eq!(would.ok()["data"]["k"], "2");
    assert_eq!(admin.get(&path).await.ok(), made);
}

#[tokio::test]
async fn an_apply_that_names_another_identity_or_version_is_a_conflict() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let with = |field: &str, value: &str| {
        let mut config = map(&json!({"k": "1"}));
        config["metadata"][field] = value.into();
        config
    };
    let other = "00000000-0000-4000-8000-000000000000";
    for (field, value) in [("uid", other), ("resourceVersion", "1")] {
        let unborn = apply(&admin, &path, ("one", ""), &with(field, value)).await;
        assert_eq!(unborn.refusal(), (409, "Conflict".into()), "{field}");
        assert_eq!(admin.get(&path).await.code, 404);
    }
    let made = apply(&admin, &path, ("one", ""), &map(&json!({})))
        .await
        .ok();
    for (field, value) in [("uid", other), ("resourceVersion", "1")] {
        let stale = apply(&admin, &path, ("one", ""), &with(field, value)).await;
        assert_eq!(stale.refusal(), (409, "Conflict".into()), "{field}");
    }
    let uid = made["metadata"]["uid"].as_str().unwrap();
    apply(&admin, &path, ("one", ""), &with("uid", uid))
        .await
        .ok();
    let mut elsewhere = map(&json!({}));
    elsewhere["metadata"]["namespace"] = json!("other");
    let refused = apply(&admin, &path, ("one", ""), &elsewhere).await;
    assert_eq!(refused.code, 400);
    elsewhere["metadata"] = json!({"name": "b"});
    let refused = apply(&admin, &path, ("one", ""), &elsewhere).await;
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn appliers_at_once_all_take_effect() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let applies = (0..12).map(|n| {
        let (admin, path) = (&admin, &path);
        async move {
            let config = map(&json!({format!("k{n}"): "v"}));
            let manager = format!("m{n}");
            apply(admin, path, (&manager, ""), &config).await.code
        }
    });
    let codes = futures::future::join_all(applies).await;
    let made = codes.iter().filter(|code| **code == 201).count();
    assert!(codes.iter().all(|code| code.is_success()), "{codes:?}");
    assert_eq!(made, 1);
    let now = admin.get(&path).await.ok();
    assert_eq!(now["data"].as_object().unwrap().len(), 12);
    assert_eq!(managers(&now).len(), 12);
}

#[tokio::test]
async fn the_right_to_patch_is_not_the_right_to_make_by_applying() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let role = json!({"metadata": {"name": "patcher"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    admin.post(&format!("{roles}/roles"), &role).await.ok();
    let binding = json!({"metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "pat"}]});
    let made = admin.post(&format!("{roles}/rolebindings"), &binding).await;
    made.ok();
    let pat = cluster.user(UserInfo::new("pat", ["system:authenticated"]));
    let path = format!("{CONFIG_MAPS}/a");
    let config = map(&json!({"k": "1"}));
    let refused = apply(&pat, &path, ("one", ""), &config).await;
    assert_eq!(refused.refusal(), (403, "Forbidden".into()));
    apply(&admin, &path, ("two", ""), &config).await.ok();
    apply(&pat, &path, ("one", ""), &config).await.ok();
}

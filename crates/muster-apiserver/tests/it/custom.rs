//! Custom resources: what a definition brings is served at once, as it says, and goes with it.

use std::{sync::Arc, time::Duration};

use muster_apiserver::{ApiServer, Config};
use muster_storage::MemoryStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Cluster, told};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn schema() -> Value {
    json!({"type": "object", "description": "A widget.", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "port": {"x-kubernetes-int-or-string": true},
            "parts": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }})
}

fn version(name: &str, storage: bool) -> Value {
    json!({"name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]})
}

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [version("v1", true), version("v1beta1", false)]}})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_);
    found.unwrap_or(&Value::Null)
}

async fn until_gone(admin: &Client<'_>, path: &str) {
    for _ in 0..200 {
        if admin.get(path).await.code == 404 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} is still there");
}

#[tokio::test]
async fn what_a_definition_brings_is_served_described_and_gone_at_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    assert_eq!(admin.get(WIDGETS).await.code, 404);
    let before = admin.get("/openapi/v3").await.json();
    admin.post(DEFINITIONS, &definition()).await.ok();

    let made = admin
        .get(&format!("{DEFINITIONS}/widgets.example.com"))
        .await
        .ok();
    assert_eq!(condition(&made, "Established")["status"], "True");
    assert_eq!(condition(&made, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(made["status"]["acceptedNames"]["singular"], "widget");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");

    let group = admin.get("/apis/example.com").await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let list = admin.get("/apis/example.com/v1").await.ok();
    let names: Vec<&str> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = admin.get_as("/apis", aggregated).await;
    assert!(all.text().contains("\"example.com\""));
    let index = admin.get("/openapi/v3").await.json();
    assert!(before["paths"].get("apis/example.com/v1").is_none());
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = admin.get(url).await.ok();
    let described = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        described["properties"]["spec"]["properties"]["size"]["maximum"],
        10
    );
    assert!(described["properties"]["metadata"].is_object());
    let swagger = admin.get("/openapi/v2").await.ok();
    assert_eq!(
        swagger["definitions"]["com.example.v1.Widget"]["description"],
        "A widget."
    );

    // Its hash follows the schema.
    let change = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/more",
        "value": {"type": "string"}}]);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    admin
        .patch(&path, "application/json-patch+json", &change)
        .await
        .ok();
    let later = admin.get("/openapi/v3").await.json();
    assert_ne!(
        later["paths"]["apis/example.com/v1"],
        index["paths"]["apis/example.com/v1"]
    );
    admin
        .post(WIDGETS, &widget("a", json!({"size": 1})))
        .await
        .ok();

    admin.delete(&path, &Value::Null).await.ok();
    until_gone(&admin, &path).await;
    assert_eq!(admin.get(WIDGETS).await.code, 404);
    assert!(
        admin.get("/openapi/v3").await.json()["paths"]
            .get("apis/example.com/v1")
            .is_none()
    );
    admin.post(DEFINITIONS, &definition()).await.ok();
    let left = admin.get(WIDGETS).await.ok();
    assert_eq!(left["items"], json!([]), "objects go with their definition");
}

#[tokio::test]
async fn objects_are_pruned_filled_in_and_judged_by_their_schema() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    let spec =
        json!({"size": 3, "unknown": 1, "port": "http", "free": {"a": {"b": 1}}, "color": null});
    let answer = admin.post(WIDGETS, &widget("a", spec.clone())).await;
    let warning = answer.headers["warning"].to_str().unwrap().to_owned();
    assert!(warning.contains("unknown field"), "{warning}");
    let made = answer.ok();
    assert_eq!(
        made["spec"],
        json!({"size": 3, "port": "http", "free": {"a": {"b": 1}}, "color": "red"})
    );
    assert_eq!(made["metadata"]["generation"], 1);

    let strict = admin
        .post(
            &format!("{WIDGETS}?fieldValidation=Strict"),
            &widget("b", spec),
        )
        .await;
    assert_eq!(strict.code, 400);
    assert!(
        strict
            .text()
            .contains("strict decoding error: unknown field \\\"spec.unknown\\\"")
    );
    let wrong =
        json!({"size": 11, "color": "green", "port": 1.5, "parts": [{"name": "x"}, {"name": "x"}]});
    let refused = admin.post(WIDGETS, &widget("b", wrong)).await;
    assert_eq!(refused.refusal(), (422, "Invalid".to_owned()));
    let text = refused.text();
    for expected in [
        "spec.size in body should be less than or equal to 10",
        "spec.color: Unsupported value: \\\"green\\\": supported values: \\\"red\\\", \\\"blue\\\"",
        "spec.port in body must be of type integer,string: \\\"number\\\"",
        "spec.parts[1]: Duplicate value: {\\\"name\\\":\\\"x\\\"}",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let missing = admin.post(WIDGETS, &widget("b", json!({}))).await.text();
    assert!(missing.contains("spec.size: Required value"), "{missing}");

    // A patch is judged as its result is.
    let path = format!("{WIDGETS}/a");
    let merged = admin.merge(&path, &json!({"spec": {"size": "big"}})).await;
    assert!(
        merged
            .text()
            .contains("must be of type integer: \\\"string\\\""),
        "{}",
        merged.text()
    );
    let strategic = admin
        .patch(&path, "application/strategic-merge-patch+json", &json!({}))
        .await;
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn status_and_scale_are_apart_from_the_rest() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    let mut with_status = widget("a", json!({"size": 2}));
    with_status["status"] = json!({"replicas": 9});
    let made = admin.post(WIDGETS, &with_status).await.ok();
    assert!(made.get("status").is_none());
    let path = format!("{WIDGETS}/a");
    let change = json!({"status": {"replicas": 1, "selector": "a=b"}, "spec": {"size": 5},
        "metadata": {"labels": {"a": "b"}}});
    let changed = admin.merge(&format!("{path}/status"), &change).await.ok();
    assert_eq!(
        (&changed["spec"]["size"], &changed["metadata"]["generation"]),
        (&json!(2), &json!(1))
    );
    assert!(changed["metadata"].get("labels").is_none());
    let scale = admin.get(&format!("{path}/scale")).await.ok();
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]),
        (&json!(2), &json!({"replicas": 1, "selector": "a=b"}))
    );
    let scaled = admin
        .merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 7}}))
        .await
        .ok();
    assert_eq!(scaled["spec"]["replicas"], 7);
    let now = admin.get(&path).await.ok();
    assert_eq!(
        (&now["spec"]["size"], &now["metadata"]["generation"]),
        (&json!(7), &json!(2))
    );
    let same = admin
        .merge(&path, &json!({"status": {"replicas": 4}}))
        .await
        .ok();
    assert_eq!(
        (&same["status"]["replicas"], &same["metadata"]["generation"]),
        (&json!(1), &json!(2))
    );
    let too_many = admin
        .merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 70}}))
        .await;
    assert_eq!(too_many.code, 422);
}

#[tokio::test]
async fn all_served_versions_show_one_object() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut two = definition();
    two["spec"]["versions"][1]["deprecated"] = json!(true);
    admin.post(DEFINITIONS, &two).await.ok();
    admin
        .post(WIDGETS, &widget("a", json!({"size": 2})))
        .await
        .ok();
    let other = WIDGETS.replace("/v1/", "/v1beta1/");
    let seen = admin.get(&format!("{other}/a")).await;
    let warning = seen.headers["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.contains("example.com/v1beta1 Widget is deprecated"),
        "{warning}"
    );
    assert_eq!(seen.ok()["apiVersion"], "example.com/v1beta1");
    let list = admin.get(&other).await.ok();
    assert_eq!(
        (&list["kind"], &list["items"][0]["apiVersion"]),
        (&json!("WidgetList"), &json!("example.com/v1beta1"))
    );
    let mut watch = admin.watch(&format!("{other}?watch=1")).await;
    assert_eq!(
        watch.next().await.unwrap()["object"]["apiVersion"],
        "example.com/v1beta1"
    );
    admin
        .merge(&format!("{other}/a"), &json!({"spec": {"size": 3}}))
        .await
        .ok();
    assert_eq!(watch.next().await.unwrap()["object"]["spec"]["size"], 3);
    assert_eq!(
        admin.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"],
        3
    );

    // A version that is served no longer is gone, and so are those who follow it.
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let unserved = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    admin
        .patch(&path, "application/json-patch+json", &unserved)
        .await
        .ok();
    assert_eq!(admin.get(&format!("{other}/a")).await.code, 404);
    assert_eq!(watch.next().await, None);
    assert_eq!(admin.get(&format!("{WIDGETS}/a")).await.code, 200);
}

#[tokio::test]
async fn tables_and_selectors_are_those_of_the_definition() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    admin
        .post(WIDGETS, &widget("a", json!({"size": 2})))
        .await
        .ok();
    admin
        .post(WIDGETS, &widget("b", json!({"size": 3, "color": "blue"})))
        .await
        .ok();
    let table = admin
        .get_as(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Age"]);
    assert_eq!(table["rows"][1]["cells"][1], 3);
    let mut blue = admin
        .watch(&format!(
            "{WIDGETS}?watch=1&fieldSelector=spec.color%3Dblue"
        ))
        .await;
    assert_eq!(blue.tell().await, told("ADDED", "b"));
    let selected = admin
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred"))
        .await
        .ok();
    assert_eq!(selected["items"][0]["metadata"]["name"], "a");
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    admin
        .merge(&format!("{WIDGETS}/a"), &json!({"spec": {"color": "blue"}}))
        .await
        .ok();
    assert_eq!(blue.tell().await, told("ADDED", "a"));
    admin
        .merge(&format!("{WIDGETS}/b"), &json!({"spec": {"color": "red"}}))
        .await
        .ok();
    assert_eq!(blue.tell().await, told("DELETED", "b"));
    let unknown = admin
        .get(&format!("{WIDGETS}?fieldSelector=spec.size%3D2"))
        .await;
    assert_eq!(unknown.code, 400);
    assert!(
        unknown
            .text()
            .contains("field label not supported: spec.size")
    );
}

#[tokio::test]
async fn configurations_are_applied_by_the_schema() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    let path = format!("{WIDGETS}/a");
    let apply = "application/apply-patch+yaml";
    let mut one = widget(
        "a",
        json!({"size": 1, "parts": [{"name": "x", "count": 1}]}),
    );
    let first = format!("{path}?fieldManager=one");
    assert_eq!(admin.patch(&first, apply, &one).await.code, 201);
    let two = widget("a", json!({"parts": [{"name": "y"}]}));
    let both = admin
        .patch(&format!("{path}?fieldManager=two"), apply, &two)
        .await
        .ok();
    assert_eq!(
        both["spec"]["parts"],
        json!([{"name": "x", "count": 1}, {"name": "y"}])
    );
    let taken = widget("a", json!({"size": 4}));
    assert_eq!(
        admin
            .patch(&format!("{path}?fieldManager=two"), apply, &taken)
            .await
            .code,
        409
    );
    one["spec"]["nope"] = json!(1);
    let unknown = admin.patch(&first, apply, &one).await;
    assert!(
        unknown
            .text()
            .contains(".spec.nope: field not declared in schema"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn defaults_that_come_later_are_read_from_the_store() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    admin
        .post(WIDGETS, &widget("a", json!({"size": 2})))
        .await
        .ok();
    let later = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/a",
        "value": {"type": "string", "default": "A"}}]);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    admin
        .patch(&path, "application/json-patch+json", &later)
        .await
        .ok();
    assert_eq!(admin.get(&format!("{WIDGETS}/a")).await.ok()["a"], "A");
    assert_eq!(admin.get(WIDGETS).await.ok()["items"][0]["a"], "A");
}

#[tokio::test]
async fn an_unchanged_part_may_stay_wrong_and_a_changed_one_may_not() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    admin
        .post(WIDGETS, &widget("a", json!({"size": 9})))
        .await
        .ok();
    let stricter = json!([{"op": "replace", "value": 5,
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum"}]);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    admin
        .patch(&path, "application/json-patch+json", &stricter)
        .await
        .ok();
    let own = format!("{WIDGETS}/a");
    admin
        .merge(
            &own,
            &json!({"metadata": {"labels": {"x": "y"}}, "spec": {"color": "blue"}}),
        )
        .await
        .ok();
    assert_eq!(
        admin.merge(&own, &json!({"spec": {"size": 8}})).await.code,
        422
    );
}

#[tokio::test]
async fn a_name_is_given_once_and_given_on_when_it_is_free() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    let mut second = definition();
    second["metadata"]["name"] = json!("gadgets.example.com");
    second["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]});
    admin.post(DEFINITIONS, &second).await.ok();
    let path = format!("{DEFINITIONS}/gadgets.example.com");
    let refused = admin.get(&path).await.ok();
    assert_eq!(
        condition(&refused, "NamesAccepted")["reason"],
        "ShortNamesConflict"
    );
    assert_eq!(
        condition(&refused, "NamesAccepted")["message"],
        "\"wd\" is already in use"
    );
    assert_eq!(condition(&refused, "Established")["status"], "False");
    assert_eq!(admin.get("/apis/example.com/v1/gadgets").await.code, 404);
    let first = format!("{DEFINITIONS}/widgets.example.com");
    admin.delete(&first, &Value::Null).await.ok();
    until_gone(&admin, &first).await;
    for _ in 0..200 {
        if admin.get("/apis/example.com/v1/gadgets").await.code == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the name stays taken");
}

#[tokio::test]
async fn a_definition_waits_for_its_objects_and_its_followers_are_told() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEFINITIONS, &definition()).await.ok();
    let mut held = widget("a", json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["unqualified-finalizer"]);
    admin.post(WIDGETS, &held).await.ok();
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.tell().await, told("ADDED", "a"));
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let ending = admin.delete(&path, &Value::Null).await.ok();
    assert_eq!(condition(&ending, "Terminating")["status"], "True");
    assert_eq!(watch.tell().await, told("MODIFIED", "a"));
    assert_eq!(
        admin
            .post(WIDGETS, &widget("b", json!({"size": 1})))
            .await
            .code,
        405
    );
    let own = format!("{WIDGETS}/a");
    assert_eq!(admin.get(&own).await.code, 200);
    // What is on its way out can still be let go.
    let change = json!({"metadata": {"finalizers": null}});
    admin.merge(&own, &change).await.ok();
    assert_eq!(watch.tell().await, told("DELETED", "a"));
    until_gone(&admin, &path).await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_server_that_starts_again_serves_what_was_defined() {
    let data = TempDir::new().unwrap();
    let store = Arc::new(MemoryStore::new());
    let start = || async {
        let address = "127.0.0.1:0".parse().unwrap();
        let config = Config::new(data.path(), address, Arc::clone(&store) as _);
        Cluster::over(ApiServer::start(config).await.unwrap(), Arc::clone(&store))
    };
    let cluster = start().await;
    cluster.admin().post(DEFINITIONS, &definition()).await.ok();
    cluster
        .admin()
        .post(WIDGETS, &widget("a", json!({"size": 1})))
        .await
        .ok();
    cluster.server.shutdown().await;
    let again = start().await;
    assert_eq!(
        again.admin().get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"],
        1
    );
    let index = again.admin().get("/openapi/v3").await.json();
    assert!(index["paths"].get("apis/example.com/v1").is_some());
}

#[tokio::test]
async fn a_definition_that_says_nonsense_is_refused_in_upstreams_words() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let refused = |change: fn(&mut Value)| {
        let mut wrong = definition();
        change(&mut wrong);
        let admin = &admin;
        async move {
            let answer = admin.post(DEFINITIONS, &wrong).await;
            assert_eq!(answer.code, 422, "{}", answer.text());
            answer.json()["message"].as_str().unwrap().to_owned()
        }
    };
    let name = refused(|wrong| wrong["metadata"]["name"] = json!("other.example.com")).await;
    assert!(
        name.contains("must be spec.names.plural+\".\"+spec.group"),
        "{name}"
    );
    let storage = refused(|wrong| wrong["spec"]["versions"][1]["storage"] = json!(true)).await;
    assert!(
        storage.contains("must have exactly one version marked as storage version"),
        "{storage}"
    );
    let untyped = refused(|wrong| {
        for version in [0, 1] {
            wrong["spec"]["versions"][version]["schema"]["openAPIV3Schema"]["properties"]["spec"]
                ["properties"]["x"] = json!({});
        }
    })
    .await;
    assert!(
        untyped.contains("spec.validation.openAPIV3Schema.properties[spec].properties[x].type: Required value: must not be empty for specified object fields"),
        "{untyped}"
    );
    let default = refused(|wrong| {
        wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["color"]["default"] = json!("green");
    })
    .await;
    assert!(
        default.contains("properties[color].default: Unsupported value: \"green\""),
        "{default}"
    );
    let protected = refused(|wrong| {
        wrong["metadata"]["name"] = json!("widgets.x.k8s.io");
        wrong["spec"]["group"] = json!("x.k8s.io");
    })
    .await;
    assert!(
        protected.contains("protected groups must have approval annotation"),
        "{protected}"
    );
}

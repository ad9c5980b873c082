//! Stories of owners: what is written, by whom, and whose it is afterwards.

mod applying;
mod captured;
mod custom;
mod migration;
mod properties;
mod tracking;

use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A manager of an object's kind, writing `seconds` after the beginning.
fn manager<'a>(object: &'a Value, name: &'a str, seconds: i64) -> FieldManager<'a> {
    FieldManager {
        typing: Typing::BuiltIn,
        api_version: object["apiVersion"].as_str().unwrap(),
        kind: object["kind"].as_str().unwrap(),
        manager: name,
        subresource: "",
        ignored: None,
        now: at(seconds),
    }
}

fn created(object: &Value, name: &str) -> Value {
    let mut new = object.clone();
    manager(object, name, 0).track(None, &mut new);
    new["metadata"]["uid"] = "u".into();
    new
}

fn updated(live: &Value, name: &str, seconds: i64, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    manager(live, name, seconds).track(Some(live), &mut new);
    new
}

fn applied(live: Option<&Value>, config: &Value, name: &str, seconds: i64) -> Value {
    manager(config, name, seconds)
        .apply(live, config, false)
        .unwrap()
}

fn entry<'a>(object: &'a Value, name: &str) -> &'a Value {
    object["metadata"]["managedFields"]
        .as_array()
        .and_then(|entries| entries.iter().find(|e| e["manager"] == name))
        .unwrap_or(&Value::Null)
}

fn fields<'a>(object: &'a Value, name: &str) -> &'a Value {
    &entry(object, name)["fieldsV1"]
}

fn managers(object: &Value) -> Vec<&str> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter_map(|e| e["manager"].as_str())
        .collect()
}

fn without_managed(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    object
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                {"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}}})
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"}, "data": data})
}

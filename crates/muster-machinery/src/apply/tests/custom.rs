//! Custom resources, with and without a structural schema, and types that became atomic.

use super::*;

fn widget(spec: Value) -> Value {
    json!({"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"x-kubernetes-int-or-string": true},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "kind"],
            "items": {"type": "object", "properties": {"name": {"type": "string"},
                "kind": {"type": "string", "default": "plain"}, "n": {"type": "integer"}}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "additionalProperties": {"type": "string"}}}}}})
}

fn with<'a>(
    versions: &'a [CustomVersion<'a>],
    config: &'a Value,
    name: &'a str,
) -> FieldManager<'a> {
    FieldManager {
        typing: Typing::Custom(versions),
        ..manager(config, name, 0)
    }
}

#[test]
fn without_a_schema_maps_are_granular_and_lists_atomic() {
    let config = widget(json!({"a": {"b": 1}, "l": [{"name": "x"}]}));
    let object = applied(None, &config, "one", 0);
    assert_eq!(
        fields(&object, "one"),
        &json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:l": {}}})
    );
    let other = widget(json!({"a": {"c": 2}}));
    let both = applied(Some(&object), &other, "two", 1);
    assert_eq!(
        both["spec"],
        json!({"a": {"b": 1, "c": 2}, "l": [{"name": "x"}]})
    );
    let gone = applied(
        Some(&both),
        &widget(json!({"l": [{"name": "y"}]})),
        "one",
        2,
    );
    assert_eq!(gone["spec"], json!({"a": {"c": 2}, "l": [{"name": "y"}]}));
}

#[test]
fn a_structural_schema_says_how_lists_and_maps_are_owned() {
    let schema = schema();
    let versions = [CustomVersion {
        api_version: "e.com/v1",
        schema: Some(&schema),
    }];
    let config = widget(
        json!({"size": "1", "tags": ["a"], "whole": {"a": "b"}, "map": {"k": "v"},
        "free": {"x": {"y": 1}}, "parts": [{"name": "p", "n": 1}]}),
    );
    let object = with(&versions, &config, "me")
        .apply(None, &config, false)
        .unwrap();
    assert_eq!(
        fields(&object, "me")["f:spec"],
        json!({"f:size": {}, "f:tags": {"v:\"a\"": {}}, "f:whole": {}, "f:map": {"f:k": {}},
            "f:free": {"f:x": {".": {}, "f:y": {}}},
            "f:parts": {"k:{\"kind\":\"plain\",\"name\":\"p\"}": {".": {}, "f:n": {}, "f:name": {}}}})
    );
    let other = widget(
        json!({"tags": ["b"], "parts": [{"name": "q"}, {"name": "p", "kind": "plain", "n": 1}]}),
    );
    let both = with(&versions, &other, "two")
        .apply(Some(&object), &other, false)
        .unwrap();
    assert_eq!(both["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(both["spec"]["parts"][0], json!({"name": "q"}));
    assert_eq!(
        both["spec"]["parts"][1],
        json!({"name": "p", "kind": "plain", "n": 1})
    );
    let wrong = widget(json!({"colour": 1}));
    let error = with(&versions, &wrong, "me")
        .apply(None, &wrong, false)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(".spec.colour: field not declared in schema"),
        "{error}"
    );
}

#[test]
fn metadata_of_a_custom_resource_is_owned_as_that_of_any_object() {
    let mut config = widget(json!({}));
    config["metadata"]["finalizers"] = json!(["a/a"]);
    let object = applied(None, &config, "me", 0);
    assert_eq!(
        fields(&object, "me"),
        &json!({"f:metadata": {"f:finalizers": {"v:\"a/a\"": {}}}, "f:spec": {}})
    );
}

#[test]
fn entries_of_versions_that_are_no_longer_served_are_dropped() {
    let schema = schema();
    let versions = [CustomVersion {
        api_version: "e.com/v1",
        schema: Some(&schema),
    }];
    let config = widget(json!({"size": 1}));
    let mut live = with(&versions, &config, "me")
        .apply(None, &config, false)
        .unwrap();
    let entries = live["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.push(
        json!({"manager": "old", "operation": "Apply", "apiVersion": "e.com/v0",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:size": {}}}}),
    );
    let config = widget(json!({"size": 2}));
    let new = with(&versions, &config, "me")
        .apply(Some(&live), &config, false)
        .unwrap();
    assert_eq!(managers(&new), ["me"]);
}

#[test]
fn what_was_owned_below_a_type_that_became_atomic_is_owned_as_a_whole() {
    let schema = schema();
    let versions = [CustomVersion {
        api_version: "e.com/v1",
        schema: Some(&schema),
    }];
    let mut live = widget(json!({"whole": {"a": "1"}}));
    live["metadata"]["managedFields"] = json!([{"manager": "one", "operation": "Apply", "apiVersion": "e.com/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:whole": {".": {}, "f:a": {}}}}}]);
    let config = widget(json!({"whole": {"a": "2"}}));
    let error = with(&versions, &config, "two")
        .apply(Some(&live), &config, false)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.whole"
    );
}

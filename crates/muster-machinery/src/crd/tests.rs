//! Custom resources from definition to judgement.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::resources;
use crate::validation::FieldError;

fn definition(schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        "status": {"storedVersions": ["v1"]}})
}

fn with_rules(rules: Value, properties: Value) -> Value {
    let spec =
        json!({"type": "object", "x-kubernetes-validations": rules, "properties": properties});
    json!({"type": "object", "properties": {"spec": spec}})
}

fn refusals(schema: Value) -> Vec<String> {
    let resource =
        resources::find("apiextensions.k8s.io", "v1", "customresourcedefinitions").unwrap();
    let errors = validate_definition(resource, &definition(schema));
    errors.iter().map(ToString::to_string).collect()
}

fn judge(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Schema::parse(schema).unwrap();
    let judged = Judged {
        schema: &schema,
        scale: None,
        object,
        old,
    };
    validate_custom(&judged)
        .iter()
        .map(FieldError::to_string)
        .collect()
}

#[test]
fn rules_are_judged_with_their_definition() {
    let one = |rule: &str| with_rules(json!([{"rule": rule}]), json!({"x": {"type": "integer"}}));
    assert_eq!(refusals(one("self.x > 0")), Vec::<String>::new());
    assert!(refusals(one("self.z > 0"))[0].contains("undefined field 'z'"));
    assert!(refusals(one("self = 42"))[0].contains("Syntax error"));
    assert!(refusals(one("self.x"))[0].contains("cel expression must evaluate to a bool"));
    let expensive = json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": "array",
        "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}});
    assert!(refusals(expensive)[0].contains("exceeds budget by factor of more than 100x"));
    let in_a_set = json!({"type": "object", "properties": {"x": {"type": "array", "maxItems": 3,
        "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}}}});
    assert!(
        refusals(in_a_set)[0]
            .contains("oldSelf cannot be used on the uncorrelatable portion of the schema")
    );
}

#[test]
fn rules_hold_for_objects() {
    let schema = with_rules(
        json!([
            {"rule": "self.x + self.y > 0"},
            {"rule": "self.x < 10", "messageExpression": "'x is ' + string(self.x)", "reason": "FieldValueForbidden", "fieldPath": ".x"},
            {"rule": "self.name == oldSelf.name", "message": "name is for ever"},
            {"rule": "!oldSelf.hasValue() || oldSelf.value().y <= self.y", "optionalOldSelf": true, "message": "y grows"},
        ]),
        json!({"x": {"type": "integer"}, "y": {"type": "integer"}, "name": {"type": "string"}}),
    );
    assert_eq!(refusals(schema.clone()), Vec::<String>::new());
    let object = |x: i64, y: i64, name: &str| json!({"spec": {"x": x, "y": y, "name": name}});
    let good = object(1, 0, "a");
    assert_eq!(judge(&schema, &good, None), Vec::<String>::new());
    assert_eq!(
        judge(&schema, &object(0, 0, "a"), None),
        ["spec: Invalid value: failed rule: self.x + self.y > 0"]
    );
    assert_eq!(
        judge(&schema, &object(11, 0, "a"), None),
        ["spec.x: Forbidden: x is 11"]
    );
    assert_eq!(
        judge(&schema, &object(1, 0, "b"), Some(&good)),
        ["spec: Invalid value: name is for ever"]
    );
    assert_eq!(
        judge(&schema, &object(2, -1, "a"), Some(&good)),
        ["spec: Invalid value: y grows"]
    );
    let missing = judge(&schema, &json!({"spec": {"y": 1}}), None);
    assert!(
        missing[0].starts_with("spec: Invalid value: \"object\": no such key: x evaluating rule"),
        "{missing:?}"
    );
    // What was wrong before and has not changed may stay.
    let bad = object(0, 0, "a");
    assert_eq!(judge(&schema, &bad, Some(&bad)), Vec::<String>::new());
}

#[test]
fn a_rule_that_costs_too_much_refuses_its_object() {
    let schema = with_rules(
        json!([{"rule": "self.all.all(x, self.all.all(y, y == x))"}]),
        json!({"all": {"type": "array", "maxItems": 725, "items": {"type": "integer"}}}),
    );
    assert_eq!(refusals(schema.clone()), Vec::<String>::new());
    let object = |size: usize| json!({"spec": {"all": vec![json!(20); size]}});
    assert_eq!(judge(&schema, &object(2), None), Vec::<String>::new());
    assert!(judge(&schema, &object(725), None)[0].contains("call cost exceeds limit"));
}

#[test]
fn errors_in_alternatives_have_no_path_and_name_their_place() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "object",
        "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
        "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}}});
    assert_eq!(refusals(schema.clone()), Vec::<String>::new());
    assert_eq!(
        judge(&schema, &json!({"a": {"x": "1"}}), None),
        Vec::<String>::new()
    );
    let both = judge(&schema, &json!({"a": {"x": "1", "y": "2"}}), None);
    assert_eq!(
        both,
        [
            "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    let none = judge(&schema, &json!({"a": {}}), None);
    assert_eq!(
        none[0],
        "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid"
    );
    assert_eq!(none[1], "a.x: Required value");
}

#[test]
fn what_is_preserved_stays_and_all_else_unknown_goes() {
    let schema = json!({"type": "object", "properties": {
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"closed": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}}});
    let schema = Schema::parse(&schema).unwrap();
    let mut object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "nope": 1}, "top": 1,
        "open": {"free": {"x": 1}, "closed": {"a": "", "b": 1}},
        "map": {"k": {"a": "", "b": 1}}, "items": [{"a": ""}, {"b": 1}],
        "inner": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "b", "nope": 1}, "spec": {"c": 1}}});
    let mut unknown = coerce(&mut object, &schema).unknown;
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "inner.metadata.nope",
            "inner.spec.c",
            "items[1].b",
            "map.k.b",
            "metadata.nope",
            "open.closed.b",
            "top"
        ]
    );
    assert_eq!(
        object["open"],
        json!({"free": {"x": 1}, "closed": {"a": ""}})
    );
    assert_eq!(object["inner"]["metadata"], json!({"name": "b"}));
}

#[test]
fn nulls_become_defaults_or_go() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string", "default": "A"}, "b": {"type": "string"},
        "c": {"type": "string", "nullable": true, "default": "C"},
        "d": {"type": "object", "default": {}, "properties": {"e": {"type": "integer", "default": 5}}}}});
    let schema = Schema::parse(&schema).unwrap();
    let mut object = json!({"a": null, "b": null, "c": null});
    coerce(&mut object, &schema);
    assert_eq!(object, json!({"a": "A", "c": null, "d": {"e": 5}}));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop_oneof![
                    "[a-c]",
                    Just("type".to_owned()),
                    Just("properties".to_owned()),
                    Just("items".to_owned()),
                    Just("default".to_owned()),
                    Just("required".to_owned()),
                    Just("enum".to_owned()),
                    Just("x-kubernetes-validations".to_owned()),
                    Just("metadata".to_owned())
                ],
                inner,
                0..4,
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_schema_and_no_object_makes_it_panic(schema in any_value(), object in any_value(), old in any_value()) {
        let _ = refusals(schema.clone());
        if let Ok(schema) = Schema::parse(&schema) {
            let mut object = object;
            coerce(&mut object, &schema);
            let judged = Judged { schema: &schema, scale: None, object: &object, old: Some(&old) };
            let _ = validate_custom(&judged);
        }
        let _ = (for_openapi_v2(Some(&schema), &json!({})), for_openapi_v3(Some(&schema), &json!({})));
    }

    #[test]
    fn what_is_coerced_once_is_as_it_should_be(object in any_value()) {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer", "default": 1}}}}}});
        let schema = Schema::parse(&schema).unwrap();
        let mut once = json!({"a": object, "b": [object.clone(), null], "d": 1});
        coerce(&mut once, &schema);
        let mut twice = once.clone();
        prop_assert_eq!(coerce(&mut twice, &schema).unknown, Vec::<String>::new());
        prop_assert_eq!(once, twice);
    }
}

//! The Swagger document says what `kubectl` of old asks, and says the same in JSON and in protobuf.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::openapi::{Custom, Published};
use crate::resources;

/// Bytes, JSON and protobuf alike, that a server can make without a second thought.
const BOUND: usize = 3 << 20;

fn everything() -> Swagger<'static> {
    let published = |resource| Published {
        resource,
        custom: None,
    };
    let document = |group, version| Document {
        group,
        version,
        resources: resources::in_group_version(group, version)
            .map(published)
            .collect(),
    };
    let documents = resources::groups()
        .into_iter()
        .flat_map(|(group, versions)| versions.into_iter().map(move |v| document(group, v)))
        .collect();
    Swagger { documents }
}

fn json_of(swagger: &Swagger<'_>) -> Value {
    serde_json::from_slice(&swagger.to_json()).expect("JSON")
}

/// A message read by the wire alone: its fields' values in order, by number.
#[derive(Default)]
struct Fields<'a> {
    bytes: BTreeMap<u64, Vec<&'a [u8]>>,
    numbers: BTreeMap<u64, u64>,
    doubles: BTreeMap<u64, f64>,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn read(mut bytes: &[u8]) -> Fields<'_> {
    let mut fields = Fields::default();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => {
                let value = varint(&mut bytes);
                assert!(fields.numbers.insert(tag >> 3, value).is_none());
            }
            1 => {
                let (value, rest) = bytes.split_at(8);
                let value = f64::from_le_bytes(value.try_into().expect("eight bytes"));
                assert!(fields.doubles.insert(tag >> 3, value).is_none());
                bytes = rest;
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).expect("a length");
                let (value, rest) = bytes.split_at(length);
                fields.bytes.entry(tag >> 3).or_default().push(value);
                bytes = rest;
            }
            other => panic!("wire type {other}"),
        }
    }
    fields
}

impl<'a> Fields<'a> {
    fn all(&self, number: u64) -> &[&'a [u8]] {
        self.bytes.get(&number).map_or(&[], Vec::as_slice)
    }

    fn one(&self, number: u64) -> Option<&'a [u8]> {
        let all = self.all(number);
        assert!(all.len() < 2, "field {number} is there {} times", all.len());
        all.first().copied()
    }

    fn message(&self, number: u64) -> Option<Self> {
        self.one(number).map(read)
    }

    fn texts(&self, number: u64) -> Vec<&'a str> {
        let texts = self.all(number).iter();
        texts
            .map(|text| std::str::from_utf8(text).expect("UTF-8"))
            .collect()
    }

    fn text(&self, number: u64) -> Option<&'a str> {
        self.texts(number).first().copied()
    }

    fn named(&self, number: u64) -> Vec<(&'a str, Self)> {
        let all = self.all(number).iter().map(|named| read(named));
        all.map(|named| {
            let value = named.message(2).expect("a value");
            (named.text(1).expect("a name"), value)
        })
        .collect()
    }
}

/// Puts a message's texts and extensions back under their JSON names.
fn common(fields: &Fields<'_>, texts: &[(&str, u64)], extensions: u64) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, number) in texts {
        if let Some(text) = fields.text(*number) {
            object.insert((*name).to_owned(), text.into());
        }
    }
    for (name, any) in fields.named(extensions) {
        let yaml = any.text(2).expect("YAML");
        let value = serde_json::from_str(yaml).expect("JSON, which is YAML");
        object.insert(name.to_owned(), value);
    }
    object
}

fn insert(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value);
    }
}

fn list(texts: Vec<&str>) -> Option<Value> {
    (!texts.is_empty()).then(|| json!(texts))
}

fn schema_of(fields: &Fields<'_>) -> Value {
    let texts = [
        ("$ref", 1),
        ("format", 2),
        ("title", 3),
        ("description", 4),
        ("pattern", 13),
    ];
    let mut schema = common(fields, &texts, 31);
    insert(
        &mut schema,
        "minimum",
        fields.doubles.get(&9).map(|n| json!(n)),
    );
    insert(
        &mut schema,
        "maxLength",
        fields.numbers.get(&11).map(|n| json!(n)),
    );
    insert(&mut schema, "required", list(fields.texts(19)));
    let types = fields.message(22).map(|item| json!(item.text(1)));
    insert(&mut schema, "type", types);
    let additional = fields.message(21).map(|item| {
        item.message(1).map_or_else(
            || json!(item.numbers.get(&2) == Some(&1)),
            |s| schema_of(&s),
        )
    });
    insert(&mut schema, "additionalProperties", additional);
    let items = fields.message(23).and_then(|item| item.message(1));
    insert(&mut schema, "items", items.map(|items| schema_of(&items)));
    if let Some(properties) = fields.message(25) {
        let properties = properties.named(1).into_iter();
        let properties: Map<String, Value> = properties
            .map(|(name, property)| (name.to_owned(), schema_of(&property)))
            .collect();
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    Value::Object(schema)
}

fn parameters_of(fields: &Fields<'_>, number: u64) -> Option<Value> {
    let all: Vec<Value> = fields
        .all(number)
        .iter()
        .map(|item| {
            let parameter = read(item).message(1).expect("a parameter");
            if let Some(body) = parameter.message(1) {
                let mut object = common(&body, &[("name", 2), ("in", 3)], 6);
                object.insert("required".to_owned(), json!(body.numbers[&4] == 1));
                let schema = body.message(5).expect("a schema");
                object.insert("schema".to_owned(), schema_of(&schema));
                return Value::Object(object);
            }
            let other = parameter.message(2).expect("no body");
            let (inner, kind) = match (other.message(3), other.message(4)) {
                (Some(query), None) => (query, 6),
                (None, Some(path)) => (path, 5),
                _ => panic!("neither query nor path"),
            };
            let mut object = common(&inner, &[("in", 2), ("name", 4), ("type", kind)], 22);
            let required = inner.numbers.get(&1).map(|truth| json!(*truth == 1));
            insert(&mut object, "required", required);
            Value::Object(object)
        })
        .collect();
    (!all.is_empty()).then_some(Value::Array(all))
}

fn operation_of(fields: &Fields<'_>) -> Value {
    let mut operation = common(fields, &[("operationId", 5)], 13);
    insert(&mut operation, "tags", list(fields.texts(1)));
    insert(&mut operation, "produces", list(fields.texts(6)));
    insert(&mut operation, "consumes", list(fields.texts(7)));
    insert(&mut operation, "parameters", parameters_of(fields, 8));
    let responses = fields.message(9).expect("responses").named(1).into_iter();
    let responses: Map<String, Value> = responses
        .map(|(code, value)| {
            let response = value.message(1).expect("a response");
            let mut object = common(&response, &[("description", 1)], 5);
            let schema = response.message(2).and_then(|item| item.message(1));
            insert(
                &mut object,
                "schema",
                schema.map(|schema| schema_of(&schema)),
            );
            (code.to_owned(), Value::Object(object))
        })
        .collect();
    operation.insert("responses".to_owned(), Value::Object(responses));
    Value::Object(operation)
}

fn document_of(bytes: &[u8]) -> Value {
    let document = read(bytes);
    let info = common(
        &document.message(2).expect("info"),
        &[("title", 1), ("version", 2)],
        7,
    );
    let mut paths = Map::new();
    for (path, fields) in document.message(8).expect("paths").named(2) {
        let mut item = common(&fields, &[], 10);
        for (method, number) in [
            ("get", 2),
            ("put", 3),
            ("post", 4),
            ("delete", 5),
            ("patch", 8),
        ] {
            let operation = fields.message(number).map(|fields| operation_of(&fields));
            insert(&mut item, method, operation);
        }
        insert(&mut item, "parameters", parameters_of(&fields, 9));
        let before = paths.insert(path.to_owned(), Value::Object(item));
        assert!(before.is_none(), "{path} twice");
    }
    let definitions = document.message(9).expect("definitions").named(1);
    let count = definitions.len();
    let definitions: Map<String, Value> = definitions
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema_of(&schema)))
        .collect();
    assert_eq!(definitions.len(), count, "names are unique");
    json!({"swagger": document.text(1), "info": info, "paths": paths, "definitions": definitions})
}

/// Compared piece by piece: what differs is then short enough to read.
fn assert_same(from_protobuf: &Value, from_json: &Value) {
    for part in ["paths", "definitions"] {
        let of = |document: &Value| document[part].as_object().expect("an object").clone();
        let (left, right) = (of(from_protobuf), of(from_json));
        let names = |of: &Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&left), names(&right));
        for (name, value) in &left {
            assert_eq!(value, &right[name], "{name}");
        }
    }
    for part in ["swagger", "info"] {
        assert_eq!(from_protobuf[part], from_json[part]);
    }
}

fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, into));
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| references(element, into)),
        _ => {}
    }
}

#[test]
fn protobuf_and_json_say_the_same_within_bounds() {
    let swagger = everything();
    let (text, binary) = (swagger.to_json(), swagger.to_protobuf());
    assert!(
        text.len() < BOUND && binary.len() < BOUND,
        "{} bytes of JSON, {} of protobuf",
        text.len(),
        binary.len()
    );
    assert_same(&document_of(&binary), &json_of(&swagger));
}

#[test]
fn every_reference_leads_to_a_definition() {
    let json = json_of(&everything());
    let mut found = BTreeSet::new();
    references(&json, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let name = reference
            .strip_prefix("#/definitions/")
            .expect("a definition");
        assert!(json["definitions"][name].is_object(), "{name}");
    }
}

#[test]
fn every_kind_that_is_served_is_found_by_its_name_and_can_be_patched_in_a_dry_run() {
    let swagger = everything();
    let json = json_of(&swagger);
    let mut kinds = BTreeSet::new();
    for schema in json["definitions"]
        .as_object()
        .expect("definitions")
        .values()
    {
        let named = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.extend(named.into_iter().flatten().map(ToString::to_string));
    }
    let mut dry = BTreeSet::new();
    for item in json["paths"].as_object().expect("paths").values() {
        let patch = &item["patch"];
        let parameters = patch["parameters"].as_array().into_iter().flatten();
        let names: BTreeSet<&str> = parameters.filter_map(|p| p["name"].as_str()).collect();
        if names.is_superset(&["dryRun", "fieldValidation"].into()) {
            dry.insert(patch["x-kubernetes-group-version-kind"].to_string());
        }
    }
    for document in &swagger.documents {
        for Published { resource, .. } in &document.resources {
            let kind = json!({"group": document.group, "version": document.version, "kind": resource.kind});
            assert!(kinds.contains(&kind.to_string()), "{kind}");
            if resource.has_verb("patch") {
                assert!(dry.contains(&kind.to_string()), "{kind}");
            }
        }
    }
}

#[test]
fn operation_ids_are_unique_in_the_whole() {
    let json = json_of(&everything());
    let mut seen = BTreeSet::new();
    for (path, item) in json["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("operations").values() {
            if let Some(id) = operation["operationId"].as_str() {
                assert!(seen.insert(id.to_owned()), "{id} at {path}");
            }
        }
    }
}

#[test]
fn old_words_are_used_for_new_ones() {
    let json = json_of(&everything());
    let definitions = &json["definitions"];
    let pod = &definitions["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(pod["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
    assert!(pod["description"].is_string(), "the field keeps its text");
    let containers = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    let quantity = &definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert_eq!(quantity["type"], "string");
    let port = &definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(
        (&port["type"], &port["format"]),
        (&json!("string"), &json!("int-or-string"))
    );
    let nodes = &json["paths"]["/api/v1/nodes"]["post"];
    let body = nodes["parameters"].as_array().expect("parameters").last();
    assert_eq!(
        body,
        Some(&json!({"name": "body", "in": "body", "required": true,
            "schema": {"$ref": "#/definitions/io.k8s.api.core.v1.Node"}}))
    );
    let text = json.to_string();
    for word in ["requestBody\":", "#/components/", "oneOf\":["] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn a_custom_kind_keeps_what_can_be_said() {
    let mut lamp = resources::find("apps", "v1", "deployments")
        .expect("deployments")
        .clone();
    (lamp.group, lamp.kind) = ("example.com".into(), "Lamp".into());
    (lamp.plural, lamp.list_kind) = ("lamps".into(), "LampList".into());
    lamp.subresources.clear();
    let schema = json!({"type": "object", "properties": {
        "oneOf": {"type": "string", "nullable": true, "pattern": "^a", "maxLength": 7},
        "watts": {"type": "integer", "minimum": 0.5, "anyOf": [{}]},
        "wires": {"type": "object", "additionalProperties": true},
    }});
    let published = Published {
        resource: &lamp,
        custom: Some(Custom {
            schema: Some(&schema),
            tag: "1",
        }),
    };
    let document = Document {
        group: "example.com",
        version: "v1",
        resources: vec![published],
    };
    let swagger = Swagger {
        documents: vec![document],
    };
    let json = json_of(&swagger);
    let properties = &json["definitions"]["com.example.v1.Lamp"]["properties"];
    // Null is not known to this format: what may be null has no type, as from kube-apiserver.
    assert_eq!(
        properties["oneOf"],
        json!({"pattern": "^a", "maxLength": 7})
    );
    assert_eq!(
        properties["watts"],
        json!({"type": "integer", "minimum": 0.5})
    );
    assert_same(&document_of(&swagger.to_protobuf()), &json);
}

#[test]
fn the_hash_follows_the_content() {
    let mut swagger = everything();
    let before = swagger.hash();
    assert_eq!(before, everything().hash());
    assert_ne!(before, swagger.documents[0].hash());
    swagger.documents[0].resources.pop();
    assert_ne!(before, swagger.hash());
}

//! What clients look for is there, every reference leads somewhere, and hashes follow the content.

use std::collections::BTreeSet;

use serde_json::json;

use super::descriptions::Descriptions;
use super::*;
use crate::resources;

fn document(group: &'static str, version: &'static str) -> Document<'static> {
    let resources = resources::in_group_version(group, version);
    Document {
        group,
        version,
        resources: resources
            .map(|resource| Published {
                resource,
                custom: None,
            })
            .collect(),
    }
}

fn every_document() -> Vec<Document<'static>> {
    let groups = resources::groups();
    groups
        .into_iter()
        .flat_map(|(group, versions)| versions.into_iter().map(move |v| document(group, v)))
        .collect()
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
fn every_reference_leads_to_a_schema() {
    for document in every_document() {
        let json = document.to_json();
        let mut found = BTreeSet::new();
        references(&json, &mut found);
        assert!(!found.is_empty(), "{}", document.path());
        for reference in found {
            let name = reference
                .strip_prefix("#/components/schemas/")
                .expect("a component");
            assert!(
                json["components"]["schemas"][name].is_object(),
                "{name} in {}",
                document.path()
            );
        }
    }
}

#[test]
fn every_published_kind_can_be_explained() {
    for document in every_document() {
        let json = document.to_json();
        for Published { resource, .. } in &document.resources {
            if !resource.has_verb("get") {
                continue;
            }
            let scope = if resource.namespaced {
                "/namespaces/{namespace}"
            } else {
                ""
            };
            let path = format!("/{}{scope}/{}/{{name}}", document.path(), resource.plural);
            let kind = &json["paths"][&path]["get"]["x-kubernetes-group-version-kind"];
            let schemas = json["components"]["schemas"].as_object().expect("schemas");
            let has_kind = |schema: &&Value| {
                schema["x-kubernetes-group-version-kind"]
                    .as_array()
                    .is_some_and(|kinds| kinds.contains(kind))
            };
            let schema = schemas
                .values()
                .find(has_kind)
                .unwrap_or_else(|| panic!("{path}: no schema of {kind}"));
            assert!(schema["properties"]["metadata"].is_object(), "{path}");
        }
    }
}

#[test]
fn every_kind_of_the_resource_table_is_in_the_schema_table() {
    for resource in resources::all() {
        let (group, version) = (&*resource.group, &*resource.version);
        let found = schema::table().by_kind(group, version, &resource.kind);
        assert!(found.is_some(), "{group}/{version} {}", resource.kind);
        for subresource in &resource.subresources {
            let (group, version) = match &subresource.group_version {
                Some((group, version)) => (&**group, &**version),
                None => (group, version),
            };
            let found = schema::table().by_kind(group, version, &subresource.kind);
            assert!(
                found.is_some(),
                "{group}/{version} {} of {}",
                subresource.kind,
                resource.plural
            );
        }
    }
}

#[test]
fn patches_take_field_validation_and_strategic_merges() {
    let json = document("apps", "v1").to_json();
    let patch = &json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let parameters = patch["parameters"].as_array().expect("parameters");
    assert!(
        parameters
            .iter()
            .any(|p| p["name"] == "fieldValidation" && p["in"] == "query")
    );
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let scale =
        &json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(
        scale["x-kubernetes-group-version-kind"]["group"],
        "autoscaling"
    );
}

#[test]
fn operation_ids_are_unique() {
    for document in every_document() {
        let json = document.to_json();
        let mut seen = BTreeSet::new();
        for (path, operations) in json["paths"].as_object().expect("paths") {
            for operation in operations.as_object().expect("operations").values() {
                if let Some(id) = operation["operationId"].as_str() {
                    assert!(seen.insert(id.to_owned()), "{id} at {path}");
                }
            }
        }
    }
}

#[test]
fn the_schema_of_a_pod_says_how_to_merge_and_what_things_are() {
    let json = document("", "v1").to_json();
    let schemas = &json["components"]["schemas"];
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"];
    let containers = &spec["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(
        containers["items"]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.Container"
    );
    assert_eq!(spec["required"], json!(["containers"]));
    assert_eq!(spec["description"], "PodSpec is a description of a pod.");
    assert!(
        containers["description"]
            .as_str()
            .expect("text")
            .contains("containers")
    );
    let volume = &schemas["io.k8s.api.core.v1.Volume"]["properties"];
    assert!(
        volume["configMap"].is_object(),
        "inlined sources are flattened"
    );
    assert!(volume.get("volumeSource").is_none());
    assert_eq!(
        schemas["io.k8s.api.core.v1.NodeSelector"]["x-kubernetes-map-type"],
        "atomic"
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"],
        "int-or-string"
    );
}

#[test]
fn a_custom_resource_is_described_by_its_own_schema() {
    let mut lamp = resources::find("apps", "v1", "deployments")
        .expect("deployments")
        .clone();
    (lamp.group, lamp.kind) = ("example.com".into(), "Lamp".into());
    (lamp.plural, lamp.list_kind) = ("lamps".into(), "LampList".into());
    lamp.subresources
        .retain(|subresource| subresource.name == "status");
    lamp.subresources
        .iter_mut()
        .for_each(|subresource| subresource.kind = "Lamp".into());
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object"}}});
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
    let json = document.to_json();
    let schema = &json["components"]["schemas"]["com.example.v1.Lamp"];
    assert_eq!(schema["properties"]["spec"], json!({"type": "object"}));
    assert_eq!(schema["properties"]["kind"]["type"], "string");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Lamp");
    let patch = &json["paths"]["/apis/example.com/v1/namespaces/{namespace}/lamps/{name}"]["patch"];
    assert!(
        patch["requestBody"]["content"]
            .get("application/strategic-merge-patch+json")
            .is_none()
    );
    let mut found = BTreeSet::new();
    references(&json, &mut found);
    for reference in found {
        let name = reference
            .strip_prefix("#/components/schemas/")
            .expect("a component");
        assert!(json["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn the_index_names_each_document_with_a_hash_of_its_own() {
    let documents = every_document();
    let index = index(&documents);
    let paths = index["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), documents.len());
    let url = paths["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("url");
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    assert!(paths.contains_key("api/v1"));
    let hashes: BTreeSet<String> = documents.iter().map(Document::hash).collect();
    assert_eq!(hashes.len(), documents.len());
    let mut fewer = document("apps", "v1");
    let before = fewer.hash();
    fewer.resources.pop();
    assert_ne!(before, fewer.hash());
    assert_eq!(before, document("apps", "v1").hash());
}

#[test]
fn nearly_everything_is_described() {
    let table = schema::table();
    let descriptions = Descriptions::read(table);
    assert_eq!(
        descriptions.rows(),
        table.messages().len(),
        "one row per message"
    );
    let silent = table
        .messages()
        .filter(|message| descriptions.of_message(message).is_empty())
        .count();
    assert!(
        silent * 20 < table.messages().len(),
        "{silent} types without a text"
    );
    let node = table.message("k8s.io.api.core.v1.Node").expect("Node");
    assert!(
        descriptions
            .of_message(node)
            .starts_with("Node is a worker node")
    );
    let taints = table
        .message("k8s.io.api.core.v1.NodeSpec")
        .expect("NodeSpec");
    let field = table.field(taints, "taints").expect("taints");
    assert!(descriptions.of_field(taints, field).contains("taints"));
}

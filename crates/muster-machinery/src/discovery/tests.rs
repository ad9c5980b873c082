//! The documents as kube-apiserver writes them.

use serde_json::{Value, json};

use super::*;

fn value(document: impl serde::Serialize) -> Value {
    serde_json::to_value(document).unwrap()
}

#[test]
fn the_core_versions_name_the_servers_address() {
    assert_eq!(
        serde_json::to_string(&Catalogue::builtin().api_versions("10.0.0.1:6443")).unwrap(),
        r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"10.0.0.1:6443"}]}"#
    );
}

#[test]
fn a_group_names_its_versions_and_the_preferred_one() {
    let catalogue = Catalogue::builtin();
    assert_eq!(
        serde_json::to_string(&catalogue.api_group("autoscaling").unwrap()).unwrap(),
        r#"{"kind":"APIGroup","apiVersion":"v1","name":"autoscaling","versions":[{"groupVersion":"autoscaling/v2","version":"v2"},{"groupVersion":"autoscaling/v1","version":"v1"}],"preferredVersion":{"groupVersion":"autoscaling/v2","version":"v2"}}"#
    );
    assert!(catalogue.api_group("").is_none());
    assert!(catalogue.api_group("nope").is_none());
    let groups = value(catalogue.api_group_list());
    assert_eq!(groups["groups"][0]["name"], "apiregistration.k8s.io");
    assert!(groups["groups"][0].get("kind").is_none());
    assert_eq!(
        groups["groups"].as_array().unwrap().len(),
        catalogue.group_names().count()
    );
}

#[test]
fn a_resource_list_holds_subresources_with_foreign_kinds() {
    let list = Catalogue::builtin().api_resource_list("", "v1").unwrap();
    let text = serde_json::to_string(&list).unwrap();
    assert!(text.starts_with(
        r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"bindings","singularName":"binding","namespaced":true,"kind":"Binding","verbs":["create"]},"#
    ));
    let list = value(list);
    let find = |name: &str| {
        let entries = list["resources"].as_array().unwrap();
        entries
            .iter()
            .find(|entry| entry["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        find("pods/eviction"),
        json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
            "version": "v1", "kind": "Eviction", "verbs": ["create"]})
    );
    assert_eq!(find("nodes")["shortNames"], json!(["no"]));
    assert_eq!(
        find("nodes/status")["verbs"],
        json!(["get", "patch", "update"])
    );
    assert!(
        Catalogue::builtin()
            .api_resource_list("apps", "v2")
            .is_none()
    );
}

#[test]
fn the_aggregated_documents_split_core_and_groups() {
    let catalogue = Catalogue::builtin();
    let core = value(catalogue.aggregated_core(AggregatedVersion::V2));
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    assert_eq!(core["items"][0]["versions"][0]["freshness"], "Current");
    let groups = value(catalogue.aggregated_groups(AggregatedVersion::V2Beta1));
    assert_eq!(groups["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    let apps = &groups["items"][1];
    assert_eq!(apps["metadata"]["name"], "apps");
    let deployments = &apps["versions"][0]["resources"][2];
    assert_eq!(deployments["resource"], "deployments");
    assert_eq!(
        deployments["subresources"][0],
        json!({"subresource": "scale", "verbs": ["get", "patch", "update"],
            "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}})
    );
}

#[test]
fn a_custom_resource_joins_in_the_order_of_its_versions() {
    let mut catalogue = Catalogue::builtin();
    for version in ["v1alpha1", "v1", "v1beta2", "v2", "odd"] {
        let mut resource = crate::resources::find("", "v1", "configmaps")
            .unwrap()
            .clone();
        resource.group = "example.com".into();
        resource.version = version.into();
        catalogue.add(resource);
    }
    let group = value(catalogue.api_group("example.com").unwrap());
    let versions: Vec<_> = group["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].clone())
        .collect();
    assert_eq!(versions, ["v2", "v1", "v1beta2", "v1alpha1", "odd"]);
    assert_eq!(group["preferredVersion"]["version"], "v2");
}

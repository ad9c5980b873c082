//! A service that is changed: what was given out stays, and what only its former type had goes, unless the client
//! changed it in the same breath (`pkg/registry/core/service` `patchAllocatedValues` and `dropTypeDependentFields`).
//!
//! Refuses to know: ranges of addresses and ports.

use std::collections::{HashMap, HashSet};

use muster_machinery::meta;
use serde_json::{Map, Value};

use super::addresses::node_ports;

/// Lets a changed service follow its type.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    if has_node_ports(new) && has_node_ports(old) {
        keep_node_ports(new, old);
    }
    drop_fields_of_type(new, old);
}

fn kind(service: &Value) -> &str {
    meta::str_at(service, &["spec", "type"]).unwrap_or("ClusterIP")
}

fn has_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

fn is_local(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
        && meta::str_at(service, &["spec", "externalTrafficPolicy"]) == Some("Local")
}

fn is_reached_from_outside(service: &Value) -> bool {
    let outside = meta::items(service, &["spec", "externalIPs"]);
    has_node_ports(service) || (kind(service) == "ClusterIP" && !outside.is_empty())
}

/// A port that comes without its node port gets the one that the port of this name had.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let named = |port: &Value| {
        let name = port.get("name").and_then(Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let before: HashMap<String, u64> = meta::items(old, &["spec", "ports"])
        .iter()
        .filter_map(|port| Some((named(port), port.get("nodePort")?.as_u64()?)))
        .collect();
    let mut used: HashSet<u64> = node_ports(new).map(u64::from).collect();
    let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) != 0 {
            continue;
        }
        let Some(had) = before.get(&named(port)).filter(|had| used.insert(**had)) else {
            continue;
        };
        if let Some(port) = port.as_object_mut() {
            port.insert("nodePort".to_owned(), (*had).into());
        }
    }
}

fn drop_fields_of_type(new: &mut Value, old: &Value) {
    let mut gone: Vec<&[&str]> = Vec::new();
    if kind(new) == "ExternalName" && kind(old) != "ExternalName" {
        gone.extend([
            &["clusterIP", "clusterIPs"][..],
            &["ipFamilies"],
            &["ipFamilyPolicy"],
        ]);
    }
    if is_local(old) && !is_local(new) {
        gone.push(&["healthCheckNodePort"]);
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        gone.extend([
            &["allocateLoadBalancerNodePorts"][..],
            &["loadBalancerClass"],
        ]);
    }
    if is_reached_from_outside(old) && !is_reached_from_outside(new) {
        gone.push(&["externalTrafficPolicy"]);
    }
    let no_node_ports = has_node_ports(old)
        && !has_node_ports(new)
        && node_ports(old).collect::<Vec<_>>() == node_ports(new).collect::<Vec<_>>();
    let empty = Map::new();
    let before = old.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    let Some(spec) = meta::map_mut(new, "spec") else {
        return;
    };
    for fields in gone {
        if fields
            .iter()
            .all(|field| spec.get(*field) == before.get(*field))
        {
            spec.retain(|field, _| !fields.contains(&field.as_str()));
        }
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter(|_| no_node_ports) {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node_port() -> Value {
        json!({ "spec": {
            "type": "NodePort", "clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{ "name": "a", "port": 80, "nodePort": 30080 }],
        } })
    }

    fn changed(change: &Value) -> Value {
        let mut new = node_port();
        let spec = new["spec"].as_object_mut().unwrap();
        spec.extend(change.as_object().unwrap().clone());
        prepare_update(&mut new, &node_port());
        new["spec"].clone()
    }

    #[test]
    fn a_service_that_becomes_a_name_loses_its_address_and_ports() {
        let spec = changed(&json!({ "type": "ExternalName", "externalName": "a.example" }));
        let expected = json!({
            "type": "ExternalName", "externalName": "a.example", "ports": [{ "name": "a", "port": 80 }],
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn what_the_client_changed_as_well_is_left_for_validation_to_refuse() {
        let spec = changed(&json!({ "type": "ExternalName", "clusterIP": "10.96.1.3" }));
        assert_eq!(spec["clusterIP"], "10.96.1.3");
        assert_eq!(spec["clusterIPs"], json!(["10.96.1.2"]));
    }

    #[test]
    fn a_port_keeps_its_node_port_unless_another_one_took_it() {
        let spec = changed(&json!({ "ports": [{ "name": "a", "port": 81 }] }));
        assert_eq!(spec["ports"][0]["nodePort"], 30080);
        let taken =
            json!([{ "name": "a", "port": 81 }, { "name": "b", "port": 82, "nodePort": 30080 }]);
        let spec = changed(&json!({ "ports": taken }));
        assert!(spec["ports"][0].get("nodePort").is_none());
    }
}

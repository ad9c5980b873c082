//! Services, endpoints, network policies.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::fill::{child, each, existing, fill, fill_text};
use crate::meta;

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Service" => service(object),
        "Endpoints" => {
            for subset in each(object, "subsets") {
                each(subset, "ports").for_each(|port| fill_text(port, "protocol", "TCP"));
            }
        }
        "EndpointSlice" => {
            for port in each(object, "ports") {
                fill(port, "name", "");
                fill_text(port, "protocol", "TCP");
            }
        }
        "NetworkPolicy" => network_policy(object),
        _ => {}
    }
}

fn service(service: &mut Value) {
    let Some(spec) = child(service, "spec") else {
        return;
    };
    fill_text(spec, "type", "ClusterIP");
    fill_text(spec, "sessionAffinity", "None");
    if meta::str_at(spec, &["sessionAffinity"]) == Some("ClientIP") {
        let timeout = child(spec, "sessionAffinityConfig").and_then(|c| child(c, "clientIP"));
        timeout
            .into_iter()
            .for_each(|ip| fill(ip, "timeoutSeconds", 10_800));
    }
    for port in each(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        let target = port.get("targetPort");
        if target.is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!("")) {
            port["targetPort"] = number;
        }
    }
    let type_ = meta::str_at(spec, &["type"]).unwrap_or("").to_owned();
    let has_external_ips = !meta::items(spec, &["externalIPs"]).is_empty();
    match type_.as_str() {
        "ExternalName" => return,
        "NodePort" | "LoadBalancer" => fill_text(spec, "externalTrafficPolicy", "Cluster"),
        "ClusterIP" if has_external_ips => fill_text(spec, "externalTrafficPolicy", "Cluster"),
        _ => {}
    }
    fill(spec, "internalTrafficPolicy", "Cluster");
    if type_ == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    families(spec);
}

/// One family, that of the address asked for; IPv4 when none is.
fn families(spec: &mut Value) {
    let address = meta::str_at(spec, &["clusterIP"]).and_then(|ip| ip.parse::<IpAddr>().ok());
    let family = if address.is_some_and(|ip| ip.is_ipv6()) {
        "IPv6"
    } else {
        "IPv4"
    };
    fill(spec, "ipFamilies", json!([family]));
    fill(spec, "ipFamilyPolicy", "SingleStack");
}

fn network_policy(policy: &mut Value) {
    let Some(spec) = existing(policy, "spec") else {
        return;
    };
    fill(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|port| fill_text(port, "protocol", "TCP"));
        }
    }
    let types = if meta::items(spec, &["egress"]).is_empty() {
        json!(["Ingress"])
    } else {
        json!(["Ingress", "Egress"])
    };
    if meta::items(spec, &["policyTypes"]).is_empty() {
        spec["policyTypes"] = types;
    }
}

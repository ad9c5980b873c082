//! Services and their endpoints.

use std::net::IpAddr;

use serde_json::Value;

use super::{FieldError, at, in_range};
use crate::meta;
use crate::validation::metadata::check_labels;
use crate::validation::names::{dns_label_problems, dns_subdomain_problems, port_name_problems};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(super) fn service(service: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(service, &["spec"]);
    let type_ = meta::str_at(spec, &["type"]).unwrap_or("");
    match type_ {
        "" => errors.push(FieldError::required("spec.type", "")),
        known if TYPES.contains(&known) => {}
        other => errors.push(FieldError::not_supported("spec.type", other.into(), TYPES)),
    }
    ports(spec, type_, errors);
    let affinity = meta::str_at(spec, &["sessionAffinity"]).unwrap_or("");
    if !matches!(affinity, "ClientIP" | "None") {
        errors.push(FieldError::not_supported(
            "spec.sessionAffinity",
            affinity.into(),
            &["ClientIP", "None"],
        ));
    }
    if let Some(selector) = at(spec, &["selector"]).as_object() {
        check_labels("spec.selector", selector, errors);
    }
    if type_ == "ExternalName" {
        external_name(spec, errors);
    }
    cluster_ip(spec, type_, errors);
    for (i, ip) in meta::items(spec, &["externalIPs"]).iter().enumerate() {
        let text = ip.as_str().unwrap_or("");
        if text.parse::<IpAddr>().is_err() {
            errors.push(FieldError::invalid(
                format!("spec.externalIPs[{i}]"),
                text.into(),
                BAD_IP,
            ));
        }
    }
    if let Some(old) = old {
        addresses_stay(spec, at(old, &["spec"]), type_, errors);
    }
}

fn external_name(spec: &Value, errors: &mut Vec<FieldError>) {
    let name = meta::str_at(spec, &["externalName"])
        .unwrap_or("")
        .trim_end_matches('.');
    if name.is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
        return;
    }
    for problem in dns_subdomain_problems(name) {
        errors.push(FieldError::invalid(
            "spec.externalName",
            name.into(),
            problem,
        ));
    }
}

fn cluster_ip(spec: &Value, type_: &str, errors: &mut Vec<FieldError>) {
    let ip = meta::str_at(spec, &["clusterIP"]).unwrap_or("");
    match (type_, ip) {
        (_, "") => {}
        ("ExternalName", _) => errors.push(FieldError::forbidden(
            "spec.clusterIPs",
            "may not be set when `type` is 'ExternalName'",
        )),
        ("NodePort" | "LoadBalancer", "None") => errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            ip.into(),
            format!("may not be set to 'None' for {type_} services"),
        )),
        (_, "None") => {}
        _ if ip.parse::<IpAddr>().is_ok() => {}
        _ => errors.push(FieldError::invalid("spec.clusterIPs[0]", ip.into(), BAD_IP)),
    }
}

fn ports(spec: &Value, type_: &str, errors: &mut Vec<FieldError>) {
    let ports = meta::items(spec, &["ports"]);
    let headless = meta::str_at(spec, &["clusterIP"]) == Some("None");
    if ports.is_empty() && !headless && type_ != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut names, mut used) = (Vec::new(), Vec::new());
    for (i, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let name = meta::str_at(port, &["name"]).unwrap_or("");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
        } else {
            for problem in dns_label_problems(name) {
                errors.push(FieldError::invalid(
                    format!("{path}.name"),
                    name.into(),
                    problem,
                ));
            }
            if names.contains(&name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name.into()));
            }
            names.push(name);
        }
        one_port(&path, port, errors);
        let key = (at(port, &["port"]), at(port, &["protocol"]));
        if used.contains(&key) {
            errors.push(FieldError::duplicate(path, port.clone()));
        }
        used.push(key);
    }
}

fn one_port(path: &str, port: &Value, errors: &mut Vec<FieldError>) {
    let number = at(port, &["port"]).as_i64().unwrap_or(0);
    in_range(format!("{path}.port"), number, 1, 65535, errors);
    let protocol = meta::str_at(port, &["protocol"]).unwrap_or("");
    if protocol.is_empty() {
        errors.push(FieldError::required(format!("{path}.protocol"), ""));
    } else if !PROTOCOLS.contains(&protocol) {
        let field = format!("{path}.protocol");
        errors.push(FieldError::not_supported(field, protocol.into(), PROTOCOLS));
    }
    match at(port, &["targetPort"]) {
        Value::Number(target) => {
            let target = target.as_i64().unwrap_or(0);
            in_range(format!("{path}.targetPort"), target, 1, 65535, errors);
        }
        Value::String(name) => {
            for problem in port_name_problems(name) {
                let field = format!("{path}.targetPort");
                errors.push(FieldError::invalid(field, name.as_str().into(), problem));
            }
        }
        _ => {}
    }
}

/// The cluster address of a service that keeps one cannot change.
fn addresses_stay(spec: &Value, old: &Value, type_: &str, errors: &mut Vec<FieldError>) {
    let ip = |spec| meta::str_at(spec, &["clusterIP"]).unwrap_or("").to_owned();
    let (new_ip, old_ip) = (ip(spec), ip(old));
    let was_external = meta::str_at(old, &["type"]) == Some("ExternalName");
    if type_ != "ExternalName" && !was_external && !old_ip.is_empty() && new_ip != old_ip {
        let value = at(spec, &["clusterIPs"]).clone();
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            value,
            "may not change once set",
        ));
    }
}

pub(super) fn endpoints(endpoints: &Value, errors: &mut Vec<FieldError>) {
    for (i, subset) in meta::items(endpoints, &["subsets"]).iter().enumerate() {
        let path = format!("subsets[{i}]");
        let lists = ["addresses", "notReadyAddresses"];
        if lists
            .iter()
            .all(|list| meta::items(subset, &[list]).is_empty())
        {
            errors.push(FieldError::required(
                path.clone(),
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for list in lists {
            for (j, address) in meta::items(subset, &[list]).iter().enumerate() {
                let ip = meta::str_at(address, &["ip"]).unwrap_or("");
                if ip.parse::<IpAddr>().is_err() {
                    let field = format!("{path}.{list}[{j}].ip");
                    errors.push(FieldError::invalid(field, ip.into(), BAD_IP));
                }
            }
        }
        for (j, port) in meta::items(subset, &["ports"]).iter().enumerate() {
            let number = at(port, &["port"]).as_i64().unwrap_or(0);
            in_range(format!("{path}.ports[{j}].port"), number, 1, 65535, errors);
        }
    }
}

pub(super) fn endpoint_slice(slice: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let types = &["FQDN", "IPv4", "IPv6"];
    let type_ = meta::str_at(slice, &["addressType"]).unwrap_or("");
    if type_.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !types.contains(&type_) {
        errors.push(FieldError::not_supported(
            "addressType",
            type_.into(),
            types,
        ));
    }
    let endpoints = meta::items(slice, &["endpoints"]);
    if endpoints.len() > 1000 {
        errors.push(FieldError::too_many("endpoints", endpoints.len(), 1000));
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let addresses = meta::items(endpoint, &["addresses"]);
        let path = format!("endpoints[{i}].addresses");
        if addresses.is_empty() {
            errors.push(FieldError::required(
                path.clone(),
                "must contain at least 1 address",
            ));
        }
        for (j, address) in addresses.iter().enumerate() {
            let text = address.as_str().unwrap_or("");
            let fits = match (type_, text.parse::<IpAddr>()) {
                ("IPv4", Ok(ip)) => ip.is_ipv4(),
                ("IPv6", Ok(ip)) => ip.is_ipv6(),
                ("FQDN", _) => dns_subdomain_problems(text).is_empty(),
                _ => false,
            };
            if !fits {
                let detail = format!("must be a valid {type_} address");
                errors.push(FieldError::invalid(
                    format!("{path}[{j}]"),
                    text.into(),
                    detail,
                ));
            }
        }
    }
    if let Some(old) = old {
        super::immutable(slice, old, &["addressType"], errors);
    }
}

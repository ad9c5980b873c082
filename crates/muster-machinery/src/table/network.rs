//! Services, endpoints, ingresses, policies, addresses.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, first_of, int, labels, name, selector, text, text_or};
use super::column::{self, AGE, Column, NAME, Printer, SELECTOR};
use crate::gvk::GroupResource;
use crate::meta::{at, items, str_at};

const SERVICE: &[Column] = &[
    NAME,
    column::text(
        "Type",
        "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP, NodePort, and LoadBalancer.",
    ),
    column::text(
        "Cluster-IP",
        "clusterIP is the IP address of the service and is usually assigned randomly.",
    ),
    column::text(
        "External-IP",
        "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.",
    ),
    column::text(
        "Port(s)",
        "The list of ports that are exposed by this service.",
    ),
    AGE,
    SELECTOR,
];

const ENDPOINTS: &[Column] = &[
    NAME,
    column::text(
        "Endpoints",
        "The set of all endpoints is the union of all subsets.",
    ),
    AGE,
];

const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column::text(
        "AddressType",
        "addressType specifies the type of address carried by this EndpointSlice.",
    ),
    column::text(
        "Ports",
        "ports specifies the list of network ports exposed by each endpoint in this slice.",
    ),
    column::text(
        "Endpoints",
        "endpoints is a list of unique endpoints in this slice.",
    ),
    AGE,
];

const INGRESS: &[Column] = &[
    NAME,
    column::text(
        "Class",
        "The name of the IngressClass resource that should be used for additional configuration",
    ),
    column::text(
        "Hosts",
        "Hosts that incoming requests are matched against before the ingress rule",
    ),
    column::text(
        "Address",
        "Address is a list containing ingress points for the load-balancer",
    ),
    column::text("Ports", "Ports of TLS configurations that open"),
    AGE,
];

const INGRESS_CLASS: &[Column] = &[
    NAME,
    column::text(
        "Controller",
        "Controller that is responsible for handling this class",
    ),
    column::text(
        "Parameters",
        "A reference to a resource with additional parameters",
    ),
    AGE,
];

const NETWORK_POLICY: &[Column] = &[
    NAME,
    column::text(
        "Pod-Selector",
        "podSelector selects the pods to which this NetworkPolicy object applies.",
    ),
    AGE,
];

const SERVICE_CIDR: &[Column] = &[
    NAME,
    column::text(
        "CIDRs",
        "CIDRs defines the IP blocks in CIDR notation from which to assign service cluster IPs.",
    ),
    AGE,
];

const IP_ADDRESS: &[Column] = &[
    NAME,
    column::text(
        "ParentRef",
        "ParentRef references the resource that an IPAddress is attached to.",
    ),
    AGE,
];

pub(super) fn core_printer(kind: &str) -> Option<Printer> {
    match kind {
        "Service" => Some(Printer::new(SERVICE, service)),
        "Endpoints" => Some(Printer::new(ENDPOINTS, |o, now| {
            vec![name(o), endpoints(o).into(), age_of(o, now)]
        })),
        _ => None,
    }
}

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "EndpointSlice" => Printer::new(ENDPOINT_SLICE, endpoint_slice),
        "Ingress" => Printer::new(INGRESS, ingress),
        "IngressClass" => Printer::new(INGRESS_CLASS, |o, now| {
            vec![
                name(o),
                text(o, &["spec", "controller"]),
                parameters(o).into(),
                age_of(o, now),
            ]
        }),
        "NetworkPolicy" => Printer::new(NETWORK_POLICY, |o, now| {
            let pods = selector(Some(
                at(o, &["spec", "podSelector"]).unwrap_or(&Value::Null),
            ));
            vec![name(o), pods.into(), age_of(o, now)]
        }),
        "ServiceCIDR" => Printer::new(SERVICE_CIDR, |o, now| {
            let cidrs: Vec<_> = items(o, &["spec", "cidrs"])
                .iter()
                .filter_map(Value::as_str)
                .collect();
            vec![name(o), cidrs.join(",").into(), age_of(o, now)]
        }),
        "IPAddress" => Printer::new(IP_ADDRESS, |o, now| {
            vec![name(o), parent(o).into(), age_of(o, now)]
        }),
        _ => return None,
    })
}

fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let cluster_ip = items(service, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .or_else(|| str_at(service, &["spec", "clusterIP"]))
        .filter(|ip| !ip.is_empty());
    let ports: Vec<_> = items(service, &["spec", "ports"])
        .iter()
        .map(service_port)
        .collect();
    let ports = if ports.is_empty() {
        "<none>".into()
    } else {
        ports.join(",")
    };
    vec![
        name(service),
        text(service, &["spec", "type"]),
        cluster_ip.unwrap_or("<none>").into(),
        external_ip(service).into(),
        ports.into(),
        age_of(service, now),
        labels(at(service, &["spec", "selector"])).into(),
    ]
}

fn service_port(port: &Value) -> String {
    let protocol = str_at(port, &["protocol"]).unwrap_or("");
    match (int(port, &["port"]), int(port, &["nodePort"])) {
        (port, node) if node > 0 => format!("{port}:{node}/{protocol}"),
        (port, _) => format!("{port}/{protocol}"),
    }
}

fn external_ip(service: &Value) -> String {
    let external: Vec<_> = items(service, &["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match str_at(service, &["spec", "type"]) {
        Some("ClusterIP" | "NodePort") if external.is_empty() => "<none>".into(),
        Some("ClusterIP" | "NodePort") => external.join(","),
        Some("LoadBalancer") => {
            let balancer = load_balancer(service);
            let all: Vec<&str> = balancer.iter().copied().chain(external).collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        Some("ExternalName") => str_at(service, &["spec", "externalName"])
            .unwrap_or("")
            .into(),
        _ => "<unknown>".into(),
    }
}

fn load_balancer(object: &Value) -> BTreeSet<&str> {
    let filled = |ingress, key| str_at(ingress, &[key]).filter(|text: &&str| !text.is_empty());
    items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .filter_map(|ingress| filled(ingress, "ip").or_else(|| filled(ingress, "hostname")))
        .collect()
}

fn endpoints(object: &Value) -> String {
    let mut list = Vec::new();
    for subset in items(object, &["subsets"]) {
        let ports = items(subset, &["ports"]);
        let ips = || {
            items(subset, &["addresses"])
                .iter()
                .filter_map(|a| str_at(a, &["ip"]))
        };
        if ports.is_empty() {
            list.extend(ips().map(str::to_owned));
        }
        for port in ports {
            list.extend(ips().map(|ip| host_port(ip, int(port, &["port"]))));
        }
    }
    first_of(&list, 3, "<none>")
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn endpoint_slice(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(slice, &["ports"])
        .iter()
        .map(|port| match port.get("port").and_then(Value::as_i64) {
            Some(number) => number.to_string(),
            None => str_at(port, &["name"]).unwrap_or("*").into(),
        })
        .collect();
    let addresses: Vec<String> = items(slice, &["endpoints"])
        .iter()
        .flat_map(|endpoint| items(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    vec![
        name(slice),
        text(slice, &["addressType"]),
        first_of(&ports, 3, "<unset>").into(),
        first_of(&addresses, 3, "<unset>").into(),
        age_of(slice, now),
    ]
}

fn ingress(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = items(ingress, &["spec", "rules"])
        .iter()
        .filter_map(|rule| str_at(rule, &["host"]))
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    let tls = !items(ingress, &["spec", "tls"]).is_empty();
    vec![
        name(ingress),
        text_or(ingress, &["spec", "ingressClassName"], "<none>"),
        first_of(&hosts, 3, "*").into(),
        load_balancer(ingress)
            .into_iter()
            .collect::<Vec<_>>()
            .join(",")
            .into(),
        if tls { "80, 443" } else { "80" }.into(),
        age_of(ingress, now),
    ]
}

fn parameters(class: &Value) -> String {
    let Some(parameters) = at(class, &["spec", "parameters"]).filter(|p| !p.is_null()) else {
        return "<none>".into();
    };
    let kind = str_at(parameters, &["kind"]).unwrap_or("");
    let group = str_at(parameters, &["apiGroup"]).unwrap_or("");
    let name = str_at(parameters, &["name"]).unwrap_or("");
    format!("{}/{name}", GroupResource::new(group, kind))
}

fn parent(address: &Value) -> String {
    let field = |key| str_at(address, &["spec", "parentRef", key]).unwrap_or("");
    if field("name").is_empty() {
        return "<none>".into();
    }
    let resource = GroupResource::new(field("group"), field("resource")).to_string();
    let namespace = match field("namespace") {
        "" => String::new(),
        namespace => format!("/{namespace}"),
    };
    format!("{}{namespace}/{}", resource.to_lowercase(), field("name"))
}

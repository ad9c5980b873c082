//! The alternative names of servers' certificates, as kubeadm chooses them: DNS names sorted, nothing twice.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster_identity::{Endpoint, Host, SubjectAltNames};

use super::ProfileError;
use crate::blueprint::{Blueprint, Etcd};

pub(super) fn api_server(blueprint: &Blueprint) -> Result<SubjectAltNames, ProfileError> {
    let (cluster, node) = (&blueprint.cluster, &blueprint.node);
    let mut dns = vec![
        node.name.clone(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
    ];
    if !cluster.dns_domain.is_empty() {
        dns.push(format!("kubernetes.default.svc.{}", cluster.dns_domain));
    }
    let mut ips = vec![
        first_service_address(&cluster.service_subnet)?,
        node.advertise_address,
    ];
    let endpoint = cluster.control_plane_endpoint.as_str();
    if !endpoint.is_empty() {
        let parsed = Endpoint::parse_with_default_port(endpoint, node.bind_port);
        match parsed.map(|endpoint| endpoint.host().clone()) {
            Ok(Host::Ip(ip)) => ips.push(ip),
            Ok(Host::Dns(name)) => dns.push(name),
            Err(_) => {
                return Err(ProfileError::Endpoint {
                    endpoint: endpoint.chars().take(128).collect(),
                });
            }
        }
    }
    add(&cluster.api_server.cert_sans, &mut dns, &mut ips);
    Ok(without_repeats(dns, ips))
}

pub(super) fn etcd(blueprint: &Blueprint, server: bool) -> SubjectAltNames {
    let mut dns = vec![blueprint.node.name.clone(), "localhost".to_owned()];
    let mut ips = vec![
        blueprint.node.advertise_address,
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    if let Etcd::Local(etcd) = &blueprint.cluster.etcd {
        let sans = if server {
            &etcd.server_cert_sans
        } else {
            &etcd.peer_cert_sans
        };
        add(sans, &mut dns, &mut ips);
    }
    without_repeats(dns, ips)
}

/// What is neither an address nor a DNS name, with or without `*.` in front, is left out, as by kubeadm.
fn add(sans: &[String], dns: &mut Vec<String>, ips: &mut Vec<IpAddr>) {
    for san in sans {
        if let Ok(ip) = san.parse() {
            ips.push(ip);
        } else if is_dns_name(san.strip_prefix("*.").unwrap_or(san)) {
            dns.push(san.clone());
        }
    }
}

/// RFC 1123 subdomain, as Kubernetes checks it.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn without_repeats(dns: Vec<String>, ips: Vec<IpAddr>) -> SubjectAltNames {
    let dns: BTreeSet<String> = dns.into_iter().collect();
    let mut unique: Vec<IpAddr> = Vec::new();
    for ip in ips {
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    SubjectAltNames::new(dns, unique)
}

/// The address of the Service `kubernetes`: the first after the network's own, of the first of two subnets.
pub(crate) fn first_service_address(subnets: &str) -> Result<IpAddr, ProfileError> {
    let refuse = || ProfileError::ServiceSubnet {
        subnet: subnets.chars().take(128).collect(),
    };
    let first = subnets.split(',').next().unwrap_or_default().trim();
    let (address, bits) = first.split_once('/').ok_or_else(refuse)?;
    let address: IpAddr = address.parse().map_err(|_| refuse())?;
    let bits: u32 = bits.parse().map_err(|_| refuse())?;
    match address {
        IpAddr::V4(v4) if bits < 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Ok(Ipv4Addr::from((u32::from(v4) & mask) + 1).into())
        }
        IpAddr::V6(v6) if bits < 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ok(Ipv6Addr::from((u128::from(v6) & mask) + 1).into())
        }
        _ => Err(refuse()),
    }
}

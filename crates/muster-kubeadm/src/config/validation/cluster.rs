//! What a ClusterConfiguration must not say: features, etcd, names, networks.
//!
//! It refuses to know nodes and tokens.

use super::super::error::FieldError;
use super::super::types::ClusterConfiguration;
use super::{Errors, absolute, arguments, dns1123_subdomain, host_port, is_ip_sloppy};
use std::net::IpAddr;

fn alternative_names(names: &[String], path: &str, errors: &mut Errors) {
    for name in names {
        let problems = dns1123_subdomain(name);
        let wildcard = name
            .strip_prefix("*.")
            .is_some_and(|rest| dns1123_subdomain(rest).is_empty());
        if !problems.is_empty() && !wildcard && !is_ip_sloppy(name) {
            errors.push(FieldError::invalid(
                path,
                name,
                format!(
                    "altname is not a valid IP address, DNS label or a DNS label with subdomain wildcards: {}",
                    problems.join("; ")
                ),
            ));
        }
    }
}

fn image_repository(repository: &str, path: &str, errors: &mut Errors) {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && part
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric())
            && part
                .bytes()
                .last()
                .is_some_and(|b| b.is_ascii_alphanumeric())
    };
    let (host, rest) = repository.split_once('/').unwrap_or((repository, ""));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "1"));
    let host_is_fine = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-[]:_".contains(&b))
        && port.parse::<u16>().is_ok();
    let rest_is_fine = !repository.contains('/') || rest.split('/').all(part);
    if !host_is_fine || !rest_is_fine {
        errors.push(FieldError::invalid(
            path,
            repository,
            "invalid image repository format",
        ));
    }
}

const ALGORITHMS: [&str; 5] = [
    "ECDSA-P256",
    "ECDSA-P384",
    "RSA-2048",
    "RSA-3072",
    "RSA-4096",
];
const FEATURE_GATES: [&str; 4] = [
    "ControlPlaneKubeletLocalMode",
    "NodeLocalCRISocket",
    "PublicKeysECDSA",
    "RootlessControlPlane",
];

pub(super) fn cluster_configuration(cluster: &ClusterConfiguration, errors: &mut Errors) {
    if !cluster.dns.image_repository.is_empty() {
        image_repository(&cluster.dns.image_repository, "dns.imageRepository", errors);
    }
    networking(cluster, errors);
    alternative_names(&cluster.api_server.cert_sans, "apiServer.certSANs", errors);
    arguments(
        &cluster.api_server.component.extra_args,
        "apiServer.extraArgs",
        errors,
    );
    arguments(
        &cluster.controller_manager.extra_args,
        "controllerManager.extraArgs",
        errors,
    );
    arguments(&cluster.scheduler.extra_args, "scheduler.extraArgs", errors);
    absolute(&cluster.certificates_dir, "certificatesDir", errors);
    for gate in cluster.feature_gates.keys() {
        if !FEATURE_GATES.contains(&gate.as_str()) {
            errors.push(FieldError::invalid_plain(
                "featureGates",
                serde_json::to_string(&cluster.feature_gates).unwrap_or_default(),
                format!("{gate} is not a valid feature name."),
            ));
        }
    }
    host_port(
        &cluster.control_plane_endpoint,
        "controlPlaneEndpoint",
        errors,
    );
    image_repository(&cluster.image_repository, "imageRepository", errors);
    etcd(cluster, errors);
    let algorithm = cluster.encryption_algorithm.as_str();
    if !ALGORITHMS.contains(&algorithm) {
        errors.push(FieldError::invalid(
            "encryptionAlgorithm",
            algorithm,
            format!(
                "Invalid encryption algorithm {algorithm:?}. Must be one of [{}]",
                ALGORITHMS.join(" ")
            ),
        ));
    }
}

fn etcd(cluster: &ClusterConfiguration, errors: &mut Errors) {
    let etcd = &cluster.etcd;
    if etcd.local.is_some() && etcd.external.is_some() {
        errors.push(FieldError::invalid(
            "etcd",
            "",
            ".Etcd.Local and .Etcd.External are mutually exclusive",
        ));
        return;
    }
    if let Some(local) = &etcd.local {
        absolute(&local.data_dir, "etcd.local.dataDir", errors);
        alternative_names(&local.server_cert_sans, "etcd.local.serverCertSANs", errors);
        alternative_names(&local.peer_cert_sans, "etcd.local.peerCertSANs", errors);
        if !local.image_repository.is_empty() {
            image_repository(
                &local.image_repository,
                "etcd.local.imageRepository",
                errors,
            );
        }
        arguments(&local.extra_args, "etcd.local.extraArgs", errors);
    }
    let Some(external) = &etcd.external else {
        return;
    };
    let path = "etcd.external";
    let (ca, cert, key) = (&external.ca_file, &external.cert_file, &external.key_file);
    if cert.is_empty() != key.is_empty() {
        errors.push(FieldError::invalid(
            path,
            "",
            "either both or none of .Etcd.External.CertFile and .Etcd.External.KeyFile must be set",
        ));
    }
    if !cert.is_empty() && !key.is_empty() && ca.is_empty() {
        errors.push(FieldError::invalid(
            path,
            "",
            "setting .Etcd.External.CertFile and .Etcd.External.KeyFile requires .Etcd.External.CAFile",
        ));
    }
    let https = !(ca.is_empty() && cert.is_empty() && key.is_empty());
    if external.endpoints.is_empty() {
        errors.push(FieldError::invalid(
            "etcd.external.endpoints",
            "",
            "at least one endpoint must be specified",
        ));
    }
    urls(
        &external.endpoints,
        https,
        "etcd.external.endpoints",
        errors,
    );
    urls(
        &external.http_endpoints,
        false,
        "etcd.external.httpEndpoints",
        errors,
    );
    for (file, name) in [(ca, "caFile"), (cert, "certFile"), (key, "keyFile")] {
        if !file.is_empty() {
            absolute(file, &format!("{path}.{name}"), errors);
        }
    }
}

fn urls(urls: &[String], https: bool, path: &str, errors: &mut Errors) {
    for url in urls {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if https && scheme != "https" {
            errors.push(FieldError::invalid(
                path,
                url,
                "the URL must be using the HTTPS scheme",
            ));
        }
        if scheme.is_empty() {
            errors.push(FieldError::invalid(
                path,
                url,
                "the URL without scheme is not allowed",
            ));
        }
    }
}

/// A subnet: whether it is of IPv6, and its prefix length.
struct Subnet {
    text: String,
    six: bool,
    length: u32,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.trim().split_once('/')?;
        let six = address.parse::<IpAddr>().ok()?.is_ipv6();
        let length: u32 = length.parse().ok()?;
        (length <= if six { 128 } else { 32 }).then(|| Self {
            text: text.trim().to_owned(),
            six,
            length,
        })
    }

    const fn host_bits(&self) -> u32 {
        (if self.six { 128 } else { 32 }) - self.length
    }
}

fn subnets(text: &str, minimum: u64, path: &str, errors: &mut Errors) -> Vec<Subnet> {
    let parsed: Option<Vec<Subnet>> = text.split(',').map(Subnet::parse).collect();
    let Some(parsed) = parsed else {
        errors.push(FieldError::invalid(path, text, "couldn't parse subnet"));
        return Vec::new();
    };
    let one_family = parsed.len() == 2 && parsed[0].six == parsed[1].six;
    if parsed.len() > 2 || one_family {
        errors.push(FieldError::invalid(
            path,
            text,
            "expected one (IPv4 or IPv6) CIDR or two CIDRs from each family for dual-stack networking",
        ));
    }
    for subnet in &parsed {
        let addresses = 1_u64.checked_shl(subnet.host_bits()).unwrap_or(u64::MAX);
        if addresses < minimum {
            errors.push(FieldError::invalid(
                path,
                &subnet.text,
                format!(
                    "subnet with {addresses} address(es) is too small, the minimum is {minimum}"
                ),
            ));
        }
    }
    parsed
}

fn networking(cluster: &ClusterConfiguration, errors: &mut Errors) {
    let networking = &cluster.networking;
    for detail in dns1123_subdomain(&networking.dns_domain) {
        errors.push(FieldError::invalid(
            "networking.dnsDomain",
            &networking.dns_domain,
            detail,
        ));
    }
    if !networking.service_subnet.is_empty() {
        let path = "networking.serviceSubnet";
        for subnet in subnets(&networking.service_subnet, 10, path, errors) {
            if subnet.host_bits() > 20 {
                let bits = if subnet.six { 128 } else { 32 };
                errors.push(FieldError::invalid(
                    path,
                    &subnet.text,
                    format!(
                        "specified service subnet is too large; for {bits}-bit addresses, the mask must be >= {}",
                        bits - 20
                    ),
                ));
            }
        }
    }
    if !networking.pod_subnet.is_empty() {
        let path = "networking.podSubnet";
        let argument = |name: &str| {
            let arguments = &cluster.controller_manager.extra_args;
            arguments
                .iter()
                .rfind(|arg| arg.name == name)
                .map(|arg| arg.value.as_str())
        };
        let pods = subnets(&networking.pod_subnet, 10, path, errors);
        if argument("allocate-node-cidrs") == Some("false") {
            return;
        }
        for subnet in pods {
            let (name, default) = if subnet.six {
                ("node-cidr-mask-size-ipv6", 64)
            } else {
                ("node-cidr-mask-size-ipv4", 24)
            };
            let node = match argument(name) {
                None | Some("") => default,
                Some(text) => match text.parse::<u32>() {
                    Ok(mask) => mask,
                    Err(_) => {
                        errors.push(FieldError::invalid(
                            path,
                            &subnet.text,
                            format!("could not parse the value of the kube-controller-manager flag {name} as an integer: strconv.Atoi: parsing {text:?}: invalid syntax"),
                        ));
                        continue;
                    }
                },
            };
            if subnet.length > node {
                errors.push(FieldError::invalid(
                    path,
                    &subnet.text,
                    format!("the size of pod subnet with mask {} is smaller than the size of node subnet with mask {node}", subnet.length),
                ));
            } else if node - subnet.length > 16 {
                errors.push(FieldError::invalid(
                    path,
                    &subnet.text,
                    format!(
                        "pod subnet mask ({}) and node-mask ({node}) difference is greater than 16",
                        subnet.length
                    ),
                ));
            }
        }
    }
}

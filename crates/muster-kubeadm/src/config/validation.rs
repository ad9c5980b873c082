//! What a configuration must not say, in kubeadm's words.
//!
//! Everything that is wrong is told at once. It refuses to know defaults; they are in place when this is asked.

use super::ambient::Ambient;
use super::error::FieldError;
use super::types::{
    ApiEndpoint, Arg, ClusterConfiguration, Discovery, InitConfiguration, InitToken,
    JoinConfiguration, NodeRegistration, ResetConfiguration,
};
use muster_identity::token::is_bootstrap_group;
use muster_identity::{BootstrapToken, Secret};
use muster_machinery::validation::names::dns_subdomain_problems as dns1123_subdomain;
use std::net::{IpAddr, Ipv6Addr};

type Errors = Vec<FieldError>;

/// Everything that is wrong with a join.
pub fn validate_join(join: &JoinConfiguration, ambient: &Ambient) -> Errors {
    let mut errors = Errors::new();
    discovery(&join.discovery, ambient, &mut errors);
    registration(&join.node_registration, &mut errors);
    if let Some(control_plane) = &join.control_plane {
        endpoint(
            &control_plane.local_api_endpoint,
            "controlPlane.localAPIEndpoint",
            &mut errors,
        );
        errors.extend(validate_certificate_key(
            &control_plane.certificate_key,
            "controlPlane.certificateKey",
        ));
    }
    let path = &join.ca_cert_path;
    if !path.starts_with('/') || !path.ends_with(".crt") {
        errors.push(FieldError::invalid(
            "caCertPath",
            path,
            "the ca certificate path must be an absolute path",
        ));
    }
    errors
}

/// Everything that is wrong with a reset.
pub fn validate_reset(reset: &ResetConfiguration) -> Errors {
    let mut errors = Errors::new();
    socket(&reset.cri_socket, "criSocket", &mut errors);
    absolute(&reset.certificates_dir, "certificatesDir", &mut errors);
    for (number, flag) in reset.unmount_flags.iter().enumerate() {
        let known = ["MNT_FORCE", "MNT_DETACH", "MNT_EXPIRE", "UMOUNT_NOFOLLOW"];
        if !known.contains(&flag.as_str()) {
            errors.push(FieldError::invalid(
                "unmountFlags",
                &format!("index {number}"),
                format!("unknown unmount flag {flag}"),
            ));
        }
    }
    errors
}

/// Everything that is wrong with an init and its cluster.
pub fn validate_init(init: &InitConfiguration, cluster: &ClusterConfiguration) -> Errors {
    let mut errors = Errors::new();
    registration(&init.node_registration, &mut errors);
    for (number, token) in init.bootstrap_tokens.iter().enumerate() {
        init_token(token, &format!("bootstrapTokens.{number}"), &mut errors);
    }
    cluster_configuration(cluster, &mut errors);
    endpoint(&init.local_api_endpoint, "localAPIEndpoint", &mut errors);
    errors.extend(validate_certificate_key(
        &init.certificate_key,
        "certificateKey",
    ));
    errors
}

/// The set of checks to ignore, lower-cased and sorted; `all` stands alone.
///
/// # Errors
/// When `all` stands beside others.
pub fn validate_ignored_checks<'a>(
    checks: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<String>, FieldError> {
    let mut names: Vec<String> = checks.into_iter().map(str::to_lowercase).collect();
    names.sort();
    names.dedup();
    if names.len() > 1 && names.iter().any(|name| name == "all") {
        return Err(FieldError::invalid(
            "ignore-preflight-errors",
            &names.join(","),
            "don't specify individual checks if 'all' is used",
        ));
    }
    Ok(names)
}

/// A certificate key is 32 bytes in hexadecimal digits, or empty.
pub fn validate_certificate_key(key: &Secret<String>, path: &str) -> Option<FieldError> {
    let text = key.expose();
    if text.is_empty() {
        return None;
    }
    let odd = text.bytes().find(|byte| !byte.is_ascii_hexdigit());
    // The key is a secret, also a wrong one: it is not repeated.
    let detail = match odd {
        Some(byte) => format!(
            "certificate key decoding error: encoding/hex: invalid byte: U+{byte:04X} {:?}",
            char::from(byte)
        ),
        None if text.len() % 2 == 1 => {
            "certificate key decoding error: encoding/hex: odd length hex string".to_owned()
        }
        None if text.len() != 64 => format!(
            "invalid certificate key size {}, the key must be an AES key of size 32",
            text.len() / 2
        ),
        None => return None,
    };
    Some(FieldError::invalid(path, "***", detail))
}

fn registration(node: &NodeRegistration, errors: &mut Errors) {
    if node.name.is_empty() {
        errors.push(FieldError::required(
            "nodeRegistration",
            "--node-name or .nodeRegistration.name in the config file is a required value. It seems like this value couldn't be automatically detected in your environment, please specify the desired value using the CLI or config file.",
        ));
    } else {
        for detail in dns1123_subdomain(&node.name) {
            errors.push(FieldError::invalid(
                "nodeRegistration.name",
                &node.name,
                detail,
            ));
        }
    }
    socket(&node.cri_socket, "nodeRegistration.criSocket", errors);
    arguments(
        &node.kubelet_extra_args,
        "nodeRegistration.kubeletExtraArgs",
        errors,
    );
    pull_policy(
        &node.image_pull_policy,
        "nodeRegistration.imagePullPolicy",
        errors,
    );
}

pub(super) fn pull_policy(policy: &str, path: &str, errors: &mut Errors) {
    if !["", "Always", "IfNotPresent", "Never"].contains(&policy) {
        errors.push(FieldError::invalid(path, policy, "invalid pull policy"));
    }
}

fn socket(socket: &str, path: &str, errors: &mut Errors) {
    if socket.is_empty() {
        errors.push(FieldError::invalid(path, socket, "empty CRI socket"));
        return;
    }
    let scheme = socket.split_once(':').map_or("", |(scheme, _)| scheme);
    if scheme != "unix" {
        errors.push(FieldError::invalid(
            path,
            socket,
            format!("only URL scheme \"unix\" is supported, got {scheme:?}"),
        ));
    }
}

fn arguments(arguments: &[Arg], path: &str, errors: &mut Errors) {
    for (number, argument) in arguments.iter().enumerate() {
        if argument.name.is_empty() {
            errors.push(FieldError::invalid(
                path,
                &format!("index {number}"),
                "argument has no name",
            ));
        }
    }
}

fn discovery(discovery: &Discovery, ambient: &Ambient, errors: &mut Errors) {
    match (&discovery.bootstrap_token, &discovery.file) {
        (None, None) => errors.push(FieldError::invalid(
            "discovery",
            "",
            "bootstrapToken or file must be set",
        )),
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            "discovery",
            "",
            "bootstrapToken and file cannot both be set",
        )),
        _ => {}
    }
    let tls = &discovery.tls_bootstrap_token;
    if let Some(own) = &discovery.bootstrap_token {
        let path = "discovery.bootstrapToken";
        if own.api_server_endpoint.is_empty() {
            errors.push(FieldError::required(path, "APIServerEndpoint is not set"));
        }
        if own.ca_cert_hashes.is_empty() && !own.unsafe_skip_ca_verification {
            errors.push(FieldError::invalid(
                format!("{path}.caCertHashes"),
                "",
                "using token-based discovery without caCertHashes can be unsafe. Set unsafeSkipCAVerification as true in your kubeadm config file or pass --discovery-token-unsafe-skip-ca-verification flag to continue",
            ));
        }
        token(&own.token, &format!("{path}.token"), errors);
        if let Err(detail) = split_host_port(&own.api_server_endpoint) {
            errors.push(FieldError::invalid(
                format!("{path}.apiServerEndpoint"),
                &own.api_server_endpoint,
                detail,
            ));
        }
        token(tls, "discovery.tlsBootstrapToken", errors);
    }
    if let Some(file) = &discovery.file {
        let path = "discovery.file.kubeConfigPath";
        let place = &file.kube_config_path;
        match place.split_once("://") {
            Some(("https", _)) => {}
            Some(_) => errors.push(FieldError::invalid(
                path,
                place,
                "if a URL is used, the scheme must be https",
            )),
            None if !(ambient.file_exists)(place) => errors.push(FieldError::invalid(
                path,
                place,
                "not a valid HTTPS URL or a file on disk",
            )),
            None => {}
        }
        if !tls.expose().is_empty() {
            token(tls, "discovery.tlsBootstrapToken", errors);
        }
    }
}

/// A wrong token may be a right one with a typing error: its secret part is not repeated.
fn token(text: &Secret<String>, path: &str, errors: &mut Errors) {
    if BootstrapToken::parse(text.expose()).is_err() {
        let shown = match text.expose().split_once('.') {
            Some((id, _)) => format!("{id}.***"),
            None => text.expose().clone(),
        };
        errors.push(FieldError::invalid(
            path,
            &shown,
            "the bootstrap token is invalid",
        ));
    }
}

fn init_token(own: &InitToken, path: &str, errors: &mut Errors) {
    token(&own.token, &format!("{path}.token"), errors);
    let known = ["signing", "authentication"];
    let unknown: Vec<&str> = own
        .usages
        .iter()
        .map(String::as_str)
        .filter(|usage| !known.contains(usage))
        .collect();
    if !unknown.is_empty() {
        errors.push(FieldError::invalid_plain(
            format!("{path}.usages"),
            go_list(&own.usages),
            format!(
                "invalid bootstrap token usage string: {}, valid usage options: {}",
                unknown.join(","),
                "authentication,signing"
            ),
        ));
    }
    let groups = format!("{path}.groups");
    if !own.groups.is_empty() && !own.usages.iter().any(|usage| usage == "authentication") {
        errors.push(FieldError::invalid_plain(
            &groups,
            go_list(&own.groups),
            "token groups cannot be specified unless --usages includes \"authentication\"",
        ));
    }
    for group in own.groups.iter().filter(|group| !is_bootstrap_group(group)) {
        errors.push(FieldError::invalid_plain(
            &groups,
            go_list(&own.groups),
            format!(
                "bootstrap group {group:?} is invalid (must match \\Asystem:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]\\z)"
            ),
        ));
    }
    if own.expires.is_some() && own.ttl.is_some() {
        errors.push(FieldError::invalid(
            path,
            "",
            "the BootstrapToken .TTL and .Expires fields are mutually exclusive",
        ));
    }
}

fn go_list(items: &[String]) -> String {
    serde_json::to_string(items).unwrap_or_default()
}

fn endpoint(endpoint: &ApiEndpoint, path: &str, errors: &mut Errors) {
    if !is_ip_sloppy(&endpoint.advertise_address) {
        errors.push(FieldError::invalid(
            format!("{path}.advertiseAddress"),
            &endpoint.advertise_address,
            "ip address is not valid",
        ));
    }
    if !(1..=65535).contains(&endpoint.bind_port) {
        errors.push(FieldError::invalid_plain(
            format!("{path}.bindPort"),
            endpoint.bind_port,
            "port number is not valid",
        ));
    }
}

/// An IP address; as in older Go versions IPv4 parts may have leading zeros.
pub fn is_ip_sloppy(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|part| {
            !part.is_empty()
                && part.len() <= 8
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && part.trim_start_matches('0').parse::<u32>().unwrap_or(0) < 256
        })
}

/// Go's `net.SplitHostPort`: what is wrong with an address.
fn split_host_port(address: &str) -> Result<(), String> {
    let error = |what: &str| format!("address {address}: {what}");
    let missing = if address.is_empty() {
        "missing port in address".to_owned()
    } else {
        error("missing port in address")
    };
    let Some(colon) = address.rfind(':') else {
        return Err(missing);
    };
    if let Some(rest) = address.strip_prefix('[') {
        let Some(end) = rest.find(']').map(|end| end + 1) else {
            return Err(error("missing ']' in address"));
        };
        return match end + 1 {
            next if next == colon => Ok(()),
            next if next == address.len() => Err(missing),
            _ => Err(error("too many colons in address")),
        };
    }
    if address[..colon].contains(':') {
        return Err(error("too many colons in address"));
    }
    Ok(())
}

/// Whether `HOST[:PORT]` has its port.
pub(super) fn has_port(endpoint: &str) -> bool {
    endpoint.parse::<Ipv6Addr>().is_err() && split_host_port(endpoint).is_ok()
}

fn host_port(endpoint: &str, path: &str, errors: &mut Errors) {
    if endpoint.is_empty() {
        return;
    }
    let (host, port) = match endpoint.parse::<Ipv6Addr>() {
        Ok(_) => (endpoint, None),
        Err(_) => match endpoint.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (endpoint, None),
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host_is_fine = host.parse::<IpAddr>().is_ok() || dns1123_subdomain(host).is_empty();
    let port_is_fine = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !host_is_fine || !port_is_fine {
        errors.push(FieldError::invalid(path, endpoint, "endpoint is not valid"));
    }
}

fn absolute(path: &str, field: &str, errors: &mut Errors) {
    if !path.starts_with('/') {
        errors.push(FieldError::invalid(field, path, "path is not absolute"));
    }
}

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

fn cluster_configuration(cluster: &ClusterConfiguration, errors: &mut Errors) {
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

//! What a configuration must not say, in kubeadm's words.
//!
//! Everything that is wrong is told at once. It refuses to know defaults; they are in place when this is asked.

mod cluster;

use super::ambient::Ambient;
use super::error::FieldError;
use super::types::{
    ApiEndpoint, Arg, ClusterConfiguration, Discovery, InitConfiguration, InitToken,
    JoinConfiguration, NodeRegistration, ResetConfiguration,
};
use cluster::cluster_configuration;
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

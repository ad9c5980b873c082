//! What a configuration means where it says nothing.
//!
//! Static defaults come from the API types, the rest from [`Ambient`]. It refuses to look at the machine.

use super::ambient::{Ambient, detect_cri_socket};
use super::error::ConfigError;
use super::images::{KUBERNETES_VERSION, MINIMUM_VERSION, is_version_label, semantic};
use super::types::{
    ApiEndpoint, ClusterConfiguration, Discovery, InitConfiguration, InitToken, JoinConfiguration,
    LocalEtcd, NodeRegistration, NodeTaint, ResetConfiguration, Span, Timeouts,
};
use muster_identity::{BootstrapToken, Secret};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const CA_CERT_PATH: &str = "/etc/kubernetes/pki/ca.crt";
const CERTIFICATES_DIR: &str = "/etc/kubernetes/pki";
const GROUP_OF_JOINERS: &str = "system:bootstrappers:kubeadm:default-node-token";
const SERVICE_SUBNET: &str = "10.96.0.0/12";

fn fill(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

/// Every timeout that is left open.
pub(super) fn timeouts(timeouts: &mut Timeouts) {
    let or = |slot: &mut Option<Span>, seconds| {
        slot.get_or_insert(Span::from_secs(seconds));
    };
    or(&mut timeouts.control_plane_component_health_check, 240);
    or(&mut timeouts.kubelet_health_check, 240);
    or(&mut timeouts.kubernetes_api_call, 60);
    or(&mut timeouts.etcd_api_call, 120);
    or(&mut timeouts.tls_bootstrap, 300);
    or(&mut timeouts.discovery, 300);
    or(&mut timeouts.upgrade_manifests, 300);
}

/// kubeadm's timeouts.
pub fn default_timeouts() -> Timeouts {
    let mut all = Timeouts::default();
    timeouts(&mut all);
    all
}

fn registration(node: &mut NodeRegistration) {
    fill(&mut node.image_pull_policy, "IfNotPresent");
    node.image_pull_serial.get_or_insert(true);
}

fn endpoint(endpoint: &mut ApiEndpoint) {
    if endpoint.bind_port == 0 {
        endpoint.bind_port = 6443;
    }
}

fn discovery(discovery: &mut Discovery) {
    if let (true, Some(token)) = (
        discovery.tls_bootstrap_token.expose().is_empty(),
        &discovery.bootstrap_token,
    ) {
        discovery.tls_bootstrap_token = token.token.clone();
    }
    if let Some(file) = &mut discovery.file
        && let Some(path) = file.kube_config_path.strip_prefix("file://")
    {
        // The host part of a file URL is empty or localhost; the path begins at the next slash.
        let path = path.find('/').map_or("", |start| &path[start..]);
        file.kube_config_path = path.to_owned();
    }
}

pub(super) fn join_static(join: &mut JoinConfiguration) {
    fill(&mut join.ca_cert_path, CA_CERT_PATH);
    if let Some(control_plane) = &mut join.control_plane {
        endpoint(&mut control_plane.local_api_endpoint);
    }
    discovery(&mut join.discovery);
    registration(&mut join.node_registration);
    timeouts(&mut join.timeouts);
}

pub(super) fn init_static(init: &mut InitConfiguration) {
    if init.bootstrap_tokens.is_empty() {
        init.bootstrap_tokens.push(InitToken::default());
    }
    for token in &mut init.bootstrap_tokens {
        token_static(token);
    }
    endpoint(&mut init.local_api_endpoint);
    registration(&mut init.node_registration);
    timeouts(&mut init.timeouts);
}

pub(super) fn token_static(token: &mut InitToken) {
    if token.ttl.is_none() && token.expires.is_none() {
        token.ttl = Some(Span::from_secs(24 * 3600));
    }
    if token.usages.is_empty() {
        token.usages = ["signing", "authentication"].map(str::to_owned).into();
    }
    if token.groups.is_empty() {
        token.groups.push(GROUP_OF_JOINERS.to_owned());
    }
}

pub(super) fn cluster_static(cluster: &mut ClusterConfiguration) {
    fill(&mut cluster.kubernetes_version, "stable-1");
    fill(&mut cluster.networking.service_subnet, SERVICE_SUBNET);
    fill(&mut cluster.networking.dns_domain, "cluster.local");
    fill(&mut cluster.certificates_dir, CERTIFICATES_DIR);
    fill(&mut cluster.image_repository, super::IMAGE_REPOSITORY);
    fill(&mut cluster.cluster_name, "kubernetes");
    fill(&mut cluster.encryption_algorithm, "RSA-2048");
    let year = 365 * 24 * 3600;
    cluster
        .certificate_validity_period
        .get_or_insert_with(|| Span::from_secs(year));
    cluster
        .ca_certificate_validity_period
        .get_or_insert_with(|| Span::from_secs(10 * year));
    if cluster.etcd.local.is_none() && cluster.etcd.external.is_none() {
        cluster.etcd.local = Some(LocalEtcd::default());
    }
    if let Some(local) = &mut cluster.etcd.local {
        fill(&mut local.data_dir, "/var/lib/etcd");
    }
    if let Some(external) = &mut cluster.etcd.external
        && external.http_endpoints.is_empty()
    {
        external.http_endpoints.clone_from(&external.endpoints);
    }
}

pub(super) fn reset_static(reset: &mut ResetConfiguration) {
    fill(&mut reset.certificates_dir, CERTIFICATES_DIR);
    timeouts(&mut reset.timeouts);
}

fn node_name(name: &mut String, ambient: &Ambient) -> Result<(), ConfigError> {
    let source = if name.is_empty() {
        &ambient.hostname
    } else {
        &*name
    };
    let lower = source.trim().to_lowercase();
    if lower.is_empty() {
        return Err(ConfigError::NoDefault {
            text: "empty hostname is invalid".into(),
        });
    }
    *name = lower;
    Ok(())
}

fn cri_socket(
    socket: &mut String,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    if socket.is_empty() {
        *socket = detect_cri_socket(&ambient.cri_sockets)?;
    } else if !socket.starts_with("unix") {
        warnings.push(format!(
            "Usage of CRI endpoints without URL scheme is deprecated and can cause kubelet errors in the future. Automatically prepending scheme \"unix\" to the \"criSocket\" with value {socket:?}. Please update your configuration!"
        ));
        *socket = format!("unix://{socket}");
    }
    Ok(())
}

fn node_dynamic(
    node: &mut NodeRegistration,
    control_plane: bool,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    node_name(&mut node.name, ambient)?;
    if control_plane && node.taints.is_none() {
        node.taints = Some(vec![NodeTaint::control_plane()]);
    }
    cri_socket(&mut node.cri_socket, ambient, warnings)
}

fn endpoint_dynamic(
    endpoint: &mut ApiEndpoint,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let given: Option<IpAddr> = endpoint.advertise_address.parse().ok();
    if given.is_none() && !endpoint.advertise_address.is_empty() {
        return Err(ConfigError::NoDefault {
            text: format!(
                "couldn't use {:?} as \"apiserver-advertise-address\", must be ipv4 or ipv6 address",
                endpoint.advertise_address
            ),
        });
    }
    let address = match given {
        Some(address) if address.is_loopback() => ambient.loopback_address.ok_or_else(|| {
            ConfigError::NoDefault {
                text: "unable to resolve link-local addresses".into(),
            }
        })?,
        Some(address) if !address.is_unspecified() => address,
        _ => ambient.advertise_address.unwrap_or_else(|| {
            let none = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            warnings.push(format!(
                "WARNING: could not obtain a bind address for the API Server: no default routes found in \"/proc/net/route\" or \"/proc/net/ipv6_route\"; using: {none}"
            ));
            none
        }),
    };
    endpoint.advertise_address = address.to_string();
    Ok(())
}

pub(super) fn join_dynamic(
    join: &mut JoinConfiguration,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    node_dynamic(
        &mut join.node_registration,
        join.control_plane.is_some(),
        ambient,
        warnings,
    )?;
    match &mut join.control_plane {
        Some(control_plane) => {
            endpoint_dynamic(&mut control_plane.local_api_endpoint, ambient, warnings)
        }
        None => Ok(()),
    }
}

pub(super) fn reset_dynamic(
    reset: &mut ResetConfiguration,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    cri_socket(&mut reset.cri_socket, ambient, warnings)
}

pub(super) fn init_dynamic(
    init: &mut InitConfiguration,
    cluster: &mut ClusterConfiguration,
    ambient: &Ambient,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for token in &mut init.bootstrap_tokens {
        if token.token.expose().is_empty() {
            let mut entropy = ambient.entropy;
            let random: Secret<String> = BootstrapToken::generate(&mut entropy).to_text();
            token.token = random;
        }
    }
    node_dynamic(&mut init.node_registration, true, ambient, warnings)?;
    endpoint_dynamic(&mut init.local_api_endpoint, ambient, warnings)?;
    version(cluster, warnings)?;
    let endpoint = &mut cluster.control_plane_endpoint;
    if !endpoint.is_empty() && !super::validation::has_port(endpoint) {
        let host = match endpoint.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => endpoint.clone(),
        };
        *endpoint = format!("{host}:{}", init.local_api_endpoint.bind_port);
    }
    for name in &mut cluster.api_server.cert_sans {
        *name = name.to_lowercase();
    }
    Ok(())
}

/// A label such as `stable-1` becomes this release: the network is never asked.
fn version(
    cluster: &mut ClusterConfiguration,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    if is_version_label(&cluster.kubernetes_version) {
        if cluster.kubernetes_version != "stable-1" {
            warnings.push(format!(
                "the version label {:?} is not looked up in the internet; using the version of this program: {KUBERNETES_VERSION}",
                cluster.kubernetes_version
            ));
        }
        cluster.kubernetes_version = KUBERNETES_VERSION.to_owned();
    }
    let named = &cluster.kubernetes_version;
    let Some(parsed) = semantic(named) else {
        return Err(ConfigError::NoDefault {
            text: format!(
                "version {named:?} doesn't match patterns for neither semantic version nor labels (stable, latest, ...)"
            ),
        });
    };
    if semantic(MINIMUM_VERSION).is_some_and(|minimum| parsed < minimum) {
        return Err(ConfigError::NoDefault {
            text: format!(
                "this version of kubeadm only supports deploying clusters with the control plane version >= {MINIMUM_VERSION}. Current version: {named}"
            ),
        });
    }
    if !cluster.kubernetes_version.starts_with('v') {
        cluster.kubernetes_version.insert(0, 'v');
    }
    Ok(())
}

/// The tenth address of a subnet: the cluster's DNS.
fn dns_address(subnet: &str) -> Option<String> {
    let first = subnet.split(',').next()?;
    let (address, length) = first.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    match address.trim().parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32_u32.checked_sub(length)?)
                .unwrap_or(0);
            Some(Ipv4Addr::from((u32::from(address) & mask).checked_add(10)?).to_string())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.checked_sub(length)?)
                .unwrap_or(0);
            let tenth = (u128::from(address) & mask).checked_add(10)?;
            Some(std::net::Ipv6Addr::from(tenth).to_string())
        }
    }
}

/// The kubelet configuration that a cluster publishes: what was given, and kubeadm's values for the rest.
pub fn kubelet_component_config(cluster: &ClusterConfiguration, given: Option<&Value>) -> Value {
    let mut config = super::print::template(super::ComponentConfig::Kubelet);
    let networking = &cluster.networking;
    let dns = dns_address(&networking.service_subnet).unwrap_or_else(|| "10.96.0.10".to_owned());
    config["clusterDNS"] = json!([dns]);
    if !networking.dns_domain.is_empty() {
        config["clusterDomain"] = json!(networking.dns_domain);
    }
    if !cluster.certificates_dir.is_empty() {
        let ca = format!("{}/ca.crt", cluster.certificates_dir.trim_end_matches('/'));
        config["authentication"]["x509"]["clientCAFile"] = json!(ca);
    }
    if let Some(given) = given {
        overlay(&mut config, given);
    }
    config["rotateCertificates"] = json!(true);
    config
}

fn overlay(base: &mut Value, given: &Value) {
    match (base, given) {
        (Value::Object(base), Value::Object(given)) => {
            for (key, value) in given {
                match base.get_mut(key) {
                    Some(slot) => overlay(slot, value),
                    None => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (_, Value::Null) => {}
        (base, given) => *base = given.clone(),
    }
}

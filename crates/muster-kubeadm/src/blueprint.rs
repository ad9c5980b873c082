//! What a control-plane node is made of: the part of a ClusterConfiguration that its files follow from, and the node's
//! own name and address.
//!
//! Read from the ConfigMap kube-system/kubeadm-config (`kubeadm.k8s.io/v1beta4`, `v1beta3`) with kubeadm 1.36's
//! defaults; fields that no file of a control plane follows from are not looked at. It refuses to know where files go
//! and who asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::SignedDuration;
use muster_identity::GoDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ClusterConfiguration;
use crate::key_algorithm::KeyAlgorithm;

/// Largest ClusterConfiguration that is read, in bytes; a ConfigMap's own limit.
const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 32;
/// The API versions that are read.
const VERSIONS: [&str; 2] = ["kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1beta3"];

/// Everything that the files of a control-plane node follow from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// The cluster's part.
    pub cluster: ClusterBlueprint,
    /// The node's part.
    pub node: ControlPlaneNode,
}

/// The node's part of a blueprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneNode {
    /// The Node's name.
    pub name: String,
    /// The address that API server and etcd announce (`localAPIEndpoint.advertiseAddress`).
    pub advertise_address: IpAddr,
    /// The port of its API server (`localAPIEndpoint.bindPort`).
    pub bind_port: u16,
    /// How long a component may take to become healthy, in seconds
    /// (`timeouts.controlPlaneComponentHealthCheck`); kubeadm's default is 240.
    pub component_seconds: u32,
    /// Proxy variables of the environment, handed to the components: name and value.
    pub proxies: BTreeMap<String, String>,
    /// Directories with CA certificates that exist on the machine, of [`CA_DIRS`].
    pub ca_dirs: Vec<String>,
}

/// Directories that `/etc/ssl/certs` may point into and that are mounted into components where they exist.
pub const CA_DIRS: [&str; 5] = [
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// The cluster's part of a blueprint: a ClusterConfiguration with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterBlueprint {
    /// Such as `v1.36.2`.
    pub kubernetes_version: String,
    /// The cluster's name in kubeconfigs.
    pub cluster_name: String,
    /// Where the cluster's CA and keys are.
    pub certificates_dir: String,
    /// Where images come from.
    pub image_repository: String,
    /// The address of the control plane as a whole, `HOST:PORT` or `HOST`; empty when there is none, and then no
    /// second control-plane node can join.
    pub control_plane_endpoint: String,
    /// Addresses of services, one CIDR or two with a comma.
    pub service_subnet: String,
    /// Addresses of pods; may be empty.
    pub pod_subnet: String,
    /// The DNS domain of services.
    pub dns_domain: String,
    /// Further settings of the API server.
    pub api_server: Component,
    /// Further settings of the controller manager.
    pub controller_manager: Component,
    /// Further settings of the scheduler.
    pub scheduler: Component,
    /// Where the data is.
    pub etcd: Etcd,
    /// Which keys are made.
    pub key_algorithm: KeyAlgorithm,
    /// How long leaf certificates are valid.
    pub certificate_validity: SignedDuration,
    /// How long CA certificates are valid.
    pub ca_validity: SignedDuration,
    /// kubeadm's feature gates that were set.
    pub feature_gates: BTreeMap<String, bool>,
}

/// Further settings of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Arguments without leading dashes, in order; a repeated name is given repeatedly.
    pub extra_args: Vec<(String, String)>,
    /// Further host paths.
    pub extra_volumes: Vec<HostPathMount>,
    /// Further environment, as `EnvVar` objects of core/v1.
    pub extra_envs: Vec<Value>,
    /// Further names of the API server's certificate.
    pub cert_sans: Vec<String>,
}

/// A host path in a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HostPathMount {
    /// The volume's name.
    pub name: String,
    /// On the machine.
    pub host_path: String,
    /// In the component.
    pub mount_path: String,
    /// Whether it may not be written.
    pub read_only: bool,
    /// `HostPathType` of core/v1; may be empty.
    pub path_type: String,
}

/// Where a cluster's data is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Etcd {
    /// In etcd on the control-plane nodes themselves.
    Local(LocalEtcd),
    /// In etcd elsewhere.
    External(ExternalEtcd),
}

/// etcd on the control-plane nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEtcd {
    /// Where it keeps its data.
    pub data_dir: String,
    /// Arguments without leading dashes.
    pub extra_args: Vec<(String, String)>,
    /// Further environment, as `EnvVar` objects of core/v1.
    pub extra_envs: Vec<Value>,
    /// Further names of its server certificate.
    pub server_cert_sans: Vec<String>,
    /// Further names of its peer certificate.
    pub peer_cert_sans: Vec<String>,
    /// Where its image comes from, if not from the usual place.
    pub image_repository: String,
    /// Its image's tag, if not the usual one.
    pub image_tag: String,
}

/// etcd elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExternalEtcd {
    /// Its URLs.
    pub endpoints: Vec<String>,
    /// The file of its CA; may be empty.
    pub ca_file: String,
    /// The file of the client certificate; may be empty.
    pub cert_file: String,
    /// The file of the client key; may be empty.
    pub key_file: String,
}

/// Why a ClusterConfiguration cannot be used. An administrator must mend the ConfigMap kube-system/kubeadm-config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlueprintError {
    /// It is too large to be one.
    #[error("the ClusterConfiguration has {bytes} bytes, more than any should")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not YAML of that shape.
    #[error("the ClusterConfiguration cannot be read: {reason}")]
    Malformed {
        /// Where and why, without the text itself.
        reason: String,
    },
    /// It is of another kind or version.
    #[error("{found} is not a ClusterConfiguration of kubeadm.k8s.io/v1beta4 or v1beta3")]
    Kind {
        /// apiVersion and kind as found.
        found: String,
    },
    /// A field holds what it may not.
    #[error("{field} of the ClusterConfiguration cannot be used: {value:?}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds, cut after 128 characters.
        value: String,
    },
}

fn field(field: &'static str, value: &str) -> BlueprintError {
    BlueprintError::Field {
        field,
        value: value.chars().take(128).collect(),
    }
}

impl ClusterBlueprint {
    /// Reads the value of `ClusterConfiguration` in the ConfigMap kube-system/kubeadm-config.
    ///
    /// # Errors
    /// [`BlueprintError`].
    pub fn parse(text: &str) -> Result<Self, BlueprintError> {
        if text.len() > MAX_BYTES {
            return Err(BlueprintError::TooLarge { bytes: text.len() });
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: MAX_DEPTH,
                max_documents: 1,
                max_aliases: 64,
                max_nodes: 50_000,
            },
            legacy_octal_numbers: true,
            with_snippet: false,
        };
        let document: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| malformed(&error))?;
        Self::from_value(&document)
    }

    /// Takes a ClusterConfiguration that was read already, with or without its defaults.
    ///
    /// # Errors
    /// [`BlueprintError`].
    pub fn from_value(document: &Value) -> Result<Self, BlueprintError> {
        let text = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (version, kind) = (text("apiVersion"), text("kind"));
        if kind != "ClusterConfiguration" || !VERSIONS.contains(&version) {
            return Err(BlueprintError::Kind {
                found: format!("{version} {kind}").chars().take(128).collect(),
            });
        }
        let document: Document =
            serde_json::from_value(document.clone()).map_err(|error| malformed(&error))?;
        document.try_into()
    }

    /// Takes a configuration that was read by [`crate::config`].
    ///
    /// # Errors
    /// [`BlueprintError`].
    pub fn of(configuration: &ClusterConfiguration) -> Result<Self, BlueprintError> {
        let mut document =
            serde_json::to_value(configuration).map_err(|error| malformed(&error))?;
        document["apiVersion"] = Value::from(VERSIONS[0]);
        document["kind"] = Value::from("ClusterConfiguration");
        Self::from_value(&document)
    }

    /// Whether etcd runs on the control-plane nodes.
    #[must_use]
    pub fn is_stacked(&self) -> bool {
        matches!(self.etcd, Etcd::Local(_))
    }

    /// A path below the directory of certificates.
    #[must_use]
    pub fn certificate_path(&self, name: &str) -> String {
        format!("{}/{name}", self.certificates_dir.trim_end_matches('/'))
    }

    /// The control plane's URL in `admin.conf`: its endpoint, with the node's own port where it names none.
    #[must_use]
    pub fn server(&self, node: &ControlPlaneNode) -> String {
        let endpoint = self.control_plane_endpoint.as_str();
        if endpoint.is_empty() {
            return node.url();
        }
        match muster_identity::Endpoint::parse_with_default_port(endpoint, node.bind_port) {
            Ok(endpoint) => endpoint.url(),
            Err(_) => format!("https://{endpoint}"),
        }
    }
}

impl ControlPlaneNode {
    /// The URL of its own API server.
    #[must_use]
    pub fn url(&self) -> String {
        url("https", self.advertise_address, self.bind_port)
    }

    /// The URL on which its etcd answers clients.
    #[must_use]
    pub fn etcd_client_url(&self) -> String {
        url("https", self.advertise_address, ETCD_CLIENT_PORT)
    }

    /// The URL on which its etcd answers its peers: its identity in the cluster of etcds.
    #[must_use]
    pub fn etcd_peer_url(&self) -> String {
        url("https", self.advertise_address, ETCD_PEER_PORT)
    }

    /// The loopback address of the same family.
    #[must_use]
    pub fn loopback(&self) -> IpAddr {
        match self.advertise_address {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// etcd's port for clients.
pub const ETCD_CLIENT_PORT: u16 = 2379;
/// etcd's port for its peers.
pub const ETCD_PEER_PORT: u16 = 2380;
/// etcd's port for health and metrics.
pub const ETCD_METRICS_PORT: u16 = 2381;
/// The controller manager's port.
pub const CONTROLLER_MANAGER_PORT: u16 = 10257;
/// The scheduler's port.
pub const SCHEDULER_PORT: u16 = 10259;

pub(crate) fn url(scheme: &str, address: IpAddr, port: u16) -> String {
    format!("{scheme}://{}", std::net::SocketAddr::new(address, port))
}

fn malformed(error: &dyn std::fmt::Display) -> BlueprintError {
    BlueprintError::Malformed {
        reason: error.to_string().chars().take(256).collect(),
    }
}

/// The document as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    kubernetes_version: String,
    cluster_name: String,
    certificates_dir: String,
    image_repository: String,
    control_plane_endpoint: String,
    networking: Networking,
    api_server: ComponentDocument,
    controller_manager: ComponentDocument,
    scheduler: ComponentDocument,
    etcd: EtcdDocument,
    encryption_algorithm: String,
    certificate_validity_period: Option<String>,
    #[serde(rename = "caCertificateValidityPeriod")]
    ca_certificate_validity_period: Option<String>,
    feature_gates: Option<BTreeMap<String, bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    service_subnet: String,
    pod_subnet: String,
    dns_domain: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ComponentDocument {
    extra_args: Option<Args>,
    extra_volumes: Option<Vec<HostPathMount>>,
    extra_envs: Option<Vec<Value>>,
    #[serde(rename = "certSANs")]
    cert_sans: Option<Vec<String>>,
}

/// v1beta4 has a list, v1beta3 a map.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Args {
    List(Vec<Arg>),
    Map(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
struct Arg {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EtcdDocument {
    local: Option<LocalDocument>,
    external: Option<ExternalEtcd>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LocalDocument {
    data_dir: String,
    extra_args: Option<Args>,
    extra_envs: Option<Vec<Value>>,
    #[serde(rename = "serverCertSANs")]
    server_cert_sans: Option<Vec<String>>,
    #[serde(rename = "peerCertSANs")]
    peer_cert_sans: Option<Vec<String>>,
    image_repository: String,
    image_tag: String,
}

fn args(args: Option<Args>) -> Vec<(String, String)> {
    match args {
        None => Vec::new(),
        Some(Args::List(list)) => list.into_iter().map(|arg| (arg.name, arg.value)).collect(),
        Some(Args::Map(map)) => map.into_iter().collect(),
    }
}

fn component(document: ComponentDocument) -> Component {
    Component {
        extra_args: args(document.extra_args),
        extra_volumes: document.extra_volumes.unwrap_or_default(),
        extra_envs: document.extra_envs.unwrap_or_default(),
        cert_sans: document.cert_sans.unwrap_or_default(),
    }
}

fn or_default(value: String, default: &str) -> String {
    if value.is_empty() {
        default.to_owned()
    } else {
        value
    }
}

fn period(
    name: &'static str,
    text: Option<String>,
    default: SignedDuration,
) -> Result<SignedDuration, BlueprintError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(default);
    };
    let parsed = GoDuration::parse(&text).map_err(|_| field(name, &text))?;
    let duration = parsed.to_signed_duration();
    if duration.is_zero() {
        return Ok(default);
    }
    Ok(duration)
}

fn etcd(document: EtcdDocument) -> Etcd {
    if let Some(external) = document.external {
        return Etcd::External(external);
    }
    let local = document.local.unwrap_or_default();
    Etcd::Local(LocalEtcd {
        data_dir: or_default(local.data_dir, "/var/lib/etcd"),
        extra_args: args(local.extra_args),
        extra_envs: local.extra_envs.unwrap_or_default(),
        server_cert_sans: local.server_cert_sans.unwrap_or_default(),
        peer_cert_sans: local.peer_cert_sans.unwrap_or_default(),
        image_repository: local.image_repository,
        image_tag: local.image_tag,
    })
}

impl TryFrom<Document> for ClusterBlueprint {
    type Error = BlueprintError;

    fn try_from(document: Document) -> Result<Self, BlueprintError> {
        let gates = document.feature_gates.unwrap_or_default();
        let key_algorithm = match document.encryption_algorithm.as_str() {
            "" if gates.get("PublicKeysECDSA") == Some(&true) => KeyAlgorithm::EcdsaP256,
            "" => KeyAlgorithm::Rsa2048,
            name => KeyAlgorithm::parse(name).ok_or_else(|| field("encryptionAlgorithm", name))?,
        };
        let certificates_dir = or_default(document.certificates_dir, "/etc/kubernetes/pki");
        if !certificates_dir.starts_with('/')
            || certificates_dir.split('/').any(|part| part == "..")
        {
            return Err(field("certificatesDir", &certificates_dir));
        }
        Ok(Self {
            kubernetes_version: document.kubernetes_version,
            cluster_name: or_default(document.cluster_name, "kubernetes"),
            certificates_dir,
            image_repository: or_default(document.image_repository, "registry.k8s.io"),
            control_plane_endpoint: document.control_plane_endpoint,
            service_subnet: or_default(document.networking.service_subnet, "10.96.0.0/12"),
            pod_subnet: document.networking.pod_subnet,
            dns_domain: or_default(document.networking.dns_domain, "cluster.local"),
            api_server: component(document.api_server),
            controller_manager: component(document.controller_manager),
            scheduler: component(document.scheduler),
            etcd: etcd(document.etcd),
            key_algorithm,
            certificate_validity: period(
                "certificateValidityPeriod",
                document.certificate_validity_period,
                SignedDuration::from_hours(24 * 365),
            )?,
            ca_validity: period(
                "caCertificateValidityPeriod",
                document.ca_certificate_validity_period,
                SignedDuration::from_hours(24 * 365 * 10),
            )?,
            feature_gates: gates,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;

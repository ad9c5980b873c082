//! The kind ClusterConfiguration and what it is made of.
//!
//! It refuses to know nodes and tokens.

use super::{Arg, Span, no};
use serde::{Deserialize, Serialize};

/// A folder of the host in a static pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HostPathMount {
    /// The volume's name.
    pub name: String,
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub mount_path: String,
    /// Not to be written.
    #[serde(skip_serializing_if = "no")]
    pub read_only: bool,
    /// As in `HostPathVolumeSource`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path_type: String,
}

/// A component that runs as a static pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Component {
    /// Further arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<Arg>,
    /// Further folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_volumes: Vec<HostPathMount>,
    /// Further environment variables, as in `core/v1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_envs: Vec<serde_json::Value>,
}

/// The API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiServer {
    /// As every component.
    #[serde(flatten)]
    pub component: Component,
    /// Further names for its certificate.
    #[serde(rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    pub cert_sans: Vec<String>,
}

/// Cluster DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Dns {
    /// Where its image comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_repository: String,
    /// Its image's tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_tag: String,
    /// Not installed.
    #[serde(skip_serializing_if = "no")]
    pub disabled: bool,
}

/// kube-proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// Not installed.
    #[serde(skip_serializing_if = "no")]
    pub disabled: bool,
}

/// The cluster's addresses and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Networking {
    /// Of services.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_subnet: String,
    /// Of pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_subnet: String,
    /// Of services.
    #[serde(rename = "dnsDomain", skip_serializing_if = "String::is_empty")]
    pub dns_domain: String,
}

/// etcd on the control-plane nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalEtcd {
    /// Where its image comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_repository: String,
    /// Its image's tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_tag: String,
    /// Where its data are.
    pub data_dir: String,
    /// Further arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<Arg>,
    /// Further environment variables, as in `core/v1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_envs: Vec<serde_json::Value>,
    /// Further names for its server certificate.
    #[serde(rename = "serverCertSANs", skip_serializing_if = "Vec::is_empty")]
    pub server_cert_sans: Vec<String>,
    /// Further names for its peer certificate.
    #[serde(rename = "peerCertSANs", skip_serializing_if = "Vec::is_empty")]
    pub peer_cert_sans: Vec<String>,
}

/// etcd elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExternalEtcd {
    /// URLs.
    pub endpoints: Vec<String>,
    /// URLs for health and metrics.
    #[serde(rename = "httpEndpoints", skip_serializing_if = "Vec::is_empty")]
    pub http_endpoints: Vec<String>,
    /// Its CA.
    pub ca_file: String,
    /// The API server's certificate for it.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
}

/// Which etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Etcd {
    /// On the control-plane nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalEtcd>,
    /// Elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalEtcd>,
}

/// `ClusterConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterConfiguration {
    /// Which etcd.
    pub etcd: Etcd,
    /// Addresses and names.
    pub networking: Networking,
    /// The control plane's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// The stable address of all control-plane nodes, `HOST[:PORT]`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub control_plane_endpoint: String,
    /// The API server.
    pub api_server: ApiServer,
    /// The controller manager.
    pub controller_manager: Component,
    /// The scheduler.
    pub scheduler: Component,
    /// Cluster DNS.
    pub dns: Dns,
    /// kube-proxy.
    pub proxy: Proxy,
    /// Where the certificates are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificates_dir: String,
    /// Where the images come from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_repository: String,
    /// kubeadm's own feature gates.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub feature_gates: std::collections::BTreeMap<String, bool>,
    /// The cluster's name in kubeconfigs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// `RSA-2048`, `ECDSA-P256` and so on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encryption_algorithm: String,
    /// Life of certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_validity_period: Option<Span>,
    /// Life of CAs.
    #[serde(
        rename = "caCertificateValidityPeriod",
        skip_serializing_if = "Option::is_none"
    )]
    pub ca_certificate_validity_period: Option<Span>,
}

//! The kinds of `kubeadm.k8s.io/v1beta4` as values.
//!
//! Field names, order and what is left out when empty are those of the API types. Tokens and keys are
//! [`Secret`]s: they appear only where a document is written. It refuses to know defaults and rules.

mod cluster;

pub use cluster::*;
use muster_identity::{GoDuration, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// `kubeadm.k8s.io`.
pub const GROUP: &str = "kubeadm.k8s.io";
/// The version that is written.
pub const API_VERSION: &str = "kubeadm.k8s.io/v1beta4";

fn no(flag: &bool) -> bool {
    !flag
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A secret text, written out in documents only.
mod secret_text {
    use super::{Deserialize, Deserializer, Secret, Serializer};

    pub(super) fn serialize<S: Serializer>(
        secret: &Secret<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<String>, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

fn no_secret() -> Secret<String> {
    Secret::new(String::new())
}

fn is_empty_secret(secret: &Secret<String>) -> bool {
    secret.expose().is_empty()
}

/// A `metav1.Duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub GoDuration);

impl Span {
    /// From whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(GoDuration::from_nanos(
            seconds.saturating_mul(1_000_000_000),
        ))
    }

    /// In whole seconds, cut off.
    pub const fn as_secs(self) -> i64 {
        self.0.as_nanos() / 1_000_000_000
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        GoDuration::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

/// One argument of a component; the same name may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arg {
    /// Without leading dashes.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A taint of a Node, as in `core/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeTaint {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// When it was added; only the control plane writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

impl NodeTaint {
    /// The taint that control-plane nodes get.
    pub fn control_plane() -> Self {
        Self {
            key: "node-role.kubernetes.io/control-plane".into(),
            effect: "NoSchedule".into(),
            ..Self::default()
        }
    }
}

/// How a node registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeRegistration {
    /// The Node's name; the host name unless given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The container runtime's socket, `unix://…`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cri_socket: String,
    /// Taints; `None` means the role's own, an empty list none.
    pub taints: Option<Vec<NodeTaint>>,
    /// Further arguments of the kubelet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kubelet_extra_args: Vec<Arg>,
    /// Checks whose errors are only warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_preflight_errors: Vec<String>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_pull_policy: String,
    /// One image after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_serial: Option<bool>,
}

/// A folder of patches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patches {
    /// The folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Timeouts {
    /// A control-plane component's health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_component_health_check: Option<Span>,
    /// The kubelet's health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet_health_check: Option<Span>,
    /// A call of the API.
    #[serde(rename = "kubernetesAPICall", skip_serializing_if = "Option::is_none")]
    pub kubernetes_api_call: Option<Span>,
    /// A call of etcd.
    #[serde(rename = "etcdAPICall", skip_serializing_if = "Option::is_none")]
    pub etcd_api_call: Option<Span>,
    /// The kubelet's certificate.
    #[serde(rename = "tlsBootstrap", skip_serializing_if = "Option::is_none")]
    pub tls_bootstrap: Option<Span>,
    /// Discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Span>,
    /// Static pods during an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_manifests: Option<Span>,
}

/// The address of one API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiEndpoint {
    /// The address that it tells others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advertise_address: String,
    /// Its port.
    #[serde(skip_serializing_if = "is_default")]
    pub bind_port: i32,
}

/// Discovery with a bootstrap token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapTokenDiscovery {
    /// `id.secret`.
    #[serde(default = "no_secret", with = "secret_text")]
    pub token: Secret<String>,
    /// `HOST:PORT`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_server_endpoint: String,
    /// `sha256:HEX`, any number.
    #[serde(
        default,
        rename = "caCertHashes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ca_cert_hashes: Vec<String>,
    /// Trust whoever knows the token.
    #[serde(
        default,
        rename = "unsafeSkipCAVerification",
        skip_serializing_if = "no"
    )]
    pub unsafe_skip_ca_verification: bool,
}

impl Default for BootstrapTokenDiscovery {
    fn default() -> Self {
        Self {
            token: no_secret(),
            api_server_endpoint: String::new(),
            ca_cert_hashes: Vec::new(),
            unsafe_skip_ca_verification: false,
        }
    }
}

/// Discovery with a kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FileDiscovery {
    /// A path or an `https://` URL.
    pub kube_config_path: String,
}

/// How the cluster is found and trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// With a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_token: Option<BootstrapTokenDiscovery>,
    /// With a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileDiscovery>,
    /// The token for the certificate request.
    #[serde(
        default = "no_secret",
        with = "secret_text",
        rename = "tlsBootstrapToken",
        skip_serializing_if = "is_empty_secret"
    )]
    pub tls_bootstrap_token: Secret<String>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            bootstrap_token: None,
            file: None,
            tls_bootstrap_token: no_secret(),
        }
    }
}

/// What a joining control-plane node needs besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinControlPlane {
    /// Its API server.
    #[serde(default, rename = "localAPIEndpoint")]
    pub local_api_endpoint: ApiEndpoint,
    /// Decrypts the shared certificates; 64 hexadecimal digits.
    #[serde(
        default = "no_secret",
        with = "secret_text",
        skip_serializing_if = "is_empty_secret"
    )]
    pub certificate_key: Secret<String>,
}

impl Default for JoinControlPlane {
    fn default() -> Self {
        Self {
            local_api_endpoint: ApiEndpoint::default(),
            certificate_key: no_secret(),
        }
    }
}

/// `JoinConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JoinConfiguration {
    /// Only say what would be done.
    #[serde(skip_serializing_if = "no")]
    pub dry_run: bool,
    /// How the node registers.
    pub node_registration: NodeRegistration,
    /// Where the cluster's CA is written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_cert_path: String,
    /// How the cluster is found.
    pub discovery: Discovery,
    /// A control-plane node, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<JoinControlPlane>,
    /// Phases that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip_phases: Vec<String>,
    /// Patches of what is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches: Option<Patches>,
    /// Limits.
    pub timeouts: Timeouts,
}

/// A bootstrap token that `init` creates, as in `bootstraptoken/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitToken {
    /// `id.secret`; a random one when empty.
    #[serde(default = "no_secret", with = "secret_text")]
    pub token: Secret<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How long it lives; not together with `expires`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// When it ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `signing`, `authentication`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<String>,
    /// Extra groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Default for InitToken {
    fn default() -> Self {
        Self {
            token: no_secret(),
            description: String::new(),
            ttl: None,
            expires: None,
            usages: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// `InitConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitConfiguration {
    /// Tokens to create.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bootstrap_tokens: Vec<InitToken>,
    /// Only say what would be done.
    #[serde(default, skip_serializing_if = "no")]
    pub dry_run: bool,
    /// How the node registers.
    #[serde(default)]
    pub node_registration: NodeRegistration,
    /// Its API server.
    #[serde(default, rename = "localAPIEndpoint")]
    pub local_api_endpoint: ApiEndpoint,
    /// Encrypts the shared certificates.
    #[serde(
        default = "no_secret",
        with = "secret_text",
        skip_serializing_if = "is_empty_secret"
    )]
    pub certificate_key: Secret<String>,
    /// Phases that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_phases: Vec<String>,
    /// Patches of what is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patches: Option<Patches>,
    /// Limits.
    #[serde(default)]
    pub timeouts: Timeouts,
}

impl Default for InitConfiguration {
    fn default() -> Self {
        Self {
            bootstrap_tokens: Vec::new(),
            dry_run: false,
            node_registration: NodeRegistration::default(),
            local_api_endpoint: ApiEndpoint::default(),
            certificate_key: no_secret(),
            skip_phases: Vec::new(),
            patches: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// `ResetConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetConfiguration {
    /// Empty `/etc/kubernetes/tmp`.
    #[serde(skip_serializing_if = "no")]
    pub cleanup_tmp_dir: bool,
    /// Where the certificates are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificates_dir: String,
    /// The container runtime's socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cri_socket: String,
    /// Only say what would be done.
    #[serde(skip_serializing_if = "no")]
    pub dry_run: bool,
    /// Do not ask.
    #[serde(skip_serializing_if = "no")]
    pub force: bool,
    /// Checks whose errors are only warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_preflight_errors: Vec<String>,
    /// Phases that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip_phases: Vec<String>,
    /// `MNT_FORCE`, `MNT_DETACH`, `MNT_EXPIRE`, `UMOUNT_NOFOLLOW`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmount_flags: Vec<String>,
    /// Limits.
    pub timeouts: Timeouts,
}

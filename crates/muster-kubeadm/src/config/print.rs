//! Configurations as kubeadm writes them, and those it prints as examples.
//!
//! It refuses to know where they are written to.

use super::ambient::{Ambient, DEFAULT_CRI_SOCKET};
use super::document::read_yaml;
use super::error::ConfigError;
use super::types::{
    API_VERSION, ApiEndpoint, BootstrapTokenDiscovery, ClusterConfiguration, Discovery,
    InitConfiguration, InitToken, JoinConfiguration, NodeRegistration, ResetConfiguration,
};
use super::{CURRENT_VERSION, defaults, to_yaml};
use muster_identity::Secret;
use serde::Serialize;
use serde_json::{Value, json};

/// The component configurations that stand beside a ClusterConfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentConfig {
    /// `KubeletConfiguration`.
    Kubelet,
    /// `KubeProxyConfiguration`.
    KubeProxy,
}

impl ComponentConfig {
    /// By its kind.
    pub fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "KubeletConfiguration" => Some(Self::Kubelet),
            "KubeProxyConfiguration" => Some(Self::KubeProxy),
            _ => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Kubelet => include_str!("data/kubelet.yaml"),
            Self::KubeProxy => include_str!("data/kubeproxy.yaml"),
        }
    }
}

/// A component's configuration with kubeadm's values.
pub(super) fn template(component: ComponentConfig) -> Value {
    read_yaml(component.text()).unwrap_or_else(|_| json!({}))
}

/// A kind with its version, as a YAML document.
pub(super) fn document(kind: &str, value: &impl Serialize) -> String {
    // The kinds have texts for keys, so that writing them cannot fail.
    let mut value = serde_json::to_value(value).unwrap_or_else(|_| json!({}));
    value["apiVersion"] = json!(API_VERSION);
    value["kind"] = json!(kind);
    to_yaml(&value)
}

impl JoinConfiguration {
    /// As a YAML document. It shows the tokens.
    pub fn to_document(&self) -> String {
        document("JoinConfiguration", self)
    }
}

impl InitConfiguration {
    /// As a YAML document. It shows tokens and key.
    pub fn to_document(&self) -> String {
        document("InitConfiguration", self)
    }
}

impl ClusterConfiguration {
    /// As a YAML document: what the ConfigMap `kubeadm-config` holds.
    pub fn to_document(&self) -> String {
        document("ClusterConfiguration", self)
    }

    /// Reads the ClusterConfiguration that the ConfigMap `kubeadm-config` holds, of either version.
    ///
    /// # Errors
    /// [`ConfigError`] when it is none.
    pub fn from_document(text: &str) -> Result<Self, ConfigError> {
        let documents = super::split(text)?;
        let wanted = documents
            .iter()
            .find(|document| document.kind == "ClusterConfiguration");
        let Some(found) = wanted else {
            return Err(ConfigError::Missing {
                text: "no ClusterConfiguration found in the supplied config".into(),
            });
        };
        super::read::supported(found, false, &mut Vec::new())?;
        let mut value = found.value.clone();
        if found.version == "v1beta3" {
            super::convert::from_v1beta3(&found.kind, &mut value);
        }
        super::read::drop_nulls(&mut value);
        let read = serde_json::from_value(value).map_err(|error| ConfigError::Fields {
            kind: found.go_syntax(),
            reason: error.to_string(),
        });
        let mut cluster: Self = read?;
        defaults::cluster_static(&mut cluster);
        Ok(cluster)
    }
}

/// Not a secret: kubeadm's placeholder.
fn placeholder() -> Secret<String> {
    Secret::new("abcdef.0123456789abcdef".to_owned())
}

fn node(name: &str) -> NodeRegistration {
    NodeRegistration {
        name: name.to_owned(),
        cri_socket: DEFAULT_CRI_SOCKET.to_owned(),
        ..NodeRegistration::default()
    }
}

/// `config print init-defaults`.
pub fn print_init_defaults(components: &[ComponentConfig]) -> String {
    let mut init = InitConfiguration {
        local_api_endpoint: ApiEndpoint {
            advertise_address: "1.2.3.4".to_owned(),
            ..ApiEndpoint::default()
        },
        bootstrap_tokens: vec![InitToken {
            token: placeholder(),
            ..InitToken::default()
        }],
        node_registration: node("node"),
        ..InitConfiguration::default()
    };
    defaults::init_static(&mut init);
    let mut cluster = ClusterConfiguration {
        kubernetes_version: CURRENT_VERSION.to_owned(),
        ..ClusterConfiguration::default()
    };
    defaults::cluster_static(&mut cluster);
    let mut parts = vec![init.to_document(), cluster.to_document()];
    parts.extend(
        components
            .iter()
            .map(|component| component.text().to_owned()),
    );
    parts.join("---\n")
}

/// `config print join-defaults`.
pub fn print_join_defaults(ambient: &Ambient) -> String {
    let mut join = JoinConfiguration {
        discovery: Discovery {
            bootstrap_token: Some(BootstrapTokenDiscovery {
                token: placeholder(),
                api_server_endpoint: "kube-apiserver:6443".to_owned(),
                unsafe_skip_ca_verification: true,
                ..BootstrapTokenDiscovery::default()
            }),
            ..Discovery::default()
        },
        node_registration: node(&ambient.hostname.trim().to_lowercase()),
        ..JoinConfiguration::default()
    };
    defaults::join_static(&mut join);
    join.to_document()
}

/// `config print reset-defaults`.
pub fn print_reset_defaults() -> String {
    let mut reset = ResetConfiguration {
        cri_socket: DEFAULT_CRI_SOCKET.to_owned(),
        ..ResetConfiguration::default()
    };
    defaults::reset_static(&mut reset);
    document("ResetConfiguration", &reset)
}

/// `config print upgrade-defaults`.
pub fn print_upgrade_defaults() -> String {
    let both = json!({
        "certificateRenewal": true,
        "etcdUpgrade": true,
        "imagePullPolicy": "IfNotPresent",
        "imagePullSerial": true,
    });
    let upgrade = json!({
        "apply": both,
        "diff": {},
        "node": both,
        "plan": {"etcdUpgrade": true},
        "timeouts": defaults::default_timeouts(),
    });
    document("UpgradeConfiguration", &upgrade)
}

//! What is asked of a control-plane node, and what follows from the cluster's answers: its blueprint.
//!
//! The certificate key itself is a secret and never comes here; only whether there is one.

use std::net::IpAddr;

use muster_kubeadm::blueprint::{BlueprintError, CA_DIRS};
use muster_kubeadm::pki::ProfileError;
use muster_kubeadm::shared_certs::{Shared, shared_files};
use muster_kubeadm::{Blueprint, ClusterBlueprint, ControlPlaneNode};

use crate::{ClusterAnswers, Facts, Finding, JoinRequest, Taint};

/// The taint that kubeadm gives control-plane nodes.
pub const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane";

/// What is asked of a control-plane node besides what is asked of every node.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPlaneRequest {
    /// The address that its API server and etcd announce; `None` takes the one from which the cluster is reached.
    pub advertise_address: Option<IpAddr>,
    /// The port of its API server.
    pub bind_port: u16,
    /// Whether a certificate key is at hand, so that shared certificates are fetched from the cluster.
    pub has_certificate_key: bool,
    /// The Node's taints; `None` gives it kubeadm's.
    pub taints: Option<Vec<Taint>>,
    /// How long a component may take to become healthy, in seconds.
    pub component_seconds: u32,
    /// How long etcd may take for each change of its members, in seconds.
    pub etcd_seconds: u32,
}

impl Default for ControlPlaneRequest {
    /// kubeadm's defaults.
    fn default() -> Self {
        Self {
            advertise_address: None,
            bind_port: 6443,
            has_certificate_key: false,
            taints: None,
            component_seconds: 240,
            etcd_seconds: 120,
        }
    }
}

impl ControlPlaneRequest {
    /// The Node's taints.
    #[must_use]
    pub fn taints(&self) -> Vec<Taint> {
        self.taints.clone().unwrap_or_else(|| {
            vec![Taint {
                key: CONTROL_PLANE_TAINT.into(),
                value: String::new(),
                effect: "NoSchedule".into(),
            }]
        })
    }
}

/// Why this cluster takes no further control-plane node as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlPlaneError {
    /// The cluster shows no ClusterConfiguration: kubeadm did not make it, or our credential may not read it.
    #[error(
        "the cluster shows no ClusterConfiguration in kube-system/kubeadm-config, which a control-plane node is made from"
    )]
    NoConfiguration,
    /// Its ClusterConfiguration cannot be used.
    #[error("the cluster's ClusterConfiguration cannot be used")]
    Configuration(#[source] BlueprintError),
    /// A certificate's names do not follow from it.
    #[error("the cluster's ClusterConfiguration cannot be used")]
    Names(#[source] ProfileError),
    /// The cluster has no stable address for its whole control plane.
    #[error(
        "the cluster has no controlPlaneEndpoint, the stable address of all its control-plane nodes"
    )]
    NoEndpoint,
    /// It is not known which address the node's API server has.
    #[error(
        "it is not known which address this node's API server announces; give --apiserver-advertise-address"
    )]
    NoAddress,
    /// kubeadm runs the components of this cluster without root, which is not done here.
    #[error("the cluster's feature gate RootlessControlPlane is on, which is not supported")]
    Rootless,
}

impl ControlPlaneError {
    /// What to do now.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoConfiguration => {
                "Join it as a worker, or see that the ConfigMap kube-system/kubeadm-config is there and may be read."
            }
            Self::Configuration(_) | Self::Names(_) => {
                "Mend the ConfigMap kube-system/kubeadm-config on the cluster (`kubeadm init phase upload-config kubeadm`)."
            }
            Self::NoEndpoint => {
                "Set controlPlaneEndpoint in the ConfigMap kube-system/kubeadm-config to an address that leads to all API servers, and see that their certificates are for it."
            }
            Self::NoAddress => "Give the address: --apiserver-advertise-address ADDRESS.",
            Self::Rootless => "Join this node with kubeadm itself, or switch the feature gate off.",
        }
        .to_owned()
    }
}

/// Everything that the files of this node follow from.
///
/// # Errors
/// [`ControlPlaneError`].
pub(crate) fn blueprint(
    facts: &Facts,
    request: &JoinRequest,
    plane: &ControlPlaneRequest,
    answers: &ClusterAnswers,
) -> Result<Blueprint, ControlPlaneError> {
    let text = answers
        .cluster_configuration
        .as_deref()
        .ok_or(ControlPlaneError::NoConfiguration)?;
    let mut cluster = ClusterBlueprint::parse(text).map_err(ControlPlaneError::Configuration)?;
    if cluster.control_plane_endpoint.is_empty() {
        return Err(ControlPlaneError::NoEndpoint);
    }
    if cluster.feature_gates.get("RootlessControlPlane") == Some(&true) {
        return Err(ControlPlaneError::Rootless);
    }
    if cluster.kubernetes_version.is_empty() {
        cluster.kubernetes_version = answers.version.clone().unwrap_or_default();
    }
    let address = plane
        .advertise_address
        .or(answers.local_ip)
        .ok_or(ControlPlaneError::NoAddress)?;
    let node = ControlPlaneNode {
        name: request.node_name.to_string(),
        advertise_address: address,
        bind_port: plane.bind_port,
        component_seconds: plane.component_seconds,
        proxies: facts.proxies.clone(),
        ca_dirs: CA_DIRS
            .iter()
            .filter(|dir| facts.files.contains_key(**dir))
            .map(|dir| (*dir).to_owned())
            .collect(),
    };
    Ok(Blueprint { cluster, node })
}

/// What a control-plane join cannot do without, besides the checks of the machine: the shared certificates, on disk or
/// by their key.
pub(crate) fn findings(
    facts: &Facts,
    plane: &ControlPlaneRequest,
    blueprint: &Blueprint,
) -> Vec<Finding> {
    if plane.has_certificate_key {
        return Vec::new();
    }
    // The keys of authorities may be elsewhere: then all certificates have to be on disk, which steps look at.
    let needed = shared_files(&blueprint.cluster).into_iter().filter(|file| {
        !file.path.is_empty()
            && !matches!(
                file.file,
                Shared::CaKey | Shared::FrontProxyCaKey | Shared::EtcdCaKey
            )
    });
    let missing: Vec<String> = needed
        .filter(|file| !facts.files.contains_key(&file.path))
        .map(|file| file.path)
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![Finding::error(
        "SharedCertificates",
        format!(
            "a control-plane node needs the certificates that all of them share; not on this machine: {}",
            missing.join(", ")
        ),
        "Upload them on a control-plane node with `kubeadm init phase upload-certs --upload-certs` and join with the key that it prints (--certificate-key), or copy the files here.",
    )]
}

/// Paths whose presence a control-plane join wants to know besides [`crate::paths::WATCHED`].
#[must_use]
pub fn control_plane_paths() -> Vec<String> {
    let pki = [
        "ca.crt",
        "ca.key",
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        "sa.pub",
        "sa.key",
        "etcd/ca.crt",
        "etcd/ca.key",
    ];
    let pods = [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "etcd",
    ];
    let mut paths: Vec<String> = CA_DIRS.map(str::to_owned).into();
    paths.extend(pki.map(|name| format!("/etc/kubernetes/pki/{name}")));
    paths.extend(pods.map(|name| format!("/etc/kubernetes/manifests/{name}.yaml")));
    paths.push("/etc/kubernetes/admin.conf".to_owned());
    paths.push("/var/lib/etcd".to_owned());
    paths
}

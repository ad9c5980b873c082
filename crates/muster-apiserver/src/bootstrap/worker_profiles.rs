//! The worker profile `default` as k0s publishes it, so that a join token of k0s leads to a whole configuration here
//! too: a ConfigMap for each minor version of kubelets that this server may have, and who may read them.
//!
//! Formats are those of `pkg/component/controller/workerconfig` of k0s: each value is a JSON text. Refuses to know
//! storage, and what a worker makes of it.

use muster_machinery::KUBERNETES_VERSION;
use serde_json::{Value, json};

use super::objects::{BootstrapSettings, config_map};

/// The profile of a worker that asks for none.
const PROFILE: &str = "default";
const LABEL: &str = "k0s.k0sproject.io/worker-profile";
const PREFIX: &str = "worker-config";
/// A kubelet may be three minor versions older than the API server, and not newer (Kubernetes' version skew policy).
const OLDER_KUBELETS: u16 = 3;
/// Where agents would connect to. Workers of k0s take no profile without a port, whether there are agents or not.
const KONNECTIVITY_PORT: u16 = 8132;
/// Those that k0s allows for TLS 1.2.
const CIPHERS: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Whether a ConfigMap of kube-system is one of these.
pub(super) fn is_worker_profile(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with('-'))
}

/// The ConfigMaps, and the Role by which machines that join and nodes read them.
pub(super) fn objects(settings: &BootstrapSettings) -> Vec<Value> {
    let (major, minor) = own_minor();
    let oldest = minor.saturating_sub(OLDER_KUBELETS);
    let names: Vec<String> = (oldest..=minor)
        .map(|minor| format!("{PREFIX}-{PROFILE}-{major}.{minor}"))
        .collect();
    let data = data(settings);
    let mut objects: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut object = config_map("kube-system", name, &data);
            object["metadata"]["labels"] = json!({LABEL: PROFILE});
            object
        })
        .collect();
    let role = format!("system:bootstrappers:{PREFIX}-{major}.{minor}");
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": role, "namespace": "kube-system"},
        "rules": [{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": names,
            "verbs": ["get", "list", "watch"],
        }],
    }));
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": "kube-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [group("system:bootstrappers"), group("system:nodes")],
    }));
    objects
}

fn data(settings: &BootstrapSettings) -> Value {
    let addresses = settings.advertised.iter().map(ToString::to_string);
    let mut addresses: Vec<String> = addresses.collect();
    if addresses.is_empty() {
        addresses.push(settings.server.to_string());
    }
    json!({
        "apiServerAddresses": json!(addresses).to_string(),
        "konnectivity": json!({"agentPort": KONNECTIVITY_PORT}).to_string(),
        "kubeletConfiguration": kubelet_configuration(settings).to_string(),
    })
}

fn kubelet_configuration(settings: &BootstrapSettings) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {}},
        "authorization": {"mode": "Webhook"},
        "cgroupsPerQOS": true,
        "clusterDNS": [settings.dns_address],
        "clusterDomain": settings.dns_domain,
        "eventRecordQPS": 0,
        "failSwapOn": false,
        "rotateCertificates": true,
        "serverTLSBootstrap": true,
        "tlsCipherSuites": CIPHERS,
        "tlsMinVersion": "VersionTLS12",
    })
}

/// Major and minor of the Kubernetes that this server speaks.
fn own_minor() -> (&'static str, u16) {
    let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let major = parts.next().unwrap_or_default();
    let minor = parts.next().and_then(|minor| minor.parse().ok());
    (major, minor.unwrap_or_default())
}

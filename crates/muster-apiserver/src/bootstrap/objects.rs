//! The objects a kubeadm cluster has after `kubeadm init`, with our values: namespaces, the API server's own
//! service, configuration for joining nodes, priority classes, and the RBAC policy.
//!
//! Refuses to know: storage. Each object is complete except for what the registry adds (uid, times,
//! resourceVersion).

use std::net::{IpAddr, SocketAddr};

use muster_identity::{CertificateBundle, Endpoint, Kubeconfig};
use muster_machinery::KUBERNETES_VERSION;
use serde_json::{Value, json};

use super::{policy, worker_profiles};
use crate::authn::front_proxy;

/// What the objects are made from.
#[derive(Clone, Debug)]
pub struct BootstrapSettings {
    /// The cluster's name, `kubernetes` by default.
    pub cluster_name: String,
    /// The DNS domain of the cluster.
    pub dns_domain: String,
    /// The range of service addresses, `10.96.0.0/12` by default.
    pub service_subnet: String,
    /// The range of pod addresses, `10.244.0.0/16` by default.
    pub pod_subnet: String,
    /// The first address of the service range: the service `default/kubernetes`.
    pub service_address: IpAddr,
    /// The address of cluster DNS, the tenth of the service range.
    pub dns_address: IpAddr,
    /// Where nodes reach the API server; goes into cluster-info.
    pub server: Endpoint,
    /// Addresses the API server is really at; the endpoints of the service `default/kubernetes`.
    pub advertised: Vec<SocketAddr>,
    /// What clients are to trust.
    pub ca: CertificateBundle,
    /// The CAs of proxies that may speak for others.
    pub front_proxy_ca: CertificateBundle,
    /// The day from which uses of tokens that are kept in Secrets are noted, if none is on record yet.
    pub today: jiff::civil::Date,
}

/// Every object of a fresh cluster, in an order in which it can be created: namespaces first.
pub fn default_objects(settings: &BootstrapSettings) -> Vec<Value> {
    let names = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let mut objects: Vec<Value> = names.into_iter().map(namespace).collect();
    objects.extend(policy::objects());
    objects.extend(priority_classes());
    objects.extend(own_service(settings));
    objects.push(service_cidr(settings));
    objects.extend(worker_profiles::objects(settings));
    objects.extend([
        cluster_info(settings),
        kubeadm_config(settings),
        kubelet_config(settings),
        extension_authentication(settings),
        token_tracking(settings),
    ]);
    objects
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn priority_classes() -> [Value; 2] {
    let class = |name: &str, value: i64, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        })
    };
    [
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to \
             another node if necessary.",
        ),
    ]
}

/// The service `default/kubernetes`, its endpoints, and one slice per address family.
fn own_service(settings: &BootstrapSettings) -> Vec<Value> {
    let target = settings
        .advertised
        .first()
        .map_or_else(|| settings.server.port(), SocketAddr::port);
    let address = settings.service_address.to_string();
    let family = |is_v4| if is_v4 { "IPv4" } else { "IPv6" };
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": [family(settings.service_address.is_ipv4())],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": target}],
        },
        "status": {"loadBalancer": {}},
    });
    let mut objects = vec![service, endpoints(&settings.advertised)];
    for is_v4 in [true, false] {
        let of_family: Vec<&SocketAddr> = settings
            .advertised
            .iter()
            .filter(|one| one.is_ipv4() == is_v4)
            .collect();
        if !of_family.is_empty() {
            let primary = settings.service_address.is_ipv4() == is_v4;
            objects.push(endpoint_slice(&of_family, family(is_v4), primary));
        }
    }
    objects
}

/// The range of service addresses as an object, in use from the start.
fn service_cidr(settings: &BootstrapSettings) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [settings.service_subnet]},
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": format!("{}T00:00:00Z", settings.today),
        }]},
    })
}

fn endpoints(advertised: &[SocketAddr]) -> Value {
    let subsets: Vec<Value> = advertised
        .iter()
        .map(|at| {
            json!({
                "addresses": [{"ip": at.ip().to_string()}],
                "ports": [{"name": "https", "protocol": "TCP", "port": at.port()}],
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": subsets,
    })
}

fn endpoint_slice(advertised: &[&SocketAddr], family: &str, primary: bool) -> Value {
    let ready = |at: &&SocketAddr| json!({"addresses": [at.ip().to_string()], "conditions": {"ready": true}});
    let port = advertised.first().map(|at| at.port());
    let name = if primary {
        "kubernetes"
    } else {
        "kubernetes-secondary"
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": advertised.iter().map(ready).collect::<Vec<_>>(),
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    })
}

pub(super) fn config_map(namespace: &str, name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    })
}

/// What a joining machine reads first. The bootstrap signer adds the signatures.
fn cluster_info(settings: &BootstrapSettings) -> Value {
    let kubeconfig = Kubeconfig::for_cluster_info(&settings.server.url(), &settings.ca);
    let data = json!({"kubeconfig": kubeconfig.to_yaml().expose()});
    config_map("kube-public", "cluster-info", &data)
}

/// kubeadm's own record of the cluster, which `kubeadm join` requires (`kubeadm.k8s.io/v1beta4`). The etcd
/// part is a formality of that type: there is none here.
fn kubeadm_config(settings: &BootstrapSettings) -> Value {
    let BootstrapSettings {
        cluster_name,
        dns_domain,
        pod_subnet,
        service_subnet,
        ..
    } = settings;
    let configuration = format!(
        "apiServer: {{}}\n\
         apiVersion: kubeadm.k8s.io/v1beta4\n\
         caCertificateValidityPeriod: 87600h0m0s\n\
         certificateValidityPeriod: 8760h0m0s\n\
         certificatesDir: /etc/kubernetes/pki\n\
         clusterName: {cluster_name}\n\
         controllerManager: {{}}\n\
         dns: {{}}\n\
         encryptionAlgorithm: ECDSA-P256\n\
         etcd:\n\
         \x20 local:\n\
         \x20   dataDir: /var/lib/etcd\n\
         imageRepository: registry.k8s.io\n\
         kind: ClusterConfiguration\n\
         kubernetesVersion: {KUBERNETES_VERSION}\n\
         networking:\n\
         \x20 dnsDomain: {dns_domain}\n\
         \x20 podSubnet: {pod_subnet}\n\
         \x20 serviceSubnet: {service_subnet}\n\
         proxy: {{}}\n\
         scheduler: {{}}\n"
    );
    config_map(
        "kube-system",
        "kubeadm-config",
        &json!({"ClusterConfiguration": configuration}),
    )
}

/// The kubelets' configuration, which `kubeadm join` writes to `/var/lib/kubelet/config.yaml`.
fn kubelet_config(settings: &BootstrapSettings) -> Value {
    let (dns, domain) = (settings.dns_address, &settings.dns_domain);
    let configuration = include_str!("kubelet-config.yaml")
        .replace("CLUSTER_DNS", &dns.to_string())
        .replace("CLUSTER_DOMAIN", domain);
    config_map(
        "kube-system",
        "kubelet-config",
        &json!({"kubelet": configuration}),
    )
}

/// How extension API servers are to authenticate callers: clients by our CA, and those for whom our front proxy
/// speaks by the headers in which it does. Lists are JSON in a string, as upstream has them.
fn extension_authentication(settings: &BootstrapSettings) -> Value {
    let list = |only: &str| json!([only]).to_string();
    let data = json!({
        "client-ca-file": settings.ca.to_pem(),
        "requestheader-allowed-names": list(front_proxy::ALLOWED_NAME),
        "requestheader-client-ca-file": settings.front_proxy_ca.to_pem(),
        "requestheader-extra-headers-prefix": list(front_proxy::EXTRA_PREFIX),
        "requestheader-group-headers": list(front_proxy::GROUP_HEADER),
        "requestheader-uid-headers": list(front_proxy::UID_HEADER),
        "requestheader-username-headers": list(front_proxy::USER_HEADER),
    });
    config_map("kube-system", "extension-apiserver-authentication", &data)
}

/// Since when uses of tokens that are kept in Secrets are noted on them.
fn token_tracking(settings: &BootstrapSettings) -> Value {
    let data = json!({"since": settings.today.to_string()});
    let name = "kube-apiserver-legacy-service-account-token-tracking";
    config_map("kube-system", name, &data)
}

#[cfg(test)]
mod tests;

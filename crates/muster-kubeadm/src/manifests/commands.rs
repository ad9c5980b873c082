//! API server, controller manager and scheduler: their arguments, probes and volumes.

use serde_json::{Map, Value, json};

use super::pod::{Parts, Probes, argument, command, environment, pod, probe_host};
use super::volumes::HostPaths;
use super::{Circumstances, StaticPod};
use crate::blueprint::{
    Blueprint, CONTROLLER_MANAGER_PORT, Component, ETCD_CLIENT_PORT, Etcd, SCHEDULER_PORT, url,
};

/// Where an API server is found by those that look at its pod.
const API_SERVER_ANNOTATION: &str =
    "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint";
const CONTROLLER_MANAGER_CONF: &str = "/etc/kubernetes/controller-manager.conf";
const SCHEDULER_CONF: &str = "/etc/kubernetes/scheduler.conf";
/// The modes that kubeadm knows; others are left out with their word.
const AUTHORIZATION_MODES: [&str; 6] = [
    "Node",
    "RBAC",
    "Webhook",
    "ABAC",
    "AlwaysAllow",
    "AlwaysDeny",
];

fn image(component: StaticPod, blueprint: &Blueprint) -> String {
    let cluster = &blueprint.cluster;
    let tag = cluster.kubernetes_version.replace('+', "_");
    format!("{}/{}:{tag}", cluster.image_repository, component.name())
}

/// The last mention of bind-address, or loopback.
fn bind_address(component: &Component) -> String {
    probe_host(argument(&component.extra_args, "bind-address").unwrap_or("127.0.0.1"))
}

pub(super) fn api_server(blueprint: &Blueprint) -> Value {
    let (cluster, node) = (&blueprint.cluster, &blueprint.node);
    let mut paths = HostPaths::default();
    paths.certificates(blueprint);
    paths.external_etcd(blueprint);
    paths.given(&cluster.api_server);
    let (volumes, volume_mounts) = paths.into_lists();
    let mut annotations = Map::new();
    let endpoint = std::net::SocketAddr::new(node.advertise_address, node.bind_port);
    annotations.insert(
        API_SERVER_ANNOTATION.to_owned(),
        Value::from(endpoint.to_string()),
    );
    pod(Parts {
        name: StaticPod::ApiServer.name(),
        image: image(StaticPod::ApiServer, blueprint),
        command: command(
            "kube-apiserver",
            &api_server_arguments(blueprint),
            &cluster.api_server.extra_args,
        ),
        env: environment(Some(node), &cluster.api_server.extra_envs),
        port: node.bind_port,
        probes: Probes {
            host: probe_host(&node.advertise_address.to_string()),
            scheme: "HTTPS",
            live: "/livez",
            ready: Some("/readyz"),
            startup: "/livez",
            startup_seconds: node.component_seconds,
        },
        requests: json!({"cpu": "250m"}),
        volume_mounts,
        volumes,
        annotations,
    })
}

fn api_server_arguments(blueprint: &Blueprint) -> Vec<(&'static str, String)> {
    let (cluster, node) = (&blueprint.cluster, &blueprint.node);
    let pki = |name: &str| cluster.certificate_path(name);
    let mut arguments = vec![
        ("advertise-address", node.advertise_address.to_string()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("service-cluster-ip-range", cluster.service_subnet.clone()),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
        (
            "service-account-issuer",
            format!("https://kubernetes.default.svc.{}", cluster.dns_domain),
        ),
        ("client-ca-file", pki("ca.crt")),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        (
            "kubelet-client-certificate",
            pki("apiserver-kubelet-client.crt"),
        ),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("secure-port", node.bind_port.to_string()),
        ("allow-privileged", "true".to_owned()),
        (
            "kubelet-preferred-address-types",
            "InternalIP,ExternalIP,Hostname".to_owned(),
        ),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        (
            "requestheader-extra-headers-prefix",
            "X-Remote-Extra-".to_owned(),
        ),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        (
            "requestheader-allowed-names",
            "front-proxy-client".to_owned(),
        ),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
    ];
    arguments.extend(etcd_arguments(blueprint));
    let given = &cluster.api_server.extra_args;
    if argument(given, "authorization-config").is_none() {
        let modes = authorization_modes(argument(given, "authorization-mode").unwrap_or_default());
        arguments.push(("authorization-mode", modes));
    }
    arguments
}

fn etcd_arguments(blueprint: &Blueprint) -> Vec<(&'static str, String)> {
    let (cluster, node) = (&blueprint.cluster, &blueprint.node);
    match &cluster.etcd {
        Etcd::Local(etcd) => {
            let local = url("https", node.loopback(), ETCD_CLIENT_PORT);
            let servers =
                argument(&etcd.extra_args, "advertise-client-urls").map_or(local, str::to_owned);
            vec![
                ("etcd-servers", servers),
                ("etcd-cafile", cluster.certificate_path("etcd/ca.crt")),
                (
                    "etcd-certfile",
                    cluster.certificate_path("apiserver-etcd-client.crt"),
                ),
                (
                    "etcd-keyfile",
                    cluster.certificate_path("apiserver-etcd-client.key"),
                ),
            ]
        }
        Etcd::External(etcd) => {
            let mut arguments = vec![("etcd-servers", etcd.endpoints.join(","))];
            if !etcd.ca_file.is_empty() {
                arguments.push(("etcd-cafile", etcd.ca_file.clone()));
            }
            if !etcd.cert_file.is_empty() && !etcd.key_file.is_empty() {
                arguments.push(("etcd-certfile", etcd.cert_file.clone()));
                arguments.push(("etcd-keyfile", etcd.key_file.clone()));
            }
            arguments
        }
    }
}

/// The modes that are known of those asked for; the default when there are none.
fn authorization_modes(asked: &str) -> String {
    let known: Vec<&str> = asked
        .split(',')
        .filter(|mode| AUTHORIZATION_MODES.contains(mode))
        .collect();
    if known.is_empty() {
        "Node,RBAC".to_owned()
    } else {
        known.join(",")
    }
}

pub(super) fn controller_manager(blueprint: &Blueprint, circumstances: Circumstances) -> Value {
    let cluster = &blueprint.cluster;
    let component = &cluster.controller_manager;
    let mut paths = HostPaths::default();
    paths.certificates(blueprint);
    paths.file("kubeconfig", CONTROLLER_MANAGER_CONF);
    paths.given(component);
    let (volumes, volume_mounts) = paths.into_lists();
    pod(Parts {
        name: StaticPod::ControllerManager.name(),
        image: image(StaticPod::ControllerManager, blueprint),
        command: command(
            "kube-controller-manager",
            &controller_manager_arguments(blueprint, circumstances),
            &component.extra_args,
        ),
        env: environment(Some(&blueprint.node), &component.extra_envs),
        port: CONTROLLER_MANAGER_PORT,
        probes: Probes {
            host: bind_address(component),
            scheme: "HTTPS",
            live: "/healthz",
            ready: None,
            startup: "/healthz",
            startup_seconds: blueprint.node.component_seconds,
        },
        requests: json!({"cpu": "200m"}),
        volume_mounts,
        volumes,
        annotations: Map::new(),
    })
}

fn controller_manager_arguments(
    blueprint: &Blueprint,
    circumstances: Circumstances,
) -> Vec<(&'static str, String)> {
    let cluster = &blueprint.cluster;
    let conf = || CONTROLLER_MANAGER_CONF.to_owned();
    let ca = || cluster.certificate_path("ca.crt");
    // Without the authority's key its signing controller must not start.
    let signing = |path: String| {
        if circumstances.external_ca {
            String::new()
        } else {
            path
        }
    };
    let mut arguments = vec![
        ("bind-address", "127.0.0.1".to_owned()),
        ("leader-elect", "true".to_owned()),
        ("kubeconfig", conf()),
        ("authentication-kubeconfig", conf()),
        ("authorization-kubeconfig", conf()),
        ("client-ca-file", ca()),
        (
            "requestheader-client-ca-file",
            cluster.certificate_path("front-proxy-ca.crt"),
        ),
        ("root-ca-file", ca()),
        (
            "service-account-private-key-file",
            cluster.certificate_path("sa.key"),
        ),
        ("cluster-signing-cert-file", signing(ca())),
        (
            "cluster-signing-key-file",
            signing(cluster.certificate_path("ca.key")),
        ),
        ("use-service-account-credentials", "true".to_owned()),
        ("controllers", "*,bootstrapsigner,tokencleaner".to_owned()),
    ];
    if !cluster.pod_subnet.is_empty() {
        arguments.push(("allocate-node-cidrs", "true".to_owned()));
        arguments.push(("cluster-cidr", cluster.pod_subnet.clone()));
        if !cluster.service_subnet.is_empty() {
            arguments.push(("service-cluster-ip-range", cluster.service_subnet.clone()));
        }
    }
    if !cluster.cluster_name.is_empty() {
        arguments.push(("cluster-name", cluster.cluster_name.clone()));
    }
    arguments
}

pub(super) fn scheduler(blueprint: &Blueprint) -> Value {
    let component = &blueprint.cluster.scheduler;
    let conf = || SCHEDULER_CONF.to_owned();
    let ours = [
        ("bind-address", "127.0.0.1".to_owned()),
        ("leader-elect", "true".to_owned()),
        ("kubeconfig", conf()),
        ("authentication-kubeconfig", conf()),
        ("authorization-kubeconfig", conf()),
    ];
    let mut paths = HostPaths::default();
    paths.file("kubeconfig", SCHEDULER_CONF);
    paths.given(component);
    let (volumes, volume_mounts) = paths.into_lists();
    pod(Parts {
        name: StaticPod::Scheduler.name(),
        image: image(StaticPod::Scheduler, blueprint),
        command: command("kube-scheduler", &ours, &component.extra_args),
        env: environment(Some(&blueprint.node), &component.extra_envs),
        port: SCHEDULER_PORT,
        probes: Probes {
            host: bind_address(component),
            scheme: "HTTPS",
            live: "/livez",
            ready: Some("/readyz"),
            startup: "/livez",
            startup_seconds: blueprint.node.component_seconds,
        },
        requests: json!({"cpu": "100m"}),
        volume_mounts,
        volumes,
        annotations: Map::new(),
    })
}

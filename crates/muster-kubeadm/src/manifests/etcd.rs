//! etcd's static pod, of a first member and of one that joins others.

use serde_json::{Map, Value, json};

use super::StaticPod;
use super::pod::{Parts, Probes, argument, command, environment, pod};
use super::volumes::HostPaths;
use crate::blueprint::{Blueprint, ETCD_CLIENT_PORT, ETCD_METRICS_PORT, Etcd, LocalEtcd, url};
use crate::config::ETCD_TAG;

/// Where members are found by those that look at the pods: kubeadm's `etcd.advertise-client-urls`.
const CLIENT_URLS_ANNOTATION: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";

/// Stands in a manifest for the members that are known only after the cluster of etcds has taken the new one in.
pub const INITIAL_CLUSTER: &str = "INITIAL-CLUSTER-OF-THE-JOIN";

/// etcd's pod. `members` is the text of `--initial-cluster` when it joins others, or [`INITIAL_CLUSTER`] where that
/// is filled in later; without it, the pod is the one of a first member.
///
/// For a cluster whose etcd is elsewhere it is the pod that a local one with defaults would have; nobody asks for it.
#[must_use]
pub fn etcd_pod(blueprint: &Blueprint, members: Option<&str>) -> Value {
    let default;
    let etcd = match &blueprint.cluster.etcd {
        Etcd::Local(etcd) => etcd,
        Etcd::External(_) => {
            default = LocalEtcd {
                data_dir: "/var/lib/etcd".to_owned(),
                extra_args: Vec::new(),
                extra_envs: Vec::new(),
                server_cert_sans: Vec::new(),
                peer_cert_sans: Vec::new(),
                image_repository: String::new(),
                image_tag: String::new(),
            };
            &default
        }
    };
    let certificates = blueprint.cluster.certificate_path("etcd");
    let mut paths = HostPaths::default();
    paths.add(
        "etcd-data",
        &etcd.data_dir,
        &etcd.data_dir,
        false,
        "DirectoryOrCreate",
    );
    paths.add(
        "etcd-certs",
        &certificates,
        &certificates,
        false,
        "DirectoryOrCreate",
    );
    let (volumes, mut volume_mounts) = paths.into_lists();
    // kubeadm sorts etcd's volumes, but not its mounts: the data come first.
    volume_mounts.reverse();
    let mut annotations = Map::new();
    let client_url = blueprint.node.etcd_client_url();
    annotations.insert(CLIENT_URLS_ANNOTATION.to_owned(), Value::from(client_url));
    let (host, port, scheme) = health(blueprint, etcd);
    pod(Parts {
        name: StaticPod::Etcd.name(),
        image: image(blueprint, etcd),
        command: command(
            "etcd",
            &arguments(blueprint, etcd, members),
            &etcd.extra_args,
        ),
        env: environment(None, &etcd.extra_envs),
        port,
        probes: Probes {
            host,
            scheme,
            live: "/livez",
            ready: Some("/readyz"),
            startup: "/readyz",
            startup_seconds: blueprint.node.component_seconds,
        },
        requests: json!({"cpu": "100m", "memory": "100Mi"}),
        volume_mounts,
        volumes,
        annotations,
    })
}

fn image(blueprint: &Blueprint, etcd: &LocalEtcd) -> String {
    let or = |own: &str, usual: &str| {
        if own.is_empty() {
            usual.to_owned()
        } else {
            own.to_owned()
        }
    };
    let repository = or(&etcd.image_repository, &blueprint.cluster.image_repository);
    format!("{repository}/etcd:{}", or(&etcd.image_tag, ETCD_TAG))
}

fn arguments(
    blueprint: &Blueprint,
    etcd: &LocalEtcd,
    members: Option<&str>,
) -> Vec<(&'static str, String)> {
    let (cluster, node) = (&blueprint.cluster, &blueprint.node);
    let pki = |name: &str| cluster.certificate_path(name);
    let (client, peer) = (node.etcd_client_url(), node.etcd_peer_url());
    let loopback = url("https", node.loopback(), ETCD_CLIENT_PORT);
    let mut arguments = vec![
        ("name", node.name.clone()),
        ("listen-client-urls", format!("{loopback},{client}")),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("data-dir", etcd.data_dir.clone()),
        ("cert-file", pki("etcd/server.crt")),
        ("key-file", pki("etcd/server.key")),
        ("trusted-ca-file", pki("etcd/ca.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", pki("etcd/peer.crt")),
        ("peer-key-file", pki("etcd/peer.key")),
        ("peer-trusted-ca-file", pki("etcd/ca.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("snapshot-count", "10000".to_owned()),
        (
            "listen-metrics-urls",
            url("http", node.loopback(), ETCD_METRICS_PORT),
        ),
        ("feature-gates", "InitialCorruptCheck=true".to_owned()),
        ("watch-progress-notify-interval", "5s".to_owned()),
    ];
    match members {
        None => arguments.push(("initial-cluster", format!("{}={peer}", node.name))),
        Some(members) => {
            arguments.push(("initial-cluster", members.to_owned()));
            arguments.push(("initial-cluster-state", "existing".to_owned()));
        }
    }
    arguments
}

/// Host, port and scheme of the first metrics URL that is given, or loopback's.
fn health(blueprint: &Blueprint, etcd: &LocalEtcd) -> (String, u16, &'static str) {
    let loopback = blueprint.node.loopback().to_string();
    let Some(given) = argument(&etcd.extra_args, "listen-metrics-urls") else {
        return (loopback, ETCD_METRICS_PORT, "HTTP");
    };
    let first = given.split(',').next().unwrap_or_default();
    let (scheme, rest) = first.split_once("://").unwrap_or(("http", first));
    let authority = rest.split('/').next().unwrap_or_default();
    let scheme = if scheme == "https" { "HTTPS" } else { "HTTP" };
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of a bare IPv6 address is not before a port.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().unwrap_or(ETCD_METRICS_PORT))
        }
        _ => (authority, ETCD_METRICS_PORT),
    };
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() {
        loopback
    } else {
        host.to_owned()
    };
    (host, port, scheme)
}

/// The text of `--initial-cluster`: every member by name and peer URL. One without a name yet goes by `fallback`,
/// its id.
#[must_use]
pub fn initial_cluster<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let words: Vec<String> = members
        .into_iter()
        .map(|(name, url)| format!("{name}={url}"))
        .collect();
    words.join(",")
}

/// Fills the members into a manifest that was made with [`INITIAL_CLUSTER`].
#[must_use]
pub fn with_initial_cluster(manifest: &str, members: &str) -> String {
    manifest.replace(INITIAL_CLUSTER, members)
}

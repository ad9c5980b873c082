//! Blueprints: defaults are kubeadm's, both versions are read, and nonsense is refused with a reason.

use super::*;

/// A cluster with everything at its default but `more`.
pub(crate) fn cluster(more: &str) -> ClusterBlueprint {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.2\ncontrolPlaneEndpoint: lb.example:6443\n{more}"
    );
    ClusterBlueprint::parse(&text).unwrap()
}

pub(crate) fn node() -> ControlPlaneNode {
    ControlPlaneNode {
        name: "n2".into(),
        advertise_address: "10.66.0.12".parse().unwrap(),
        bind_port: 6443,
        component_seconds: 240,
        proxies: BTreeMap::new(),
        ca_dirs: Vec::new(),
    }
}

#[test]
fn defaults_are_kubeadms() {
    let cluster = cluster("");
    assert_eq!(cluster.certificates_dir, "/etc/kubernetes/pki");
    assert_eq!(cluster.service_subnet, "10.96.0.0/12");
    assert_eq!(cluster.cluster_name, "kubernetes");
    assert_eq!(cluster.key_algorithm, KeyAlgorithm::Rsa2048);
    assert_eq!(
        cluster.certificate_validity,
        SignedDuration::from_hours(8760)
    );
    assert!(cluster.is_stacked());
    assert_eq!(cluster.server(&node()), "https://lb.example:6443");
}

#[test]
fn the_older_version_has_a_map_of_arguments() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: {extraArgs: {v: '2', audit: x}}\n";
    let cluster = ClusterBlueprint::parse(text).unwrap();
    assert_eq!(
        cluster.api_server.extra_args,
        [
            ("audit".to_owned(), "x".to_owned()),
            ("v".to_owned(), "2".to_owned())
        ]
    );
}

#[test]
fn an_endpoint_without_port_takes_the_nodes_own() {
    let mut cluster = cluster("");
    cluster.control_plane_endpoint = "lb.example".into();
    let mut node = node();
    node.bind_port = 7443;
    assert_eq!(cluster.server(&node), "https://lb.example:7443");
    cluster.control_plane_endpoint = String::new();
    assert_eq!(cluster.server(&node), "https://10.66.0.12:7443");
}

#[test]
fn what_is_no_configuration_is_refused_with_a_reason() {
    for (text, expected) in [
        (
            "kind: Pod\napiVersion: v1\n",
            "is not a ClusterConfiguration",
        ),
        ("[", "cannot be read"),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nencryptionAlgorithm: DSA\n",
            "encryptionAlgorithm",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncertificatesDir: ../x\n",
            "certificatesDir",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncertificateValidityPeriod: long\n",
            "certificateValidityPeriod",
        ),
    ] {
        let error = ClusterBlueprint::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(ClusterBlueprint::parse(&"a".repeat(MAX_BYTES + 1)).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,200}") {
        let _ = ClusterBlueprint::parse(&text);
    }
}

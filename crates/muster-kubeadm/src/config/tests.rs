//! Files as people write them, against what kubeadm 1.36 answers to the same files.

use super::*;
use muster_identity::Secret;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn count(bytes: &mut [u8]) {
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(number % 7).unwrap();
    }
}

fn ambient() -> Ambient {
    Ambient {
        hostname: "Vm".into(),
        cri_sockets: Vec::new(),
        advertise_address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))),
        loopback_address: None,
        file_exists: |path| path == "/there",
        entropy: count,
    }
}

const PIN: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn old_join() -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
discovery:
  timeout: 3m
  bootstrapToken:
    token: abcdef.0123456789abcdef
    apiServerEndpoint: \"kube:6443\"
    caCertHashes: [\"{PIN}\"]
nodeRegistration:
  name: N1
  kubeletExtraArgs:
    node-ip: 1.2.3.4
    a: b
controlPlane: {{}}
"
    )
}

const TIMEOUTS: &str = "timeouts:
  controlPlaneComponentHealthCheck: 4m0s
  discovery: 5m0s
  etcdAPICall: 2m0s
  kubeletHealthCheck: 4m0s
  kubernetesAPICall: 1m0s
  tlsBootstrap: 5m0s
  upgradeManifests: 5m0s
";

#[test]
fn a_v1beta3_join_is_migrated_as_kubeadm_does_it() {
    let new = migrate(&old_join(), &ambient()).unwrap().value;
    let timeouts = TIMEOUTS.replace("discovery: 5m0s", "discovery: 3m0s");
    assert_eq!(
        new,
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4
caCertPath: /etc/kubernetes/pki/ca.crt
controlPlane:
  localAPIEndpoint:
    advertiseAddress: 192.0.2.2
    bindPort: 6443
discovery:
  bootstrapToken:
    apiServerEndpoint: kube:6443
    caCertHashes:
    - {PIN}
    token: abcdef.0123456789abcdef
  tlsBootstrapToken: abcdef.0123456789abcdef
kind: JoinConfiguration
nodeRegistration:
  criSocket: unix:///var/run/containerd/containerd.sock
  imagePullPolicy: IfNotPresent
  imagePullSerial: true
  kubeletExtraArgs:
  - name: a
    value: b
  - name: node-ip
    value: 1.2.3.4
  name: n1
  taints:
  - effect: NoSchedule
    key: node-role.kubernetes.io/control-plane
{timeouts}"
        )
    );
    // What was written is read again, and says the same.
    assert_eq!(migrate(&new, &ambient()).unwrap().value, new);
}

#[test]
fn a_v1beta3_cluster_is_migrated_with_its_timeout() {
    let old = "apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
kubernetesVersion: v1.36.0
controlPlaneEndpoint: foo.example
apiServer:
  timeoutForControlPlane: 7m
  extraArgs: {b: \"1\", a: \"true\"}
  certSANs: [ABC, 10.0.0.1]
networking: {podSubnet: 10.244.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
";
    let new = migrate(old, &ambient()).unwrap().value;
    assert!(
        new.contains("controlPlaneComponentHealthCheck: 7m0s"),
        "{new}"
    );
    let cluster = new.split("---\n").nth(1).unwrap();
    assert_eq!(
        cluster,
        "apiServer:
  certSANs:
  - abc
  - 10.0.0.1
  extraArgs:
  - name: a
    value: \"true\"
  - name: b
    value: \"1\"
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controlPlaneEndpoint: foo.example:6443
controllerManager: {}
dns: {}
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.36.0
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
"
    );
}

#[test]
fn the_printed_defaults_are_kubeadms() {
    let join = print_join_defaults(&ambient());
    assert_eq!(
        join,
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4
caCertPath: /etc/kubernetes/pki/ca.crt
discovery:
  bootstrapToken:
    apiServerEndpoint: kube-apiserver:6443
    token: abcdef.0123456789abcdef
    unsafeSkipCAVerification: true
  tlsBootstrapToken: abcdef.0123456789abcdef
kind: JoinConfiguration
nodeRegistration:
  criSocket: unix:///var/run/containerd/containerd.sock
  imagePullPolicy: IfNotPresent
  imagePullSerial: true
  name: vm
  taints: null
{TIMEOUTS}"
        )
    );
    assert_eq!(
        print_reset_defaults(),
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4
certificatesDir: /etc/kubernetes/pki
criSocket: unix:///var/run/containerd/containerd.sock
kind: ResetConfiguration
{TIMEOUTS}"
        )
    );
    let init = print_init_defaults(&[ComponentConfig::Kubelet]);
    let kinds: Vec<&str> = init
        .lines()
        .filter(|line| line.starts_with("kind: "))
        .collect();
    assert_eq!(
        kinds,
        [
            "kind: InitConfiguration",
            "kind: ClusterConfiguration",
            "kind: KubeletConfiguration"
        ]
    );
    assert!(print_upgrade_defaults().contains("diff: {}\n"));
}

#[test]
fn component_configurations_are_written_as_they_were_read() {
    for component in [ComponentConfig::Kubelet, ComponentConfig::KubeProxy] {
        let text = print_init_defaults(&[component]);
        let document = text.split("---\n").nth(2).unwrap();
        assert_eq!(to_yaml(&print::template(component)), document);
    }
}

fn strange_join() -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
bogus: 1
discovery:
  bootstrapToken:
    token: abcdef.0123456789abcdef
    token: abcdef.0123456789abcdef
    apiServerEndpoint: \"kube:6443\"
    caCertHashes: [\"{PIN}\"]
nodeRegistration:
  zzz: 1
"
    )
}

#[test]
fn unknown_and_repeated_fields_are_told_to_a_join_and_refused_by_validate() {
    let text = "error unmarshaling configuration schema.GroupVersionKind{Group:\"kubeadm.k8s.io\", Version:\"v1beta4\", Kind:\"JoinConfiguration\"}: strict decoding error: yaml: unmarshal errors:\n  line 7: key \"token\" already set in map, unknown field \"bogus\", unknown field \"nodeRegistration.zzz\"";
    let join = read_join(&strange_join(), &ambient(), Strictness::Lenient).unwrap();
    assert_eq!(join.warnings, [text]);
    let error = validate(&strange_join(), &ambient(), false).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(
        migrate(&strange_join(), &ambient())
            .unwrap_err()
            .to_string(),
        text
    );
}

#[test]
fn other_kinds_are_passed_over_by_a_join_and_refused_by_validate() {
    let text = format!("{}---\napiVersion: foo.io/v1\nkind: Foo\n", old_join());
    let join = read_join(&text, &ambient(), Strictness::Lenient).unwrap();
    assert_eq!(join.value.timeouts.discovery, Some(Span::from_secs(180)));
    let warnings = join.warnings.join("\n");
    assert!(warnings.contains(
        "[config] WARNING: Ignored configuration document with GroupVersionKind foo.io/v1, Kind=Foo"
    ));
    assert!(warnings.contains(
        "uses a deprecated API spec: \"kubeadm.k8s.io/v1beta3\" (kind: \"JoinConfiguration\")"
    ));
    assert_eq!(
        validate(&text, &ambient(), false).unwrap_err().to_string(),
        "unknown configuration APIs: []schema.GroupVersionKind{schema.GroupVersionKind{Group:\"foo.io\", Version:\"v1\", Kind:\"Foo\"}}"
    );
}

#[test]
fn files_that_cannot_be_used_are_refused_in_kubeadms_words() {
    let twice = format!("{}---\n{}", old_join(), old_join());
    for (text, told) in [
        (twice, "invalid configuration: kind \"JoinConfiguration\" is specified twice in YAML file"),
        (
            "a: b\n".to_owned(),
            "invalid configuration for GroupVersionKind /, Kind=: kind and apiVersion is mandatory information that must be specified",
        ),
        (
            old_join().replace("v1beta3", "v1beta2"),
            "your configuration file uses an old API spec: \"kubeadm.k8s.io/v1beta2\" (kind: \"JoinConfiguration\"). Please use kubeadm v1.22 instead and run 'kubeadm config migrate --old-config old-config-file --new-config new-config-file', which will write the new, similar spec using a newer API version.",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: []\n".to_owned(),
            "error unmarshaling configuration schema.GroupVersionKind{Group:\"kubeadm.k8s.io\", Version:\"v1beta4\", Kind:\"JoinConfiguration\"}: json: cannot unmarshal array into Go struct field JoinConfiguration.discovery of type v1beta4.Discovery",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {imagePullSerial: \"x\"}\n".to_owned(),
            "error unmarshaling configuration schema.GroupVersionKind{Group:\"kubeadm.k8s.io\", Version:\"v1beta4\", Kind:\"JoinConfiguration\"}: json: cannot unmarshal string into Go struct field NodeRegistrationOptions.nodeRegistration.imagePullSerial of type bool",
        ),
        (
            "{\"apiVersion\":\"kubeadm.k8s.io/v1beta4\",\"kind\":\"JoinConfiguration\",\"discovery\":{\"file\":{\"kubeConfigPath\":\"http://x\"}}}".to_owned(),
            "discovery.file.kubeConfigPath: Invalid value: \"http://x\": if a URL is used, the scheme must be https",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nunmountFlags: [A]\ncertificatesDir: x\n".to_owned(),
            "[certificatesDir: Invalid value: \"x\": path is not absolute, unmountFlags: Invalid value: \"index 0\": unknown unmount flag A]",
        ),
    ] {
        assert_eq!(validate(&text, &ambient(), false).unwrap_err().to_string(), told, "{text}");
    }
    assert!(validate("foo: [\n", &ambient(), false).is_err());
    assert!(matches!(
        split(&"#".repeat(5 << 20)),
        Err(ConfigError::TooLarge { .. })
    ));
}

#[test]
fn a_join_without_enough_is_refused_with_everything_that_lacks() {
    let error = |join| resolve_join(join, &ambient()).unwrap_err().to_string();
    assert_eq!(
        error(JoinConfiguration::default()),
        "discovery: Invalid value: \"\": bootstrapToken or file must be set"
    );
    let mut join = JoinConfiguration::default();
    join.discovery.bootstrap_token = Some(BootstrapTokenDiscovery {
        token: Secret::new("abc".into()),
        api_server_endpoint: "1.2.3.4:6443".into(),
        ..BootstrapTokenDiscovery::default()
    });
    assert_eq!(
        error(join),
        "[discovery.bootstrapToken.caCertHashes: Invalid value: \"\": using token-based discovery without caCertHashes can be unsafe. Set unsafeSkipCAVerification as true in your kubeadm config file or pass --discovery-token-unsafe-skip-ca-verification flag to continue, discovery.bootstrapToken.token: Invalid value: \"abc\": the bootstrap token is invalid, discovery.tlsBootstrapToken: Invalid value: \"abc\": the bootstrap token is invalid]"
    );
}

#[test]
fn taints_that_are_null_and_taints_that_are_empty_differ() {
    let with = |taints: &str| {
        let text = old_join().replace("  name: N1\n", &format!("  name: N1\n{taints}"));
        let join = read_join(&text, &ambient(), Strictness::Lenient)
            .unwrap()
            .value;
        join.node_registration.taints
    };
    assert_eq!(with(""), Some(vec![NodeTaint::control_plane()]));
    assert_eq!(
        with("  taints: null\n"),
        Some(vec![NodeTaint::control_plane()])
    );
    assert_eq!(with("  taints: []\n"), Some(Vec::new()));
}

#[test]
fn several_runtimes_need_a_choice() {
    let mut two = ambient();
    two.cri_sockets = KNOWN_CRI_SOCKETS[..2]
        .iter()
        .map(|&socket| socket.to_owned())
        .collect();
    let error = read_join(&old_join(), &two, Strictness::Lenient).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("found multiple CRI endpoints on the host.")
    );
    let chosen = old_join().replace("  name: N1\n", "  criSocket: /run/x.sock\n");
    let join = read_join(&chosen, &two, Strictness::Lenient).unwrap();
    assert_eq!(
        join.value.node_registration.cri_socket,
        "unix:///run/x.sock"
    );
    assert!(
        join.warnings
            .iter()
            .any(|warning| warning.contains("without URL scheme is deprecated"))
    );
}

#[test]
fn an_old_control_plane_is_refused() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.30.1\n";
    assert_eq!(
        validate(text, &ambient(), false).unwrap_err().to_string(),
        "this version of kubeadm only supports deploying clusters with the control plane version >= 1.35.0. Current version: v1.30.1"
    );
}

#[test]
fn the_images_of_the_release_are_kubeadms() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
    let mut cluster = read_init(text, &ambient(), Strictness::Strict)
        .unwrap()
        .value
        .cluster;
    assert_eq!(
        Images::of(&cluster).unwrap().all(),
        [
            "registry.k8s.io/kube-apiserver:v1.36.2",
            "registry.k8s.io/kube-controller-manager:v1.36.2",
            "registry.k8s.io/kube-scheduler:v1.36.2",
            "registry.k8s.io/kube-proxy:v1.36.2",
            "registry.k8s.io/coredns/coredns:v1.14.2",
            "registry.k8s.io/pause:3.10.2",
            "registry.k8s.io/etcd:3.6.8-0",
        ]
    );
    cluster.image_repository = "mirror:5000/k8s".into();
    let mirrored = Images::of(&cluster).unwrap().all();
    assert!(
        mirrored.contains(&"mirror:5000/k8s/coredns:v1.14.2".to_owned()),
        "{mirrored:?}"
    );
}

#[test]
fn a_published_cluster_configuration_is_read_in_both_versions() {
    let old = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nkubernetesVersion: v1.30.0\napiServer: {extraArgs: {a: b}}\nnetworking: {}\n";
    let cluster = ClusterConfiguration::from_document(old).unwrap();
    assert_eq!(cluster.api_server.component.extra_args[0].name, "a");
    let again = ClusterConfiguration::from_document(&cluster.to_document()).unwrap();
    assert_eq!(again, cluster);
}

#[test]
fn no_debug_output_shows_a_token_or_key() {
    let join = read_join(&old_join(), &ambient(), Strictness::Lenient).unwrap();
    assert!(!format!("{join:?}").contains("0123456789abcdef"));
}

#[test]
fn a_wrong_certificate_key_is_refused_and_not_repeated() {
    let told = |key: &str| {
        let found = validate_certificate_key(&Secret::new(key.to_owned()), "certificateKey");
        found.map(|error| error.to_string())
    };
    assert_eq!(told(""), None);
    assert_eq!(told(&"ab".repeat(32)), None);
    assert_eq!(
        told("abcd").unwrap(),
        "certificateKey: Invalid value: \"***\": invalid certificate key size 2, the key must be an AES key of size 32"
    );
    assert!(told("xy").unwrap().contains("invalid byte: U+0078 'x'"));
    assert!(told("abc").unwrap().contains("odd length hex string"));
}

#[test]
fn texts_are_quoted_as_go_quotes_them() {
    for (text, yaml) in [
        ("a b", "a b"),
        ("true", "\"true\""),
        ("1", "\"1\""),
        ("0x1f", "\"0x1f\""),
        ("1e3", "\"1e3\""),
        ("", "\"\""),
        ("null", "\"null\""),
        ("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\""),
        ("a: b", "'a: b'"),
        ("*x", "'*x'"),
        ("it's", "it's"),
        ("'x", "'''x'"),
        ("a #b", "'a #b'"),
        ("1.2.3.4", "1.2.3.4"),
        ("-x", "-x"),
        ("a\nb\n", "|\n  a\n  b"),
    ] {
        assert_eq!(
            to_yaml(&serde_json::json!(text)),
            format!("{yaml}\n"),
            "{text:?}"
        );
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "[ -~\n\té]{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-zA-Z0-9./-]{1,8}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_makes_a_reader_panic(text in "(apiVersion: kubeadm.k8s.io/v1beta[34]\nkind: (Join|Init|Cluster|Reset|Upgrade)Configuration\n)?[ -~\n]{0,200}") {
        let _ = validate(&text, &ambient(), false);
        let _ = migrate(&text, &ambient());
        let _ = read_join(&text, &ambient(), Strictness::Lenient);
        let _ = read_reset(&text, &ambient(), Strictness::Lenient);
    }

    #[test]
    fn what_is_written_is_read_as_it_was(value in any_value()) {
        let text = to_yaml(&value);
        let read = document::read_yaml(&text);
        prop_assert_eq!(read.as_ref().ok(), Some(&value), "{}", text);
    }

    #[test]
    fn a_join_survives_being_written(name in "[a-z][a-z0-9]{0,8}", socket in "unix:///[a-z/]{1,9}", labels in prop::collection::vec(("[a-z-]{1,6}", "[ -~]{0,9}"), 0..3)) {
        let mut join = read_join(&old_join(), &ambient(), Strictness::Lenient).unwrap().value;
        join.node_registration.name = name;
        join.node_registration.cri_socket = socket;
        join.node_registration.kubelet_extra_args =
            labels.into_iter().map(|(name, value)| Arg { name, value }).collect();
        let again = read_join(&join.to_document(), &ambient(), Strictness::Strict).unwrap();
        prop_assert_eq!(again.value, join);
        prop_assert!(again.warnings.is_empty());
    }
}

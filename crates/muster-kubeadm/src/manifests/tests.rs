//! Static pods: the text is the one that kubeadm 1.36 writes from the same configuration.

use super::*;
use crate::blueprint::tests::{cluster, node};

const CONFIGURATION: &str = r"clusterName: prod
networking: {podSubnet: 10.244.0.0/16}
apiServer:
  certSANs: [api.example, 192.0.2.7]
  extraArgs: [{name: audit-log-path, value: '-'}, {name: v, value: '2'}]
  extraVolumes: [{name: audit, hostPath: /var/log/k8s, mountPath: /var/log/k8s, pathType: DirectoryOrCreate}]
  extraEnvs: [{name: GOGC, value: '50'}]
controllerManager:
  extraArgs: [{name: bind-address, value: 0.0.0.0}]
etcd:
  local: {extraArgs: [{name: quota-backend-bytes, value: '8589934592'}], serverCertSANs: [etcd.example], extraEnvs: [{name: ETCD_X, value: '1'}]}
";

fn blueprint(more: &str) -> Blueprint {
    let mut node = node();
    node.ca_dirs = [
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
    ]
    .map(String::from)
    .into();
    Blueprint {
        cluster: cluster(more),
        node,
    }
}

fn text(component: StaticPod, blueprint: &Blueprint) -> String {
    manifest(&pod(component, blueprint, Circumstances::default()))
}

fn arguments(pod: &Value) -> Vec<&str> {
    let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    command.iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn the_manifests_are_kubeadms_byte_for_byte() {
    let blueprint = blueprint(CONFIGURATION);
    for (component, expected) in [
        (
            StaticPod::ApiServer,
            include_str!("fixtures/kube-apiserver.yaml"),
        ),
        (
            StaticPod::ControllerManager,
            include_str!("fixtures/kube-controller-manager.yaml"),
        ),
        (
            StaticPod::Scheduler,
            include_str!("fixtures/kube-scheduler.yaml"),
        ),
        (StaticPod::Etcd, include_str!("fixtures/etcd.yaml")),
    ] {
        assert_eq!(text(component, &blueprint), expected);
        assert!(
            component
                .path()
                .ends_with(&format!("/{}.yaml", component.name()))
        );
    }
}

#[test]
fn a_joining_etcd_names_all_members_and_an_existing_cluster() {
    let blueprint = blueprint("");
    let template = manifest(&etcd_pod(&blueprint, Some(INITIAL_CLUSTER)));
    let members = initial_cluster([
        ("n1", "https://10.66.0.11:2380"),
        ("n2", "https://10.66.0.12:2380"),
    ]);
    let text = with_initial_cluster(&template, &members);
    assert!(text.contains("    - --initial-cluster=n1=https://10.66.0.11:2380,n2=https://10.66.0.12:2380\n    - --initial-cluster-state=existing\n"));
    assert_eq!(text, manifest(&etcd_pod(&blueprint, Some(&members))));
}

#[test]
fn an_authority_elsewhere_leaves_the_controller_manager_without_a_signing_key() {
    let pod = pod(
        StaticPod::ControllerManager,
        &blueprint(""),
        Circumstances { external_ca: true },
    );
    let arguments = arguments(&pod);
    assert!(arguments.contains(&"--cluster-signing-key-file="));
    assert!(arguments.contains(&"--cluster-signing-cert-file="));
}

#[test]
fn an_etcd_elsewhere_is_named_and_its_certificates_are_mounted() {
    let blueprint = blueprint(
        "etcd: {external: {endpoints: ['https://e1:2379', 'https://e2:2379'], caFile: /etc/etcd/ca.crt, certFile: /etc/etcd/client/a.crt, keyFile: /etc/etcd/client/a.key}}\n",
    );
    let pod = pod(StaticPod::ApiServer, &blueprint, Circumstances::default());
    let arguments = arguments(&pod);
    assert!(arguments.contains(&"--etcd-servers=https://e1:2379,https://e2:2379"));
    assert!(arguments.contains(&"--etcd-keyfile=/etc/etcd/client/a.key"));
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let etcd: Vec<&Value> = volumes
        .iter()
        .filter(|volume| volume["name"].as_str().unwrap().starts_with("etcd-certs"))
        .collect();
    assert_eq!(etcd.len(), 1);
    assert_eq!(etcd[0]["hostPath"]["path"], "/etc/etcd");
}

#[test]
fn given_arguments_replace_ours_and_keep_their_order() {
    let blueprint = blueprint(
        "apiServer: {extraArgs: [{name: v, value: '9'}, {name: authorization-mode, value: 'Webhook,Nonsense'}, {name: api-audiences, value: a}, {name: api-audiences, value: b}]}\n",
    );
    let pod = pod(StaticPod::ApiServer, &blueprint, Circumstances::default());
    let arguments = arguments(&pod);
    let tail = &arguments[arguments.len() - 4..];
    assert_eq!(
        tail,
        [
            "--v=9",
            "--authorization-mode=Webhook,Nonsense",
            "--api-audiences=a",
            "--api-audiences=b"
        ]
    );
    assert_eq!(
        arguments
            .iter()
            .filter(|a| a.starts_with("--authorization-mode"))
            .count(),
        1
    );
}

#[test]
fn ipv6_addresses_have_brackets_where_a_port_follows() {
    let mut blueprint = blueprint("");
    blueprint.node.advertise_address = "fd00::12".parse().unwrap();
    let api = pod(StaticPod::ApiServer, &blueprint, Circumstances::default());
    assert!(arguments(&api).contains(&"--etcd-servers=https://[::1]:2379"));
    assert!(arguments(&api).contains(&"--advertise-address=fd00::12"));
    assert_eq!(
        api["metadata"]["annotations"]["kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"],
        "[fd00::12]:6443"
    );
    let etcd = etcd_pod(&blueprint, None);
    assert!(
        arguments(&etcd)
            .contains(&"--listen-client-urls=https://[::1]:2379,https://[fd00::12]:2379")
    );
    assert_eq!(
        etcd["spec"]["containers"][0]["livenessProbe"]["httpGet"]["host"],
        "::1"
    );
}

#[test]
fn proxy_variables_go_into_components_but_not_into_etcd() {
    let mut blueprint = blueprint("apiServer: {extraEnvs: [{name: HTTP_PROXY, value: mine}]}\n");
    blueprint
        .node
        .proxies
        .insert("HTTP_PROXY".into(), "theirs".into());
    let env = |component| {
        let pod = pod(component, &blueprint, Circumstances::default());
        pod["spec"]["containers"][0].get("env").cloned()
    };
    assert_eq!(env(StaticPod::ApiServer).unwrap()[0]["value"], "mine");
    assert_eq!(env(StaticPod::Scheduler).unwrap()[0]["value"], "theirs");
    assert_eq!(env(StaticPod::Etcd), None);
}

#[test]
fn health_is_asked_where_etcd_is_told_to_answer() {
    for (urls, host, port, scheme) in [
        ("https://10.0.0.1:9999,http://x", "10.0.0.1", 9999, "HTTPS"),
        ("http://0.0.0.0", "0.0.0.0", 2381, "HTTP"),
        ("http://[::1]:77", "::1", 77, "HTTP"),
        ("http://:2382", "127.0.0.1", 2382, "HTTP"),
    ] {
        let blueprint = blueprint(&format!(
            "etcd: {{local: {{extraArgs: [{{name: listen-metrics-urls, value: '{urls}'}}]}}}}\n"
        ));
        let pod = etcd_pod(&blueprint, None);
        let container = &pod["spec"]["containers"][0];
        let get = &container["livenessProbe"]["httpGet"];
        assert_eq!(
            (get["host"].as_str(), get["scheme"].as_str()),
            (Some(host), Some(scheme))
        );
        assert_eq!(container["ports"][0]["containerPort"], port);
    }
}

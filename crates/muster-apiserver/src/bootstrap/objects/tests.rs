//! The objects of a fresh cluster: complete, in creatable order, and with this cluster's values.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use muster_identity::CertificateAuthority;
use muster_machinery::{meta, resources};

use super::*;
use crate::entropy::system_entropy;

fn settings() -> BootstrapSettings {
    let ca = CertificateAuthority::new_self_signed(
        "kubernetes",
        Timestamp::from_second(1_800_000_000).expect("a time"),
        SignedDuration::from_hours(1),
        &mut system_entropy(),
    )
    .expect("a CA");
    BootstrapSettings {
        cluster_name: "kubernetes".into(),
        dns_domain: "cluster.local".into(),
        service_subnet: "10.96.0.0/12".into(),
        pod_subnet: "10.244.0.0/16".into(),
        service_address: IpAddr::from([10, 96, 0, 1]),
        dns_address: IpAddr::from([10, 96, 0, 10]),
        server: Endpoint::parse("10.78.0.1:6443").expect("an endpoint"),
        advertised: vec![SocketAddr::from(([10, 78, 0, 1], 6443))],
        ca: ca.certificate().clone().into(),
        front_proxy_ca: ca.certificate().clone().into(),
        today: jiff::civil::date(2026, 11, 21),
    }
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|one| meta::kind(one) == kind && meta::name(one) == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

#[test]
fn every_object_is_of_a_served_kind_and_its_namespace_comes_before_it() {
    let mut namespaces = BTreeSet::new();
    for object in default_objects(&settings()) {
        let kind = meta::gvk(&object).expect("a kind");
        let resource = resources::find_kind(&kind.group, &kind.version, &kind.kind);
        let resource = resource.unwrap_or_else(|| panic!("{kind} is not served"));
        assert_eq!(
            resource.namespaced,
            !meta::namespace(&object).is_empty(),
            "{object}"
        );
        if kind.kind == "Namespace" {
            namespaces.insert(meta::name(&object).to_owned());
        } else if resource.namespaced {
            assert!(namespaces.contains(meta::namespace(&object)), "{object}");
        }
    }
    assert_eq!(namespaces.len(), 4);
}

#[test]
fn a_joining_machine_finds_the_server_and_its_ca_in_cluster_info() {
    let settings = settings();
    let objects = default_objects(&settings);
    let info = find(&objects, "ConfigMap", "cluster-info");
    let text = info["data"]["kubeconfig"].as_str().expect("text");
    let config = Kubeconfig::parse(text.as_bytes()).expect("a kubeconfig");
    let cluster = config.resolve().expect("one cluster").cluster;
    assert_eq!(cluster.server, "https://10.78.0.1:6443");
    let ca = muster_identity::kubeconfig::Material::Data(settings.ca.to_pem().into_bytes());
    assert_eq!(cluster.certificate_authority, Some(ca));
}

#[test]
fn kubeadms_configuration_is_yaml_with_our_values() {
    let objects = default_objects(&settings());
    let text = |name: &str, key: &str| {
        find(&objects, "ConfigMap", name)["data"][key]
            .as_str()
            .expect("text")
            .to_owned()
    };
    let cluster: Value =
        serde_saphyr::from_str(&text("kubeadm-config", "ClusterConfiguration")).expect("YAML");
    assert_eq!(cluster["apiVersion"], "kubeadm.k8s.io/v1beta4");
    assert_eq!(cluster["kubernetesVersion"], KUBERNETES_VERSION);
    assert_eq!(cluster["networking"]["serviceSubnet"], "10.96.0.0/12");
    assert_eq!(cluster["etcd"]["local"]["dataDir"], "/var/lib/etcd");
    let kubelet: Value = serde_saphyr::from_str(&text("kubelet-config", "kubelet")).expect("YAML");
    assert_eq!(kubelet["clusterDNS"], json!(["10.96.0.10"]));
    assert_eq!(kubelet["clusterDomain"], "cluster.local");
    assert_eq!(kubelet["rotateCertificates"], true);
}

#[test]
fn the_servers_own_service_leads_to_its_addresses() {
    let mut settings = settings();
    settings
        .advertised
        .push("[fd00::1]:6443".parse().expect("an address"));
    let objects = default_objects(&settings);
    let service = find(&objects, "Service", "kubernetes");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 6443);
    let endpoints = find(&objects, "Endpoints", "kubernetes");
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "10.78.0.1");
    let slice = find(&objects, "EndpointSlice", "kubernetes");
    assert_eq!(
        (
            &slice["addressType"],
            &slice["endpoints"][0]["addresses"][0]
        ),
        (&json!("IPv4"), &json!("10.78.0.1"))
    );
    let second = find(&objects, "EndpointSlice", "kubernetes-secondary");
    assert_eq!(second["addressType"], "IPv6");
}

#[test]
fn the_classes_of_system_pods_have_their_fixed_numbers() {
    let objects = default_objects(&settings());
    for (name, value) in [
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ] {
        assert_eq!(find(&objects, "PriorityClass", name)["value"], value);
    }
}

#[test]
fn workers_of_k0s_find_their_profile_and_may_read_exactly_that() {
    let objects = default_objects(&settings());
    let names = ["1.33", "1.34", "1.35", "1.36"].map(|v| format!("worker-config-default-{v}"));
    for name in &names {
        let data = &find(&objects, "ConfigMap", name)["data"];
        let read =
            |key: &str| -> Value { serde_json::from_str(data[key].as_str().unwrap()).unwrap() };
        let kubelet = read("kubeletConfiguration");
        assert_eq!(kubelet["kind"], "KubeletConfiguration");
        assert_eq!(kubelet["serverTLSBootstrap"], true);
        assert_eq!(kubelet["clusterDNS"][0], settings().dns_address.to_string());
        assert!(
            read("apiServerAddresses")[0]
                .as_str()
                .unwrap()
                .contains(':')
        );
        assert_eq!(read("konnectivity")["enabled"], Value::Null);
    }
    let role = find(&objects, "Role", "system:bootstrappers:worker-config-1.36");
    assert_eq!(role["rules"][0]["resourceNames"], json!(names));
    let name = "system:bootstrappers:worker-config-1.36";
    let binding = find(&objects, "RoleBinding", name);
    let groups: Vec<_> = binding["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["name"])
        .collect();
    assert_eq!(groups, ["system:bootstrappers", "system:nodes"]);
}

#[test]
fn a_changed_profile_stays_and_follows_the_servers_address() {
    let profile = |address: &str, kubelet: &str| {
        json!({
            "kind": "ConfigMap",
            "metadata": {"name": "worker-config-default-1.36", "namespace": "kube-system"},
            "data": {"apiServerAddresses": address, "kubeletConfiguration": kubelet},
        })
    };
    let updated =
        crate::bootstrap::brought_up_to_date(&profile("old", "mine"), &profile("new", "ours"));
    assert_eq!(updated, profile("new", "mine"));
}

//! Certificates of a control plane: what kubeadm puts into each, and that a wrong one is noticed.

use super::*;
use crate::blueprint::tests::{cluster, node};
use crate::key_algorithm::KeyAlgorithm;

fn counting() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u64;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 33) as u8;
        }
    }
}

fn blueprint(more: &str) -> Blueprint {
    Blueprint {
        cluster: cluster(more),
        node: node(),
    }
}

fn now() -> Timestamp {
    "2026-11-21T11:13:00Z".parse().unwrap()
}

/// What kubeadm 1.36.2 printed for the same configuration.
#[test]
fn the_api_servers_names_are_kubeadms() {
    let blueprint = blueprint(
        "apiServer: {certSANs: [api.example, 192.0.2.7, 'not a name', '*.apps.example', kubernetes]}\n",
    );
    let profile = Leaf::ApiServer.profile(&blueprint).unwrap();
    assert_eq!(
        profile.sans.dns,
        [
            "*.apps.example",
            "api.example",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "lb.example",
            "n2"
        ]
    );
    let ips: Vec<String> = profile.sans.ip.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.96.0.1", "10.66.0.12", "192.0.2.7"]);
    assert_eq!(profile.subject.common_name, "kube-apiserver");
}

#[test]
fn etcds_names_are_the_nodes_and_loopbacks() {
    let blueprint =
        blueprint("etcd: {local: {serverCertSANs: [etcd.example], peerCertSANs: [10.0.0.9]}}\n");
    let server = Leaf::EtcdServer.profile(&blueprint).unwrap();
    assert_eq!(server.sans.dns, ["etcd.example", "localhost", "n2"]);
    assert_eq!(server.subject.common_name, "n2");
    assert_eq!(server.purposes, [Usage::ServerAuth, Usage::ClientAuth]);
    let peer = Leaf::EtcdPeer.profile(&blueprint).unwrap();
    let ips: Vec<String> = peer.sans.ip.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.66.0.12", "127.0.0.1", "::1", "10.0.0.9"]);
}

#[test]
fn with_etcd_elsewhere_there_are_no_certificates_of_it() {
    let external = cluster("etcd: {external: {endpoints: ['https://e:2379']}}\n");
    let names: Vec<&str> = leaves(&external).into_iter().map(Leaf::name).collect();
    assert_eq!(
        names,
        [
            "apiserver",
            "apiserver-kubelet-client",
            "front-proxy-client"
        ]
    );
    assert_eq!(leaves(&cluster("")).len(), 7);
    assert_eq!(
        authorities(&external),
        [Authority::Cluster, Authority::FrontProxy]
    );
}

#[test]
fn the_service_address_is_the_first_of_the_first_subnet() {
    let first = |subnets: &str| names::first_service_address(subnets).map(|ip| ip.to_string());
    assert_eq!(first("10.96.0.0/12").unwrap(), "10.96.0.1");
    assert_eq!(first("10.96.7.7/12").unwrap(), "10.96.0.1");
    assert_eq!(first("fd00:10::/112,10.0.0.0/24").unwrap(), "fd00:10::1");
    assert_eq!(first("0.0.0.0/0").unwrap(), "0.0.0.1");
    for bad in [
        "",
        "10.0.0.0",
        "10.0.0.0/32",
        "10.0.0.0/x",
        "::/128",
        "10.0.0.0/99",
    ] {
        assert!(first(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_issued_is_judged_right_and_what_differs_is_not() {
    let mut entropy = counting();
    let life = SignedDuration::from_hours(24 * 3650);
    let ca =
        CertificateAuthority::new_self_signed("kubernetes", now(), life, &mut entropy).unwrap();
    let other =
        CertificateAuthority::new_self_signed("kubernetes", now(), life, &mut entropy).unwrap();
    let blueprint = blueprint("");
    let profile = Leaf::ApiServer.profile(&blueprint).unwrap();
    let key = KeyAlgorithm::EcdsaP256.generate(&mut entropy).unwrap();
    let year = SignedDuration::from_hours(8760);
    let issued = profile.issue(&key, &ca, year, now(), &mut entropy).unwrap();
    assert_eq!(
        judge(&issued, &profile, ca.certificate(), now()),
        Verdict::Right
    );
    assert_eq!(issued.not_before(), now() - SignedDuration::from_mins(5));
    assert_eq!(issued.not_after(), now() + year);
    assert_eq!(
        judge(&issued, &profile, other.certificate(), now()),
        Verdict::Stranger
    );
    let later = now() + year + SignedDuration::from_secs(1);
    assert_eq!(
        judge(&issued, &profile, ca.certificate(), later),
        Verdict::Expired {
            not_after: now() + year
        }
    );
    let mut more = blueprint.clone();
    more.cluster.api_server.cert_sans.push("10.9.9.9".into());
    let wanted = Leaf::ApiServer.profile(&more).unwrap();
    assert_eq!(
        judge(&issued, &wanted, ca.certificate(), now()),
        Verdict::Names {
            missing: vec!["10.9.9.9".into()]
        }
    );
    let peer = Leaf::EtcdPeer.profile(&blueprint).unwrap();
    assert!(matches!(
        judge(&issued, &peer, ca.certificate(), now()),
        Verdict::Subject { .. }
    ));
}

#[test]
fn names_are_those_that_kubeadm_renews_by() {
    for leaf in Leaf::ALL {
        assert_eq!(Leaf::by_name(leaf.name()), Some(leaf));
        assert!(!leaf.long_name().is_empty());
    }
    assert_eq!(Leaf::EtcdPeer.base_name(), "etcd/peer");
    assert_eq!(
        Leaf::ApiServerEtcdClient.base_name(),
        "apiserver-etcd-client"
    );
}

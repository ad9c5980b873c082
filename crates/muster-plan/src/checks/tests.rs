//! Which machine draws which finding.

use jiff::Timestamp;
use muster_identity::Endpoint;

use super::*;
use crate::paths::{self, Root};
use crate::request::tests::{request, with_systemd_kubelet};
use crate::{FileFact, IgnoreSet, KubeletPreference};

fn ready() -> Facts {
    with_systemd_kubelet(Facts::plain("n1", Timestamp::UNIX_EPOCH))
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

/// The findings after one change to a machine that has none.
fn after(change: impl FnOnce(&mut Facts, &mut JoinRequest)) -> Vec<Finding> {
    let (mut facts, mut request) = (ready(), request());
    assert_eq!(ids(&preflight(&facts, &request)), Vec::<&str>::new());
    change(&mut facts, &mut request);
    preflight(&facts, &request)
}

#[test]
fn each_fault_draws_its_finding_and_no_other() {
    let file = FileFact::File { size: 1 };
    type Change = Box<dyn FnOnce(&mut Facts, &mut JoinRequest)>;
    let cases: Vec<(&str, Change)> = vec![
        ("IsPrivilegedUser", Box::new(|f, _| f.uid = 1000)),
        (
            "FileAvailable--etc-kubernetes-kubelet.conf",
            Box::new(move |f, _| {
                f.files.insert(paths::KUBELET_CONF.into(), file);
            }),
        ),
        (
            "FileAvailable--etc-kubernetes-pki-ca.crt",
            Box::new(move |f, _| {
                f.files.insert(paths::CA_CRT.into(), file);
            }),
        ),
        ("CRI", Box::new(|f, _| f.cri_sockets.clear())),
        ("CRI", Box::new(|f, _| f.cri_sockets[0].answers = false)),
        (
            "CRI",
            Box::new(|f, _| {
                let mut second = f.cri_sockets[0].clone();
                second.path = "/var/run/crio/crio.sock".into();
                f.cri_sockets.push(second);
            }),
        ),
        ("Swap", Box::new(|f, _| f.swap.push("/dev/sda2".into()))),
        (
            "FileExisting-losetup",
            Box::new(|f, _| {
                f.binaries.remove("losetup");
            }),
        ),
        (
            "SystemVerification",
            Box::new(|f, _| f.kernel = "4.19.0".into()),
        ),
        ("SystemVerification", Box::new(|f, _| f.cgroups.version = 0)),
        (
            "SystemVerification",
            Box::new(|f, _| {
                f.cgroups.controllers.remove("pids");
            }),
        ),
        (
            "Hostname",
            Box::new(|f, _| f.hostname_resolves = Some(false)),
        ),
        (
            "Port-10250",
            Box::new(|f, _| {
                f.listening.insert(10250);
            }),
        ),
        (
            "FileContent--proc-sys-net-ipv4-ip_forward",
            Box::new(|f, _| {
                f.sysctls.insert("net/ipv4/ip_forward".into(), "0\n".into());
            }),
        ),
        (
            "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
            Box::new(|f, r| {
                f.sysctls.clear();
                r.endpoint = Endpoint::parse("[fd00::1]:6443").unwrap();
            }),
        ),
        (
            "HTTPProxy",
            Box::new(|f, _| {
                f.proxies
                    .insert("HTTPS_PROXY".into(), "http://p:3128".into());
            }),
        ),
        (
            "Service-kubelet",
            Box::new(|f, r| {
                f.units.clear();
                r.kubelet = KubeletPreference::System;
            }),
        ),
        (
            "DiskSpace",
            Box::new(|f, _| f.disk.as_mut().unwrap().available = 1 << 20),
        ),
        (
            "LiveMounts",
            Box::new(|f, _| f.kubelet_mounts.push("/var/lib/kubelet/pods/x".into())),
        ),
    ];
    for (id, change) in cases {
        assert_eq!(ids(&after(change)), [id]);
    }
}

#[test]
fn a_hollow_node_below_a_directory_needs_neither_root_nor_runtime() {
    let mut facts = Facts::plain("n1", Timestamp::UNIX_EPOCH);
    facts.uid = 1000;
    facts.binaries.clear();
    facts.sysctls.clear();
    facts.swap.push("/dev/sda2".into());
    facts.listening.insert(10250);
    facts.cgroups.version = 0;
    let mut request = request();
    request.root = Root::new("/tmp/n1");
    request.runtime = Runtime::Hollow;
    assert_eq!(ids(&preflight(&facts, &request)), Vec::<&str>::new());
}

#[test]
fn old_control_groups_stop_the_machines_own_kubelet_and_not_the_built_in_one() {
    let change = |preference| {
        after(move |facts, request| {
            let v1 = [
                "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
            ];
            facts.cgroups.version = 1;
            facts.cgroups.controllers = v1.map(String::from).into();
            request.kubelet = preference;
        })
    };
    let own = change(KubeletPreference::System);
    assert!(own[0].id == "SystemVerification" && own[0].is_fatal());
    let built_in = change(KubeletPreference::BuiltIn);
    assert!(built_in[0].id == "SystemVerification" && !built_in[0].is_fatal());
}

#[test]
fn a_relative_root_directory_is_refused() {
    let mut request = request();
    request.root = Root::new("n1");
    request.runtime = Runtime::Hollow;
    let findings = preflight(&Facts::plain("n1", Timestamp::UNIX_EPOCH), &request);
    assert_eq!(ids(&findings), ["RootDirectory"]);
}

#[test]
fn an_ignored_check_still_runs_and_no_longer_stops() {
    let findings = after(|facts, request| {
        facts.listening.insert(10250);
        request.ignore = IgnoreSet::parse(["port-10250"]).unwrap();
    });
    assert!(findings[0].ignored && !findings[0].is_fatal());
}

#[test]
fn a_kubelet_outside_the_servers_range_is_named_before_anything_is_written() {
    let answers = |version: &str| ClusterAnswers {
        version: Some(version.into()),
        ..ClusterAnswers::new("", "", Timestamp::UNIX_EPOCH)
    };
    let mut facts = ready();
    for (kubelet, cluster, fine) in [
        ("1.36.2", "v1.36.2+muster", true),
        ("1.33.0", "v1.36.2", true),
        ("1.32.9", "v1.36.2", false),
        ("1.37.0", "v1.36.2", false),
        ("strange", "v1.36.2", true),
    ] {
        facts.kubelet_version = Some(kubelet.into());
        let findings = preflight_with_cluster(&facts, &request(), &answers(cluster));
        assert_eq!(
            findings.is_empty(),
            fine,
            "{kubelet} with {cluster}: {findings:?}"
        );
    }
}

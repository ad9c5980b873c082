//! Which machine draws which finding.

use jiff::Timestamp;
use muster_identity::Endpoint;

use super::*;
use crate::paths::{self, Root};
use crate::request::tests::{request, with_systemd_kubelet};
use crate::{FileFact, IgnoreSet, Interface, KernelConfig, KubeletPreference, Route, path_id};

fn ready() -> Facts {
    with_systemd_kubelet(Facts::plain("n1", Timestamp::UNIX_EPOCH))
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

/// Every finding is of a check that the catalogue knows, and not worse than it says.
fn assert_known(findings: &[Finding]) {
    for finding in findings {
        let known = CATALOGUE.iter().any(|entry| entry.may_find(finding));
        assert!(known, "{finding:?} is not in the catalogue");
        assert!(!finding.remedy.is_empty(), "{finding:?} has no cure");
    }
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
                second.answers = true;
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
            "Inodes",
            Box::new(|f, _| f.disk.as_mut().unwrap().inodes_available = 9),
        ),
        (
            "CRI",
            Box::new(|f, _| f.cri_sockets[0].runtime.not_ready = Some("reason: x".into())),
        ),
        (
            "ContainerRuntimeVersion",
            Box::new(|f, _| f.cri_sockets[0].runtime.tells_config = Some(false)),
        ),
        (
            "FileExisting-umount",
            Box::new(|f, _| {
                f.binaries.remove("umount");
            }),
        ),
        (
            "FileExisting-iptables",
            Box::new(|f, _| {
                f.binaries.remove("iptables");
            }),
        ),
        (
            "FileExisting-ip",
            Box::new(|f, _| {
                f.binaries.remove("ip");
            }),
        ),
        (
            "SystemVerification",
            Box::new(|f, _| {
                f.kernel_config = KernelConfig::Known {
                    options: std::collections::BTreeMap::new(),
                };
            }),
        ),
        (
            "SystemVerification",
            Box::new(|f, _| {
                f.kernel_config = KernelConfig::Unreadable { why: "x".into() };
            }),
        ),
        (
            "SystemVerification",
            Box::new(|f, _| f.cgroups.freezer = Some(false)),
        ),
        (
            "SystemVerification",
            Box::new(|f, _| {
                f.cgroups.controllers.remove("hugetlb");
            }),
        ),
        (
            "Service-kubelet",
            Box::new(|f, _| f.units.get_mut("kubelet").unwrap().enabled = false),
        ),
        ("TimeSync", Box::new(|f, _| f.programs.clear())),
        (
            "Firewalld",
            Box::new(|f, _| {
                f.programs.insert("firewalld".into());
            }),
        ),
        ("Firewall", Box::new(|f, _| f.ufw = true)),
        (
            "SecurityModules",
            Box::new(|f, _| f.selinux = Some("enforcing".into())),
        ),
        (
            "OtherDistribution",
            Box::new(|f, _| {
                f.programs.insert("k3s-agent".into());
            }),
        ),
        (
            "Unanswered",
            Box::new(|f, _| {
                f.unanswered.push(crate::Unanswered {
                    what: "the host name's address".into(),
                    millis: 800,
                });
            }),
        ),
        (
            "BridgeNetfilter",
            Box::new(|f, _| {
                f.modules.remove("br_netfilter");
            }),
        ),
        (
            "BridgeNetfilter",
            Box::new(|f, _| {
                f.sysctls
                    .insert("net/bridge/bridge-nf-call-iptables".into(), "0".into());
            }),
        ),
        (
            "InotifyLimits",
            Box::new(|f, _| {
                f.sysctls
                    .insert("fs/inotify/max_user_instances".into(), "128".into());
            }),
        ),
        (
            "OpenFiles",
            Box::new(|f, r| {
                f.open_files = Some(1024);
                r.kubelet = KubeletPreference::BuiltIn;
            }),
        ),
        (
            "Mtu",
            Box::new(|f, _| {
                f.interfaces.insert(
                    "eth0".into(),
                    Interface {
                        mtu: 1500,
                        up: true,
                    },
                );
                f.route = Some(Route {
                    interface: "eth0".into(),
                    mtu: 1400,
                });
            }),
        ),
        (
            "ResolvConf",
            Box::new(|f, _| f.nameservers = vec!["127.0.0.1".into(), "::1".into()]),
        ),
        (
            "Leftovers",
            Box::new(|f, _| {
                f.interfaces.insert("cali1234".into(), Interface::default());
            }),
        ),
        (
            "LiveMounts",
            Box::new(|f, _| f.kubelet_mounts.push("/var/lib/kubelet/pods/x".into())),
        ),
    ];
    for (id, change) in cases {
        let findings = after(change);
        assert_eq!(ids(&findings), [id]);
        assert_known(&findings);
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

fn answers() -> ClusterAnswers {
    ClusterAnswers::new("https://10.0.0.1:6443", "", Timestamp::UNIX_EPOCH)
}

fn plane() -> ControlPlane {
    ControlPlane::new("10.0.0.7", 6443, &answers(), false)
}

#[test]
fn a_control_plane_node_has_kubeadms_further_checks_and_a_ready_machine_draws_none() {
    type Change = Box<dyn FnOnce(&mut Facts, &mut ControlPlane)>;
    let file = FileFact::File { size: 1 };
    let manifest = |name: &str| {
        let path = format!("/etc/kubernetes/manifests/{name}.yaml");
        let id = path_id("FileAvailable", &path);
        let change: Change = Box::new(move |f, _| {
            f.files.insert(path, file);
        });
        (id, change)
    };
    let port = |port: u16| {
        let change: Change = Box::new(move |f, _| {
            f.listening.insert(port);
        });
        (format!("Port-{port}"), change)
    };
    let proxied = |f: &mut Facts, exempt: &str| {
        f.proxies
            .insert("HTTPS_PROXY".into(), "http://p:3128".into());
        f.proxies.insert("NO_PROXY".into(), exempt.into());
    };
    let cases: Vec<(String, Change)> = vec![
        ("NumCPU".into(), Box::new(|f, _| f.cpus = 1)),
        ("Mem".into(), Box::new(|f, _| f.memory = 1 << 30)),
        port(6443),
        port(10259),
        port(10257),
        port(2379),
        port(2380),
        manifest("kube-apiserver"),
        manifest("kube-controller-manager"),
        manifest("kube-scheduler"),
        manifest("etcd"),
        (
            "HTTPProxy".into(),
            Box::new(move |f, _| proxied(f, "10.0.0.1")),
        ),
        (
            "HTTPProxyCIDR".into(),
            Box::new(move |f, p| {
                proxied(f, "10.0.0.1,10.0.0.7");
                p.service_subnets = vec!["10.96.0.0/12".into()];
            }),
        ),
        (
            "HTTPProxyCIDR".into(),
            Box::new(|_, p| p.pod_subnets = vec!["nonsense".into()]),
        ),
        (
            "DirAvailable--var-lib-etcd".into(),
            Box::new(|f, _| {
                f.files
                    .insert(paths::ETCD_DATA_DIR.into(), FileFact::Dir { entries: 1 });
            }),
        ),
        (
            "ExternalEtcdClientCertificates".into(),
            Box::new(|_, p| {
                p.etcd_data_dir = None;
                p.etcd_files = vec!["/etc/etcd/ca.crt".into()];
            }),
        ),
    ];
    let clean = preflight_control_plane(&ready(), &request(), &plane(), Some(&answers()));
    assert_eq!(ids(&clean), Vec::<&str>::new());
    for (id, change) in cases {
        let (mut facts, mut plane) = (ready(), plane());
        change(&mut facts, &mut plane);
        let findings = preflight_control_plane(&facts, &request(), &plane, None);
        assert_eq!(ids(&findings), [id]);
        assert_known(&findings);
    }
}

#[test]
fn a_control_planes_ca_may_be_there_before() {
    let mut facts = ready();
    facts
        .files
        .insert(paths::CA_CRT.into(), FileFact::File { size: 1 });
    let findings = preflight_control_plane(&facts, &request(), &plane(), None);
    assert_eq!(ids(&findings), Vec::<&str>::new());
    assert!(preflight(&facts, &request())[0].is_fatal());
}

#[test]
fn a_cluster_configuration_tells_networks_and_where_etcd_is() {
    let mut told = answers();
    told.cluster_configuration = Some(
        "networking:\n  serviceSubnet: 10.96.0.0/12,fd00::/112\n  podSubnet: 10.244.0.0/16\netcd:\n  local:\n    dataDir: /data/etcd\n".into(),
    );
    let plane = ControlPlane::new("10.0.0.7", 6443, &told, false);
    assert_eq!(plane.service_subnets, ["10.96.0.0/12", "fd00::/112"]);
    assert_eq!(plane.pod_subnets, ["10.244.0.0/16"]);
    assert_eq!(plane.paths(), ["/data/etcd"]);
    told.cluster_configuration = Some(
        "etcd:\n  external:\n    endpoints: [https://e:2379]\n    caFile: /e/ca.crt\n    certFile: /e/c.crt\n    keyFile: /e/c.key\n".into(),
    );
    let plane = ControlPlane::new("10.0.0.7", 6443, &told, false);
    assert_eq!(plane.etcd_data_dir, None);
    assert_eq!(plane.paths(), ["/e/ca.crt", "/e/c.crt", "/e/c.key"]);
    assert_eq!(
        ControlPlane::new("10.0.0.7", 6443, &told, true).etcd_files,
        Vec::<String>::new()
    );
}

#[test]
fn a_cluster_newer_than_this_program_is_a_warning_for_its_control_plane() {
    let mut told = answers();
    told.version = Some("v1.37.0".into());
    let findings = preflight_control_plane(&ready(), &request(), &plane(), Some(&told));
    assert_eq!(ids(&findings), ["KubernetesVersion"]);
    assert_known(&findings);
}

#[test]
fn a_stale_socket_beside_a_live_one_is_no_reason_to_stop() {
    let findings = after(|facts, _| {
        facts.cri_sockets.push(crate::CriSocket {
            path: "/var/run/crio/crio.sock".into(),
            ..Default::default()
        });
    });
    assert_eq!(ids(&findings), Vec::<&str>::new());
    let findings = after(|facts, _| {
        facts.cri_sockets[0].answers = false;
        facts.cri_sockets.push(crate::CriSocket {
            path: "/var/run/crio/crio.sock".into(),
            ..Default::default()
        });
    });
    assert_eq!(ids(&findings), ["CRI"]);
    assert!(
        findings[0].remedy.contains("none of them answers"),
        "{findings:?}"
    );
}

#[test]
fn whoever_holds_a_port_is_named() {
    let findings = after(|facts, _| {
        facts.listening.insert(10250);
        facts.holders.insert(10250, "nginx (pid 812)".into());
    });
    assert_eq!(findings[0].message, "Port 10250 is in use");
    assert!(
        findings[0].remedy.starts_with("nginx (pid 812) holds it"),
        "{findings:?}"
    );
}

#[test]
fn a_runtime_and_a_kubelet_that_disagree_on_control_groups_are_told_apart_by_who_is_asked() {
    let with = |driver: Option<&str>, tells: Option<bool>, config: Option<&str>| {
        let mut facts = ready();
        facts.cri_sockets[0].runtime.cgroup_driver = driver.map(str::to_owned);
        facts.cri_sockets[0].runtime.tells_config = tells;
        let mut told = answers();
        told.kubelet_config = config.map(str::to_owned);
        let findings = preflight_with_cluster(&facts, &request(), &told);
        assert_known(&findings);
        findings.len()
    };
    let systemd = Some("cgroupDriver: systemd\n");
    assert_eq!(with(Some("cgroupfs"), Some(false), systemd), 1);
    assert_eq!(
        with(Some("cgroupfs"), None, Some("kind: KubeletConfiguration\n")),
        1,
        "the default"
    );
    assert_eq!(with(Some("systemd"), Some(false), systemd), 0);
    assert_eq!(
        with(Some("cgroupfs"), Some(true), systemd),
        0,
        "the kubelet follows the runtime"
    );
    assert_eq!(with(None, Some(false), systemd), 0, "nobody knows");
    assert_eq!(with(Some("cgroupfs"), Some(false), None), 0);
}

#[test]
fn nodes_that_are_this_machine_or_have_its_name_are_named() {
    let mut facts = ready();
    facts.product_uuid = Some("AAAA-1".into());
    let machine = facts.machine_id.clone().unwrap();
    let node = |name: &str, ready, machine_id: &str, uuid: &str| NodeOfCluster {
        name: name.into(),
        ready,
        machine_id: machine_id.into(),
        system_uuid: uuid.into(),
    };
    let found = |nodes: &[NodeOfCluster]| {
        let findings = preflight_among(&facts, &request(), nodes);
        assert_known(&findings);
        findings
            .iter()
            .map(|finding| format!("{} {}", finding.id, finding.is_fatal()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&[node("n1", true, "x", "y")]), ["NodeName true"]);
    assert_eq!(found(&[node("n1", false, "x", "y")]), ["NodeName false"]);
    assert_eq!(
        found(&[node("n1", false, &machine, "aaaa-1")]),
        Vec::<String>::new(),
        "it is us"
    );
    assert_eq!(
        found(&[node("n2", true, &machine, "y")]),
        ["MachineId false"]
    );
    assert_eq!(
        found(&[node("n2", true, "x", "aaaa-1")]),
        ["MachineId false"]
    );
    assert_eq!(found(&[node("n2", true, "x", "y")]), Vec::<String>::new());
}

#[test]
fn cluster_findings_stand_in_the_catalogue_too() {
    let at = |second| Timestamp::from_second(second).unwrap();
    for own in [40, 4000] {
        let api = ApiSight {
            failure: Some(("timeout".into(), "no answer".into(), "look".into())),
            clocks: Some((at(0), at(own))),
            version: None,
        };
        let findings = preflight_sight(&request(), &api);
        assert_eq!(ids(&findings), ["ApiServer", "ClockSkew"]);
        assert_known(&findings);
    }
    let failed = [(
        "registry.k8s.io/etcd:3.6.8-0".to_owned(),
        "no route".to_owned(),
    )];
    let images = image_findings(&failed, Some("pause:3.9"), "pause:3.10.2");
    assert_eq!(ids(&images), ["ImagePull", "ImagePull"]);
    assert_known(&images);
}

#[test]
fn every_name_of_the_catalogue_stands_there_once() {
    let mut names: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

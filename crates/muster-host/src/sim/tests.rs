//! The simulated host keeps every promise, and whole joins survive a power cut at every elementary operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use muster_identity::{Endpoint, NodeName};
use muster_plan::{
    ClusterAnswers, JoinRequest, RepairFiles, Runtime, SecretName, definition_of, plan, repairs,
};
use muster_saga::testing::{
    crash_anywhere_then_resumes, fails_anywhere_then_clean, repeats_change_nothing,
};

use super::*;
use crate::testing::{Bench, HostWorld, conformance};

impl Bench for SimHost {
    fn host(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }

    fn tree(&self) -> BTreeMap<String, String> {
        let show = |entry: &Entry| match entry {
            Entry::Dir { mode } => format!("dir {mode:04o}"),
            Entry::File {
                content,
                attributes,
            } => {
                format!(
                    "file {:04o} {}",
                    attributes.mode,
                    String::from_utf8_lossy(content)
                )
            }
            Entry::Link { target } => format!("link {target}"),
        };
        self.snapshot()
            .tree
            .iter()
            .map(|(path, entry)| (path.clone(), show(entry)))
            .collect()
    }

    fn put_file(&self, path: &str, mode: u32, content: &[u8]) {
        Self::put_file(self, path, mode, content);
    }
}

#[tokio::test]
async fn the_simulated_host_keeps_every_promise() {
    conformance(|| SimHost::new("n1")).await;
}

fn request(runtime: Runtime) -> JoinRequest {
    JoinRequest {
        runtime,
        wait_seconds: 1,
        kubelet_seconds: 1,
        ..JoinRequest::new(
            Endpoint::parse("10.0.0.1:6443").unwrap(),
            NodeName::parse("n1").unwrap(),
        )
    }
}

/// A join's saga on a machine, with what a kubelet drops into its directory.
fn world(host: &SimHost, runtime: Runtime) -> HostWorld<World> {
    let facts = host.inside.facts.lock().clone();
    let mut facts = facts;
    facts.units = host.snapshot().units;
    let answers = ClusterAnswers::new(
        "https://10.0.0.1:6443",
        "a certificate",
        Timestamp::UNIX_EPOCH,
    );
    let plan = plan(&facts, &request(runtime), &answers).unwrap();
    let mut secrets = SecretBag::new();
    for name in [
        SecretName::KubeletKey,
        SecretName::KubeletClient,
        SecretName::KubeletServingKey,
        SecretName::KubeletServing,
    ] {
        secrets.put(name, Secret::new(b"secret".to_vec()));
    }
    host.on_kubelet(|tree| {
        let attributes = Attributes {
            mode: 0o600,
            uid: 0,
            gid: 0,
            modified: 0,
            modified_nanos: 0,
        };
        let file = || Entry::File {
            content: b"dropped".to_vec(),
            attributes,
        };
        tree.insert("/var/lib/kubelet/cpu_manager_state".into(), file());
        tree.insert(
            "/var/lib/kubelet/plugins".into(),
            Entry::Dir { mode: 0o750 },
        );
        tree.insert("/var/lib/kubelet/pki/kubelet.key".into(), file());
    });
    let (look, count, power) = (host.clone(), host.clone(), host.clone());
    HostWorld::new(
        Arc::new(host.clone()),
        plan.definition().unwrap(),
        secrets,
        move || timeless(look.snapshot()),
    )
    .with_power(
        move || count.operations(),
        move |at| power.lose_power_at(at),
    )
}

/// What a kubelet writes when it starts.
fn kubelet_droppings(tree: &mut BTreeMap<String, Entry>) {
    let attributes = Attributes {
        mode: 0o600,
        uid: 0,
        gid: 0,
        modified: 0,
        modified_nanos: 0,
    };
    let file = || Entry::File {
        content: b"dropped".to_vec(),
        attributes,
    };
    tree.insert("/var/lib/kubelet/cpu_manager_state".into(), file());
    tree.insert(
        "/var/lib/kubelet/plugins".into(),
        Entry::Dir { mode: 0o750 },
    );
    tree.insert("/var/lib/kubelet/pki/kubelet.key".into(), file());
}

/// Times of change differ between an undisturbed and a resumed run, except those that an undo brings back.
fn timeless(mut world: World) -> World {
    for entry in world.tree.values_mut() {
        if let Entry::File { attributes, .. } = entry
            && attributes.uid == 0
        {
            attributes.modified = 0;
        }
    }
    world
}

/// A repair's saga on a machine that needs everything mended, some of it by others already.
fn repair_world(host: &SimHost) -> HostWorld<World> {
    host.put_file("/etc/fstab", 0o640, b"/dev/sda2 none swap sw 0 0\n");
    host.put_file(
        "/etc/sysctl.d/90-muster.conf",
        0o600,
        b"vm.swappiness = 1\n",
    );
    host.with_world(|world| {
        let swap = |device: &str, priority| Swap {
            device: device.into(),
            priority,
        };
        world.kernel.swaps = [swap("/dev/sda2", -2), swap("/swap", 5)].into();
        let settings = [
            ("net/ipv4/ip_forward", "0"),
            ("fs/inotify/max_user_instances", "128"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        world.kernel.settings.extend(settings);
    });
    host.with_facts(|facts| {
        facts.modules.clear();
        facts.sysctls.clear();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let facts = runtime.unwrap().block_on(host.gather()).unwrap();
    let files = RepairFiles {
        fstab: Some("/dev/sda2 none swap sw 0 0\n".into()),
        sysctl_conf: Some("vm.swappiness = 1\n".into()),
        ..RepairFiles::default()
    };
    let steps = repairs(&facts, &request(Runtime::Cri { endpoint: None }), &files);
    assert!(steps.len() > 9, "{steps:?}");
    let (look, count, power) = (host.clone(), host.clone(), host.clone());
    HostWorld::new(
        Arc::new(host.clone()),
        definition_of(&steps).unwrap(),
        SecretBag::new(),
        move || timeless(look.snapshot()),
    )
    .with_power(
        move || count.operations(),
        move |at| power.lose_power_at(at),
    )
}

type Fresh = Box<dyn Fn() -> HostWorld<World>>;

fn machines() -> Vec<(&'static str, Fresh)> {
    vec![
        (
            "bare",
            Box::new(|| world(&SimHost::new("n1"), Runtime::Hollow)),
        ),
        ("a repair", Box::new(|| repair_world(&SimHost::new("n1")))),
        (
            "systemd without a kubelet",
            Box::new(|| {
                let host = SimHost::new("n1");
                host.with_facts(|facts| facts.service_manager = ServiceManager::Systemd);
                world(&host, Runtime::Hollow)
            }),
        ),
        (
            "a running system kubelet and files of its own",
            Box::new(|| {
                let host = SimHost::new("n1");
                host.install_system_kubelet(true);
                host.put_file("/var/lib/kubelet/config.yaml", 0o644, b"theirs");
                host.put_file(
                    "/var/lib/kubelet/pki/kubelet-client-current.pem",
                    0o600,
                    b"theirs",
                );
                host.put_file("/etc/kubernetes/other", 0o640, b"theirs");
                // It runs, so what it writes is there already.
                host.with_world(|world| kubelet_droppings(&mut world.tree));
                world(&host, Runtime::Cri { endpoint: None })
            }),
        ),
    ]
}

#[test]
fn a_join_that_fails_at_any_step_leaves_the_machine_as_it_was() {
    for (name, fresh) in machines() {
        eprintln!("{name}");
        fails_anywhere_then_clean(&fresh);
    }
}

#[test]
fn doing_any_step_of_a_join_twice_changes_nothing() {
    for (name, fresh) in machines() {
        eprintln!("{name}");
        repeats_change_nothing(&fresh);
    }
}

#[test]
fn a_power_cut_anywhere_in_a_join_ends_joined_or_clean() {
    for (name, fresh) in machines() {
        eprintln!("{name}");
        crash_anywhere_then_resumes(&fresh);
    }
}

#[tokio::test]
async fn nothing_is_removed_at_or_below_a_live_mount() {
    let host = SimHost::new("n1");
    let step = Step::ClaimDir {
        path: "/var/lib/kubelet".into(),
        mode: 0o755,
    };
    let prior = host.observe(&step).await.unwrap();
    host.perform("claim", &step, &prior, &SecretBag::new())
        .await
        .unwrap();
    host.put_file(
        "/var/lib/kubelet/pods/u/volumes/v/data",
        0o600,
        b"a volume's",
    );
    host.put_file("/var/lib/kubelet/state", 0o600, b"the kubelet's");
    host.mount("/var/lib/kubelet/pods/u/volumes/v");
    let left = host.undo("claim", &step, &prior).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0]
            .remedy
            .contains("umount /var/lib/kubelet/pods/u/volumes/v")
    );
    let tree = host.snapshot().tree;
    assert!(tree.contains_key("/var/lib/kubelet/pods/u/volumes/v/data"));
    assert!(!tree.contains_key("/var/lib/kubelet/state"));
}

#[tokio::test]
async fn a_kubelet_that_ends_again_and_again_is_reported_with_its_log() {
    let host = SimHost::new("n1");
    host.kubelet_ends(true);
    let supervised = Process::Supervised {
        pidfile: paths::KUBELET_PID.into(),
        log: "/l".into(),
    };
    // A service manager that starts it again and again is not waited for to the end either.
    let service = Process::Service {
        unit: paths::KUBELET_UNIT.into(),
    };
    for process in [supervised, service] {
        let step = Step::AwaitKubelet {
            healthz_port: Some(10248),
            process,
            seconds: 30,
        };
        let error = host
            .perform("await", &step, &Prior::Nothing, &SecretBag::new())
            .await
            .unwrap_err();
        assert_eq!(error.id(), "kubelet-start-failed");
        assert!(error.to_string().contains("it ended 3 times"), "{error}");
        assert!(error.to_string().contains("the simulated log"), "{error}");
    }
}

#[tokio::test]
async fn what_is_purged_is_gone_and_what_holds_on_is_named() {
    let host = SimHost::new("n1");
    for path in [
        "/var/lib/kubelet/config.yaml",
        "/var/lib/kubelet/pods/u/volumes/v/data",
        "/var/lib/kubelet/pods/busy/volumes/v/data",
        "/var/log/pods/ns_pod_uid/c/0.log",
        "/var/log/pods/mine/notes",
        "/etc/cni/net.d/10-flannel.conflist",
        "/var/lib/cni/networks/cbr0/10.0.0.2",
    ] {
        host.put_file(path, 0o600, b"x");
    }
    host.put_file("/var/log/containers/other.log", 0o600, b"x");
    host.with_world(|world| {
        for (name, target) in [
            ("a.log", "/var/log/pods/ns_pod_uid/c/0.log"),
            ("b.log", "/elsewhere"),
        ] {
            let entry = Entry::Link {
                target: target.into(),
            };
            world
                .tree
                .insert(format!("/var/log/containers/{name}"), entry);
        }
        world.pods = ["p1".to_owned(), "p2".to_owned()].into();
        world.kernel.links = ["eth0", "cni0", "flannel.1"].map(String::from).into();
        world
            .kernel
            .filters
            .insert("iptables chain nat KUBE-SERVICES".into());
    });
    host.mount("/var/lib/kubelet/pods/u/volumes/v");
    host.mount("/var/lib/kubelet/pods/u/volumes/v/nested");
    host.mount("/var/lib/kubelet/pods/busy/volumes/v");
    host.mount_is_busy("/var/lib/kubelet/pods/busy/volumes/v");
    let purge = async |what: Purge| {
        let step = Step::Purge { what };
        for _ in 0..2 {
            let receipt = host
                .perform("p", &step, &Prior::Nothing, &SecretBag::new())
                .await
                .unwrap();
            let left: Vec<muster_saga::Residue> = serde_json::from_value(receipt).unwrap();
            if !left.is_empty() {
                return left.into_iter().map(|residue| residue.what).collect();
            }
        }
        Vec::<String>::new()
    };
    let endpoint = || "unix:///c.sock".to_owned();
    assert_eq!(
        purge(Purge::Pods {
            endpoint: endpoint()
        })
        .await,
        Vec::<String>::new()
    );
    let busy = "mount at /var/lib/kubelet/pods/busy/volumes/v";
    assert_eq!(
        purge(Purge::Mounts {
            below: "/var/lib/kubelet".into()
        })
        .await,
        [busy]
    );
    assert_eq!(
        purge(Purge::Contents {
            dir: "/var/lib/kubelet".into()
        })
        .await,
        [busy]
    );
    assert_eq!(purge(Purge::PodLogs).await, Vec::<String>::new());
    let preview = host.preview(&Purge::NetworkPlugins).await.unwrap();
    assert!(
        preview.contains(&"interface cni0 (bridge plugin)".to_owned()),
        "{preview:?}"
    );
    assert_eq!(
        host.preview(&Purge::Firewall).await.unwrap(),
        ["iptables chain nat KUBE-SERVICES"]
    );
    assert_eq!(purge(Purge::NetworkPlugins).await, Vec::<String>::new());
    assert_eq!(purge(Purge::Firewall).await, Vec::<String>::new());
    let world = host.snapshot();
    let files: Vec<&String> = world
        .tree
        .iter()
        .filter(|(_, entry)| !matches!(entry, Entry::Dir { .. }))
        .map(|(path, _)| path)
        .collect();
    let expected = [
        "/var/lib/kubelet/pods/busy/volumes/v/data",
        "/var/log/containers/b.log",
        "/var/log/containers/other.log",
        "/var/log/pods/mine/notes",
    ];
    assert_eq!(files, expected);
    assert!(world.pods.is_empty() && world.kernel.filters.is_empty());
    assert_eq!(world.kernel.links, BTreeSet::from(["eth0".to_owned()]));
}

#[tokio::test]
async fn a_host_below_another_root_changes_no_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let host = crate::LocalHost::new(Root::new(dir.path().to_str().unwrap()));
    for step in [
        Step::LoadModule {
            name: "br_netfilter".into(),
        },
        Step::SetSysctl {
            key: "kernel/ostype".into(),
            value: "x".into(),
        },
        Step::SwapOff {},
        Step::Purge {
            what: Purge::Firewall,
        },
        Step::Purge {
            what: Purge::NetworkPlugins,
        },
    ] {
        let refused = host
            .perform("s", &step, &Prior::Nothing, &SecretBag::new())
            .await;
        assert!(
            matches!(refused, Err(HostError::NotAHostStep { .. })),
            "{step:?}"
        );
    }
}

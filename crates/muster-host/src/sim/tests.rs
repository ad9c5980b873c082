//! The simulated host keeps every promise, and whole joins survive a power cut at every elementary operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use muster_identity::{Endpoint, NodeName};
use muster_plan::{ClusterAnswers, JoinRequest, Runtime, SecretName, plan};
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
    for name in [SecretName::KubeletKey, SecretName::KubeletClient] {
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

type Fresh = Box<dyn Fn() -> HostWorld<World>>;

fn machines() -> Vec<(&'static str, Fresh)> {
    vec![
        (
            "bare",
            Box::new(|| world(&SimHost::new("n1"), Runtime::Hollow)),
        ),
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

//! The same on a real disk below a temporary root, with real processes and a real journal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use muster_host::LocalHost;

use super::*;

/// Stands in for this program: `supervise` as the real one reports itself, `kubelet` that only lives.
const STAND_IN: &str = r#"#!/bin/sh
if [ "$1" = kubelet ]; then exec sleep 600; fi
pidfile="$3"; shift 4
started() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
"$@" & child=$!
trap 'kill $child; wait $child; rm -f "$pidfile"; exit 0' TERM
printf '%s %s\nchild %s %s\nrestarts 0\n' $$ "$(started $$)" $child "$(started $child)" > "$pidfile"
wait $child
"#;

struct Machine {
    dir: tempfile::TempDir,
    host: LocalHost,
    cluster: SimCluster,
    options: JoinOptions,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("muster-stand-in");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc/kubernetes")).unwrap();
        fs::write(root.join("etc/kubernetes/theirs"), "theirs").unwrap();
        let root = Root::new(root.to_str().unwrap());
        let mut options = options("n1");
        options.request.executable = program.to_str().unwrap().into();
        options.request.root = root.clone();
        // A kubelet of the simulated cluster's own machine registers the Node as soon as it is asked for.
        let beside = SimHost::new("n1");
        beside.with_world(|world| world.running.insert("the kubelet".into()));
        let cluster = SimCluster::new(&beside);
        Self {
            dir,
            host: LocalHost::new(root),
            cluster,
            options,
        }
    }

    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        walk(self.dir.path(), self.dir.path(), &mut tree);
        tree
    }

    async fn join(&self) -> Result<Joined, JoinError> {
        let events = EventSink::nobody();
        join_here(&self.options, &self.host, &self.cluster, &events).await
    }
}

fn walk(root: &Path, dir: &Path, tree: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let shown = if metadata.is_symlink() {
            format!("link {}", fs::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            walk(root, &path, tree);
            format!("dir {mode:04o}")
        } else {
            format!(
                "file {mode:04o} {}",
                String::from_utf8_lossy(&fs::read(&path).unwrap())
            )
        };
        tree.insert(name, shown);
    }
}

#[tokio::test]
async fn a_join_below_a_root_directory_and_its_reset_leave_the_same_tree() {
    let machine = Machine::new();
    let before = machine.tree();
    machine.cluster.may_delete(true);
    let joined = machine
        .join()
        .await
        .unwrap_or_else(|e| panic!("{}", e.message()));
    assert!(!joined.already);
    let tree = machine.tree();
    let shows = |path: &str| tree.get(path).map_or("nothing", String::as_str);
    assert!(shows("root/etc/kubernetes/kubelet.conf").starts_with("file 0600 apiVersion: v1"));
    assert!(shows("root/etc/kubernetes/pki/ca.crt").starts_with("file 0644"));
    assert!(shows("root/var/lib/muster/state.db").starts_with("file 0600"));
    assert_eq!(shows("root/var/lib/muster"), "dir 0700");
    let link = shows("root/var/lib/kubelet/pki/kubelet-client-current.pem");
    let target = link.strip_prefix("link ").unwrap();
    assert!(Path::new(target).is_file(), "{target}");
    assert!(
        shows("root/run/muster/kubelet.pid").contains("child"),
        "a kubelet runs"
    );

    assert!(machine.join().await.unwrap().already);

    let events = EventSink::nobody();
    let options = ResetOptions::default();
    let outcome =
        crate::reset::reset_here(&options, &machine.host, &machine.cluster, &events).await;
    let outcome = outcome.unwrap_or_else(|e| panic!("{}", e.message()));
    // The kubelet of the simulated cluster goes on, so its Node comes back; the machine itself is clean.
    assert!(matches!(outcome, ResetOutcome::Clean { .. }), "{outcome:?}");
    assert_eq!(machine.tree(), before);
}

#[tokio::test]
async fn a_join_that_fails_below_a_root_directory_leaves_the_same_tree() {
    let machine = Machine::new();
    let before = machine.tree();
    machine.cluster.denies(true);
    assert_eq!(machine.join().await.unwrap_err().id(), "csr-denied");
    assert_eq!(machine.tree(), before);
}

#[tokio::test]
async fn a_rehearsal_below_a_root_directory_leaves_no_trace() {
    let mut machine = Machine::new();
    let before = machine.tree();
    machine.options.dry_run = true;
    assert!(machine.join().await.unwrap().planned.is_some());
    assert_eq!(machine.tree(), before);
}

#[tokio::test]
async fn two_joins_at_once_are_refused() {
    let machine = Machine::new();
    let held = StateDir::open(&machine.options.request.root).unwrap();
    assert_eq!(machine.join().await.unwrap_err().id(), "locked");
    held.remove().await.unwrap();
}

//! The real host in a temporary root keeps every promise; services through a stand-in for systemctl; processes for
//! real.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use std::collections::BTreeMap;

use super::*;
use crate::testing::{Bench, conformance};

struct Temporary {
    dir: tempfile::TempDir,
    host: Arc<LocalHost>,
}

impl Temporary {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for path in ["etc", "var/lib", "run", "var/log"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let root = Root::new(dir.path().to_str().unwrap());
        Self {
            host: Arc::new(LocalHost::new(root)),
            dir,
        }
    }
}

fn walk(root: &Path, dir: &Path, tree: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        if name.starts_with("/var/lib/muster") {
            continue;
        }
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

impl Bench for Temporary {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host) as Arc<dyn Host>
    }

    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        walk(self.dir.path(), self.dir.path(), &mut tree);
        tree
    }

    fn put_file(&self, path: &str, mode: u32, content: &[u8]) {
        let path = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[tokio::test]
async fn the_real_host_in_a_temporary_root_keeps_every_promise() {
    conformance(Temporary::new).await;
}

#[tokio::test]
async fn a_restored_file_has_its_old_time_and_no_backup_is_left() {
    let bench = Temporary::new();
    bench.put_file("/etc/f", 0o640, b"theirs");
    let path = bench.dir.path().join("etc/f");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5_000);
    fs::File::open(&path).unwrap().set_modified(old).unwrap();
    let step = Step::WriteFile {
        path: "/etc/f".into(),
        mode: 0o600,
        content: "ours".into(),
    };
    let prior = bench.host.observe(&step).await.unwrap();
    bench
        .host
        .perform("f", &step, &prior, &SecretBag::new())
        .await
        .unwrap();
    let backup = bench.dir.path().join("var/lib/muster/backup/f");
    assert_eq!(
        fs::metadata(&backup).unwrap().permissions().mode() & 0o777,
        0o600
    );
    bench.host.undo("f", &step, &prior).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), old);
    assert!(!backup.exists());
    bench.host.forget_backups().await.unwrap();
    assert!(!bench.dir.path().join("var/lib/muster/backup").exists());
}

#[tokio::test]
async fn facts_of_this_machine_are_plausible() {
    let bench = Temporary::new();
    bench.put_file("/etc/kubernetes/kubelet.conf", 0o600, b"x");
    let facts = bench.host.gather().await.unwrap();
    assert!(facts.memory > 1 << 20 && facts.cpus > 0, "{facts:?}");
    assert_eq!(facts.kernel_name, "Linux");
    assert_eq!(
        facts.service_manager,
        ServiceManager::None,
        "none knows a temporary root"
    );
    assert!(facts.files.contains_key("/etc/kubernetes/kubelet.conf"));
    assert!(facts.binaries.contains_key("cp"), "{:?}", facts.binaries);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(bench.host.gather().await.unwrap().listening.contains(&port));
}

/// A stand-in that keeps each unit's state in files, as systemd keeps it in memory.
const SYSTEMCTL: &str = r#"#!/bin/sh
state="$(dirname "$0")/state"; mkdir -p "$state"
verb="$1"; for unit in "$@"; do :; done
case "$verb" in
  show)
    [ -e "$state/$unit.unit" ] && echo LoadState=loaded || echo LoadState=not-found
    [ -e "$state/$unit.active" ] && echo ActiveState=active || echo ActiveState=inactive
    [ -e "$state/$unit.enabled" ] && echo UnitFileState=enabled || echo UnitFileState=disabled ;;
  start) [ -e "$state/$unit.unit" ] || { echo "Unit $unit not found." >&2; exit 5; }; touch "$state/$unit.active" ;;
  stop) rm -f "$state/$unit.active" ;;
  enable) touch "$state/$unit.enabled" ;;
  disable) rm -f "$state/$unit.enabled" ;;
  daemon-reload) ;;
esac
"#;

#[tokio::test]
async fn services_are_started_enabled_and_put_back_through_systemctl() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("systemctl");
    fs::write(&program, SYSTEMCTL).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let state = dir.path().join("state");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("kubelet.unit"), "").unwrap();
    fs::write(state.join("kubelet.active"), "").unwrap();
    let programs = LocalPrograms {
        systemctl: program,
        ..LocalPrograms::default()
    };
    let root = Root::new(dir.path().join("root").to_str().unwrap());
    let host = LocalHost::with(root, ServiceManager::Systemd, programs);
    let unit = || "kubelet".to_owned();
    let steps = [
        Step::StopService { unit: unit() },
        Step::EnableService { unit: unit() },
        Step::StartService { unit: unit() },
    ];
    let mut priors = Vec::new();
    for step in &steps {
        let prior = host.observe(step).await.unwrap();
        for _ in 0..2 {
            host.perform("s", step, &prior, &SecretBag::new())
                .await
                .unwrap();
        }
        priors.push(prior);
    }
    assert!(state.join("kubelet.enabled").exists() && state.join("kubelet.active").exists());
    for (step, prior) in steps.iter().zip(&priors).rev() {
        for _ in 0..2 {
            host.undo("s", step, prior).await.unwrap();
        }
    }
    assert!(
        !state.join("kubelet.enabled").exists(),
        "it was not enabled before"
    );
    assert!(
        state.join("kubelet.active").exists(),
        "it was running before"
    );

    let step = Step::StartService {
        unit: "absent".into(),
    };
    let error = host
        .perform("s", &step, &Prior::Nothing, &SecretBag::new())
        .await
        .unwrap_err();
    let failure = error.to_failure();
    assert!(
        failure.message.contains("Unit absent not found."),
        "{failure:?}"
    );
}

/// A stand-in for this program's `supervise`: it reports itself as the real one does, with a child.
const SUPERVISE: &str = r#"#!/bin/sh
pidfile="$3"; shift 4
started() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
"$@" & child=$!
trap 'kill $child; wait $child; rm -f "$pidfile"; exit 0' TERM
printf '%s %s\nchild %s %s\nrestarts 0\n' $$ "$(started $$)" $child "$(started $child)" > "$pidfile"
wait $child
"#;

#[tokio::test]
async fn a_supervised_process_is_started_once_and_stopped_only_if_it_is_ours() {
    let bench = Temporary::new();
    let program = bench.dir.path().join("supervise-stand-in");
    fs::write(&program, SUPERVISE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(bench.dir.path().join("run/muster")).unwrap();
    let pidfile = bench.dir.path().join("run/muster/kubelet.pid");
    let step = Step::SpawnSupervised {
        name: "kubelet".into(),
        executable: program.to_str().unwrap().into(),
        argv: vec!["sleep".into(), "600".into()],
        pidfile: "/run/muster/kubelet.pid".into(),
        log: "/var/log/kubelet.log".into(),
    };
    let prior = bench.host.observe(&step).await.unwrap();
    assert_eq!(prior, Prior::Process { running: false });
    bench
        .host
        .perform("k", &step, &prior, &SecretBag::new())
        .await
        .unwrap();
    let first = fs::read_to_string(&pidfile).unwrap();
    bench
        .host
        .perform("k", &step, &prior, &SecretBag::new())
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(&pidfile).unwrap(),
        first,
        "started a second time"
    );
    let process = Process::Supervised {
        pidfile: "/run/muster/kubelet.pid".into(),
        log: "/var/log/kubelet.log".into(),
    };
    let wait = Step::AwaitKubelet {
        healthz_port: None,
        process,
        seconds: 10,
    };
    bench
        .host
        .perform("w", &wait, &Prior::Nothing, &SecretBag::new())
        .await
        .unwrap();

    let child = crate::process::PidFile::parse(&first)
        .unwrap()
        .child
        .unwrap();
    bench.host.undo("k", &step, &prior).await.unwrap();
    assert!(!child.is_alive() && !pidfile.exists());
    bench.host.undo("k", &step, &prior).await.unwrap();

    // A pid file that names a living process with another start time: a reused pid.
    let me = std::process::id();
    fs::write(&pidfile, format!("{me} 1\nrestarts 0\n")).unwrap();
    bench.host.undo("k", &step, &prior).await.unwrap();
    assert!(!pidfile.exists());
}

#[tokio::test]
async fn a_restored_file_has_its_extended_attributes_again() {
    use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
    let bench = Temporary::new();
    bench.put_file("/etc/labelled", 0o640, b"theirs");
    let path = bench.dir.path().join("etc/labelled");
    lsetxattr(&path, "user.origin", b"somebody", XattrFlags::empty())
        .expect("the file system of the temporary directory has extended attributes");
    let step = Step::WriteFile {
        path: "/etc/labelled".into(),
        mode: 0o600,
        content: "ours".into(),
    };
    let prior = bench.host.observe(&step).await.unwrap();
    let done = bench
        .host
        .perform("x", &step, &prior, &SecretBag::new())
        .await;
    done.unwrap();
    let mut value = [0; 64];
    assert!(
        lgetxattr(&path, "user.origin", &mut value[..]).is_err(),
        "the new file is ours"
    );
    bench.host.undo("x", &step, &prior).await.unwrap();
    let length = lgetxattr(&path, "user.origin", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"somebody");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

/// A stand-in for OpenRC 0.45 with its words and exit codes, as recorded from a machine.
const RC_SERVICE: &str = r#"#!/bin/sh
state="$(dirname "$0")/state"
case "$1" in
  --exists) [ -e "$state/$2.unit" ]; exit $? ;;
  --ifstopped) [ -e "$state/$2.started" ] && exit 0; touch "$state/$2.started"; echo " * Starting $2 ... [ ok ]"; exit 0 ;;
  --ifstarted)
    [ -e "$state/$2.started" ] || exit 0
    if [ -e "$state/$2.dead" ]; then
      echo " * Stopping $2 ...No /bin/sleep found running; none killed."; echo " * ERROR: $2 failed to stop" >&2; exit 1
    fi
    rm "$state/$2.started"; echo " * Stopping $2 ... [ ok ]" ;;
  *)
    case "$2" in
      zap) rm -f "$state/$1.started" "$state/$1.dead" ;;
      status) [ -e "$state/$1.started" ] && { echo " * status: started"; exit 0; }; echo " * status: stopped"; exit 3 ;;
    esac ;;
esac
"#;

const RC_UPDATE: &str = r#"#!/bin/sh
state="$(dirname "$0")/state"
case "$1" in
  show) for f in "$state"/*.enabled; do [ -e "$f" ] && echo "              $(basename "$f" .enabled) |      default                                        "; done; exit 0 ;;
  add) touch "$state/$2.enabled" ;;
  del) [ -e "$state/$2.enabled" ] || { echo " * rc-update: service \`$2' is not in the runlevel \`$3'"; exit 1; }; rm "$state/$2.enabled" ;;
esac
"#;

#[tokio::test]
async fn services_are_started_enabled_and_put_back_through_openrc() {
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let programs = LocalPrograms {
        rc_service: program("rc-service", RC_SERVICE),
        rc_update: program("rc-update", RC_UPDATE),
        ..LocalPrograms::default()
    };
    let state = dir.path().join("state");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("kubelet.unit"), "").unwrap();
    let root = Root::new(dir.path().join("root").to_str().unwrap());
    let host = LocalHost::with(root, ServiceManager::OpenRc, programs);
    let unit = || "kubelet".to_owned();
    let steps = [
        Step::EnableService { unit: unit() },
        Step::StartService { unit: unit() },
    ];
    let mut priors = Vec::new();
    for step in &steps {
        let prior = host.observe(step).await.unwrap();
        for _ in 0..2 {
            let done = host.perform("s", step, &prior, &SecretBag::new()).await;
            done.unwrap();
        }
        priors.push(prior);
    }
    assert!(state.join("kubelet.enabled").exists() && state.join("kubelet.started").exists());
    // Its process dies behind OpenRC's back: stopping it is no failure.
    fs::write(state.join("kubelet.dead"), "").unwrap();
    for (step, prior) in steps.iter().zip(&priors).rev() {
        for _ in 0..2 {
            host.undo("s", step, prior).await.unwrap();
        }
    }
    assert!(!state.join("kubelet.enabled").exists() && !state.join("kubelet.started").exists());
}

//! A join from its start to its undoing, on real files and processes.

use crate::harness::{TestServer, stdout_of, text_of, wait_for};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_joined_node_has_kubeadms_files_with_kubeadms_modes() {
    let server = TestServer::start();
    let node = server.join_ready();
    for (path, mode) in [
        ("etc/kubernetes/kubelet.conf", 0o600),
        ("etc/kubernetes/pki/ca.crt", 0o644),
        ("var/lib/kubelet/config.yaml", 0o644),
        ("var/lib/kubelet/kubeadm-flags.env", 0o644),
        ("var/lib/kubelet/pki/kubelet-client-current.pem", 0o600),
    ] {
        let metadata = std::fs::metadata(node.root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
    let names = node.paths();
    assert!(
        !names
            .iter()
            .any(|path| path.ends_with("bootstrap-kubelet.conf")),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|path| path.ends_with("kubelet-client.key.tmp")),
        "{names:?}"
    );
}

#[test]
fn joining_again_says_so_and_succeeds() {
    let server = TestServer::start();
    let node = server.join_ready();
    let before = node.files().len();
    let again = node.join(
        &server.address,
        &["--token", &server.token(&[])],
        &server.pin(),
    );
    assert!(again.status.success(), "{}", text_of(&again));
    assert!(text_of(&again).contains("already"), "{}", text_of(&again));
    assert_eq!(node.files().len(), before);
}

#[test]
fn reset_leaves_nothing_of_a_join() {
    let server = TestServer::start();
    let node = server.join_ready();
    stdout_of(node.reset(&server));
    let left = node.paths();
    assert!(left.is_empty(), "reset left {left:?}");
    assert_eq!(node.processes(), Vec::<String>::new());
    assert_eq!(server.get(&["node", &node.name]), None);
    // And the same machine can join again at once.
    let again = node.join(
        &server.address,
        &["--token", &server.token(&[])],
        &server.pin(),
    );
    assert!(again.status.success(), "{}", text_of(&again));
}

#[test]
fn a_dry_run_checks_the_token_prints_the_plan_and_changes_nothing() {
    let server = TestServer::start();
    let node = server.node();
    let (token, pin) = (server.token(&[]), server.pin());
    let plan = stdout_of(node.join(&server.address, &["--dry-run", "--token", &token], &pin));
    for part in ["kubelet.conf", "config.yaml", "kubelet"] {
        assert!(plan.contains(part), "{plan}");
    }
    assert!(node.files().is_empty());
    assert_eq!(server.get(&["node", &node.name]), None);
    let wrong = node.join(
        &server.address,
        &["--dry-run", "--token", "zzzzzz.0123456789abcdef"],
        &pin,
    );
    assert!(!wrong.status.success(), "{}", text_of(&wrong));
}

#[test]
fn labels_and_taints_are_there_from_the_first_moment() {
    let server = TestServer::start();
    let node = server.node();
    let token = server.token(&[]);
    let flags = [
        "--token",
        &token,
        "--node-labels",
        "rack=r7",
        "--register-with-taints",
        "dedicated=gpu:NoSchedule",
    ];
    let output = node.join(&server.address, &flags, &server.pin());
    assert!(output.status.success(), "{}", text_of(&output));
    let object = server.get(&["node", &node.name]).unwrap();
    assert_eq!(object["metadata"]["labels"]["rack"], "r7");
    assert!(
        object["spec"]["taints"].to_string().contains("dedicated"),
        "{object}"
    );
}

/// The condition Ready of a node.
fn ready(server: &TestServer, name: &str) -> serde_json::Value {
    let object = server.get(&["node", name]).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap().clone();
    conditions
        .into_iter()
        .find(|one| one["type"] == "Ready")
        .unwrap()
}

#[test]
fn a_node_that_is_told_to_stop_says_that_it_shuts_down() {
    let server = TestServer::start();
    let node = server.join_ready();
    let root = node.root.to_str().unwrap();
    let supervisor = crate::harness::command_lines()
        .into_iter()
        .find(|(_, line)| line.contains("supervise") && line.contains(root))
        .unwrap();
    let kill = ["-TERM", &supervisor.0.to_string()];
    assert!(
        std::process::Command::new("kill")
            .args(kill)
            .status()
            .unwrap()
            .success()
    );
    wait_for("the last words of the node", || {
        let condition = ready(&server, &node.name);
        let said =
            condition["message"] == "node is shutting down" && condition["status"] == "False";
        if said {
            Ok(())
        } else {
            Err(condition.to_string())
        }
    });
    wait_for("its processes to end", || match node.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_short_lived_certificate_is_renewed_before_it_ends() {
    let server = TestServer::start_with(&["--cluster-signing-duration", "60s"]);
    let node = server.join_ready();
    let current = node
        .root
        .join("var/lib/kubelet/pki/kubelet-client-current.pem");
    let first = std::fs::read_link(&current).unwrap();
    let second = wait_for("the next certificate", || {
        let link = std::fs::read_link(&current).unwrap();
        if link == first {
            Err(format!("still {}", link.display()))
        } else {
            Ok(link)
        }
    });
    // The node speaks with the new one: its lease goes on being renewed.
    let renewed = || {
        let lease = server
            .get(&["lease", "-n", "kube-node-lease", &node.name])
            .unwrap();
        lease["spec"]["renewTime"].as_str().unwrap().to_owned()
    };
    let before = renewed();
    wait_for("a renewal with the new certificate", || {
        let now = renewed();
        if now == before { Err(now) } else { Ok(()) }
    });
    assert!(
        second.exists() && first.exists(),
        "the old file stays, as with the kubelet"
    );
    assert_eq!(ready(&server, &node.name)["status"], "True");
}

#[test]
fn one_that_is_silent_becomes_unknown() {
    let server = TestServer::start_with(&["--node-monitor-grace-period", "2s"]);
    let node = server.join_ready();
    let pids = crate::harness::command_lines();
    let root = node.root.to_str().unwrap().to_owned();
    let mut ours: Vec<_> = pids
        .into_iter()
        .filter(|(_, line)| line.contains(&root))
        .collect();
    ours.sort_by_key(|(_, line)| !line.contains("supervise"));
    for (pid, _) in ours {
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .output()
            .unwrap();
    }
    wait_for("the silent node to become Unknown", || {
        let object = server.get(&["node", &node.name]).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions
            .iter()
            .find(|one| one["type"] == "Ready")
            .unwrap()
            .clone();
        let taints = object["spec"]["taints"].to_string();
        let unknown =
            ready["status"] == "Unknown" && taints.contains("node.kubernetes.io/unreachable");
        if unknown {
            Ok(())
        } else {
            Err(object.to_string())
        }
    });
}

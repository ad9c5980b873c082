//! `muster node`: one node in and out, with its machine, on the embedded server.

use super::fleet_bed::FleetBed;
use super::harness::{MUSTER, TestServer, text_of, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A server, and a folder for the machines and the journals of a test.
struct Place {
    server: TestServer,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            server: TestServer::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `muster node VERB …` with the server's kubeconfig, and a state directory where there is one.
    fn node(&self, words: &[&str]) -> Output {
        node(&self.server, &self.path("state"), words)
    }

    /// Adds a simulated node that lives below a folder of its own, on this machine.
    fn add(&self, name: &str) -> Output {
        let root = self.path(name);
        let added = self.node(&[
            "add",
            name,
            "--local",
            "--root",
            root.to_str().unwrap(),
            "--hollow",
        ]);
        assert!(added.status.success(), "{}", text_of(&added));
        added
    }

    fn remove(&self, name: &str, more: &[&str]) -> Output {
        let root = self.path(name);
        let words = ["remove", name, "--local", "--root", root.to_str().unwrap()];
        self.node(&words.iter().chain(more).copied().collect::<Vec<_>>())
    }

    fn is_there(&self, kind: &str, name: &str) -> bool {
        self.server.get(&[kind, name]).is_some()
    }

    fn apply(&self, object: &Value) {
        let path = self.write("object.json", &object.to_string());
        self.server
            .kubectl_ok(&["create", "-f", path.to_str().unwrap()]);
    }
}

impl Drop for Place {
    /// Kubelets that a failed test left behind.
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let root = entry.path();
            if root.join("etc/kubernetes").exists() {
                let _ = Command::new(MUSTER)
                    .args(["reset", "--force", "--root"])
                    .arg(&root)
                    .stdin(Stdio::null())
                    .output();
            }
        }
    }
}

fn node(server: &TestServer, state: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(MUSTER);
    command
        .arg("node")
        .args(words)
        .arg("--kubeconfig")
        .arg(server.kubeconfig());
    if words[0] == "add" {
        command.arg("--state-dir").arg(state);
    }
    command
        .env_remove("KUBECONFIG")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn tokens(server: &TestServer) -> usize {
    let text = server.kubectl_ok(&["get", "secrets", "-n", "kube-system", "-o", "name"]);
    text.lines()
        .filter(|line| line.contains("bootstrap-token"))
        .count()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_node_is_added_listed_and_removed_and_nothing_of_it_is_left() {
    let place = Place::new();
    let added = stdout(&place.add("w-1"));
    let status = added.lines().last().unwrap();
    assert!(status.starts_with("w-1"), "{added}");
    assert_eq!(status.split_whitespace().nth(1), Some("Ready"), "{added}");
    assert_eq!(tokens(&place.server), 0);

    let listed = stdout(&place.node(&["list"]));
    let head: Vec<&str> = listed.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"]
    );
    assert_eq!(listed.lines().count(), 2, "{listed}");

    let removed = place.remove("w-1", &[]);
    assert!(removed.status.success(), "{}", text_of(&removed));
    let steps = stdout(&removed);
    assert_eq!(
        steps.lines().collect::<Vec<_>>(),
        [
            "node w-1 cordoned",
            "node w-1 drained",
            "node w-1 deleted",
            "node w-1 removed, and its machine reset"
        ]
    );
    assert!(!place.is_there("node", "w-1"));
    assert!(!place.path("w-1/etc/kubernetes/kubelet.conf").exists());
    // The name is free again.
    place.add("w-1");
    assert!(place.remove("w-1", &[]).status.success());
}

/// A pod of nobody's.
fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "example.com/none"}],
        },
    })
}

#[test]
fn what_keeps_a_node_from_being_drained_is_named_and_the_node_stays_usable() {
    let place = Place::new();
    place.add("w-1");
    place.apply(&json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }));
    place.apply(&pod("alone", "w-1"));
    // A budget counts for pods that run.
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let patch = [
        "patch",
        "pod",
        "alone",
        "--subresource",
        "status",
        "--type",
        "merge",
        "-p",
    ];
    let running = running.to_string();
    place.server.kubectl_ok(
        &patch
            .into_iter()
            .chain([running.as_str()])
            .collect::<Vec<_>>(),
    );

    let refused = place.remove("w-1", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text_of(&refused).contains("[node-drain-refused]"));
    assert!(text_of(&refused).contains("default/alone is made again by no controller"));
    assert!(text_of(&refused).contains("--force"));

    let blocked = place.remove("w-1", &["--force", "--drain-timeout", "3s"]);
    assert_eq!(blocked.status.code(), Some(1));
    assert!(text_of(&blocked).contains("[node-drain-blocked]"));
    assert!(
        text_of(&blocked).contains("default/alone stays for now: The disruption budget web "),
        "{}",
        text_of(&blocked)
    );
    assert!(
        text_of(&blocked).contains("because: default/alone: The disruption budget web "),
        "{}",
        text_of(&blocked)
    );
    let node = place.server.get(&["node", "w-1"]).unwrap();
    assert_eq!(node.pointer("/spec/unschedulable"), None);
    assert!(place.is_there("pod", "alone"));

    place
        .server
        .kubectl_ok(&["delete", "poddisruptionbudget", "web"]);
    let removed = place.remove("w-1", &["--force"]);
    assert!(removed.status.success(), "{}", text_of(&removed));
    assert!(!place.is_there("node", "w-1"));
    assert!(!place.is_there("pod", "alone"));
}

#[test]
fn a_machine_that_was_made_for_a_join_that_fails_is_unmade() {
    let place = Place::new();
    let file = place.write(
        "fleet.yaml",
        &format!(
            "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\ndefaults:\n  local: true\n  join: {{root: '{}'}}\n  \
             provider: {{command: {{create: 'echo {{cpus}} {{memory}} >>{1}/made; touch {1}/{{name}}', destroy: 'rm -f {1}/{{name}}; echo gone >>{1}/made'}}}}\n  \
             hooks: {{beforeJoin: ['echo no floppy drive >&2; exit 3']}}\n",
            place.path("root").display(),
            place.folder.path().display()
        ),
    );
    let added = place.node(&[
        "add",
        "w-1",
        "-f",
        file.to_str().unwrap(),
        "--cpus",
        "4",
        "--memory",
        "16384",
    ]);
    assert_eq!(added.status.code(), Some(1), "{}", text_of(&added));
    assert!(
        text_of(&added).contains("no floppy drive"),
        "{}",
        text_of(&added)
    );
    assert_eq!(
        fs::read_to_string(place.path("made")).unwrap(),
        "4 16384\ngone\n"
    );
    assert!(!place.path("w-1").exists());
    assert!(!place.is_there("node", "w-1"));
    assert_eq!(tokens(&place.server), 0);
}

#[test]
fn a_machine_that_cannot_be_reached_is_told_before_anything_is_changed() {
    let place = Place::new();
    place.add("w-1");
    let words = ["remove", "w-1", "--address", "127.0.0.1", "--ssh-port", "1"];
    let unreachable = place.node(&words);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(
        text_of(&unreachable).contains("nothing was changed"),
        "{}",
        text_of(&unreachable)
    );
    assert!(
        text_of(&unreachable).contains("--no-reset"),
        "{}",
        text_of(&unreachable)
    );
    assert!(place.is_there("node", "w-1"));
    let words: Vec<&str> = words.into_iter().chain(["--no-reset"]).collect();
    let removed = place.node(&words);
    assert!(removed.status.success(), "{}", text_of(&removed));
}

#[test]
fn a_namespace_becomes_a_node_with_an_address_of_its_own_and_is_gone_afterwards() {
    let bed = FleetBed::of(0);
    let (server, _) = bed.server();
    let machines = bed.path("machines");
    let name = format!("ns-{}", std::process::id());
    let provider = [
        "--provider",
        "local",
        "--directory",
        machines.to_str().unwrap(),
    ];
    let words = ["add", &name, "--hollow"];
    let words: Vec<&str> = words.into_iter().chain(provider).collect();
    let added = node(&server, &bed.path("state"), &words);
    assert!(added.status.success(), "{}", text_of(&added));
    let address = stdout(&added)
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap()
        .to_owned();
    assert!(address.starts_with("10.217."), "{address}");
    assert!(
        machines
            .join(&name)
            .join("root/etc/kubernetes/kubelet.conf")
            .exists()
    );

    let words: Vec<&str> = ["remove", name.as_str()]
        .into_iter()
        .chain(provider)
        .collect();
    let removed = node(&server, &bed.path("state"), &words);
    assert!(removed.status.success(), "{}", text_of(&removed));
    assert!(stdout(&removed).ends_with("removed, and its machine unmade\n"));
    assert!(!machines.join(&name).exists());
    let namespaces = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!stdout(&namespaces).contains(&name));
    assert!(server.get(&["node", &name]).is_none());
}

#[test]
fn a_host_of_the_fleet_file_is_added_over_ssh_and_reset_when_it_is_removed() {
    let bed = FleetBed::of(1);
    let (server, endpoint) = bed.server();
    let host = &bed.hosts[0];
    let address = host.address.to_string();
    let network = address.strip_suffix(".10").unwrap();
    let text = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\ncluster: {{endpoint: '{endpoint}'}}\ndefaults:\n  ssh: {{configFile: '{}'}}\n  \
         join: {{kubelet: builtin, runtime: hollow, binary: '{}'}}\nhosts: [{{name: 'host-[0:5]', ssh: {{address: '{network}.[10:15]'}}}}]\n",
        bed.path("ssh_config").display(),
        bed.program(true).display(),
    );
    let file = bed.path("fleet.yaml");
    fs::write(&file, text).unwrap();
    let words = [host.name.as_str(), "-f", file.to_str().unwrap()];
    let add: Vec<&str> = ["add"].into_iter().chain(words).collect();
    let added = node(&server, &bed.path("state"), &add);
    assert!(added.status.success(), "{}", text_of(&added));
    assert!(host.has_joined());
    let remove: Vec<&str> = ["remove"].into_iter().chain(words).collect();
    let removed = node(&server, &bed.path("state"), &remove);
    assert!(removed.status.success(), "{}", text_of(&removed));
    assert_eq!(host.traces(), Vec::<String>::new());
    wait_for("the Node is gone", || {
        server
            .get(&["node", &host.name])
            .map_or(Ok(()), |_| Err("it is there".to_owned()))
    });
}

//! `muster join --config`: kubeadm's configuration file under this program's own name.

use crate::harness::{TestNode, TestServer, muster, text_of};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A JoinConfiguration by token and pin.
fn file(server: &TestServer, node: &TestNode, more: &str) -> PathBuf {
    let path = server.folder.path().join(format!("{}.yaml", node.name));
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: {}\n    caCertHashes: [{}]\n    token: {}\nnodeRegistration:\n  name: {}\n  kubeletExtraArgs:\n  - {{name: node-labels, value: example.com/pool=blue}}\n  taints:\n  - {{key: dedicated, value: gpu, effect: NoSchedule}}\n{more}",
        server.address,
        server.pin(),
        server.token(&[]),
        node.name,
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn join(node: &TestNode, file: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["join", "--config", file.to_str().unwrap()];
    arguments.extend(["--root", node.root.to_str().unwrap()]);
    arguments.extend(["--runtime", "hollow", "--kubelet", "builtin"]);
    arguments.extend(more);
    muster(&arguments)
}

#[test]
fn a_configuration_file_of_kubeadms_joins_under_our_own_name() {
    let server = TestServer::start();
    let node = server.node();
    let file = file(&server, &node, "");
    let output = join(&node, &file, &["--wait", "ready"]);
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(text_of(&output).contains(&format!("{} has joined", node.name)));
    let object = server.get(&["node", &node.name]).unwrap();
    assert_eq!(object["metadata"]["labels"]["example.com/pool"], "blue");
    let taints = object["spec"]["taints"].to_string();
    assert!(taints.contains("\"value\":\"gpu\""), "{taints}");
}

#[test]
fn what_the_file_says_no_flag_says_beside_it_but_a_name_goes_before_the_files() {
    let server = TestServer::start();
    let node = server.node();
    let file = file(&server, &node, "");
    for mixed in [
        &["--token", "abcdef.0123456789abcdef"][..],
        &["--discovery-token-ca-cert-hash", "sha256:00"],
        &["--node-labels", "a=b"],
        &["--control-plane"],
        &["--patches", "/nowhere"],
        &["127.0.0.1:6443"],
    ] {
        let output = join(&node, &file, mixed);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{mixed:?}: {}",
            text_of(&output)
        );
        let told = text_of(&output);
        assert!(
            told.contains("--config") && told.contains("cannot be used with"),
            "{mixed:?}: {told}"
        );
    }
    assert!(node.paths().is_empty());
    let named = ["--node-name", "Other", "--dry-run", "-o", "json"];
    let output = join(&node, &file, &named);
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(text_of(&output).contains("other"), "{}", text_of(&output));
    assert!(node.paths().is_empty(), "a rehearsal leaves nothing");
}

#[test]
fn a_file_that_is_none_is_refused_before_anybody_is_asked() {
    let server = TestServer::start();
    let node = server.node();
    let nothing = file(&server, &node, "kind: [\n");
    let output = join(&node, &nothing, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    let skipping = file(&server, &node, "skipPhases: [preflight]\n");
    let output = join(&node, &skipping, &[]);
    assert!(
        text_of(&output).contains("skipPhases"),
        "{}",
        text_of(&output)
    );
    let missing = join(&node, Path::new("/nowhere/join.yaml"), &[]);
    assert!(text_of(&missing).contains("/nowhere/join.yaml"));
    assert!(node.paths().is_empty());
}

//! The two-minute try-out, as root in network namespaces and as plain processes.

use crate::harness::{Running, command_lines, muster, text_of};
use std::process::Command;

fn namespaces() -> Vec<String> {
    let output = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .expect("ip must be in PATH");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.starts_with("mstr-"))
        .map(str::to_owned)
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a playground to its end; three nodes must be Ready and nothing may stay.
fn once(flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut arguments = vec!["playground", "--once", "--data-dir", data.to_str().unwrap()];
    arguments.extend(flags);
    let output = muster(&arguments);
    assert!(output.status.success(), "{}", text_of(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for node in ["node-1", "node-2", "node-3"] {
        let row = text
            .lines()
            .find(|line| line.starts_with(node))
            .unwrap_or_else(|| panic!("no {node}: {text}"));
        assert!(row.contains("Ready") && !row.contains("NotReady"), "{row}");
    }
    let data = data.to_str().unwrap();
    let left: Vec<_> = command_lines()
        .into_iter()
        .filter(|(_, line)| line.contains(data))
        .collect();
    assert!(left.is_empty(), "processes stayed: {left:?}");
    assert!(!std::path::Path::new(data).exists(), "its folder stayed");
}

#[test]
fn three_plain_processes_join_and_nothing_stays() {
    once(&["--no-namespaces"]);
}

#[test]
fn three_namespaces_join_and_nothing_stays() {
    assert!(
        is_root(),
        "this test makes network namespaces and must run as root"
    );
    once(&[]);
    assert_eq!(namespaces(), Vec::<String>::new());
}

#[test]
fn an_interrupted_playground_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = [
        "playground",
        "--no-namespaces",
        "-o",
        "json",
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let mut playground = Running::start(&arguments.map(str::to_owned));
    let ready = playground.event(|event| event["type"] == "playground-ready");
    assert!(ready.is_some(), "the playground ended before it was ready");
    playground.interrupt();
    let (success, errors) = playground.end();
    assert!(success, "{errors}");
    let data = data.to_str().unwrap();
    let left: Vec<_> = command_lines()
        .into_iter()
        .filter(|(_, line)| line.contains(data))
        .collect();
    assert!(left.is_empty(), "processes stayed: {left:?}");
}

//! A token that is handed to a join is found nowhere afterwards.

use crate::harness::{Running, TestServer, command_lines, text_of};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_token_is_in_no_file_output_or_command_line_of_the_node() {
    let server = TestServer::start();
    let token = server.token(&[]);
    let secret = token.split_once('.').unwrap().1.to_owned();
    let node = server.node();
    let pin = server.pin();
    let mut flags = vec!["-vvv", "-o", "json", "--wait", "ready", "--token", "-"];
    flags.extend(["--discovery-token-ca-cert-hash", &pin]);
    let mut join = Command::new(crate::harness::MUSTER)
        .args(node.join_arguments(&server.address, &flags))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(join.stdin.take().unwrap(), "{token}").unwrap();
    let output = join.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(
        !text_of(&output).contains(&secret),
        "the join printed the token"
    );
    for (path, content) in node.files() {
        let found = content
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{} holds the token", path.display());
    }
    for (pid, line) in command_lines() {
        assert!(
            !line.contains(&secret),
            "process {pid} shows the token: {line}"
        );
    }
    for line in node.processes() {
        assert!(!line.contains(&secret));
    }
    let log = std::fs::read_to_string(server.log()).unwrap();
    assert!(!log.contains(&secret), "the server logged the token");
}

#[test]
fn a_token_in_a_file_is_as_good_as_one_on_the_command_line() {
    let server = TestServer::start();
    let file = server.folder.path().join("token");
    std::fs::write(&file, server.token(&[])).unwrap();
    let node = server.node();
    let pin = server.pin();
    let flags = [
        "-o",
        "json",
        "--token-file",
        file.to_str().unwrap(),
        "--discovery-token-ca-cert-hash",
        &pin,
    ];
    let join = Running::start(&node.join_arguments(&server.address, &flags));
    let (success, errors) = join.end();
    assert!(success, "{errors}");
}

//! Every wrong input is told apart by its own id, and leaves nothing behind.

use crate::harness::{
    Running, TestNode, TestServer, failure_id, muster, stdout_of, text_of, wait_for,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

const UNKNOWN: &str = "zzzzzz.0123456789abcdef";

/// Runs a join that must fail with `id` and must leave no file behind.
#[track_caller]
fn refused(node: &TestNode, endpoint: &str, token: &str, pin: &str, id: &str) -> Output {
    let output = node.join(endpoint, &["-o", "json", "--token", token], pin);
    assert_eq!(
        failure_id(&output).as_deref(),
        Some(id),
        "{}",
        text_of(&output)
    );
    assert!(!output.status.success());
    let left = node.paths();
    assert!(left.is_empty(), "a refused join left {left:?}");
    output
}

#[test]
fn wrong_tokens_and_pins_are_told_apart() {
    let server = TestServer::start();
    let (node, pin, token) = (server.node(), server.pin(), server.token(&[]));
    let endpoint = server.address.clone();
    refused(&node, &endpoint, "not-a-token", &pin, "token-malformed");
    refused(&node, &endpoint, UNKNOWN, &pin, "token-unknown");
    let other = format!("sha256:{}", "0".repeat(64));
    refused(&node, &endpoint, &token, &other, "pin-mismatch");
    refused(&node, &endpoint, &token, "sha256:short", "pin-malformed");
    // The right id with a wrong secret: the signature is not ours.
    let forged = format!("{}.aaaaaaaaaaaaaaaa", token.split_once('.').unwrap().0);
    refused(&node, &endpoint, &forged, &pin, "signature-invalid");
}

#[test]
fn an_expired_token_is_called_expired_also_after_its_secret_is_gone() {
    let server = TestServer::start();
    let (node, pin, token) = (server.node(), server.pin(), server.token(&["--ttl", "1s"]));
    let secret = format!("bootstrap-token-{}", token.split_once('.').unwrap().0);
    wait_for("the token cleaner", || {
        match server.get(&["secret", "-n", "kube-system", &secret]) {
            None => Ok(()),
            Some(_) => Err("the Secret is still there".to_owned()),
        }
    });
    let endpoint = server.address.clone();
    wait_for("the expiry to be published", || {
        let output = node.join(&endpoint, &["-o", "json", "--token", &token], &pin);
        match failure_id(&output).as_deref() {
            Some("token-expired") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn what_answers_at_the_address_is_told_apart() {
    let server = TestServer::start();
    let (node, pin, token) = (server.node(), server.pin(), server.token(&[]));
    refused(
        &node,
        "no-such-host.invalid:6443",
        &token,
        &pin,
        "host-unresolvable",
    );
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    refused(
        &node,
        &closed.to_string(),
        &token,
        &pin,
        "connection-refused",
    );
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let mut buffer = [0; 512];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    refused(&node, &address, &token, &pin, "not-tls");
}

/// A server with a second listener that answers on every address of this machine, of which its certificate names few;
/// and an address there that it does not name.
fn behind_another_address(flags: &[&str]) -> (TestServer, String) {
    let flags: Vec<&str> = ["--bind", "0.0.0.0:0"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    let server = TestServer::start_with(&flags);
    let addresses = std::fs::read_to_string(server.folder.path().join("ready")).unwrap();
    let second = addresses.lines().nth(1).unwrap();
    let port = second.rsplit(':').next().unwrap();
    let endpoint = format!("127.0.0.3:{port}");
    (server, endpoint)
}

#[test]
fn a_certificate_for_another_address_is_a_name_mismatch() {
    // Nobody listens where the cluster says that it is: there is nothing to go on with.
    let (server, endpoint) = behind_another_address(&["--advertise-address", "127.0.0.1:1"]);
    let administrator = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let reached = administrator.replace(
        "https://127.0.0.1:1",
        &format!("https://{}", server.address),
    );
    std::fs::write(server.kubeconfig(), reached).unwrap();
    refused(
        &server.node(),
        &endpoint,
        &server.token(&[]),
        &server.pin(),
        "tls-name-mismatch",
    );
}

#[test]
fn a_certificate_for_the_advertised_address_alone_is_joined_there_and_told() {
    let (server, endpoint) = behind_another_address(&[]);
    let (node, token) = (server.node(), server.token(&[]));
    let output = node.join(&endpoint, &["-o", "json", "--token", &token], &server.pin());
    assert!(output.status.success(), "{}", text_of(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rerouted = text
        .lines()
        .find(|line| line.contains("rerouted"))
        .unwrap_or_else(|| panic!("nobody was told: {text}"));
    assert!(
        rerouted.contains(&endpoint) && rerouted.contains(&server.address),
        "{rerouted}"
    );
    let conf = std::fs::read_to_string(node.root.join("etc/kubernetes/kubelet.conf")).unwrap();
    assert!(
        conf.contains(&format!("https://{}", server.address)),
        "{conf}"
    );
}

#[test]
fn a_name_that_a_ready_node_has_is_refused() {
    let server = TestServer::start();
    let first = server.join_ready();
    let second = TestNode {
        name: first.name,
        root: server.node().root,
    };
    let endpoint = server.address.clone();
    refused(
        &second,
        &endpoint,
        &server.token(&[]),
        &server.pin(),
        "node-name-taken",
    );
}

#[test]
fn a_token_without_permission_is_forbidden() {
    let server = TestServer::start();
    let token = server.token(&["--groups", "system:bootstrappers:nobody"]);
    refused(
        &server.node(),
        &server.address.clone(),
        &token,
        &server.pin(),
        "forbidden",
    );
}

/// Lets a group ask for certificates without approving them by itself.
fn allow_requests(server: &TestServer, group: &str) {
    server.kubectl_ok(&[
        "create",
        "clusterrolebinding",
        "may-ask",
        "--clusterrole=system:node-bootstrapper",
        &format!("--group={group}"),
    ]);
}

fn pending_join(server: &TestServer, node: &TestNode) -> (Running, String) {
    let group = "system:bootstrappers:manual";
    allow_requests(server, group);
    let token = server.token(&["--groups", group]);
    let mut join = node.start_join(server, &server.pin(), &token);
    let pending = join.event(|event| event.to_string().contains("kubectl certificate approve"));
    let pending = pending.expect("the join should say which request waits and how to approve it");
    let text = pending.to_string();
    let name = text.split("kubectl certificate approve ").nth(1).unwrap();
    let name: String = name
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '-')
        .collect();
    (join, name)
}

#[test]
fn a_pending_request_names_its_cure_and_goes_on_by_itself() {
    let server = TestServer::start();
    let node = server.node();
    let (join, request) = pending_join(&server, &node);
    server.kubectl_ok(&["certificate", "approve", &request]);
    let (success, errors) = join.end();
    assert!(success, "{errors}");
    assert!(server.get(&["node", &node.name]).is_some());
}

#[test]
fn a_denied_request_ends_the_join_at_once() {
    let server = TestServer::start();
    let node = server.node();
    let (mut join, request) = pending_join(&server, &node);
    let kubeconfig = server.kubeconfig();
    let of = |verb: &[&str]| {
        let mut arguments = vec!["csr", "--kubeconfig", kubeconfig.to_str().unwrap()];
        arguments.extend(verb);
        muster(&arguments)
    };
    let list = stdout_of(of(&["list"]));
    let row = list
        .lines()
        .find(|line| line.starts_with(&request))
        .unwrap()
        .to_owned();
    assert!(
        row.contains(&format!("system:node:{}", node.name)) && row.ends_with("Pending"),
        "{row}"
    );
    let denied = stdout_of(of(&["deny", &request, "--reason", "not one of ours"]));
    assert_eq!(
        denied,
        format!("certificatesigningrequest {request} denied")
    );
    assert_eq!(
        failure_id(&of(&["approve", &request, "-o", "json"])).as_deref(),
        Some("conflict")
    );
    let failed = join.event(|event| event["type"] == "failed").unwrap();
    assert_eq!(failed["id"], "csr-denied");
    assert!(
        failed["message"].to_string().contains("not one of ours"),
        "{failed}"
    );
    drop(join);
    assert_eq!(server.get(&["node", &node.name]), None);
    let left = node.paths();
    assert!(left.is_empty(), "a denied join left {left:?}");
}

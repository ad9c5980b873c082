//! Operators to be tried: started, asked, killed; requests and what became of them, read through kubectl.

use crate::harness::{MUSTER, TestServer, muster, stdout_of, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An operator; killed when dropped.
pub(super) struct TestOperator {
    process: Child,
    address: String,
    pub(super) log: PathBuf,
}

impl TestOperator {
    /// Starts one that does not stand for election.
    pub(super) fn start(server: &TestServer) -> Self {
        Self::start_with(server, &server.kubeconfig(), &["--no-leader-election"])
    }

    pub(super) fn start_with(server: &TestServer, kubeconfig: &Path, flags: &[&str]) -> Self {
        let log = server.folder.path().join("operator.log");
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let log_format: &[&str] = if flags.contains(&"--log-format") {
            &[]
        } else {
            &["--log-format", "json"]
        };
        let mut process = Command::new(MUSTER)
            .args(["operator", "-o", "json"])
            .args(["--bind", "127.0.0.1:0", "--kubeconfig"])
            .arg(kubeconfig)
            .args(flags)
            .args(log_format)
            .env_remove("POD_NAME")
            .env_remove("POD_NAMESPACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line}{}", fs::read_to_string(&log).unwrap()));
        let address = started["address"].as_str().unwrap().to_owned();
        Self {
            process,
            address,
            log,
        }
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(super) fn stop(mut self) -> bool {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.process.wait().unwrap().success()
    }

    /// Status and body of a GET.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, body.to_owned())
    }

    pub(super) fn is_ready(&self) -> Result<(), String> {
        match self.get("/readyz") {
            (200, _) => Ok(()),
            (_, body) => Err(body),
        }
    }
}

impl Drop for TestOperator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server with the definition of requests.
pub(super) fn management() -> TestServer {
    let server = TestServer::start();
    let manifests = stdout_of(muster(&["operator", "manifests", "--crd-only"]));
    apply(&server, &manifests);
    server
}

pub(super) fn apply_output(server: &TestServer, manifest: &str) -> Output {
    let mut kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args(["apply", "-f", "-"])
        .env("HOME", server.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = kubectl.stdin.take().unwrap();
    stdin.write_all(manifest.as_bytes()).unwrap();
    drop(stdin);
    kubectl.wait_with_output().unwrap()
}

pub(super) fn apply(server: &TestServer, manifest: &str) {
    let output = apply_output(server, manifest);
    assert!(output.status.success(), "{output:?}");
}

/// Says where the cluster `my-cluster` is: `target` may be the server itself.
pub(super) fn refer(server: &TestServer, target: &TestServer) {
    let file = format!("--from-file=value={}", target.kubeconfig().display());
    server.kubectl_ok(&[
        "create",
        "secret",
        "generic",
        "my-cluster-kubeconfig",
        &file,
    ]);
}

pub(super) fn request(name: &str, more: Value) -> String {
    let mut object = json!({
        "apiVersion": "k0smotron.io/v1beta1", "kind": "JoinTokenRequest",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterRef": {"name": "my-cluster", "namespace": "default"}},
    });
    for (key, value) in more.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object.to_string()
}

pub(super) fn status(server: &TestServer, name: &str) -> Value {
    server.get(&["jtr", name]).unwrap_or_default()["status"].clone()
}

/// Reason and status of a condition.
pub(super) fn condition(status: &Value, type_: &str) -> Option<(String, String)> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

pub(super) fn wait_for_condition(
    server: &TestServer,
    name: &str,
    type_: &str,
    wanted: (&str, &str),
) -> Value {
    wait_for(&format!("{type_} {wanted:?} of {name}"), || {
        let status = status(server, name);
        match condition(&status, type_) {
            Some((is, reason)) if (is.as_str(), reason.as_str()) == wanted => Ok(status),
            _ => Err(status.to_string()),
        }
    })
}

pub(super) fn wait_until_ready(server: &TestServer, name: &str) -> Value {
    wait_for_condition(server, name, "Ready", ("True", "Created"))
}

/// The token, by the documented command.
pub(super) fn token_of(server: &TestServer, name: &str) -> String {
    use base64::Engine as _;
    let path = "jsonpath={.data.token}";
    let text = server.kubectl_ok(&["get", "secret", name, "-o", path]);
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    String::from_utf8(decoded.unwrap()).unwrap()
}

/// Bootstrap tokens that operators made in a cluster.
pub(super) fn tokens_in(target: &TestServer) -> BTreeSet<String> {
    let select = [
        "secrets",
        "-n",
        "kube-system",
        "-l",
        "muster.dev/token-manager",
    ];
    let found = target.get(&select).unwrap_or_default();
    let items = found["items"].as_array().cloned().unwrap_or_default();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

pub(super) fn secret_name(status: &Value) -> String {
    format!("bootstrap-token-{}", status["tokenID"].as_str().unwrap())
}

/// Who one is with a token of k0s, in kubectl's words.
pub(super) fn whoami(server: &TestServer, token: &str) -> Output {
    let read = muster_identity::K0sToken::decode(token.as_bytes()).unwrap();
    let path = server.folder.path().join("bootstrap.kubeconfig");
    fs::write(&path, read.to_kubeconfig().to_yaml().expose()).unwrap();
    Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(&path)
        .args(["auth", "whoami"])
        .env("HOME", server.folder.path())
        .output()
        .unwrap()
}

/// A kubeconfig of the operator's service account.
pub(super) fn account(server: &TestServer) -> PathBuf {
    let create = ["create", "token", "muster-operator", "-n", "muster-system"];
    let token = server.kubectl_ok(&create);
    let path = server.folder.path().join("account.kubeconfig");
    fs::copy(server.kubeconfig(), &path).unwrap();
    for words in [
        vec!["set-credentials", "account", "--token", token.trim()],
        vec!["set-context", "--current", "--user", "account"],
    ] {
        let set = Command::new("kubectl")
            .arg("config")
            .arg("--kubeconfig")
            .arg(&path)
            .args(words)
            .output()
            .unwrap();
        assert!(set.status.success(), "{set:?}");
    }
    path
}

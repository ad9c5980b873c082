//! `muster operator` as its users run it: requests through kubectl, tokens that let somebody in or do not.

use crate::harness::{MUSTER, TestServer, muster, stdout_of, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// An operator; killed when dropped.
struct TestOperator {
    process: Child,
    address: String,
    log: PathBuf,
}

impl TestOperator {
    /// Starts one that does not stand for election.
    fn start(server: &TestServer) -> Self {
        Self::start_with(server, &server.kubeconfig(), &["--no-leader-election"])
    }

    fn start_with(server: &TestServer, kubeconfig: &Path, flags: &[&str]) -> Self {
        let log = server.folder.path().join("operator.log");
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut process = Command::new(MUSTER)
            .args(["operator", "-o", "json", "--log-format", "json"])
            .args(["--bind", "127.0.0.1:0", "--kubeconfig"])
            .arg(kubeconfig)
            .args(flags)
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
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    fn stop(mut self) -> bool {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.process.wait().unwrap().success()
    }

    /// Status and body of a GET.
    fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, body.to_owned())
    }

    fn is_ready(&self) -> Result<(), String> {
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
fn management() -> TestServer {
    let server = TestServer::start();
    let manifests = stdout_of(muster(&["operator", "manifests", "--crd-only"]));
    apply(&server, &manifests);
    server
}

fn apply_output(server: &TestServer, manifest: &str) -> Output {
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

fn apply(server: &TestServer, manifest: &str) {
    let output = apply_output(server, manifest);
    assert!(output.status.success(), "{output:?}");
}

/// Says where the cluster `my-cluster` is: `target` may be the server itself.
fn refer(server: &TestServer, target: &TestServer) {
    let file = format!("--from-file=value={}", target.kubeconfig().display());
    server.kubectl_ok(&[
        "create",
        "secret",
        "generic",
        "my-cluster-kubeconfig",
        &file,
    ]);
}

fn request(name: &str, more: Value) -> String {
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

fn status(server: &TestServer, name: &str) -> Value {
    server.get(&["jtr", name]).unwrap_or_default()["status"].clone()
}

/// Reason and status of a condition.
fn condition(status: &Value, type_: &str) -> Option<(String, String)> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

fn wait_for_condition(server: &TestServer, name: &str, type_: &str, wanted: (&str, &str)) -> Value {
    wait_for(&format!("{type_} {wanted:?} of {name}"), || {
        let status = status(server, name);
        match condition(&status, type_) {
            Some((is, reason)) if (is.as_str(), reason.as_str()) == wanted => Ok(status),
            _ => Err(status.to_string()),
        }
    })
}

fn wait_until_ready(server: &TestServer, name: &str) -> Value {
    wait_for_condition(server, name, "Ready", ("True", "Created"))
}

/// The token, by the documented command.
fn token_of(server: &TestServer, name: &str) -> String {
    use base64::Engine as _;
    let path = "jsonpath={.data.token}";
    let text = server.kubectl_ok(&["get", "secret", name, "-o", path]);
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    String::from_utf8(decoded.unwrap()).unwrap()
}

/// Bootstrap tokens that operators made in a cluster.
fn tokens_in(target: &TestServer) -> BTreeSet<String> {
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

fn secret_name(status: &Value) -> String {
    format!("bootstrap-token-{}", status["tokenID"].as_str().unwrap())
}

/// Who one is with a token of k0s, in kubectl's words.
fn whoami(server: &TestServer, token: &str) -> Output {
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
fn account(server: &TestServer) -> PathBuf {
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

#[test]
fn a_request_becomes_a_token_that_lets_in_until_the_request_is_deleted() {
    let server = TestServer::start();
    apply(&server, &stdout_of(muster(&["operator", "manifests"])));
    refer(&server, &server);
    // The rights in the manifests have to be enough.
    let account = account(&server);
    let flags = ["--namespace", "muster-system"];
    let operator = TestOperator::start_with(&server, &account, &flags);
    apply(&server, &request("my-token", json!({})));
    let status = wait_until_ready(&server, "my-token");
    assert_eq!(status["reconciliationStatus"], "Reconciliation successful");
    assert!(condition(&status, "JoinTokenSecretCreated").unwrap().0 == "True");

    let secret = server.get(&["secret", "my-token"]).unwrap();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(
        secret["metadata"]["labels"],
        json!({
            "k0smotron.io/cluster": "my-cluster.default", "k0smotron.io/role": "worker",
            "k0smotron.io/token-request": "my-token", "app.kubernetes.io/component": "jointoken",
        })
    );
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["kind"],
        "JoinTokenRequest"
    );
    let token = token_of(&server, "my-token");
    let me = String::from_utf8(whoami(&server, &token).stdout).unwrap();
    let user = format!("system:bootstrap:{}", status["tokenID"].as_str().unwrap());
    assert!(me.contains(&user), "{me}");

    // A worker joins with nothing but the token.
    let (node, file) = (server.node(), server.folder.path().join("token"));
    fs::write(&file, &token).unwrap();
    let joined = Command::new(MUSTER)
        .args([
            "join",
            "--runtime",
            "hollow",
            "--kubelet",
            "builtin",
            "--wait",
            "ready",
        ])
        .args(["--node-name", &node.name, "--root"])
        .arg(&node.root)
        .arg("--token-file")
        .arg(&file)
        .output()
        .unwrap();
    assert!(joined.status.success(), "{joined:?}");

    let rows = server.kubectl_ok(&["get", "jtr"]);
    let head: Vec<&str> = rows.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "ROLE", "CLUSTER", "EXPIRY", "READY", "AGE"]);
    let row: Vec<&str> = rows.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["my-token", "worker", "my-cluster", "0s", "True"]);
    let events = server.kubectl_ok(&["get", "events"]);
    assert!(events.contains("TokenCreated"), "{events}");

    server.kubectl_ok(&["delete", "jointokenrequest", "my-token"]);
    assert!(tokens_in(&server).is_empty(), "gone before the request is");
    let refused = whoami(&server, &token);
    assert!(!refused.status.success(), "{refused:?}");
    wait_for("the Secret to go with its request", || {
        server
            .get(&["secret", "my-token"])
            .map_or(Ok(()), |_| Err("there".to_owned()))
    });

    let log = fs::read_to_string(&operator.log).unwrap();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            event["level"] != "WARN" && event["level"] != "ERROR",
            "{line}"
        );
    }
    let decoded = muster_identity::K0sToken::decode(token.as_bytes()).unwrap();
    assert!(!log.contains(decoded.token().secret().expose()));
    assert!(operator.stop());
    let lease = server
        .get(&["lease", "-n", "muster-system", "muster-operator"])
        .unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "let go of");
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_door() {
    let server = management();
    for expiry in ["-1h", "1d", "forever", "1h; reboot"] {
        let output = apply_output(&server, &request("bad", json!({"expiry": expiry})));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && errors.contains("expiry"),
            "{expiry}: {errors}"
        );
    }
    for expiry in ["0s", "1.5h", "2h45m"] {
        apply(&server, &request("good", json!({"expiry": expiry})));
    }
    let both = apply_output(&server, &request("both", json!({"clusterName": "c"})));
    assert!(!both.status.success());
    // What is written in one version is there in the other.
    let get = [
        "get",
        "--raw",
        "/apis/k0smotron.io/v1beta2/namespaces/default/jointokenrequests/good",
    ];
    let object: Value = serde_json::from_str(&server.kubectl_ok(&get)).unwrap();
    assert_eq!(object["spec"]["clusterRef"]["name"], "my-cluster");
}

#[test]
fn a_cluster_that_comes_later_gets_its_token_then() {
    let server = management();
    let operator = TestOperator::start(&server);
    apply(&server, &request("early", json!({})));
    wait_for_condition(&server, "early", "Ready", ("False", "ClusterNotFound"));
    assert!(tokens_in(&server).is_empty());
    refer(&server, &server);
    let ready = wait_until_ready(&server, "early");
    assert_eq!(tokens_in(&server), BTreeSet::from([secret_name(&ready)]));
    let (code, metrics) = operator.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "muster_operator_requests{state=\"ready\"} 1",
        "muster_operator_tokens_minted_total 1",
        "muster_operator_clusters{answers=\"true\"} 1",
        "muster_operator_request_duration_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    operator.is_ready().unwrap();
    assert_eq!(operator.get("/healthz").0, 200);
    assert_eq!(operator.get("/secrets").0, 404);
}

#[test]
fn a_secret_that_is_edited_or_deleted_is_restored_and_a_removed_token_replaced() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    let first = wait_until_ready(&server, "my-token");
    let token = token_of(&server, "my-token");
    let is_whole = |wanted: &str| {
        wait_for("the Secret as it was", || {
            let secret = server.get(&["secret", "my-token"]);
            let Some(secret) = secret else {
                return Err("there is none".to_owned());
            };
            let role = &secret["metadata"]["labels"]["k0smotron.io/role"];
            let data = secret["data"]["token"].as_str().unwrap_or_default();
            if *role == "worker" && data == wanted {
                Ok(())
            } else {
                Err(secret.to_string())
            }
        });
    };
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(&token);
    for edit in [
        r#"{"data":{"token":"bm9uc2Vuc2U="}}"#,
        r#"{"data":{"token":null}}"#,
    ] {
        server.kubectl_ok(&["patch", "secret", "my-token", "-p", edit]);
        is_whole(&data);
    }
    server.kubectl_ok(&["label", "secret", "my-token", "k0smotron.io/role-"]);
    is_whole(&data);
    server.kubectl_ok(&["delete", "secret", "my-token"]);
    is_whole(&data);
    assert_eq!(tokens_in(&server).len(), 1, "the same token all the time");

    server.kubectl_ok(&[
        "delete",
        "secret",
        "-n",
        "kube-system",
        &secret_name(&first),
    ]);
    wait_for("a fresh token", || {
        let status = status(&server, "my-token");
        let is_fresh = status["tokenID"].is_string() && status["tokenID"] != first["tokenID"];
        let is_ready = condition(&status, "Ready").is_some_and(|(is, _)| is == "True");
        if is_fresh && is_ready {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    assert_ne!(token_of(&server, "my-token"), token);
}

#[test]
fn a_secret_of_somebody_else_is_not_overwritten() {
    let server = management();
    refer(&server, &server);
    server.kubectl_ok(&[
        "create",
        "secret",
        "generic",
        "my-token",
        "--from-literal=token=precious",
    ]);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    wait_for_condition(
        &server,
        "my-token",
        "JoinTokenSecretCreated",
        ("False", "SecretExists"),
    );
    assert_eq!(token_of(&server, "my-token"), "precious");
    assert!(tokens_in(&server).is_empty(), "no token for nobody");
    server.kubectl_ok(&["delete", "secret", "my-token"]);
    wait_until_ready(&server, "my-token");
    assert_eq!(tokens_in(&server).len(), 1);
}

#[test]
fn an_expired_token_is_said_to_be_and_renewed_where_that_is_asked_for() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("short", json!({"expiry": "1s"})));
    wait_for_condition(&server, "short", "Expired", ("True", "Expired"));
    let expired = wait_for_condition(&server, "short", "Ready", ("False", "Expired"));
    wait_for(
        "the expired token to leave the cluster",
        || match tokens_in(&server) {
            tokens if tokens.is_empty() => Ok(()),
            tokens => Err(format!("{tokens:?}")),
        },
    );
    server.kubectl_ok(&["annotate", "jtr", "short", "renew=true"]);
    wait_for("a fresh token", || {
        let status = status(&server, "short");
        if status["tokenID"] == expired["tokenID"] {
            Err(status.to_string())
        } else {
            Ok(())
        }
    });
}

#[test]
fn an_edited_expiry_makes_a_new_token_and_ends_the_old_one() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    let first = wait_until_ready(&server, "my-token");
    assert!(first["expirationTime"].is_null());
    let old = token_of(&server, "my-token");
    apply(&server, &request("my-token", json!({"expiry": "1h"})));
    let second = wait_for("the new token alone", || {
        let status = status(&server, "my-token");
        let is_alone = tokens_in(&server) == BTreeSet::from([secret_name(&status)]);
        if status["tokenID"] != first["tokenID"] && is_alone {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    });
    assert!(second["expirationTime"].is_string());
    let name = secret_name(&second);
    let stored = server.get(&["secret", "-n", "kube-system", &name]).unwrap();
    assert!(stored["data"]["expiration"].is_string());
    assert!(!whoami(&server, &old).status.success());
}

#[test]
fn what_is_owed_to_a_silent_cluster_is_paid_when_it_returns() {
    let (server, mut target) = (management(), TestServer::start());
    refer(&server, &target);
    let operator = TestOperator::start(&server);
    for name in ["one", "two"] {
        apply(&server, &request(name, json!({})));
        wait_until_ready(&server, name);
    }
    assert_eq!(tokens_in(&target).len(), 2);
    target.kill();
    wait_for_condition(
        &server,
        "two",
        "ClusterAvailable",
        ("False", "ClusterUnreachable"),
    );
    let deleted = server.kubectl_ok(&["delete", "jtr", "one", "--timeout=30s"]);
    assert!(deleted.contains("deleted"), "{deleted}");
    let select = [
        "configmaps",
        "-n",
        "kube-system",
        "-l",
        "muster.dev/join-token-debt",
    ];
    let debts = server.get(&select).unwrap();
    assert_eq!(debts["items"].as_array().unwrap().len(), 1, "{debts}");
    // Debts outlive the operator.
    operator.kill();
    let _operator = TestOperator::start(&server);
    target.resume();
    let status = wait_for_condition(&server, "two", "ClusterAvailable", ("True", "Connected"));
    wait_for("the debt to be paid", || {
        let (debts, tokens) = (server.get(&select).unwrap_or_default(), tokens_in(&target));
        let is_paid = debts["items"].as_array().is_none_or(Vec::is_empty);
        if is_paid && tokens == BTreeSet::from([secret_name(&status)]) {
            Ok(())
        } else {
            Err(format!("{debts} {tokens:?}"))
        }
    });
}

/// k0smotron's Cluster, as far as it matters.
fn cluster_definition() -> String {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusters.k0smotron.io"},
        "spec": {
            "group": "k0smotron.io", "scope": "Namespaced",
            "names": {"kind": "Cluster", "plural": "clusters", "singular": "cluster"},
            "versions": [version("v1beta1", true), version("v1beta2", false)],
        },
    })
    .to_string()
}

#[test]
fn a_cluster_object_says_where_machines_go_and_made_anew_gets_a_fresh_token() {
    let server = management();
    let operator = TestOperator::start(&server);
    let cluster = json!({
        "apiVersion": "k0smotron.io/v1beta1", "kind": "Cluster",
        "metadata": {"name": "my-cluster", "namespace": "default"},
        "spec": {"ingress": {"apiHost": "api.example.com"}},
    })
    .to_string();
    // The definition of clusters may come after the operator.
    apply(&server, &cluster_definition());
    server.kubectl_ok(&[
        "wait",
        "--for=condition=Established",
        "crd/clusters.k0smotron.io",
    ]);
    apply(&server, &cluster);
    apply(&server, &request("my-token", json!({"role": "controller"})));
    wait_for_condition(&server, "my-token", "Ready", ("False", "ClusterNotReady"));
    refer(&server, &server);
    let first = wait_until_ready(&server, "my-token");
    let uid = server
        .get(&["clusters.k0smotron.io", "my-cluster"])
        .unwrap()["metadata"]["uid"]
        .clone();
    assert_eq!(first["clusterUID"], uid);
    let token = token_of(&server, "my-token");
    let read = muster_identity::K0sToken::decode(token.as_bytes()).unwrap();
    assert_eq!(read.server().url(), "https://api.example.com:443");
    assert_eq!(read.role(), muster_identity::JoinRole::Controller);

    server.kubectl_ok(&["delete", "clusters.k0smotron.io", "my-cluster"]);
    apply(&server, &cluster);
    wait_for("a token for the new cluster", || {
        let status = status(&server, "my-token");
        let is_fresh = status["clusterUID"] != uid && status["tokenID"] != first["tokenID"];
        if is_fresh && status["tokenID"].is_string() {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    drop(operator);
}

#[test]
fn a_token_is_handed_out_as_the_annotation_says() {
    let server = management();
    refer(&server, &server);
    let _operator = TestOperator::start(&server);
    apply(&server, &request("line", json!({})));
    wait_until_ready(&server, "line");
    for (format, begin) in [("kubeadm", "kubeadm join "), ("muster", "muster join ")] {
        let annotation = format!("muster.dev/token-format={format}");
        server.kubectl_ok(&["annotate", "--overwrite", "jtr", "line", &annotation]);
        let line = wait_for("the join line", || {
            let line = token_of(&server, "line");
            if line.starts_with(begin) {
                Ok(line)
            } else {
                Err(line)
            }
        });
        assert!(
            line.contains(&server.pin()) && line.contains(&server.address),
            "{line}"
        );
    }
    wait_for("the former tokens to go", || match tokens_in(&server) {
        tokens if tokens.len() == 1 => Ok(()),
        tokens => Err(format!("{tokens:?}")),
    });
    server.kubectl_ok(&[
        "patch",
        "jtr",
        "line",
        "--type=merge",
        "-p",
        r#"{"spec":{"role":"controller"}}"#,
    ]);
    wait_for_condition(&server, "line", "Ready", ("False", "FormatInvalid"));
}

/// The tokens of all requests, and those that stand in the cluster.
fn wait_until_all_are_served(server: &TestServer, wanted: usize) -> BTreeSet<String> {
    wait_for("a token for every request", || {
        let requests = server.get(&["jtr"]).unwrap();
        let requests = requests["items"].as_array().unwrap();
        let is_ready = |request: &&Value| {
            condition(&request["status"], "Ready").is_some_and(|(is, _)| is == "True")
        };
        let ready = requests.iter().filter(is_ready).count();
        let ids: BTreeSet<String> = requests
            .iter()
            .filter(is_ready)
            .map(|request| secret_name(&request["status"]))
            .collect();
        let standing = tokens_in(server);
        if ready == wanted && ids == standing {
            Ok(ids)
        } else {
            Err(format!(
                "{ready} of {wanted} are ready, {} stand",
                standing.len()
            ))
        }
    })
}

fn many(count: usize) -> String {
    let requests = (0..count).map(|number| request(&format!("t{number}"), json!({})));
    let items: Vec<Value> = requests
        .map(|request| serde_json::from_str(&request).unwrap())
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn operators_that_are_killed_leave_no_token_behind() {
    const REQUESTS: usize = 30;
    let server = management();
    refer(&server, &server);
    apply(&server, &many(REQUESTS));
    // Killed earlier and later: before the first write, between them, near the end.
    for after in [120, 160, 200, 260, 340] {
        let operator = TestOperator::start(&server);
        std::thread::sleep(Duration::from_millis(after));
        operator.kill();
    }
    let operator = TestOperator::start(&server);
    let ids = wait_until_all_are_served(&server, REQUESTS);
    assert_eq!(ids.len(), REQUESTS);
    operator.kill();

    server.kubectl_ok(&["delete", "jtr", "--all", "--wait=false"]);
    for after in [120, 160, 200, 260] {
        let operator = TestOperator::start(&server);
        std::thread::sleep(Duration::from_millis(after));
        operator.kill();
    }
    let _operator = TestOperator::start(&server);
    wait_for("all to be gone", || {
        let left = server.get(&["jtr"]).unwrap_or_default();
        let left = left["items"].as_array().map_or(0, Vec::len);
        let tokens = tokens_in(&server).len();
        if left + tokens == 0 {
            Ok(())
        } else {
            Err(format!("{left} requests, {tokens} tokens"))
        }
    });
}

#[test]
fn two_operators_without_a_lease_do_not_mint_twice() {
    let server = management();
    refer(&server, &server);
    let operators = [TestOperator::start(&server), TestOperator::start(&server)];
    apply(&server, &many(20));
    let ids = wait_until_all_are_served(&server, 20);
    for operator in &operators {
        operator.is_ready().unwrap();
    }
    // Nothing moves any more.
    server.kubectl_ok(&["label", "jtr", "--all", "touched=yes"]);
    assert_eq!(wait_until_all_are_served(&server, 20), ids);
}

#[test]
fn the_next_operator_takes_over_when_the_leader_stops() {
    let server = management();
    refer(&server, &server);
    let start =
        || TestOperator::start_with(&server, &server.kubeconfig(), &["--lease-duration=3s"]);
    let leads = |operator: &TestOperator| {
        let (_, metrics) = operator.get("/metrics");
        if metrics.contains("muster_operator_leader 1") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    };
    let first = start();
    wait_for("a leader", || leads(&first));
    let second = start();
    apply(&server, &request("one", json!({})));
    wait_until_ready(&server, "one");
    assert!(leads(&second).is_err());
    second.is_ready().unwrap();
    assert!(first.stop());
    wait_for("the next leader", || leads(&second));
    apply(&server, &request("two", json!({})));
    wait_until_ready(&server, "two");
    // And after a death, when the Lease has run out.
    second.kill();
    let third = start();
    wait_for("the third leader", || leads(&third));
}

#[test]
fn without_a_place_for_the_record_no_token_is_made() {
    let server = TestServer::start();
    let manifests = stdout_of(muster(&[
        "operator",
        "manifests",
        "--crd-only",
        "-o",
        "json",
    ]));
    let mut list: Value = serde_json::from_str(&manifests).unwrap();
    for version in list["items"][0]["spec"]["versions"].as_array_mut().unwrap() {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"];
        status["properties"]
            .as_object_mut()
            .unwrap()
            .remove("tokens");
    }
    apply(&server, &list.to_string());
    refer(&server, &server);
    let operator = TestOperator::start(&server);
    apply(&server, &request("my-token", json!({})));
    wait_for("the log to say what to do", || {
        let log = fs::read_to_string(&operator.log).unwrap();
        if log.contains("does not keep the record") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(tokens_in(&server).is_empty());
    server.kubectl_ok(&["delete", "jtr", "my-token", "--timeout=30s"]);
}

#[test]
fn the_manifests_are_those_of_the_code() {
    let printed = stdout_of(muster(&["operator", "manifests"]));
    let kept = include_str!("../../../../deploy/operator.yaml");
    assert_eq!(
        kept.trim_end(),
        printed,
        "write it anew: muster operator manifests > deploy/operator.yaml"
    );
}

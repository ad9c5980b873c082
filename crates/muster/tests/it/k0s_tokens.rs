//! Join tokens of k0s, from both ends: made here and taken here, as people hand them on.

use crate::harness::{MUSTER, TestNode, TestServer, failure_id, muster, stdout_of, text_of};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A join of a hollow node by what a token says, and further flags.
fn join(node: &TestNode, flags: &[&str]) -> Output {
    let mut arguments = node.join_arguments("ENDPOINT", flags);
    drop(arguments.remove(1));
    muster(&arguments)
}

/// Writes a token where a person would put it.
fn file_of(server: &TestServer, name: &str, token: &str) -> PathBuf {
    let path = server.folder.path().join(name);
    fs::write(&path, token).unwrap();
    path
}

/// What `base64 -d | gunzip` makes of a token.
fn unpacked(token: &str) -> String {
    let mut shell = Command::new("sh")
        .args(["-c", "base64 -d | gunzip"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    writeln!(input, "{token}").unwrap();
    drop(input);
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let line = page
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{page}"));
    line[name.len()..].trim()
}

fn inspect(path: &Path, kubeconfig: Option<&Path>) -> String {
    let mut arguments = vec!["token", "inspect", path.to_str().unwrap()];
    if let Some(kubeconfig) = kubeconfig {
        arguments.extend(["--kubeconfig", kubeconfig.to_str().unwrap()]);
    }
    stdout_of(muster(&arguments))
}

#[test]
fn a_join_token_of_k0s_leads_a_worker_in_and_is_dead_once_it_is_deleted() {
    let server = TestServer::start();
    let token = server.token(&["--format", "k0s", "--expiry", "1h"]);
    // kubectl takes what is inside.
    let config = file_of(&server, "decoded.conf", &unpacked(&token));
    let view = server.kubectl(&[
        "config",
        "view",
        "--kubeconfig",
        config.to_str().unwrap(),
        "-o",
        "jsonpath={.current-context} {.contexts[0].context.user} {.clusters[0].cluster.server}",
    ]);
    assert_eq!(
        stdout_of(view),
        format!("k0s kubelet-bootstrap https://{}", server.address)
    );
    // Nobody without a credential sees anything of the cluster.
    let binding = "kubeadm:bootstrap-signer-clusterinfo";
    server.kubectl_ok(&["delete", "rolebinding", "-n", "kube-public", binding]);
    let file = file_of(&server, "k0s.token", &token);
    let node = server.node();
    let output = join(
        &node,
        &["--token-file", file.to_str().unwrap(), "--wait", "ready"],
    );
    assert!(output.status.success(), "{}", text_of(&output));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("worker-config-default-1.36"), "{told}");
    // The kubelet is configured by the profile, and the request was made by the token's bearer.
    let config = fs::read_to_string(node.root.join("var/lib/kubelet/config.yaml")).unwrap();
    assert!(config.contains("tlsMinVersion: VersionTLS12"), "{config}");
    assert!(config.contains("- 10.96.0.10"), "{config}");
    let page = inspect(&file, Some(&server.kubeconfig()));
    let id = field(&page, "id").to_owned();
    let requests = server.get(&["csr"]).unwrap();
    let request = &requests["items"][0]["spec"];
    assert_eq!(request["username"], format!("system:bootstrap:{id}"));
    assert_eq!(
        request["signerName"],
        "kubernetes.io/kube-apiserver-client-kubelet"
    );
    assert_eq!(
        request["usages"],
        serde_json::json!(["digital signature", "client auth"])
    );
    assert!(field(&page, "cluster").contains("good until"), "{page}");
    // Neither the token nor its secret is left on the machine.
    let bearer = unpacked(&token);
    let (_, bearer) = bearer.rsplit_once("token: ").unwrap();
    let (_, secret) = bearer.trim().split_once('.').unwrap();
    let holds = |content: &[u8], text: &str| {
        let text = text.as_bytes();
        content.windows(text.len()).any(|part| part == text)
    };
    for (path, content) in node.files() {
        assert!(
            !holds(&content, secret) && !holds(&content, &token[..64]),
            "{}",
            path.display()
        );
    }
    // Deleted, it lets nobody in.
    let kubeconfig = server.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    stdout_of(muster(&[
        "token",
        "delete",
        &id,
        "--kubeconfig",
        kubeconfig,
    ]));
    let page = inspect(&file, Some(&server.kubeconfig()));
    assert!(field(&page, "cluster").contains("unknown"), "{page}");
    let late = server.node();
    let flags = ["--token-file", file.to_str().unwrap(), "-o", "json"];
    let refused = join(&late, &flags);
    assert_eq!(failure_id(&refused).as_deref(), Some("unauthorized"));
    let kubelet = late.root.join("var/lib/kubelet");
    assert!(!kubelet.exists(), "{:?}", late.paths());
}

#[test]
fn a_profile_is_looked_for_under_the_neighbouring_versions_and_one_that_was_named_must_be_there() {
    let server = TestServer::start();
    for group in ["system:bootstrappers", "system:nodes"] {
        for (what, expected) in [
            ("configmaps/worker-config-default-1.36", "yes"),
            ("configmaps/worker-config-default-1.33", "yes"),
            ("configmaps/other", "no"),
        ] {
            let can = ["auth", "can-i", "get", what, "-n", "kube-system", "--as=x"];
            let answer = server.kubectl(&[&can[..], &["--as-group", group]].concat());
            let answer = String::from_utf8(answer.stdout).unwrap();
            assert_eq!(answer.trim(), expected, "{group} {what}");
        }
    }
    let token = server.token(&["--format", "k0s"]);
    let file = file_of(&server, "k0s.token", &token);
    let flags = ["--token-file", file.to_str().unwrap(), "-o", "json"];
    let delete = ["delete", "configmap", "-n", "kube-system"];
    let own = "worker-config-default-1.36";
    server.kubectl_ok(&[&delete[..], &[own]].concat());
    let node = server.node();
    let output = join(&node, &flags);
    assert!(output.status.success(), "{}", text_of(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|event| event.to_string())
        .find(|event| event.contains("worker-profile-read"))
        .unwrap_or_else(|| panic!("{told}"));
    assert!(read.contains("worker-config-default-1.35"), "{read}");
    // One of the administrator's own; the right to read it is by name.
    let named = server.node();
    let gpu = [&flags[..], &["--profile", "gpu"]].concat();
    let refused = join(&named, &gpu);
    assert_eq!(
        failure_id(&refused).as_deref(),
        Some("worker-profile-missing")
    );
    let kubelet = r#"{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","maxPods":7}"#;
    let literal = format!("--from-literal=kubeletConfiguration={kubelet}");
    let create = [
        "create",
        "configmap",
        "-n",
        "kube-system",
        "worker-config-gpu-1.36",
    ];
    server.kubectl_ok(&[&create[..], &[&literal]].concat());
    let refused = join(&named, &gpu);
    assert_eq!(
        failure_id(&refused).as_deref(),
        Some("worker-profile-missing")
    );
    let right =
        r#"[{"op":"add","path":"/rules/0/resourceNames/-","value":"worker-config-gpu-1.36"}]"#;
    let role = "system:bootstrappers:worker-config-1.36";
    let patch = [
        "patch",
        "role",
        "-n",
        "kube-system",
        role,
        "--type=json",
        "-p",
        right,
    ];
    server.kubectl_ok(&patch);
    let label = ["--node-labels", "k0s.k0sproject.io/worker-profile=gpu"];
    let output = join(&named, &[&flags[..], &label].concat());
    assert!(output.status.success(), "{}", text_of(&output));
    let config = fs::read_to_string(named.root.join("var/lib/kubelet/config.yaml")).unwrap();
    assert!(config.contains("maxPods: 7"), "{config}");
}

/// A CA and tokens that were made without any cluster.
struct Offline {
    folder: tempfile::TempDir,
}

impl Offline {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-subj", "/CN=kubernetes-ca", "-days", "30", "-keyout"])
            .arg(folder.path().join("ca.key"))
            .arg("-out")
            .arg(folder.path().join("ca.crt"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text_of(&made));
        Self { folder }
    }

    fn create(&self, flags: &[&str]) -> Output {
        let cert = self.folder.path().join("ca.crt");
        let create = [
            "token",
            "create",
            "--pre-shared",
            "--cert",
            cert.to_str().unwrap(),
        ];
        let out = ["--out", self.folder.path().to_str().unwrap()];
        muster(&[&create[..], &out[..], flags].concat())
    }

    /// The file with the token for nobody's server.
    fn token(&self, role: &str) -> PathBuf {
        let flags = ["--url", "https://127.0.0.1:9", "--role", role];
        let told = stdout_of(self.create(&flags));
        PathBuf::from(told.lines().last().unwrap())
    }
}

/// A machine that never gets in.
fn stranger(offline: &Offline) -> TestNode {
    let root = offline.folder.path().join("node");
    fs::create_dir_all(&root).unwrap();
    TestNode {
        name: "stranger".to_owned(),
        root,
    }
}

#[test]
fn what_is_no_token_for_this_machine_is_told_before_anybody_is_asked() {
    let offline = Offline::new();
    let node = stranger(&offline);
    let refused = |flags: &[&str], token: &Path| {
        let path = token.to_str().unwrap();
        let output = join(
            &node,
            &[&["--token-file", path, "-o", "json"], flags].concat(),
        );
        assert!(node.paths().is_empty(), "{:?}", node.paths());
        failure_id(&output).unwrap_or_else(|| panic!("{}", text_of(&output)))
    };
    let (worker, controller) = (offline.token("worker"), offline.token("controller"));
    assert_eq!(refused(&[], &controller), "token-role-mismatch");
    assert_eq!(
        refused(&["--control-plane"], &worker),
        "token-role-mismatch"
    );
    assert_eq!(refused(&["--control-plane"], &controller), "usage");
    assert_eq!(refused(&["--profile", "../x"], &worker), "usage");
    let pin = format!("sha256:{}", "0".repeat(64));
    let pinned = ["--discovery-token-ca-cert-hash", &pin];
    assert_eq!(refused(&pinned, &worker), "usage");
    // Nobody is there, and that is all that is wrong.
    assert_eq!(refused(&[], &worker), "connection-refused");
    let other = offline.folder.path().join("other");
    let text = fs::read_to_string(&worker).unwrap();
    for (content, id) in [
        (text[..text.len() / 2].to_owned(), "join-token-unusable"),
        ("K10::server:secret".to_owned(), "token-kind-mismatch"),
        (unpacked(text.trim()), "token-kind-mismatch"),
        (
            "eyJhbGciOiJSUzI1NiJ9.e30.x".to_owned(),
            "token-kind-mismatch",
        ),
        (String::new(), "usage"),
    ] {
        fs::write(&other, content).unwrap();
        assert_eq!(refused(&[], &other), id);
    }
    // Two sources are one too many.
    let arguments = node.join_arguments("h:1", &["--token-file", worker.to_str().unwrap()]);
    let output = Command::new(MUSTER)
        .args(arguments)
        .args(["-o", "json"])
        .env("K0S_TOKEN", text.trim())
        .output()
        .unwrap();
    assert_eq!(failure_id(&output).as_deref(), Some("usage"));
    assert!(
        text_of(&output).contains("K0S_TOKEN"),
        "{}",
        text_of(&output)
    );
}

#[test]
fn a_pre_shared_token_is_good_once_the_cluster_has_its_secret() {
    let offline = Offline::new();
    let server = TestServer::start();
    // The cluster's own CA stands in place of the made one.
    let data = "jsonpath={.clusters[0].cluster.certificate-authority-data}";
    let ca = server.kubectl_ok(&["config", "view", "--raw", "-o", data]);
    let mut decode = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(fs::File::create(offline.folder.path().join("ca.crt")).unwrap())
        .spawn()
        .unwrap();
    decode
        .stdin
        .take()
        .unwrap()
        .write_all(ca.as_bytes())
        .unwrap();
    assert!(decode.wait().unwrap().success());
    let given = "abcdef.0123456789abcdef";
    let flags = ["--url", &server.address, "--valid", "1h", given];
    let told = stdout_of(offline.create(&flags));
    let files: Vec<PathBuf> = told.lines().map(PathBuf::from).collect();
    let [manifest, token] = files.as_slice() else {
        panic!("{told}")
    };
    assert!(manifest.ends_with("bootstrap-token-abcdef.yaml"), "{told}");
    assert!(token.ends_with("token_abcdef"), "{told}");
    for file in &files {
        let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    let again = offline.create(&[&flags[..], &["-o", "json"]].concat());
    assert_eq!(failure_id(&again).as_deref(), Some("token-file"));
    let node = server.node();
    let text = fs::read_to_string(token).unwrap();
    let by_environment = || {
        let mut arguments = node.join_arguments("ENDPOINT", &["-o", "json"]);
        drop(arguments.remove(1));
        let mut command = Command::new(MUSTER);
        command.args(arguments).env("K0S_TOKEN", text.trim());
        command.output().unwrap()
    };
    assert_eq!(
        failure_id(&by_environment()).as_deref(),
        Some("unauthorized")
    );
    server.kubectl_ok(&["apply", "-f", manifest.to_str().unwrap()]);
    let output = by_environment();
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(server.get(&["node", &node.name]).is_some());
}

#[test]
fn tokens_of_every_format_are_made_listed_by_role_and_inspected() {
    let server = TestServer::start();
    let controller = server.token(&["--format", "k0s", "--role", "controller", "--ttl", "0"]);
    let worker = server.token(&["--format", "k0s", "--url", "https://lb.example:443"]);
    let k3s = server.token(&["--format", "k3s"]);
    let line = server.token(&["--format", "kubeadm"]);
    assert!(line.starts_with("kubeadm join "), "{line}");
    assert!(
        line.contains(" --discovery-token-ca-cert-hash sha256:"),
        "{line}"
    );
    let page = |name: &str, token: &str| inspect(&file_of(&server, name, token), None);
    let page_of_controller = page("controller", &controller);
    assert_eq!(field(&page_of_controller, "role"), "controller");
    assert!(field(&page_of_controller, "server").ends_with(":9443"));
    let page_of_worker = page("worker", &worker);
    assert_eq!(field(&page_of_worker, "server"), "https://lb.example:443");
    assert_eq!(field(&page_of_worker, "pin"), server.pin());
    assert_eq!(field(&page("k3s", &k3s), "kind"), "k3s");
    // The bundle is hashed to the letter, as the server would give it out.
    let hash = Command::new("sh")
        .args([
            "-c",
            "sed -n 's/.*certificate-authority-data: //p' \"$0\" | base64 -d | sha256sum",
        ])
        .arg(server.kubeconfig())
        .output()
        .unwrap();
    let hash = stdout_of(hash);
    let hash = hash.split_whitespace().next().unwrap();
    assert!(k3s.starts_with(&format!("K10{hash}::")), "{k3s} {hash}");
    // Exactly the fields of k0s, so that its own commands know the token.
    let id = field(&page_of_controller, "id");
    let name = format!("bootstrap-token-{id}");
    let secret = server.get(&["secret", "-n", "kube-system", &name]).unwrap();
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "description",
            "token-id",
            "token-secret",
            "usage-bootstrap-controller-join",
            "usage-controller-join"
        ]
    );
    let kubeconfig = server.kubeconfig();
    let list = [
        "token",
        "list",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--role",
    ];
    let listed = |role: &str| stdout_of(muster(&[&list[..], &[role]].concat()));
    assert!(listed("controller").contains(id));
    assert_eq!(listed("controller").lines().count(), 2);
    assert!(!listed("worker").contains(id));
    // A controller's token is nobody to the API server.
    let object = stdout_of(muster(&[
        "token",
        "inspect",
        server.folder.path().join("controller").to_str().unwrap(),
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "-o",
        "json",
    ]));
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(
        object["cluster"]["usages"],
        serde_json::json!(["controller-join"])
    );
    assert_eq!(object["cluster"]["secretMatches"], true);
    assert_eq!(object["cluster"]["expires"], Value::Null);
}

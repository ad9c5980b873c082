//! The program under the name `kubeadm`: its words, its exit codes, and joins as scripts write them.

use crate::harness::{MUSTER, TestNode, TestServer, stdout_of, text_of};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with a link of that name, as an administrator makes it.
struct Face {
    folder: tempfile::TempDir,
}

impl Face {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(MUSTER, folder.path().join("kubeadm")).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("kubeadm"));
        command
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// On a simulated machine below a folder.
    fn on(&self, node: &TestNode, arguments: &[&str]) -> Output {
        self.command(arguments)
            .env("MUSTER_ROOT", &node.root)
            .env("MUSTER_RUNTIME", "hollow")
            .env("MUSTER_KUBELET", "builtin")
            .output()
            .unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn with_cluster(&self, server: &TestServer, arguments: &[&str]) -> Output {
        let kubeconfig = server.kubeconfig();
        let mut all = arguments.to_vec();
        all.extend(["--kubeconfig", kubeconfig.to_str().unwrap()]);
        self.run(&all)
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A JoinConfiguration as Cluster API writes it.
fn join_file(server: &TestServer, name: &str, token: &str) -> String {
    format!(
        "---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: {}
    caCertHashes:
    - {}
    token: {token}
nodeRegistration:
  criSocket: unix:///var/run/containerd/containerd.sock
  imagePullPolicy: IfNotPresent
  kubeletExtraArgs:
  - name: node-labels
    value: example.com/pool=blue
  name: {name}
  taints:
  - effect: NoSchedule
    key: dedicated
    value: gpu
",
        server.address,
        server.pin()
    )
}

#[test]
fn every_mistake_ends_with_kubeadms_words_and_exit_code_1() {
    let face = Face::new();
    for (line, wanted) in [
        ("foo", "error: unknown command \"foo\" for \"kubeadm\"\n"),
        ("join --foo", "error: unknown flag: --foo\n"),
        ("join a b", "error: accepts at most 1 arg(s), received 2\n"),
        (
            "join",
            "error: discovery: Invalid value: \"\": bootstrapToken or file must be set\n",
        ),
        ("token", "error: \nerror: subcommand is required\n"),
        (
            "join --config /nowhere",
            "error: unable to read config from \"/nowhere\" : open /nowhere: no such file or directory\n",
        ),
        (
            "join --config /nowhere --control-plane",
            "error: can not mix '--config' with arguments [control-plane]\n",
        ),
        ("config validate", "error: the --config flag is mandatory\n"),
        ("version -o foo", "error: invalid output format: foo\n"),
        (
            "kubeconfig user",
            "error: required flag(s) \"client-name\" not set\n",
        ),
        (
            "upgrade plan",
            "error: \"kubeadm upgrade\" is not provided by muster\n",
        ),
        (
            "init",
            "error: \"kubeadm init\" is not provided by muster\n",
        ),
        (
            "token create --certificate-key x",
            "error: cannot use --certificate-key without --print-join-command\n",
        ),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = face.run(&words);
        assert_eq!(output.status.code(), Some(1), "{line}");
        let told = errors(&output);
        assert!(told.starts_with(wanted), "{line}: {told}");
        assert!(
            told.ends_with("To see the stack trace of this error execute with --v=5 or higher\n"),
            "{line}: {told}"
        );
    }
}

#[test]
fn help_lists_sub_commands_and_a_bare_kubeadm_succeeds() {
    let face = Face::new();
    for line in [
        vec![],
        vec!["kubeconfig"],
        vec!["join", "--help"],
        vec!["help", "token", "create"],
    ] {
        let output = face.run(&line);
        assert!(output.status.success(), "{line:?}");
        assert!(said(&output).contains("Usage:\n  kubeadm"), "{line:?}");
    }
    let group = face.run(&["join", "phase"]);
    assert_eq!(group.status.code(), Some(1));
    assert!(
        said(&group).contains("  kubelet-wait-bootstrap Wait for the kubelet to bootstrap itself")
    );
    assert_eq!(stdout_of(face.run(&["version", "-o", "short"])), "v1.36.2");
    assert_eq!(stdout_of(face.run(&["certs", "certificate-key"])).len(), 64);
    assert!(
        stdout_of(face.run(&["completion", "bash"]))
            .contains("complete -o default -F _kubeadm kubeadm")
    );
}

#[test]
fn configuration_files_are_printed_checked_and_migrated_under_both_names() {
    let face = Face::new();
    let defaults = stdout_of(face.run(&["config", "print", "join-defaults"]));
    let own = Command::new(MUSTER)
        .args(["config", "print", "join-defaults"])
        .output()
        .unwrap();
    assert_eq!(stdout_of(own), defaults);
    let old = face.file(
        "old.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery:\n  file: {kubeConfigPath: https://x}\n  timeout: 3m\nnodeRegistration: {name: n1, criSocket: /run/x.sock}\n",
    );
    let old = old.to_str().unwrap();
    let migrated = stdout_of(face.run(&["config", "migrate", "--old-config", old]));
    assert!(
        migrated.starts_with("apiVersion: kubeadm.k8s.io/v1beta4\n"),
        "{migrated}"
    );
    assert!(migrated.contains("  discovery: 3m0s\n"), "{migrated}");
    let checked = face.run(&["config", "validate", "--config", old]);
    assert!(errors(&checked).contains("uses a deprecated API spec: \"kubeadm.k8s.io/v1beta3\""));
    assert_eq!(stdout_of(checked), "ok");
    let wrong = face.file(
        "wrong.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nbogus: 1\n",
    );
    let wrong = wrong.to_str().unwrap();
    let refused = face.run(&["config", "validate", "--config", wrong]);
    assert!(
        errors(&refused).contains("strict decoding error: unknown field \"bogus\""),
        "{}",
        text_of(&refused)
    );
    let own = Command::new(MUSTER)
        .args(["config", "validate", "--config", wrong])
        .output()
        .unwrap();
    assert_eq!(own.status.code(), Some(2));
    assert!(
        errors(&own).contains("[configuration-invalid]"),
        "{}",
        text_of(&own)
    );
    let images = Command::new(MUSTER)
        .args(["-o", "json", "config", "images", "list"])
        .output()
        .unwrap();
    let images: serde_json::Value = serde_json::from_slice(&images.stdout).unwrap();
    assert_eq!(images["kind"], "Images");
}

#[test]
fn tokens_are_created_listed_in_every_format_and_deleted() {
    let (face, server) = (Face::new(), TestServer::start());
    let run = |arguments: &[&str]| face.with_cluster(&server, arguments);
    let token = "abcdef.0123456789abcdef";
    let created = run(&[
        "token",
        "create",
        token,
        "--ttl",
        "0",
        "--description",
        "for a test",
    ]);
    assert_eq!(stdout_of(created), token);
    let again = run(&["token", "create", token]);
    assert!(errors(&again).starts_with("error: a token with id \"abcdef\" already exists\n"));
    let table = stdout_of(run(&["token", "list"]));
    assert!(
        table.contains(
            "abcdef.0123456789abcdef   <forever>   <never>   authentication,signing   for a test"
        ),
        "{table}"
    );
    for (format, wanted) in [
        ("jsonpath={.token}", token),
        (
            "go-template={{range .usages}}{{.}} {{end}}",
            "authentication signing",
        ),
        (
            "jsonpath={.groups[0]}",
            "system:bootstrappers:kubeadm:default-node-token",
        ),
    ] {
        let listed = stdout_of(run(&["token", "list", "-o", format]));
        assert!(listed.contains(wanted), "{format}: {listed}");
    }
    let json = stdout_of(run(&["token", "list", "-o", "json"]));
    assert!(json.starts_with("{\n    \"kind\": \"BootstrapToken\",\n    \"apiVersion\": \"output.kubeadm.k8s.io/v1alpha3\","));
    let key = "ab".repeat(32);
    let line = stdout_of(run(&[
        "token",
        "create",
        "--print-join-command",
        "--certificate-key",
        &key,
    ]));
    assert!(
        line.starts_with(&format!("kubeadm join {} --token ", server.address)),
        "{line}"
    );
    assert!(
        line.ends_with(&format!(" --control-plane --certificate-key {key}")),
        "{line}"
    );
    let file = face.file(
        "tokens.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: fedcba.0123456789abcdef\n  ttl: 1h\n",
    );
    let of_file = run(&["token", "create", "--config", file.to_str().unwrap()]);
    assert_eq!(stdout_of(of_file), "fedcba.0123456789abcdef");
    let gone = stdout_of(run(&[
        "token",
        "delete",
        "abcdef",
        "fedcba.0123456789abcdef",
    ]));
    assert_eq!(
        gone,
        "bootstrap token \"abcdef\" deleted\nbootstrap token \"fedcba\" deleted"
    );
}

#[test]
fn a_node_joins_by_flags_and_is_reset_in_kubeadms_words() {
    let (face, server) = (Face::new(), TestServer::start());
    let node = server.node();
    let line = stdout_of(face.with_cluster(&server, &["token", "create", "--print-join-command"]));
    let mut arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let upper = node.name.to_uppercase();
    arguments.extend(["--node-name", &upper]);
    let joined = face.on(&node, &arguments);
    assert!(joined.status.success(), "{}", text_of(&joined));
    let told = said(&joined);
    for wanted in [
        "[preflight] Running pre-flight checks\n",
        "[kubelet-start] Writing kubelet configuration to file \"/var/lib/kubelet/config.yaml\"\n",
        "[kubelet-start] Starting the kubelet\n",
        "\nThis node has joined the cluster:\n* Certificate signing request was sent to apiserver and a response was received.\n",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in {told}");
    }
    assert!(server.get(&["node", &node.name]).is_some());
    let refused = face.on(&node, &["reset"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("[reset] Are you sure you want to proceed? [y/N]: "));
    let reset = face.on(&node, &["reset", "--force"]);
    assert!(reset.status.success(), "{}", text_of(&reset));
    assert!(
        said(&reset)
            .contains("The reset process does not perform cleanup of CNI plugin configuration,")
    );
    assert!(!node.root.join("etc/kubernetes/kubelet.conf").exists());
}

#[test]
fn cluster_apis_bootstrap_file_joins_with_its_labels_and_taints() {
    let (face, server) = (Face::new(), TestServer::start());
    let node = server.node();
    let file = face.file(
        "kubeadm-join-config.yaml",
        &join_file(&server, &node.name, &server.token(&[])),
    );
    let joined = face.on(
        &node,
        &["join", "--config", file.to_str().unwrap(), "-v", "5"],
    );
    assert!(joined.status.success(), "{}", text_of(&joined));
    let object = server.get(&["node", &node.name]).unwrap();
    assert_eq!(object["metadata"]["labels"]["example.com/pool"], "blue");
    let taints = object["spec"]["taints"].to_string();
    assert!(
        taints.contains("\"key\":\"dedicated\"") && taints.contains("\"value\":\"gpu\""),
        "{taints}"
    );
    assert!(
        text(&node.root.join("var/lib/kubelet/kubeadm-flags.env"))
            .contains("node-labels=example.com/pool=blue")
    );
}

#[test]
fn phases_are_run_one_by_one_and_each_takes_up_where_the_last_one_ended() {
    let (face, server) = (Face::new(), TestServer::start());
    let node = server.node();
    let file = face.file(
        "join.yaml",
        &join_file(&server, &node.name, &server.token(&[])),
    );
    let phase = |name: &str| {
        face.on(
            &node,
            &["join", "phase", name, "--config", file.to_str().unwrap()],
        )
    };
    let early = phase("kubelet-wait-bootstrap");
    assert_eq!(early.status.code(), Some(1), "nothing was begun");
    let checked = phase("preflight");
    assert!(checked.status.success(), "{}", text_of(&checked));
    assert_eq!(node.paths(), Vec::<PathBuf>::new(), "checks change nothing");
    let started = phase("kubelet-start");
    assert!(started.status.success(), "{}", text_of(&started));
    assert!(said(&started).contains("[kubelet-start] Starting the kubelet"));
    assert!(node.root.join("etc/kubernetes/kubelet.conf").exists());
    let waited = phase("kubelet-wait-bootstrap");
    assert!(waited.status.success(), "{}", text_of(&waited));
    assert!(server.get(&["node", &node.name]).is_some());
    let again = phase("kubelet-start");
    assert!(again.status.success(), "{}", text_of(&again));
    // As kubeadm's: it takes no flags, and knows the cluster by what a control plane has.
    let waits = face.on(&node, &["join", "phase", "wait-control-plane"]);
    assert_eq!(waits.status.code(), Some(1));
    assert!(errors(&waits).starts_with("error: File /etc/kubernetes/admin.conf does not exists. "));
}

#[test]
fn a_rehearsal_with_a_bad_token_fails_and_a_good_one_writes_where_it_is_told() {
    let (face, server) = (Face::new(), TestServer::start());
    let node = server.node();
    let (pin, token) = (server.pin(), server.token(&[]));
    let line = |token: &str| {
        let flags = [
            "join",
            &server.address,
            "--token",
            token,
            "--discovery-token-ca-cert-hash",
            &pin,
            "--dry-run",
        ];
        flags.map(str::to_owned)
    };
    let dry = face.folder.path().join("dry");
    let good = face
        .command(&line(&token).each_ref().map(String::as_str))
        .env("MUSTER_ROOT", &node.root)
        .env("MUSTER_RUNTIME", "hollow")
        .env("KUBEADM_JOIN_DRYRUN_DIR", &dry)
        .output()
        .unwrap();
    assert!(good.status.success(), "{}", text_of(&good));
    assert!(
        said(&good).contains("[dryrun] Would "),
        "{}",
        text_of(&good)
    );
    assert!(text(&dry.join("config.yaml")).contains("kind: KubeletConfiguration"));
    assert_eq!(node.paths(), Vec::<PathBuf>::new());
    let (id, _) = token.split_once('.').unwrap();
    // The right id with a wrong secret: told at once, without waiting for a signature.
    let forged = format!("{id}.0123456789abcdef");
    let bad = face.on(&node, &line(&forged).each_ref().map(String::as_str));
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        errors(&bad).starts_with("error: error execution phase preflight: couldn't validate the identity of the API Server: "),
        "{}",
        text_of(&bad)
    );
}

#[test]
fn failed_checks_are_told_in_one_block_and_can_be_ignored_by_name() {
    let (face, server) = (Face::new(), TestServer::start());
    let node = server.node();
    std::fs::create_dir_all(node.root.join("etc/kubernetes")).unwrap();
    std::fs::write(node.root.join("etc/kubernetes/kubelet.conf"), "mine").unwrap();
    let (pin, token) = (server.pin(), server.token(&[]));
    let flags = [
        "join",
        &server.address,
        "--token",
        &token,
        "--discovery-token-ca-cert-hash",
        &pin,
    ];
    let refused = face.on(&node, &flags);
    assert_eq!(refused.status.code(), Some(1));
    let told = errors(&refused);
    for wanted in [
        "[preflight] Some fatal errors occurred:\n",
        "\t[ERROR FileAvailable--etc-kubernetes-kubelet.conf]: ",
        "[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`\n",
        "error: error execution phase preflight: preflight checks failed\n",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in {told}");
    }
    let mut both = flags.to_vec();
    both.extend(["--ignore-preflight-errors", "all,Swap"]);
    assert!(
        errors(&face.on(&node, &both)).contains("don't specify individual checks if 'all' is used")
    );
}

#[test]
fn the_phases_of_init_publish_what_joining_nodes_read() {
    let (face, server) = (Face::new(), TestServer::start());
    let file = face.file(
        "init.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
- token: zzzzzz.0123456789abcdef
nodeRegistration: {name: n1}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.2
clusterName: blue
networking: {serviceSubnet: 10.100.0.0/16}
",
    );
    let run = |phase: &[&str]| {
        let mut arguments = vec!["init", "phase"];
        arguments.extend(phase);
        arguments.extend(["--config", file.to_str().unwrap()]);
        stdout_of(face.with_cluster(&server, &arguments))
    };
    let told = run(&["bootstrap-token"]);
    assert!(
        told.starts_with("[bootstrap-token] Using token: zzzzzz.0123456789abcdef\n"),
        "{told}"
    );
    assert!(
        server
            .get(&["clusterrolebinding", "kubeadm:node-autoapprove-bootstrap"])
            .is_some()
    );
    assert!(
        server
            .get(&["-n", "kube-system", "secret", "bootstrap-token-zzzzzz"])
            .is_some()
    );
    run(&["upload-config", "all"]);
    let map = server
        .get(&["-n", "kube-system", "configmap", "kubeadm-config"])
        .unwrap();
    let text = map["data"]["ClusterConfiguration"].as_str().unwrap();
    assert!(text.contains("clusterName: blue\n"), "{text}");
    let map = server
        .get(&["-n", "kube-system", "configmap", "kubelet-config"])
        .unwrap();
    let text = map["data"]["kubelet"].as_str().unwrap();
    assert!(text.contains("clusterDNS:\n- 10.100.0.10\n"), "{text}");
    let hash = &map["metadata"]["annotations"]["kubeadm.kubernetes.io/component-config.hash"];
    assert!(hash.as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        run(&["upload-certs"]),
        "[upload-certs] Skipping phase. Please see --upload-certs"
    );
    // The token that was made lets a node in.
    let node = server.node();
    let joined = face.on(
        &node,
        &[
            "join",
            &server.address,
            "--token",
            "zzzzzz.0123456789abcdef",
            "--discovery-token-ca-cert-hash",
            &server.pin(),
            "--node-name",
            &node.name,
        ],
    );
    assert!(joined.status.success(), "{}", text_of(&joined));
}

#[test]
fn certificates_are_requested_looked_at_and_renewed_on_disk() {
    let face = Face::new();
    let folder = face.folder.path().join("pki");
    let pki = folder.to_str().unwrap();
    let confs = face.folder.path().join("confs");
    let file = face.file(
        "cluster.yaml",
        &format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.2\nencryptionAlgorithm: ECDSA-P256\ncertificatesDir: {pki}\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: 192.0.2.9}}\nnodeRegistration: {{name: n1}}\n"
        ),
    );
    let file = file.to_str().unwrap();
    let requested = stdout_of(face.run(&[
        "certs",
        "generate-csr",
        "--config",
        file,
        "--kubeconfig-dir",
        confs.to_str().unwrap(),
    ]));
    assert!(
        requested.contains("  etcd/peer\n") && requested.contains("  kubelet.conf"),
        "{requested}"
    );
    let csr =
        muster_identity::Csr::from_pem(text(&folder.join("apiserver.csr")).as_bytes()).unwrap();
    assert!(
        csr.subject_alt_names()
            .dns
            .contains(&"kubernetes.default.svc.cluster.local".to_owned())
    );
    let again = face.run(&[
        "certs",
        "generate-csr",
        "--config",
        file,
        "--kubeconfig-dir",
        confs.to_str().unwrap(),
    ]);
    assert!(
        errors(&again).contains("already exist"),
        "{}",
        text_of(&again)
    );

    // An authority of the server's, with a certificate of its own issuing in kubeadm's place.
    let server = TestServer::start();
    for end in ["crt", "key"] {
        let from = find(&server.data(), &format!("ca.{end}"));
        std::fs::copy(from, folder.join(format!("ca.{end}"))).unwrap();
    }
    let user = stdout_of(face.run(&[
        "kubeconfig",
        "user",
        "--config",
        file,
        "--client-name",
        "bob",
        "--org",
        "a,b",
    ]));
    let kubeconfig = face.file("bob.conf", &user);
    let parsed = muster_identity::Kubeconfig::parse(text(&kubeconfig).as_bytes()).unwrap();
    assert_eq!(parsed.current_context(), "bob@kubernetes");
    let token = stdout_of(face.run(&[
        "kubeconfig",
        "user",
        "--config",
        file,
        "--client-name",
        "bob",
        "--token",
        "xyz",
    ]));
    assert!(token.contains("    token: xyz"), "{token}");

    let authority = muster_identity::CertificateAuthority::load(
        &std::fs::read(folder.join("ca.crt")).unwrap(),
        &std::fs::read(folder.join("ca.key")).unwrap(),
    )
    .unwrap();
    let mut entropy = |bytes: &mut [u8]| bytes.fill(7);
    let key = muster_identity::PrivateKey::generate(&mut entropy).unwrap();
    let profile =
        muster_kubeadm::pki::Profile::client("kube-apiserver-kubelet-client", &["a-group"]);
    let now = jiff::Timestamp::now();
    let old = profile
        .issue(
            &key,
            &authority,
            jiff::SignedDuration::from_hours(1),
            now,
            &mut entropy,
        )
        .unwrap();
    let place = folder.join("apiserver-kubelet-client.crt");
    std::fs::write(&place, old.to_pem()).unwrap();

    let table = stdout_of(face.run(&["certs", "check-expiration", "--config", file]));
    assert!(table.starts_with("CERTIFICATE  "), "{table}");
    assert!(
        table.contains("!MISSING! apiserver-etcd-client  "),
        "{table}"
    );
    let row = table
        .lines()
        .find(|line| line.starts_with("apiserver-kubelet-client "))
        .unwrap();
    assert!(
        row.contains(" UTC   ") && row.contains("   ca  ") && row.trim_end().ends_with("no"),
        "{row}"
    );
    let renewed = stdout_of(face.run(&[
        "certs",
        "renew",
        "apiserver-kubelet-client",
        "--config",
        file,
    ]));
    assert_eq!(
        renewed,
        "certificate for the API server to connect to kubelet renewed"
    );
    let new = muster_identity::Certificate::from_pem(text(&place).as_bytes()).unwrap();
    assert_eq!(new.subject(), old.subject());
    assert!(new.not_after() > old.not_after());
    new.verify_signed_by(authority.certificate()).unwrap();
    let key_place = folder.join("apiserver-kubelet-client.key");
    let new_key = muster_identity::PrivateKey::from_pem(text(&key_place).as_bytes()).unwrap();
    assert_eq!(new_key.public_key().spki_der(), new.spki_der());
    assert_eq!(
        std::fs::metadata(&key_place).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let missing = stdout_of(face.run(&["certs", "renew", "front-proxy-client", "--config", file]));
    assert_eq!(missing, "MISSING! certificate for the front proxy client");
    let wrong = face.run(&["certs", "renew", "nothing"]);
    assert!(
        errors(&wrong)
            .starts_with("error: unknown command \"nothing\" for \"kubeadm certs renew\"")
    );
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name() == Some(name.as_ref()) {
                return path;
            }
        }
    }
    panic!("no {name}")
}

//! Control-plane joins against the embedded server and real etcds. A small driver stands in for the kubelet's static
//! pods: it starts the etcd that the manifest names, and where the manifests of API server, controller manager and
//! scheduler appear it forwards their ports to the server.

use crate::harness::{Running, TestNode, TestServer, failure_id, muster, text_of, wait_for};
use muster_identity::{CertificateAuthority, Secret};
use muster_kubeadm::shared_certs::{self, CertificateKey, SharedCerts};
use muster_net::etcd::testing::Etcds;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A cluster that kubeadm could have made: its objects, its shared certificates, one etcd.
struct Plane {
    server: TestServer,
    etcds: Etcds,
    key: String,
    pin: String,
    token: String,
    runtime: tokio::runtime::Runtime,
}

/// An address of loopback that no other test process has: 127.64-127.x.n.
fn address(number: u8) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{number}", 64 + pid % 64, (pid >> 6) % 250)
}

fn entropy(bytes: &mut [u8]) {
    let mut random = fs::File::open("/dev/urandom").unwrap();
    io::Read::read_exact(&mut random, bytes).unwrap();
}

impl Plane {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let etcds = runtime.block_on(Etcds::start(&["n1"]));
        let names = format!("{},{}", address(2), address(3));
        let server = TestServer::start_with(&["--tls-san", &names]);
        let key = CertificateKey::generate(&mut entropy)
            .to_text()
            .expose()
            .clone();
        let plane = Self {
            pin: server.pin(),
            token: server.token(&[]),
            key,
            server,
            etcds,
            runtime,
        };
        plane.publish();
        plane.upload(&plane.key);
        plane
    }

    fn apply(&self, object: &Value) {
        let path = self.server.folder.path().join("object.json");
        fs::write(&path, object.to_string()).unwrap();
        let output = self.server.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            path.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", text_of(&output));
    }

    /// What `kubeadm init` leaves in a cluster, as far as a control-plane join reads it.
    fn publish(&self) {
        let (two, endpoint) = (address(2), &self.server.address);
        // The address of the third node goes with its own configuration only where it differs.
        let configuration = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.2\ncontrolPlaneEndpoint: {endpoint}\nencryptionAlgorithm: ECDSA-P256\ncontrollerManager: {{extraArgs: [{{name: bind-address, value: {two}}}]}}\nscheduler: {{extraArgs: [{{name: bind-address, value: {two}}}]}}\n"
        );
        let kube_system = |kind: &str, api: &str, name: &str, more: Value| {
            let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "kube-system"}});
            for (field, value) in more.as_object().unwrap() {
                object[field] = value.clone();
            }
            self.apply(&object);
        };
        kube_system(
            "ConfigMap",
            "v1",
            "kubeadm-config",
            json!({"data": {"ClusterConfiguration": configuration}}),
        );
        let rbac = "rbac.authorization.k8s.io/v1";
        let joiners = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:bootstrappers:kubeadm:default-node-token"}]);
        kube_system(
            "Role",
            rbac,
            "kubeadm:nodes-kubeadm-config",
            json!({"rules": [{
                "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kubeadm-config"], "verbs": ["get"],
            }]}),
        );
        kube_system(
            "RoleBinding",
            rbac,
            "kubeadm:nodes-kubeadm-config",
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "kubeadm:nodes-kubeadm-config"},
                "subjects": joiners,
            }),
        );
        self.apply(&shared_certs::role());
        self.apply(&shared_certs::role_binding());
        self.apply(&json!({
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": "kubeadm:cluster-admins"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "kubeadm:cluster-admins"}],
        }));
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "etcd-n1", "namespace": "kube-system",
                "labels": {"component": "etcd", "tier": "control-plane"},
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "etcd", "image": "etcd"}]},
        });
        pod["metadata"]["annotations"] = json!({"kubeadm.kubernetes.io/etcd.advertise-client-urls": self.etcds.client_urls()[0]});
        self.apply(&pod);
    }

    /// Puts the shared certificates into the cluster, encrypted with a key.
    fn upload(&self, key: &str) {
        let pki =
            |name: &str| Secret::new(fs::read(self.server.data().join("pki").join(name)).unwrap());
        let other = muster_net::etcd::testing::authority();
        let text = |text: &str| Secret::new(text.as_bytes().to_vec());
        let pair = |ca: &CertificateAuthority| {
            (
                text(&ca.certificate().to_pem()),
                text(ca.key().to_pem().expose()),
            )
        };
        let mut certs = SharedCerts::new();
        certs.put("ca.crt", pki("ca.crt"));
        certs.put("ca.key", pki("ca.key"));
        for (name, ca) in [("front-proxy-ca", &other), ("etcd-ca", self.etcds.ca())] {
            let (certificate, key) = pair(ca);
            certs.put(&format!("{name}.crt"), certificate);
            certs.put(&format!("{name}.key"), key);
        }
        certs.put("sa.pub", text(&other.key().public_key().to_pem()));
        certs.put("sa.key", pki("sa.key"));
        let key = CertificateKey::parse(key).unwrap();
        let sealed = certs.seal(&key, &mut entropy).unwrap();
        let mut secret = shared_certs::secret(&sealed, "", "");
        secret["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        self.apply(&secret);
    }

    fn arguments(&self, node: &TestNode, number: u8, more: &[&str]) -> Vec<String> {
        let mut flags = vec![
            "--token",
            &self.token,
            "--discovery-token-ca-cert-hash",
            &self.pin,
            "--control-plane",
            "--ignore-preflight-errors",
            "all",
        ];
        let own = address(number);
        flags.extend(["--apiserver-advertise-address", &own]);
        flags.extend(more);
        node.join_arguments(&self.server.address, &flags)
    }

    fn join(&self, node: &TestNode, number: u8) -> std::process::Output {
        muster(&self.arguments(node, number, &["--certificate-key", &self.key]))
    }

    /// The members of etcd: name, and whether it has a vote.
    fn members(&self) -> Vec<(String, bool)> {
        let mut client = self.etcds.client();
        let members = self
            .runtime
            .block_on(client.members_within(Duration::from_secs(20)))
            .unwrap();
        let mut members: Vec<_> = members
            .into_iter()
            .map(|member| (member.name, !member.is_learner))
            .collect();
        members.sort();
        members
    }
}

/// Starts what the manifests of a node name.
struct StaticPods {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StaticPods {
    fn follow(node: &TestNode, number: u8, server: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (root, server, own) = (node.root.clone(), server.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || follow(&root, number, &server, &own));
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for StaticPods {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(root: &Path, number: u8, server: &str, stop: &AtomicBool) {
    let manifests = root.join("etc/kubernetes/manifests");
    let mut etcd: Option<Child> = None;
    let mut forwards = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let manifest = fs::read_to_string(manifests.join("etcd.yaml")).ok();
        match (&mut etcd, manifest) {
            (None, Some(text)) => etcd = Some(launch(root, &text)),
            (Some(process), None) => {
                let _ = process.kill();
                let _ = process.wait();
                etcd = None;
            }
            _ => {}
        }
        // Controller managers and schedulers of this configuration all answer at the second node's address.
        for (name, at, port) in [
            ("kube-apiserver", number, 6443),
            ("kube-controller-manager", 2, 10257),
            ("kube-scheduler", 2, 10259),
        ] {
            let there = manifests.join(format!("{name}.yaml")).exists();
            if there && !forwards.contains_key(name) {
                let forward = forward(&format!("{}:{port}", address(at)), server);
                forwards.insert(name, forward);
            } else if !there {
                forwards.remove(name);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(mut process) = etcd {
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// The command of the manifest, with the node's paths below its root.
fn launch(root: &Path, manifest: &str) -> Child {
    let pod: Value = serde_saphyr::from_str(manifest).unwrap();
    let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    let root = root.to_str().unwrap();
    // Older etcds do not know these two.
    let strange = ["--feature-gates=", "--watch-progress-notify-interval="];
    let arguments = command[1..]
        .iter()
        .map(|word| word.as_str().unwrap())
        .filter(|word| !strange.iter().any(|strange| word.starts_with(strange)))
        .map(|word| word.replace("=/", &format!("={root}/")))
        // Loopback's own port is that of every node on this machine.
        .map(|word| match word.strip_prefix("--listen-client-urls=") {
            Some(urls) => format!("--listen-client-urls={}", urls.rsplit(',').next().unwrap()),
            None => word,
        })
        .filter(|word| !word.starts_with("--listen-metrics-urls="));
    let log = fs::File::create(format!(
        "{root}/../etcd-{}.log",
        root.rsplit('/').next().unwrap()
    ))
    .unwrap();
    Command::new("etcd")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("etcd must be in PATH: cargo xtask test brings it")
}

/// A port that leads to another one for as long as the value lives.
struct Forward(Arc<AtomicBool>);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn forward(from: &str, to: &str) -> Forward {
    let stop = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&stop);
    let to: SocketAddr = to.parse().unwrap();
    // Two nodes of one test share the ports of the other components: who comes second finds them answered.
    if let Ok(listener) = TcpListener::bind(from) {
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            while !own.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => pass(stream, to),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
    }
    Forward(stop)
}

fn pass(near: TcpStream, to: SocketAddr) {
    near.set_nonblocking(false).unwrap();
    let Ok(far) = TcpStream::connect(to) else {
        return;
    };
    for (mut from, mut into) in [
        (near.try_clone().unwrap(), far.try_clone().unwrap()),
        (far, near),
    ] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut into);
            let _ = into.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// Everything below the root but muster's own journal and the logs.
fn traces(node: &TestNode) -> Vec<PathBuf> {
    node.paths()
}

#[test]
fn a_control_plane_node_joins_is_marked_and_is_taken_back_to_nothing() {
    let plane = Plane::start();
    let node = plane.server.node();
    let pods = StaticPods::follow(&node, 2, &plane.server.address);
    let joined = plane.join(&node, 2);
    assert!(joined.status.success(), "{}", text_of(&joined));
    assert_eq!(
        plane.members(),
        [("n1".to_owned(), true), (node.name.clone(), true)]
    );

    let object = plane.server.get(&["node", &node.name]).unwrap();
    let labels = &object["metadata"]["labels"];
    assert_eq!(labels["node-role.kubernetes.io/control-plane"], "");
    assert_eq!(
        object["spec"]["taints"][0]["key"],
        "node-role.kubernetes.io/control-plane"
    );
    let manifest =
        fs::read_to_string(node.root.join("etc/kubernetes/manifests/etcd.yaml")).unwrap();
    let own = format!("{}=https://{}:2380", node.name, address(2));
    assert!(
        manifest.contains("n1=https://") && manifest.contains(&own),
        "{manifest}"
    );
    assert!(manifest.contains("--initial-cluster-state=existing"));
    let lease = [
        "lease",
        "-n",
        "kube-system",
        "muster-control-plane-join",
        "--ignore-not-found",
    ];
    assert_eq!(plane.server.get(&lease), None);

    let journal: Vec<u8> = node
        .files()
        .into_iter()
        .filter(|(path, _)| path.to_str().unwrap().contains("state.db"))
        .flat_map(|(_, content)| content)
        .collect();
    let journal = String::from_utf8_lossy(&journal).into_owned();
    assert!(!journal.contains("PRIVATE KEY") && !journal.contains(&plane.key));

    let reset = muster(&["reset", "--force", "--root", node.root.to_str().unwrap()]);
    assert!(reset.status.success(), "{}", text_of(&reset));
    drop(pods);
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    assert_eq!(
        plane
            .server
            .get(&["node", &node.name, "--ignore-not-found"]),
        None
    );
}

#[test]
fn a_join_that_is_stopped_after_its_learner_was_added_takes_the_learner_out_again() {
    let plane = Plane::start();
    let node = plane.server.node();
    // Nobody starts the etcd of the manifest: the learner never gets its vote.
    let running = Running::start(&plane.arguments(&node, 2, &["--certificate-key", &plane.key]));
    wait_for("the learner", || {
        let members = plane.members();
        members
            .iter()
            .any(|(_, votes)| !votes)
            .then_some(())
            .ok_or_else(|| format!("{members:?}"))
    });
    running.interrupt();
    let (success, errors) = running.end();
    assert!(!success, "{errors}");
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    let lease = [
        "lease",
        "-n",
        "kube-system",
        "muster-control-plane-join",
        "--ignore-not-found",
    ];
    assert_eq!(plane.server.get(&lease), None);
}

#[test]
fn a_join_that_is_killed_goes_on_with_its_learner() {
    let plane = Plane::start();
    let node = plane.server.node();
    let running = Running::start(&plane.arguments(&node, 2, &["--certificate-key", &plane.key]));
    wait_for("the learner", || {
        let members = plane.members();
        members
            .iter()
            .any(|(_, votes)| !votes)
            .then_some(())
            .ok_or_else(|| format!("{members:?}"))
    });
    running.kill();
    let pods = StaticPods::follow(&node, 2, &plane.server.address);
    let joined = plane.join(&node, 2);
    assert!(joined.status.success(), "{}", text_of(&joined));
    assert_eq!(
        plane.members(),
        [("n1".to_owned(), true), (node.name.clone(), true)]
    );
    drop(pods);
}

#[test]
fn two_control_plane_nodes_that_join_at_once_take_turns() {
    let plane = Plane::start();
    let (second, third) = (plane.server.node(), plane.server.node());
    let _pods = [
        StaticPods::follow(&second, 2, &plane.server.address),
        StaticPods::follow(&third, 3, &plane.server.address),
    ];
    let key = ["--certificate-key", plane.key.as_str()];
    let joins = [
        Running::start(&plane.arguments(&second, 2, &key)),
        Running::start(&plane.arguments(&third, 3, &key)),
    ];
    for join in joins {
        let (success, errors) = join.end();
        assert!(success, "{errors}");
    }
    let members = plane.members();
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(members.iter().all(|(_, votes)| *votes), "{members:?}");
}

#[test]
fn a_wrong_key_is_told_from_certificates_that_are_gone() {
    let plane = Plane::start();
    let node = plane.server.node();
    let zeros = "0".repeat(64);
    let wrong = muster(&plane.arguments(&node, 2, &["--certificate-key", &zeros, "-o", "json"]));
    assert_eq!(
        failure_id(&wrong).as_deref(),
        Some("certificate-key-wrong"),
        "{}",
        text_of(&wrong)
    );
    plane
        .server
        .kubectl_ok(&["-n", "kube-system", "delete", "secret", "kubeadm-certs"]);
    let gone = muster(&plane.arguments(&node, 2, &["--certificate-key", &plane.key, "-o", "json"]));
    assert_eq!(
        failure_id(&gone).as_deref(),
        Some("shared-certificates-gone"),
        "{}",
        text_of(&gone)
    );
    assert_eq!(traces(&node), Vec::<PathBuf>::new());
    assert_eq!(plane.members(), [("n1".to_owned(), true)]);
}

#[test]
fn with_an_admin_conf_on_the_machine_nothing_is_discovered_under_either_name() {
    let plane = Plane::start();
    let node = plane.server.node();
    // Nobody listens there, and no cluster has that CA.
    let stranger = format!("sha256:{}", "0".repeat(64));
    let words = [
        "join",
        "127.0.0.1:1",
        "--token",
        &plane.token,
        "--discovery-token-ca-cert-hash",
        &stranger,
        "--control-plane",
        "--certificate-key",
        &plane.key,
        "--apiserver-advertise-address",
        "192.0.2.7",
        "--node-name",
        &node.name,
        "--ignore-preflight-errors",
        "all",
        "--dry-run",
    ];
    let native = || {
        let root = node.root.to_str().unwrap();
        let more = [
            "--root",
            root,
            "--runtime",
            "hollow",
            "--kubelet",
            "builtin",
        ];
        // A typed endpoint goes before the file's for our own command: it is left out.
        let words = words.iter().filter(|word| **word != "127.0.0.1:1");
        muster(&words.chain(&more).copied().collect::<Vec<_>>())
    };
    let link = plane.server.folder.path().join("kubeadm");
    std::os::unix::fs::symlink(crate::harness::MUSTER, &link).unwrap();
    let face = || {
        Command::new(&link)
            .args(words)
            .env("MUSTER_ROOT", &node.root)
            .env("MUSTER_RUNTIME", "hollow")
            .env("MUSTER_KUBELET", "builtin")
            .env_remove("KUBECONFIG")
            .output()
            .unwrap()
    };
    let without = native();
    assert!(!without.status.success(), "{}", text_of(&without));
    let kubernetes = node.root.join("etc/kubernetes");
    fs::create_dir_all(&kubernetes).unwrap();
    fs::copy(plane.server.kubeconfig(), kubernetes.join("admin.conf")).unwrap();
    for output in [native(), face()] {
        assert!(output.status.success(), "{}", text_of(&output));
        assert!(text_of(&output).contains("etcd"), "{}", text_of(&output));
    }
}

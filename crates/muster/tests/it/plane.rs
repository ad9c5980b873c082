//! A control plane for tests: the embedded server with what kubeadm leaves in a cluster, real etcds, and a small driver
//! that stands in for the kubelet's static pods. It starts the etcd that a manifest names, and where the manifests of API
//! server, controller manager and scheduler appear it forwards their ports to the server.

use crate::harness::{TestNode, TestServer, muster, text_of};
use muster_identity::{CertificateAuthority, CertificateBundle, Secret};
use muster_kubeadm::shared_certs::{self, CertificateKey, SharedCerts};
use muster_net::EtcdClient;
use muster_net::etcd::Departure;
use muster_net::etcd::testing::{Etcds, certified};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A cluster that kubeadm could have made: its objects, its shared certificates, one etcd.
pub(crate) struct Plane {
    pub(crate) server: TestServer,
    pub(crate) etcds: Etcds,
    pub(crate) key: String,
    pin: String,
    pub(crate) token: String,
    runtime: tokio::runtime::Runtime,
}

/// An address of loopback that no other test process has: 127.64-127.x.n.
pub(crate) fn address(number: u8) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{number}", 64 + pid % 64, (pid >> 6) % 250)
}

fn entropy(bytes: &mut [u8]) {
    let mut random = fs::File::open("/dev/urandom").unwrap();
    io::Read::read_exact(&mut random, bytes).unwrap();
}

impl Plane {
    pub(crate) fn start() -> Self {
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
    pub(crate) fn upload(&self, key: &str) {
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

    pub(crate) fn arguments(&self, node: &TestNode, number: u8, more: &[&str]) -> Vec<String> {
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

    pub(crate) fn join(&self, node: &TestNode, number: u8) -> std::process::Output {
        muster(&self.arguments(node, number, &["--certificate-key", &self.key]))
    }

    /// A client of all etcds, those of the nodes with these numbers too.
    pub(crate) fn etcd(&self, numbers: &[u8]) -> EtcdClient {
        let mut urls = self.etcds.client_urls();
        let own = |number: &u8| format!("https://{}:2379", address(*number));
        urls.extend(numbers.iter().map(own));
        let ca = CertificateBundle::from_pem(self.etcds.ca().certificate().to_pem().as_bytes());
        EtcdClient::new(urls, &ca.unwrap(), &certified(self.etcds.ca(), "client")).unwrap()
    }

    /// The members of etcd: name, and whether it has a vote.
    pub(crate) fn members(&self) -> Vec<(String, bool)> {
        self.members_by(self.etcd(&[2, 3]))
    }

    fn members_by(&self, mut client: EtcdClient) -> Vec<(String, bool)> {
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

impl Plane {
    /// Takes a dead member out, as an administrator does.
    pub(crate) fn bury(&self, peer_url: &str) {
        let mut client = self.etcd(&[2, 3]);
        let removed = self
            .runtime
            .block_on(client.remove(peer_url, Duration::from_secs(20)));
        assert_eq!(removed.unwrap(), Departure::Removed);
    }
}

/// Starts what the manifests of a node name.
pub(crate) struct StaticPods {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StaticPods {
    pub(crate) fn follow(node: &TestNode, number: u8, server: &str) -> Self {
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

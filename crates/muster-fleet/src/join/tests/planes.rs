//! Joins of control-plane nodes: stacked and external etcd, and an authority whose key is elsewhere. The proofs over them
//! are in the files below; here are the machines, the clusters, and when two of either are the same.

mod crashes;
mod failures;
mod queue;
mod unjournalled;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{Certificate, CertificateAuthority, PrivateKey, Secret};
use muster_kubeadm::kubeconfigs::ControlPlaneConf;
use muster_kubeadm::pki::leaves;
use muster_kubeadm::shared_certs::{CertificateKey, SharedCerts, secret};
use muster_kubeadm::{Blueprint, ClusterBlueprint, ControlPlaneNode};
use muster_plan::{ControlPlaneRequest, IgnoreSet};

use super::*;
use crate::testing::ClusterState;

const CONFIGURATION: &str = "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.2
controlPlaneEndpoint: lb.example:6443
encryptionAlgorithm: ECDSA-P256
apiServer: {extraEnvs: [{name: KEY, value: hunter2}]}
";
const EXTERNAL_ETCD: &str = "etcd: {external: {endpoints: ['https://e:2379'], caFile: /etc/kubernetes/pki/etcd/ca.crt, certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt, keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key}}\n";
const KEY: &str = "7777777777777777777777777777777777777777777777777777777777777777";
/// The address of the machine, and so its member's peer URL.
const OWN: &str = "10.0.0.7";

/// etcd's data, which name the member: each one that is added is another.
const DATA: &str = "/var/lib/etcd/member";

/// Bytes that nobody has to guess.
fn entropy(bytes: &mut [u8]) {
    bytes.fill(7);
}

struct Authorities {
    cluster: CertificateAuthority,
    front_proxy: CertificateAuthority,
    etcd: CertificateAuthority,
}

static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| {
    let make = |name: &str| {
        let life = SignedDuration::from_hours(24);
        CertificateAuthority::new_self_signed(name, Timestamp::now(), life, &mut entropy).unwrap()
    };
    Authorities {
        cluster: make("kubernetes"),
        front_proxy: make("front-proxy-ca"),
        etcd: make("etcd-ca"),
    }
});

/// The files that control-plane nodes share, by kubeadm's names for them.
fn shared_files() -> BTreeMap<&'static str, String> {
    let all = &*AUTHORITIES;
    let mut files = BTreeMap::new();
    for (ca, certificate, key) in [
        (&all.cluster, "ca.crt", "ca.key"),
        (&all.front_proxy, "front-proxy-ca.crt", "front-proxy-ca.key"),
        (&all.etcd, "etcd-ca.crt", "etcd-ca.key"),
    ] {
        files.insert(certificate, ca.certificate().to_pem());
        files.insert(key, ca.key().to_pem().expose().clone());
    }
    files.insert("sa.pub", all.cluster.key().public_key().to_pem());
    files.insert("sa.key", all.cluster.key().to_pem().expose().clone());
    let etcd = &all.etcd;
    files.insert("external-etcd-ca.crt", etcd.certificate().to_pem());
    files.insert("external-etcd.crt", etcd.certificate().to_pem());
    files.insert("external-etcd.key", etcd.key().to_pem().expose().clone());
    files
}

static SHARED: LazyLock<serde_json::Value> = LazyLock::new(|| {
    let mut certs = SharedCerts::new();
    for (name, text) in shared_files() {
        certs.put(name, Secret::new(text.into_bytes()));
    }
    let key = CertificateKey::parse(KEY).unwrap();
    secret(&certs.seal(&key, &mut entropy).unwrap(), "", "")
});

/// How a control plane is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One etcd elsewhere: with ours there are two, and neither can be missed.
    Stacked,
    /// Three etcds elsewhere, and files of somebody where the join writes.
    StackedAmongThree,
    /// etcd is elsewhere altogether.
    ExternalEtcd,
    /// The keys of the authorities are elsewhere: all certificates lie on the machine.
    ExternalCa,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Stacked,
        Self::StackedAmongThree,
        Self::ExternalEtcd,
        Self::ExternalCa,
    ];

    fn configuration(self) -> String {
        match self {
            Self::ExternalEtcd => format!("{CONFIGURATION}{EXTERNAL_ETCD}"),
            _ => CONFIGURATION.to_owned(),
        }
    }

    /// A machine and its cluster before the join.
    fn scene(self) -> Scene {
        let host = SimHost::new("n1");
        host.install_system_kubelet(false);
        match self {
            Self::ExternalCa => {
                for (path, text) in &*BROUGHT {
                    host.put_file(path, 0o600, text.as_bytes());
                }
            }
            Self::StackedAmongThree => {
                let own = b"somebody's";
                host.put_file("/etc/kubernetes/pki/sa.pub", 0o640, own);
                host.put_file("/etc/kubernetes/manifests/etcd.yaml", 0o640, own);
            }
            _ => {}
        }
        let scene = Scene::on(host);
        scene.cluster.configure(&self.configuration());
        scene.cluster.share(SHARED.clone());
        let others = match self {
            Self::ExternalEtcd => 0,
            Self::StackedAmongThree => 3,
            _ => 1,
        };
        for number in 1..=others {
            let (name, host) = (format!("cp{number}"), format!("10.0.0.{number}"));
            scene.cluster.put_etcd(&name, &host);
        }
        scene
    }

    fn options(self, node: &str) -> JoinOptions {
        let mut options = options(node);
        let has_key = self != Self::ExternalCa;
        options.request.runtime = Runtime::Cri { endpoint: None };
        options.request.ignore = IgnoreSet::parse(["all"]).unwrap();
        options.request.control_plane = Some(ControlPlaneRequest {
            has_certificate_key: has_key,
            component_seconds: 5,
            etcd_seconds: 5,
            ..ControlPlaneRequest::default()
        });
        options.certificate_key = has_key.then(|| CertificateKey::parse(KEY).unwrap());
        options
    }

    /// The members of etcd that votes are counted of, by name.
    fn members(self) -> Vec<String> {
        let scene = self.scene();
        let members = scene.cluster.state().members;
        members.into_iter().map(|(name, ..)| name).collect()
    }
}

/// With the authority's key elsewhere every certificate and kubeconfig of the node is there before.
static BROUGHT: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let blueprint = Blueprint {
        cluster: ClusterBlueprint::parse(CONFIGURATION).unwrap(),
        node: ControlPlaneNode {
            name: "n1".into(),
            advertise_address: OWN.parse().unwrap(),
            bind_port: 6443,
            component_seconds: 5,
            proxies: BTreeMap::new(),
            ca_dirs: Vec::new(),
        },
    };
    let mut files = BTreeMap::new();
    let all = &*AUTHORITIES;
    let mut put = |name: &str, text: &str| {
        let path = blueprint.cluster.certificate_path(name);
        files.insert(path, text.to_owned());
    };
    let shared = shared_files();
    for name in ["ca.crt", "front-proxy-ca.crt", "sa.pub", "sa.key"] {
        put(name, &shared[name]);
    }
    put("etcd/ca.crt", &shared["etcd-ca.crt"]);
    for leaf in leaves(&blueprint.cluster) {
        let authority = match leaf.authority().base_name() {
            "ca" => &all.cluster,
            "front-proxy-ca" => &all.front_proxy,
            _ => &all.etcd,
        };
        let key = PrivateKey::generate(&mut entropy).unwrap();
        let life = SignedDuration::from_hours(12);
        let profile = leaf.profile(&blueprint).unwrap();
        let issued = profile.issue(&key, authority, life, Timestamp::now(), &mut entropy);
        put(
            &format!("{}.crt", leaf.base_name()),
            &issued.unwrap().to_pem(),
        );
        put(&format!("{}.key", leaf.base_name()), key.to_pem().expose());
    }
    for conf in ControlPlaneConf::OF_A_JOIN {
        let text = conf.make(&blueprint, &all.cluster, Timestamp::now(), &mut entropy);
        let path = format!("/etc/kubernetes/{}", conf.file_name());
        files.insert(path, text.unwrap().expose().clone());
    }
    files
});

/// What is at every path, in words that can be compared between runs: of certificates, keys and kubeconfigs, which are
/// made anew each time, only that they are whole.
type Machine = BTreeMap<String, String>;

fn machine(scene: &Scene) -> Machine {
    let world = scene.machine();
    let mut words: Machine = world
        .tree
        .iter()
        .map(|(path, entry)| {
            let text = match entry {
                Entry::File {
                    content,
                    attributes,
                } if path != DATA => format!("{attributes:?} {}", shape(content)),
                Entry::File { attributes, .. } => format!("{attributes:?} of a member"),
                other => format!("{other:?}"),
            };
            (path.clone(), text)
        })
        .collect();
    let rest = World {
        tree: BTreeMap::new(),
        ..world
    };
    words.insert("besides".into(), format!("{rest:?}"));
    words
}

fn shape(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let is_pem = text.contains("-----BEGIN");
    let lines = text.lines().filter_map(|line| match is_pem {
        true => line.starts_with("-----").then_some(line),
        false => line
            .split_once("-data: ")
            .map_or(Some(line), |(field, _)| Some(field)),
    });
    let shape = lines.collect::<Vec<_>>().join("\n");
    format!("{shape}\nends: {}", text.ends_with('\n'))
}

/// What differs, and nothing else.
fn assert_same(found: &(Machine, ClusterState), wanted: &(Machine, ClusterState), place: &str) {
    let paths = found.0.keys().chain(wanted.0.keys());
    let differing: Vec<String> = paths
        .filter(|path| found.0.get(*path) != wanted.0.get(*path))
        .map(|path| {
            format!(
                "{path}: {:?}\n  instead of {:?}",
                found.0.get(path),
                wanted.0.get(path)
            )
        })
        .collect();
    assert!(differing.is_empty(), "{place}:\n{}", differing.join("\n"));
    assert_eq!(found.1, wanted.1, "{place}");
}

/// Every certificate of the node is of the key beside it.
fn assert_whole(scene: &Scene, place: &str) {
    let tree = scene.machine().tree;
    let read = |path: &str| match tree.get(path) {
        Some(Entry::File { content, .. }) => content.clone(),
        other => panic!("{place}: {path}: {other:?}"),
    };
    for name in [
        "apiserver",
        "apiserver-kubelet-client",
        "front-proxy-client",
    ] {
        let base = format!("/etc/kubernetes/pki/{name}");
        let certificate = Certificate::from_pem(&read(&format!("{base}.crt"))).unwrap();
        let key = PrivateKey::from_pem(&read(&format!("{base}.key"))).unwrap();
        assert_eq!(
            certificate.spki_der(),
            key.public_key().spki_der(),
            "{place}: {name}"
        );
    }
    let api = String::from_utf8(read("/etc/kubernetes/manifests/kube-apiserver.yaml")).unwrap();
    assert!(api.contains("value: hunter2\n"), "{place}: {api}");
}

/// Where a join of that kind ends when nothing disturbs it.
struct Ends {
    before: (Machine, ClusterState),
    joined: (Machine, ClusterState),
    records: u64,
    operations: u64,
}

async fn ends(kind: Kind) -> Ends {
    let scene = kind.scene();
    let before = now(&scene);
    let result = scene.join(&kind.options("n1")).await;
    result.unwrap_or_else(|error| panic!("{kind:?}: {}", error.message()));
    assert_whole(&scene, "undisturbed");
    Ends {
        before,
        joined: now(&scene),
        records: scene.store.writes(),
        operations: scene.host.operations(),
    }
}

fn now(scene: &Scene) -> (Machine, ClusterState) {
    (machine(scene), scene.cluster.state())
}

fn assert_joined(scene: &Scene, ends: &Ends, place: &str) {
    assert_same(&now(scene), &ends.joined, place);
    assert_whole(scene, place);
}

fn assert_before(scene: &Scene, ends: &Ends, place: &str) {
    assert_same(&now(scene), &ends.before, place);
}

/// The steps of every kind of control-plane join.
pub(super) async fn every_step() -> Vec<Vec<Step>> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let scene = kind.scene();
        scene.join(&kind.options("n1")).await.unwrap();
        let steps = super::resets::steps_of(&scene).await;
        all.push(steps.into_iter().map(|(_, step)| step).collect());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_node_joins_and_a_reset_leaves_machine_and_cluster_as_before() {
    for kind in Kind::ALL {
        let ends = ends(kind).await;
        let (tree, cluster) = &ends.joined;
        let place = format!("{kind:?}");
        assert!(
            tree.contains_key("/etc/kubernetes/manifests/kube-scheduler.yaml"),
            "{place}"
        );
        let node = &cluster.objects["/api/v1/nodes/n1"];
        assert_eq!(
            node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"],
            ""
        );
        assert_eq!(node["spec"]["taints"][0]["effect"], "NoSchedule");
        assert!(
            !cluster.objects.keys().any(|path| path.contains("/leases/")),
            "{place}"
        );
        let expected = match kind {
            Kind::ExternalEtcd => 0,
            _ => ends.before.1.members.len() + 1,
        };
        let own = format!("https://{OWN}:2380");
        assert_eq!(cluster.members.len(), expected, "{place}");
        for (name, url, votes, well) in &cluster.members {
            assert!(
                *votes && *well && (*url != own || name == "n1"),
                "{place}: {name}"
            );
        }
        let scene = kind.scene();
        scene.join(&kind.options("n1")).await.unwrap();
        let outcome = scene.reset().await.unwrap();
        assert_eq!(outcome.left_behind(), [], "{place}");
        assert_before(&scene, &ends, &place);
    }
}

#[tokio::test(start_paused = true)]
async fn no_key_and_no_value_of_an_environment_stands_in_the_journal_or_in_events() {
    for kind in Kind::ALL {
        let scene = kind.scene();
        scene.join(&kind.options("n1")).await.unwrap();
        let records = scene.store.everything().await;
        let records = records
            .values()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        let events = scene.told.lock();
        let events = events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap());
        for text in records.chain(events) {
            for secret in ["PRIVATE KEY", "hunter2", KEY, TOKEN] {
                assert!(!text.contains(secret), "{kind:?}: {secret} in {text}");
            }
        }
    }
}

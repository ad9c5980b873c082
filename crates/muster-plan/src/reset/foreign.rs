//! A node that another tool made, or whose journal is gone: what of it is proved by its content, and in which order it
//! goes.

use muster_saga::Residue;

use super::evidence::CONFS;
use super::{Evidence, Purge};
use crate::paths::{self, Root};
use crate::{Facts, Phase, PlannedStep, Step};

/// Names that kubeadm gives to certificates and keys, below the certificates' directory.
const PKI: &[&str] = &[
    "ca",
    "apiserver",
    "apiserver-kubelet-client",
    "apiserver-etcd-client",
    "front-proxy-ca",
    "front-proxy-client",
];
const PKI_ETCD: &[&str] = &["ca", "server", "peer", "healthcheck-client"];

/// What a reset is asked for beyond taking back what the journal tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetWishes {
    /// Remove the node's own files, pods and mounts.
    pub cleanup: bool,
    /// Where the cluster's certificates are.
    pub cert_dir: String,
    /// The container runtime's socket, when there are several.
    pub cri_socket: Option<String>,
    /// Also what kubeadm left in `/etc/kubernetes/tmp`.
    pub cleanup_tmp_dir: bool,
    /// Also what network plugins left.
    pub network_plugins: bool,
    /// Also the packet filter's chains with known owners.
    pub firewall: bool,
}

impl Default for ResetWishes {
    fn default() -> Self {
        Self {
            cleanup: true,
            cert_dir: paths::PKI_DIR.into(),
            cri_socket: None,
            cleanup_tmp_dir: false,
            network_plugins: false,
            firewall: false,
        }
    }
}

/// What goes of a node that has no journal here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPlan {
    /// What is to be done, in this order.
    pub steps: Vec<PlannedStep>,
    /// What looks like a node's and is not proved to be.
    pub left_behind: Vec<Residue>,
}

/// Decides what may go. `etcd_is_over` says that this machine's member is no longer needed by its cluster.
#[must_use]
pub fn foreign_node(
    evidence: &Evidence,
    facts: &Facts,
    root: &Root,
    wishes: &ResetWishes,
    etcd_is_over: bool,
) -> ForeignPlan {
    let mut plan = Draft {
        root,
        plan: ForeignPlan::default(),
    };
    let manifests = plan.manifests(evidence);
    let node = evidence.proves_kubelet();
    if node || manifests.is_some() {
        plan.stop_and_release(facts, wishes);
    }
    for path in manifests.iter().flatten() {
        plan.file(path);
    }
    if let Some(member) = evidence.stacked_member(&wishes.cert_dir) {
        if etcd_is_over {
            plan.purge(Purge::Contents {
                dir: member.data_dir,
            });
        } else {
            let real = root.real(&member.data_dir);
            plan.left(&real, "its etcd member could not be taken out of the cluster, and the data may be the last copy", &format!("etcdctl member list; etcdctl member remove ID; then rm -r {real}/*"));
        }
    }
    plan.certificates(evidence, wishes, node || manifests.is_some());
    plan.confs(evidence, node);
    if wishes.cleanup_tmp_dir {
        for name in evidence.names("/etc/kubernetes/tmp") {
            let dir = format!("/etc/kubernetes/tmp/{name}");
            if name.starts_with("kubeadm-") || name.starts_with("muster-") {
                plan.purge(Purge::Contents { dir: dir.clone() });
                plan.file(&dir);
            } else {
                plan.unproved(&dir);
            }
        }
    }
    if node {
        plan.purge(Purge::PodLogs);
        plan.purge(Purge::Contents {
            dir: paths::KUBELET_DIR.into(),
        });
    } else if evidence.files.contains_key(paths::KUBELET_CONF)
        || facts.files.contains_key(paths::KUBELET_CLIENT_CURRENT)
    {
        plan.unproved(paths::KUBELET_DIR);
    }
    plan.plan
}

/// What goes only because somebody asked for it, whoever the node's maker was.
#[must_use]
pub fn optional_purges(wishes: &ResetWishes) -> Vec<PlannedStep> {
    let root = Root::new("/");
    let mut draft = Draft {
        root: &root,
        plan: ForeignPlan::default(),
    };
    // Virtual servers first: their interface goes with the plugins'.
    if wishes.firewall {
        draft.purge(Purge::Firewall);
    }
    if wishes.network_plugins {
        draft.purge(Purge::NetworkPlugins);
    }
    draft.plan.steps
}

struct Draft<'a> {
    root: &'a Root,
    plan: ForeignPlan,
}

impl Draft<'_> {
    fn step(&mut self, step: Step) {
        let after = self.plan.steps.last().map(|step| step.id.clone());
        self.plan.steps.push(PlannedStep {
            id: format!("reset-{}", self.plan.steps.len() + 1),
            phase: Phase::Reset,
            after: after.into_iter().collect(),
            step,
        });
    }

    fn purge(&mut self, what: Purge) {
        self.step(Step::Purge { what });
    }

    fn file(&mut self, path: &str) {
        self.purge(Purge::File { path: path.into() });
    }

    fn left(&mut self, what: &str, why: &str, remedy: &str) {
        self.plan.left_behind.push(Residue {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
        });
    }

    fn unproved(&mut self, path: &str) {
        let real = self.root.real(path);
        let remedy = format!("Look at it; if it is a former node's: rm -r {real}");
        self.left(&real, "nothing in it proves who wrote it", &remedy);
    }

    /// The kubelet stops first, so that nobody starts its pods again; then they go, then what they had mounted.
    fn stop_and_release(&mut self, facts: &Facts, wishes: &ResetWishes) {
        if facts.unit(paths::KUBELET_UNIT).exists {
            self.step(Step::StopService {
                unit: paths::KUBELET_UNIT.into(),
            });
        }
        let named = wishes.cri_socket.clone();
        let live = facts.cri_sockets.iter().filter(|socket| socket.answers);
        let endpoints: Vec<String> = match named {
            Some(socket) => vec![socket],
            None => live
                .map(|socket| format!("unix://{}", socket.path))
                .collect(),
        };
        for endpoint in endpoints {
            self.purge(Purge::Pods { endpoint });
        }
        self.purge(Purge::Mounts {
            below: paths::KUBELET_DIR.into(),
        });
    }

    /// The proved manifests; `None` when there are none.
    fn manifests(&mut self, evidence: &Evidence) -> Option<Vec<String>> {
        let mut proved = Vec::new();
        for name in evidence.names(paths::MANIFESTS_DIR) {
            let path = format!("{}/{name}", paths::MANIFESTS_DIR);
            if evidence.proves_manifest(&path).is_some() {
                proved.push(path);
            } else {
                self.unproved(&path);
            }
        }
        (!proved.is_empty()).then_some(proved)
    }

    fn certificates(&mut self, evidence: &Evidence, wishes: &ResetWishes, proved: bool) {
        let etcd = format!("{}/etcd", wishes.cert_dir);
        for (dir, known) in [(&wishes.cert_dir, PKI), (&etcd, PKI_ETCD)] {
            for name in evidence.names(dir) {
                let path = format!("{dir}/{name}");
                if path == etcd {
                    continue;
                }
                let stem = name
                    .strip_suffix(".crt")
                    .or_else(|| name.strip_suffix(".key"));
                let known = stem.is_some_and(|stem| known.contains(&stem))
                    || name == "sa.key"
                    || name == "sa.pub";
                if known && proved {
                    self.file(&path);
                } else {
                    self.unproved(&path);
                }
            }
        }
    }

    fn confs(&mut self, evidence: &Evidence, node: bool) {
        for (path, users) in CONFS {
            if !evidence.files.contains_key(*path) {
                continue;
            }
            // Any kubelet writes `default-auth`: only beside kubeadm's other files it is a node of kubeadm.
            let enough = *path != paths::KUBELET_CONF || node;
            if enough && evidence.proves_conf(path, users) {
                self.file(path);
            } else {
                self.unproved(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CriSocket, UnitFact};
    use jiff::Timestamp;
    use muster_identity::Secret;

    const ETCD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\n  labels: {component: etcd, tier: control-plane}\nspec:\n  containers:\n  - name: etcd\n    command:\n    - etcd\n    - --advertise-client-urls=https://10.0.0.2:2379\n    - --initial-advertise-peer-urls=https://10.0.0.2:2380\n    - --name=cp2\n    - --initial-cluster=cp1=https://10.0.0.1:2380,cp2=https://10.0.0.2:2380\n  volumes:\n  - {name: etcd-data, hostPath: {path: /data/etcd}}\n";

    fn conf(user: &str) -> String {
        format!("apiVersion: v1\nkind: Config\nusers:\n- name: {user}\n  user: {{}}\n")
    }

    fn evidence(files: &[(&str, &str)], listings: &[(&str, &[&str])]) -> Evidence {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Secret::new(text.as_bytes().to_vec())));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Evidence {
            files: files.collect(),
            listings: listings
                .iter()
                .map(|(dir, list)| ((*dir).to_owned(), names(list)))
                .collect(),
        }
    }

    fn facts() -> Facts {
        let mut facts = Facts::plain("n1", Timestamp::UNIX_EPOCH);
        facts.units.insert(
            "kubelet".into(),
            UnitFact {
                exists: true,
                enabled: true,
                active: true,
            },
        );
        facts.cri_sockets.push(CriSocket {
            path: "/run/c.sock".into(),
            answers: true,
            ..CriSocket::default()
        });
        facts
    }

    fn decide(
        evidence: &Evidence,
        wishes: &ResetWishes,
        etcd_is_over: bool,
    ) -> (Vec<String>, Vec<String>) {
        let plan = foreign_node(evidence, &facts(), &Root::new("/"), wishes, etcd_is_over);
        let steps = plan
            .steps
            .iter()
            .map(|step| step.step.description())
            .collect();
        (
            steps,
            plan.left_behind
                .into_iter()
                .map(|residue| residue.what)
                .collect(),
        )
    }

    const WORKER: &[(&str, &str)] = &[(
        "/var/lib/kubelet/kubeadm-flags.env",
        "KUBELET_KUBEADM_ARGS=\"--hostname-override=w7 --x=1\"\n",
    )];

    #[test]
    fn a_worker_of_kubeadm_goes_in_order_and_its_proof_goes_last() {
        let kubelet = conf("default-auth");
        let mut files = WORKER.to_vec();
        files.push(("/etc/kubernetes/kubelet.conf", &kubelet));
        let seen = evidence(
            &files,
            &[
                ("/etc/kubernetes/pki", &["ca.crt"]),
                ("/var/lib/kubelet", &["pki", "config.yaml"]),
            ],
        );
        let (steps, left) = decide(&seen, &ResetWishes::default(), false);
        let expected = [
            "stop service kubelet",
            "remove the kubelet's pods at unix:///run/c.sock",
            "unmount what is mounted below /var/lib/kubelet",
            "remove /etc/kubernetes/pki/ca.crt",
            "remove /etc/kubernetes/kubelet.conf",
            "remove the logs of pods",
            "empty /var/lib/kubelet",
        ];
        assert_eq!(steps, expected);
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(seen.node_name().as_deref(), Some("w7"));
    }

    #[test]
    fn what_only_stands_at_a_known_path_is_named_and_left() {
        let kubelet = conf("default-auth");
        let seen = evidence(
            &[
                ("/etc/kubernetes/kubelet.conf", kubelet.as_str()),
                ("/etc/kubernetes/admin.conf", "not a kubeconfig"),
            ],
            &[
                ("/etc/kubernetes/pki", &["ca.crt"]),
                ("/etc/kubernetes/manifests", &["mine.yaml"]),
                ("/var/lib/kubelet", &["x"]),
            ],
        );
        let (steps, left) = decide(&seen, &ResetWishes::default(), true);
        assert_eq!(steps, Vec::<String>::new());
        let expected = [
            "/etc/kubernetes/manifests/mine.yaml",
            "/etc/kubernetes/pki/ca.crt",
            "/etc/kubernetes/admin.conf",
            "/etc/kubernetes/kubelet.conf",
            "/var/lib/kubelet",
        ];
        assert_eq!(left, expected);
    }

    fn control_plane() -> Evidence {
        let admin = conf("kubernetes-admin");
        let kubelet = conf("system:node:cp2");
        let mut files = WORKER.to_vec();
        files.push(("/etc/kubernetes/manifests/etcd.yaml", ETCD));
        files.push((
            "/etc/kubernetes/manifests/kube-vip.yaml",
            "kind: Pod\nmetadata: {name: kube-vip, namespace: kube-system}\n",
        ));
        files.push(("/etc/kubernetes/admin.conf", &admin));
        files.push(("/etc/kubernetes/kubelet.conf", &kubelet));
        evidence(
            &files,
            &[
                ("/etc/kubernetes/manifests", &["etcd.yaml", "kube-vip.yaml"]),
                (
                    "/etc/kubernetes/pki",
                    &["ca.key", "etcd", "my-own.key", "sa.pub"],
                ),
                ("/etc/kubernetes/pki/etcd", &["peer.key"]),
                ("/etc/kubernetes/tmp", &["kubeadm-backup-etcd-1", "notes"]),
            ],
        )
    }

    #[test]
    fn a_stacked_members_data_goes_only_when_its_membership_is_over() {
        let seen = control_plane();
        let member = seen.stacked_member("/etc/kubernetes/pki").unwrap();
        assert_eq!(
            (member.name.as_str(), member.data_dir.as_str()),
            ("cp2", "/data/etcd")
        );
        assert_eq!(member.peer_url, "https://10.0.0.2:2380");
        assert_eq!(
            member.client_urls,
            ["https://10.0.0.2:2379", "https://10.0.0.1:2379"]
        );
        let (steps, left) = decide(&seen, &ResetWishes::default(), true);
        assert!(steps.contains(&"empty /data/etcd".to_owned()), "{steps:?}");
        assert_eq!(
            left,
            [
                "/etc/kubernetes/manifests/kube-vip.yaml",
                "/etc/kubernetes/pki/my-own.key"
            ]
        );
        let (steps, left) = decide(&seen, &ResetWishes::default(), false);
        assert!(
            !steps.iter().any(|step| step.contains("/data/etcd")),
            "{steps:?}"
        );
        assert!(left.contains(&"/data/etcd".to_owned()), "{left:?}");
    }

    #[test]
    fn without_an_etcd_manifest_no_etcd_data_is_touched() {
        let mut facts = facts();
        facts
            .files
            .insert("/var/lib/etcd".into(), crate::FileFact::Dir { entries: 3 });
        let plan = foreign_node(
            &evidence(WORKER, &[]),
            &facts,
            &Root::new("/"),
            &ResetWishes::default(),
            true,
        );
        assert!(!format!("{plan:?}").contains("/var/lib/etcd"));
    }

    #[test]
    fn temporary_files_and_the_networks_go_on_request_only() {
        let seen = control_plane();
        let wishes = ResetWishes {
            cleanup_tmp_dir: true,
            network_plugins: true,
            firewall: true,
            ..ResetWishes::default()
        };
        let (steps, left) = decide(&seen, &wishes, true);
        assert!(steps.contains(&"empty /etc/kubernetes/tmp/kubeadm-backup-etcd-1".to_owned()));
        assert!(left.contains(&"/etc/kubernetes/tmp/notes".to_owned()));
        assert_eq!(optional_purges(&wishes).len(), 2);
        assert_eq!(optional_purges(&ResetWishes::default()), []);
        let (steps, _) = decide(&seen, &ResetWishes::default(), true);
        assert!(!steps.iter().any(|step| step.contains("/tmp/")));
    }

    #[test]
    fn a_certificates_directory_elsewhere_is_looked_at_instead() {
        let seen = evidence(
            WORKER,
            &[
                ("/srv/pki", &["ca.crt"]),
                ("/etc/kubernetes/pki", &["ca.crt"]),
            ],
        );
        let wishes = ResetWishes {
            cert_dir: "/srv/pki".into(),
            ..ResetWishes::default()
        };
        let (steps, _) = decide(&seen, &wishes, true);
        assert!(steps.contains(&"remove /srv/pki/ca.crt".to_owned()));
        assert!(!steps.contains(&"remove /etc/kubernetes/pki/ca.crt".to_owned()));
    }
}

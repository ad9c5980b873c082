//! What files say of themselves: whether their content proves a node of kubeadm.
//!
//! Contents may hold keys: they stay inside of [`Secret`] and are read here only.

use std::collections::BTreeMap;

use muster_identity::Secret;
use serde_json::Value;

use super::StackedMember;
use crate::paths;

/// The contents of the files that can prove something, and the names in the directories that matter.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Contents by path.
    pub files: BTreeMap<String, Secret<Vec<u8>>>,
    /// Names by directory; absent directories are left out.
    pub listings: BTreeMap<String, Vec<String>>,
}

/// kubeconfigs that kubeadm writes, and the users in them. A kubelet that got its certificate writes `default-auth`.
pub(super) const CONFS: &[(&str, &[&str])] = &[
    ("/etc/kubernetes/admin.conf", &["kubernetes-admin"]),
    (
        "/etc/kubernetes/super-admin.conf",
        &["kubernetes-super-admin"],
    ),
    (
        "/etc/kubernetes/kubelet.conf",
        &["system:node:", "default-auth"],
    ),
    (
        "/etc/kubernetes/bootstrap-kubelet.conf",
        &["tls-bootstrap-token-user", "kubelet-bootstrap"],
    ),
    (
        "/etc/kubernetes/controller-manager.conf",
        &["system:kube-controller-manager"],
    ),
    ("/etc/kubernetes/scheduler.conf", &["system:kube-scheduler"]),
];

impl Evidence {
    /// Files to be read whatever directories hold.
    #[must_use]
    pub fn wanted_files() -> Vec<&'static str> {
        let confs = CONFS.iter().map(|(path, _)| *path);
        confs.chain([paths::FLAGS_ENV]).collect()
    }

    /// Directories to be listed, besides the certificates'. The files in the first are to be read as well.
    #[must_use]
    pub fn wanted_dirs() -> [&'static str; 3] {
        [
            paths::MANIFESTS_DIR,
            "/etc/kubernetes/tmp",
            paths::KUBELET_DIR,
        ]
    }

    fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(path)?.expose()).ok()
    }

    fn yaml(&self, path: &str) -> Option<Value> {
        serde_saphyr::from_str(self.text(path)?).ok()
    }

    pub(super) fn names(&self, dir: &str) -> &[String] {
        self.listings.get(dir).map_or(&[], Vec::as_slice)
    }

    /// A kubelet that kubeadm (or a join of ours) has set up: nobody else writes this file.
    pub(super) fn proves_kubelet(&self) -> bool {
        let text = self.text(paths::FLAGS_ENV).unwrap_or_default();
        text.trim_start().starts_with("KUBELET_KUBEADM_ARGS=")
    }

    /// A kubeconfig of one of the users that kubeadm writes it for.
    pub(super) fn proves_conf(&self, path: &str, users: &[&str]) -> bool {
        let Some(conf) = self.yaml(path) else {
            return false;
        };
        let named = conf
            .get("users")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut named = named.filter_map(|user| user.get("name")?.as_str());
        named.any(|name| {
            users.iter().any(|user| {
                if user.ends_with(':') {
                    name.starts_with(user)
                } else {
                    name == *user
                }
            })
        })
    }

    /// A static pod of a control plane: its component, if the labels are kubeadm's.
    pub(super) fn proves_manifest(&self, path: &str) -> Option<String> {
        let pod = self.yaml(path)?;
        let label = |name: &str| {
            Some(
                pod.pointer(&format!("/metadata/labels/{name}"))?
                    .as_str()?
                    .to_owned(),
            )
        };
        let component = label("component")?;
        let known = [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "etcd",
        ];
        let ours = label("tier")? == "control-plane"
            && pod.pointer("/metadata/namespace")?.as_str()? == "kube-system"
            && known.contains(&component.as_str())
            && path.ends_with(&format!("/{component}.yaml"));
        ours.then_some(component)
    }

    /// The stacked member that an etcd manifest of kubeadm runs here. `cert_dir` is where the cluster's certificates are.
    #[must_use]
    pub fn stacked_member(&self, cert_dir: &str) -> Option<StackedMember> {
        let path = format!("{}/etcd.yaml", paths::MANIFESTS_DIR);
        self.proves_manifest(&path)
            .filter(|component| component == "etcd")?;
        let pod = self.yaml(&path)?;
        let volumes = pod.pointer("/spec/volumes")?.as_array()?;
        let data = volumes
            .iter()
            .find(|volume| volume.get("name").and_then(Value::as_str) == Some("etcd-data"))?;
        let command = pod.pointer("/spec/containers/0/command")?.as_array()?;
        let flag = |name: &str| {
            let lead = format!("--{name}=");
            let words = command.iter().filter_map(Value::as_str);
            words
                .filter_map(|word| word.strip_prefix(&lead))
                .next()
                .map(str::to_owned)
        };
        Some(StackedMember {
            name: flag("name")?,
            peer_url: flag("initial-advertise-peer-urls")?,
            client_urls: etcd_client_urls(
                &flag("advertise-client-urls")?,
                &flag("initial-cluster").unwrap_or_default(),
            ),
            data_dir: data.pointer("/hostPath/path")?.as_str()?.to_owned(),
            ca: format!("{cert_dir}/etcd/ca.crt"),
            certificate: format!("{cert_dir}/etcd/healthcheck-client.crt"),
            key: format!("{cert_dir}/etcd/healthcheck-client.key"),
        })
    }

    /// The node's name as its kubelet has it: the flag, or the user of its kubeconfig.
    #[must_use]
    pub fn node_name(&self) -> Option<String> {
        let flags = self.text(paths::FLAGS_ENV).unwrap_or_default();
        let flag = flags.split("--hostname-override=").nth(1);
        let flag = flag.and_then(|rest| rest.split([' ', '"', '\n']).next());
        if let Some(name) = flag.filter(|name| !name.is_empty()) {
            return Some(name.to_owned());
        }
        let conf = self.yaml(paths::KUBELET_CONF)?;
        let users = conf.get("users")?.as_array()?;
        let mut names = users.iter().filter_map(|user| user.get("name")?.as_str());
        names
            .find_map(|name| name.strip_prefix("system:node:"))
            .map(str::to_owned)
    }
}

/// Where clients reach the members that an etcd was started with: its own URLs (`--advertise-client-urls`), and those of
/// the others (`--initial-cluster`) at the port that kubeadm gives to clients.
#[must_use]
pub fn etcd_client_urls(own: &str, initial_cluster: &str) -> Vec<String> {
    let mut urls: Vec<String> = own.split(',').map(str::to_owned).collect();
    for member in initial_cluster.split(',') {
        let peer = member.split_once('=').map(|(_, url)| url);
        let client = peer.and_then(|url| url.strip_suffix(":2380"));
        let client = client.map(|host| format!("{host}:2379"));
        urls.extend(client.filter(|url| !own.contains(url.as_str())));
    }
    urls
}

//! The closed list of things that can be done to a machine or a cluster, each with its words.
//!
//! A step is data: it goes into the journal as it stands, so it never holds a secret. How a step is done, and how it
//! is taken back, is the host's business; what it promises is written here.

use std::collections::BTreeMap;

use muster_kubeadm::Blueprint;
use muster_kubeadm::manifests::StaticPod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::{Taint, Wait};
use crate::reset::Purge;
use crate::secrets::SecretName;

/// One thing to do. Paths are the node's own; the host puts the root directory before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Makes a directory and its missing parents. Undo: removes those that were made, if they are empty.
    MakeDir {
        /// Where.
        path: String,
        /// The mode of the last one; parents get 0755.
        mode: u32,
    },
    /// Makes a directory if it is missing, and answers for whatever appears in it from now on. Undo: removes what
    /// was not there before, never below a live mount.
    ClaimDir {
        /// Where.
        path: String,
        /// The mode, if it is made.
        mode: u32,
    },
    /// Answers for the pods that a kubelet runs from now on. Undo: removes the pods that were not there before and
    /// unmounts their volumes; what cannot be unmounted stays as it is.
    ClaimPods {
        /// The container runtime's CRI socket, `unix://PATH`.
        endpoint: String,
    },
    /// Writes a file in one atomic move. Undo: brings back what was there, or removes it.
    WriteFile {
        /// Where.
        path: String,
        /// The mode from its first moment.
        mode: u32,
        /// The content.
        content: String,
    },
    /// Like [`Step::WriteFile`] with a content that the journal must not hold. Its mode is 0600.
    WriteSecret {
        /// Where.
        path: String,
        /// Which secret.
        secret: SecretName,
    },
    /// Removes a file that an earlier step of the same saga wrote. Undo: nothing, as that step's undo removes it.
    Discard {
        /// Where.
        path: String,
    },
    /// Makes a symbolic link in one atomic move. Undo: brings back what was there, or removes it.
    Symlink {
        /// Where.
        path: String,
        /// What it points at, as written into the link.
        target: String,
    },
    /// Writes a systemd unit and has systemd read it. Undo: as for a file, and systemd reads again.
    InstallUnit {
        /// The unit's file name.
        unit: String,
        /// Its text.
        content: String,
    },
    /// Lets a service start with the machine. Undo: as it was.
    EnableService {
        /// The service.
        unit: String,
    },
    /// Stops a service. Undo: starts it again if it was running.
    StopService {
        /// The service.
        unit: String,
    },
    /// Starts a service. Undo: stops it.
    StartService {
        /// The service.
        unit: String,
    },
    /// Starts a supervised process, unless it runs. Undo: stops it.
    SpawnSupervised {
        /// What it is, for people.
        name: String,
        /// The supervising program.
        executable: String,
        /// What it supervises: program and arguments. Never holds a secret.
        argv: Vec<String>,
        /// Where its process id is kept.
        pidfile: String,
        /// Where its output goes.
        log: String,
    },
    /// Waits for the kubelet to say that it is well. Undo: nothing.
    AwaitKubelet {
        /// Its health port on loopback; `None` asks only that it stays alive.
        healthz_port: Option<u16>,
        /// The service or pid file that must stay alive.
        process: Process,
        /// How long, in seconds.
        seconds: u32,
    },
    /// Gets a client certificate for the key of [`SecretName::KubeletKey`]. Undo: nothing; the cluster removes the
    /// request by itself.
    RequestCertificate {
        /// The node's name.
        node_name: String,
    },
    /// Makes sure that the Node's name is free, and answers for the Node object that the kubelet will make. Undo:
    /// deletes it if it was not there before, or says how.
    ClaimNode {
        /// The node's name.
        node_name: String,
    },
    /// Loads a kernel module. Undo: unloads it if it was not loaded, unless somebody uses it by now.
    LoadModule {
        /// Its name.
        name: String,
    },
    /// Gives a kernel setting a value. Undo: the former value.
    SetSysctl {
        /// Its path below `/proc/sys`.
        key: String,
        /// The value.
        value: String,
    },
    /// Switches all swap off. Undo: switches on what was on, with its priority.
    SwapOff {},
    /// Removes something that is proved to be a former node's. Undo: nothing brings it back.
    Purge {
        /// What.
        what: Purge,
    },
    /// Puts labels and annotations on the Node that the kubelet has made. Undo: nothing; they go with the Node.
    MarkNode {
        /// The node's name.
        node_name: String,
        /// Labels that only an administrator may set; that is as whom they are set.
        admin_labels: Vec<(String, String)>,
        /// Annotations; the node sets them itself.
        annotations: Vec<(String, String)>,
    },
    /// Like [`Step::WriteSecret`] with a mode of its own: a file that is made while the join runs. One that is there
    /// and right stays; an empty content writes nothing.
    WriteMade {
        /// Where.
        path: String,
        /// The mode from its first moment.
        mode: u32,
        /// What.
        secret: SecretName,
    },
    /// Fixes what the node's control plane is made of, and fetches the shared certificates. Undo: nothing.
    PrepareControlPlane {
        /// What it is made of.
        blueprint: Box<Blueprint>,
        /// Whether shared certificates are fetched; otherwise they are on disk.
        fetch: bool,
        /// Static pods by component, without the passwords of proxies that are put in when their files are written.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pods: BTreeMap<StaticPod, Value>,
    },
    /// Waits until no other control-plane node is joining, and keeps others waiting. Undo: gives the turn back.
    TakeTurn {
        /// The Lease's name, in kube-system.
        lease: String,
        /// Who holds it.
        holder: String,
    },
    /// Lets the next control-plane node join. Undo: nothing.
    ReleaseTurn {
        /// The Lease's name, in kube-system.
        lease: String,
        /// Who holds it.
        holder: String,
    },
    /// Waits until more than half of the etcds are well, and the one with this peer URL among them. Undo: nothing.
    AwaitEtcd {
        /// The member that must be among them.
        peer_url: Option<String>,
        /// How long, in seconds.
        seconds: u32,
    },
    /// Has the etcds take in a member without a vote. Undo: removes it, unless it was there before.
    AddEtcdLearner {
        /// Its name.
        name: String,
        /// Where its peers reach it.
        peer_url: String,
        /// Its static pod, with a place for the members.
        template: String,
        /// How long, in seconds.
        seconds: u32,
    },
    /// Waits until the etcd here has started and caught up, and gives it its vote. Undo: removes it while it still
    /// runs, as afterwards those that are left may be too few to decide.
    PromoteEtcdMember {
        /// Its name.
        name: String,
        /// Where its peers reach it.
        peer_url: String,
        /// How long, in seconds.
        seconds: u32,
    },
    /// Gives the Node the labels and taints of a control-plane node. Undo: takes away those that it did not have.
    MarkControlPlane {
        /// The node's name.
        node_name: String,
        /// The taints.
        taints: Vec<Taint>,
    },
    /// Waits until components say that they are well. Undo: nothing.
    AwaitComponents {
        /// Which, and where they are asked.
        components: Vec<ComponentHealth>,
        /// How long, in seconds.
        seconds: u32,
    },
    /// Waits for the Node object. Undo: nothing.
    AwaitNode {
        /// The node's name.
        node_name: String,
        /// Which state.
        until: Wait,
        /// How long, in seconds.
        seconds: u32,
    },
}

/// Where a component is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// Its name.
    pub name: String,
    /// The URL that answers 200 when it is well.
    pub url: String,
    /// Whether its certificate must be of the cluster's authority; others make their own.
    pub verified: bool,
}

/// What a kubelet runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "as")]
pub enum Process {
    /// A service.
    Service {
        /// Its unit.
        unit: String,
    },
    /// A process of ours.
    Supervised {
        /// Where its process id is kept.
        pidfile: String,
        /// Where its output goes.
        log: String,
    },
}

/// Who performs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The host.
    Host,
    /// Whoever speaks with the cluster.
    Cluster,
}

impl Step {
    /// Who performs it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::RequestCertificate { .. }
            | Self::ClaimNode { .. }
            | Self::MarkNode { .. }
            | Self::AwaitNode { .. } => Actor::Cluster,
            Self::PrepareControlPlane { .. }
            | Self::TakeTurn { .. }
            | Self::ReleaseTurn { .. }
            | Self::AwaitEtcd { .. }
            | Self::AddEtcdLearner { .. }
            | Self::PromoteEtcdMember { .. }
            | Self::MarkControlPlane { .. }
            | Self::AwaitComponents { .. } => Actor::Cluster,
            _ => Actor::Host,
        }
    }

    /// Whether there is anything to take back: a wait and a removal of our own file leave nothing.
    #[must_use]
    pub fn leaves_traces(&self) -> bool {
        !matches!(
            self,
            Self::Discard { .. }
                | Self::AwaitKubelet { .. }
                | Self::AwaitNode { .. }
                | Self::PrepareControlPlane { .. }
                | Self::ReleaseTurn { .. }
                | Self::AwaitEtcd { .. }
                | Self::AwaitComponents { .. }
                | Self::MarkNode { .. }
                | Self::RequestCertificate { .. }
                | Self::Purge { .. }
        )
    }

    /// One line: what it does.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::MakeDir { path, mode } => format!("make directory {path} ({mode:04o})"),
            Self::ClaimDir { path, .. } => format!("take charge of directory {path}"),
            Self::ClaimPods { endpoint } => format!("take charge of new pods at {endpoint}"),
            Self::WriteFile {
                path,
                mode,
                content,
            } => {
                format!("write {path} ({mode:04o}, {} bytes)", content.len())
            }
            Self::WriteSecret { path, .. } => format!("write {path} (0600, secret)"),
            Self::Discard { path } => format!("remove {path}"),
            Self::Symlink { path, target } => format!("link {path} to {target}"),
            Self::InstallUnit { unit, .. } => format!("install unit {unit}"),
            Self::EnableService { unit } => format!("enable service {unit}"),
            Self::StopService { unit } => format!("stop service {unit}"),
            Self::StartService { unit } => format!("start service {unit}"),
            Self::SpawnSupervised { name, argv, .. } => {
                format!("start and supervise the {name}: {}", argv.join(" "))
            }
            Self::AwaitKubelet { .. } => "wait for the kubelet to be healthy".into(),
            Self::RequestCertificate { node_name } => {
                format!("request a client certificate for system:node:{node_name}")
            }
            Self::ClaimNode { node_name } => format!("make sure that node {node_name} is free"),
            Self::MarkNode {
                node_name,
                admin_labels,
                annotations,
            } => {
                let (labels, notes) = (admin_labels.len(), annotations.len());
                format!("put {labels} labels and {notes} annotations on node {node_name}")
            }
            Self::LoadModule { name } => format!("load kernel module {name}"),
            Self::SetSysctl { key, value } => format!("set {} to {value}", key.replace('/', ".")),
            Self::SwapOff {} => "switch swap off".into(),
            Self::Purge { what } => what.description(),
            Self::WriteMade { path, mode, .. } => format!("make {path} ({mode:04o})"),
            Self::PrepareControlPlane { fetch: true, .. } => {
                "fetch the certificates that control-plane nodes share".into()
            }
            Self::PrepareControlPlane { .. } => {
                "take the shared certificates that are on this machine".into()
            }
            Self::TakeTurn { .. } => {
                "wait for other control-plane nodes that are joining, and take the turn".into()
            }
            Self::ReleaseTurn { .. } => "let the next control-plane node join".into(),
            Self::AwaitEtcd { peer_url: None, .. } => "wait for the etcds to be healthy".into(),
            Self::AwaitEtcd { .. } => "wait for the etcds to be healthy with this one".into(),
            Self::AddEtcdLearner { name, peer_url, .. } => {
                format!("add etcd member {name} ({peer_url}) as a learner")
            }
            Self::PromoteEtcdMember { name, .. } => format!("give etcd member {name} its vote"),
            Self::MarkControlPlane { node_name, .. } => {
                format!("give node {node_name} the labels and taints of a control-plane node")
            }
            Self::AwaitComponents { components, .. } => {
                let names: Vec<&str> = components.iter().map(|one| one.name.as_str()).collect();
                format!("wait for {} to be healthy", names.join(" and "))
            }
            Self::AwaitNode {
                node_name, until, ..
            } => match until {
                Wait::Ready => format!("wait for node {node_name} to be Ready"),
                Wait::Registered | Wait::None => {
                    format!("wait for node {node_name} to be registered")
                }
            },
        }
    }

    /// One line: how it is taken back.
    #[must_use]
    pub fn undo(&self) -> String {
        match self {
            Self::MakeDir { path, .. } => format!("remove {path} if it was made and is empty"),
            Self::ClaimDir { path, .. } => format!("remove from {path} what was not there before"),
            Self::ClaimPods { .. } => {
                "remove the pods that were not there before, and unmount their volumes".into()
            }
            Self::WriteFile { path, .. }
            | Self::WriteSecret { path, .. }
            | Self::WriteMade { path, .. }
            | Self::Symlink { path, .. } => format!("remove {path} or bring back what was there"),
            Self::Discard { .. } => "nothing to do".into(),
            Self::InstallUnit { unit, .. } => {
                format!("remove unit {unit} or bring back the former")
            }
            Self::EnableService { unit } => format!("disable {unit} if it was not enabled"),
            Self::StopService { unit } => format!("start {unit} again if it was running"),
            Self::StartService { unit } => format!("stop {unit}"),
            Self::SpawnSupervised { name, .. } => format!("stop the {name}"),
            Self::AwaitKubelet { .. } | Self::AwaitNode { .. } | Self::MarkNode { .. } => {
                "nothing to do".into()
            }
            Self::PrepareControlPlane { .. }
            | Self::ReleaseTurn { .. }
            | Self::AwaitEtcd { .. }
            | Self::AwaitComponents { .. } => "nothing to do".into(),
            Self::TakeTurn { .. } => "give the turn back".into(),
            Self::AddEtcdLearner { name, .. } | Self::PromoteEtcdMember { name, .. } => {
                format!("remove etcd member {name} if it was not there before")
            }
            Self::MarkControlPlane { node_name, .. } => {
                format!("take away the labels and taints that node {node_name} did not have")
            }
            Self::RequestCertificate { .. } => {
                "nothing to do; the cluster removes the request by itself".into()
            }
            Self::ClaimNode { node_name } => {
                format!("delete node {node_name} if it was not there before")
            }
            Self::LoadModule { name } => format!("unload {name} if it was not loaded"),
            Self::SetSysctl { key, .. } => {
                format!("give {} its former value", key.replace('/', "."))
            }
            Self::SwapOff {} => "switch on the swap that was on".into(),
            Self::Purge { .. } => "nothing brings it back".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_survives_the_journal() {
        let step = Step::AwaitKubelet {
            healthz_port: Some(10248),
            process: Process::Service {
                unit: "kubelet".into(),
            },
            seconds: 240,
        };
        let json = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), step);
        assert!(json.starts_with(r#"{"step":"await-kubelet""#), "{json}");
    }

    #[test]
    fn the_words_of_a_file_name_its_mode_and_size_and_not_its_content() {
        let step = Step::WriteFile {
            path: "/a".into(),
            mode: 0o600,
            content: "hunter2".into(),
        };
        assert_eq!(step.description(), "write /a (0600, 7 bytes)");
    }
}

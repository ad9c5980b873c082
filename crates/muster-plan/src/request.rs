//! What somebody asks for, and what the cluster answered: the two inputs of a plan besides the facts.
//!
//! Neither holds a secret: the token proves itself elsewhere, and keys arrive as a [`crate::SecretBag`].

use std::net::IpAddr;

use jiff::Timestamp;
use muster_identity::{Endpoint, NodeName};
use muster_kubeadm::patches::Patches;
use serde::{Deserialize, Serialize};

use crate::checks::NodeOfCluster;
use crate::paths::{self, Root};
use crate::{ControlPlaneRequest, Facts, IgnoreSet, Part, ServiceManager};

/// Which kubelet the node gets, as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubeletPreference {
    /// The machine's own kubelet where there is one, otherwise the built-in.
    #[default]
    Auto,
    /// The machine's own.
    System,
    /// The built-in.
    BuiltIn,
}

/// Which kubelet the node gets, as decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kubelet {
    /// The machine's own, as a service of this name.
    System {
        /// The service.
        unit: String,
    },
    /// The built-in, as a systemd unit that we write.
    BuiltInUnit,
    /// The built-in, as a process that we supervise.
    BuiltInSupervised,
}

impl Kubelet {
    /// Whether it is the built-in one.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        !matches!(self, Self::System { .. })
    }
}

/// What runs the node's containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Runtime {
    /// Nothing does: the node is simulated and says so.
    Hollow,
    /// A CRI runtime.
    Cri {
        /// Its socket as a `unix://` URL; `None` takes the only one that is there.
        endpoint: Option<String>,
    },
}

/// What a join waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// The Node object exists.
    #[default]
    Registered,
    /// The Node is Ready.
    Ready,
    /// Nothing more than a healthy kubelet.
    None,
}

/// A taint as in `key=value:effect` or `key:effect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value, often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// The text is no taint; write `key=value:effect` or `key:effect`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a taint such as key=value:NoSchedule")]
pub struct TaintError {
    /// The text.
    pub text: String,
}

impl Taint {
    /// Reads `key=value:effect` or `key:effect`.
    ///
    /// # Errors
    /// [`TaintError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, TaintError> {
        let refuse = || TaintError {
            text: text.chars().take(256).collect(),
        };
        let (rest, effect) = text.rsplit_once(':').ok_or_else(refuse)?;
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        let plain = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect);
        if key.is_empty() || !plain(key) || !plain(value) || !known {
            return Err(refuse());
        }
        Ok(Self {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        })
    }
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}:{}", self.key, self.value, self.effect)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The API server as it was typed.
    pub endpoint: Endpoint,
    /// The node's name.
    pub node_name: NodeName,
    /// What stands for `/`.
    pub root: Root,
    /// Which kubelet.
    pub kubelet: KubeletPreference,
    /// This program, for running the built-in kubelet and the supervisor.
    pub executable: String,
    /// What runs containers.
    pub runtime: Runtime,
    /// What is waited for.
    pub wait: Wait,
    /// How long to wait for the Node, in seconds.
    pub wait_seconds: u32,
    /// How long to wait for the kubelet's health, in seconds; kubeadm's default is 240.
    pub kubelet_seconds: u32,
    /// Labels for the Node.
    pub labels: Vec<(String, String)>,
    /// Taints for the Node.
    pub taints: Vec<Taint>,
    /// Further kubelet arguments without the leading dashes, in order.
    pub extra_args: Vec<(String, String)>,
    /// The kubelet's health port; `None` takes the cluster's configuration, or none below a root directory.
    pub healthz_port: Option<u16>,
    /// The kubelet's own port; `None` takes the cluster's configuration.
    pub kubelet_port: Option<u16>,
    /// Checks to overlook.
    pub ignore: IgnoreSet,
    /// Annotations for the Node, set by the node itself once it is registered.
    pub annotations: Vec<(String, String)>,
    /// Labels that no node may give itself (NodeRestriction): an administrator's credentials set them once the node
    /// is registered.
    pub admin_labels: Vec<(String, String)>,
    /// The node's own addresses.
    pub node_ip: NodeIp,
    /// The cluster's DNS addresses, where the cluster does not tell them. Empty guesses.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain, where the cluster does not tell it.
    pub cluster_domain: Option<String>,
    /// What makes it a control-plane node; `None` is a worker.
    pub control_plane: Option<ControlPlaneRequest>,
    /// Patches for what the join writes.
    pub patches: Patches,
    /// What is not done, as somebody else does it or it is not wanted.
    pub left_out: Vec<Part>,
}

/// Which addresses the kubelet gives its Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeIp {
    /// The kubelet chooses.
    #[default]
    Unsaid,
    /// The one from which this machine reaches the API server.
    ByRoute,
    /// These: one, or one of each family.
    Given(Vec<IpAddr>),
}

impl JoinRequest {
    /// The plainest request: this machine, its own kubelet if it has one, the only container runtime there is. Limits
    /// are kubeadm's: five minutes for the Node, four for the kubelet's health.
    #[must_use]
    pub fn new(endpoint: Endpoint, node_name: NodeName) -> Self {
        Self {
            endpoint,
            node_name,
            root: Root::new("/"),
            kubelet: KubeletPreference::Auto,
            executable: "/usr/local/bin/muster".into(),
            runtime: Runtime::Cri { endpoint: None },
            wait: Wait::Registered,
            wait_seconds: 300,
            kubelet_seconds: 240,
            labels: Vec::new(),
            taints: Vec::new(),
            extra_args: Vec::new(),
            healthz_port: None,
            kubelet_port: None,
            ignore: IgnoreSet::default(),
            annotations: Vec::new(),
            admin_labels: Vec::new(),
            node_ip: NodeIp::Unsaid,
            cluster_dns: Vec::new(),
            cluster_domain: None,
            control_plane: None,
            patches: Patches::default(),
            left_out: Vec::new(),
        }
    }

    /// Decides which kubelet the machine gets. systemd and OpenRC are only used on the machine's own root, as they
    /// know no other.
    #[must_use]
    pub fn choose_kubelet(&self, facts: &Facts) -> Kubelet {
        let managed = facts.service_manager != ServiceManager::None;
        let has_unit = managed && facts.unit(paths::KUBELET_UNIT).exists;
        let system = Kubelet::System {
            unit: paths::KUBELET_UNIT.to_owned(),
        };
        let built_in = if self.root.is_machine() && facts.service_manager == ServiceManager::Systemd
        {
            Kubelet::BuiltInUnit
        } else {
            Kubelet::BuiltInSupervised
        };
        match self.kubelet {
            KubeletPreference::System => system,
            KubeletPreference::BuiltIn => built_in,
            KubeletPreference::Auto => {
                let usable = has_unit
                    && facts.binaries.contains_key("kubelet")
                    && self.root.is_machine()
                    && self.runtime != Runtime::Hollow;
                if usable { system } else { built_in }
            }
        }
    }

    /// The CRI socket that the node will use, as a `unix://` URL; empty for a hollow node.
    #[must_use]
    pub fn cri_endpoint(&self, facts: &Facts) -> String {
        match &self.runtime {
            Runtime::Hollow => String::new(),
            Runtime::Cri {
                endpoint: Some(endpoint),
            } => endpoint.clone(),
            Runtime::Cri { endpoint: None } => {
                // A stale socket beside a live one is no choice.
                let sockets = &facts.cri_sockets;
                let live = sockets.iter().find(|socket| socket.answers);
                let found = live
                    .or_else(|| sockets.first())
                    .map(|socket| socket.path.as_str());
                format!("unix://{}", found.unwrap_or(paths::CRI_SOCKETS[0]))
            }
        }
    }

    /// The kubelet's `--node-ip`, when it is to have one.
    #[must_use]
    pub fn node_ip_argument(&self, answers: &ClusterAnswers) -> Option<String> {
        let addresses = match &self.node_ip {
            NodeIp::Unsaid => return None,
            NodeIp::ByRoute => vec![answers.local_ip?],
            NodeIp::Given(addresses) => addresses.clone(),
        };
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Some(texts.join(","))
    }

    /// What the journal remembers of the request, to tell whether a later one asks for the same.
    #[must_use]
    pub fn parameters(&self, facts: &Facts) -> Parameters {
        Parameters {
            endpoint: self.endpoint.to_string(),
            node_name: self.node_name.to_string(),
            root: self.root.dir().to_owned(),
            runtime: self.runtime.clone(),
            kubelet: self.choose_kubelet(facts),
        }
    }
}

/// What the journal remembers of a join request: no secret, and enough to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The endpoint that was typed.
    pub endpoint: String,
    /// The node's name.
    pub node_name: String,
    /// The root directory.
    pub root: String,
    /// The runtime.
    pub runtime: Runtime,
    /// The kubelet.
    pub kubelet: Kubelet,
}

impl Parameters {
    /// Whether both ask for the same node in the same cluster.
    #[must_use]
    pub fn is_same_join(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.node_name == other.node_name
    }
}

/// What the cluster answered after it was trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAnswers {
    /// The API server for the kubelet, `https://HOST:PORT`.
    pub server: String,
    /// The trusted CA certificates, PEM.
    pub ca_pem: String,
    /// The value of `kubelet` in the ConfigMap kube-system/kubelet-config, when it could be read.
    pub kubelet_config: Option<String>,
    /// The API server's version, e.g. `v1.36.2`, when it was told.
    pub version: Option<String>,
    /// When these answers were given: names the certificate's file.
    pub now: Timestamp,
    /// The value of `ClusterConfiguration` in the ConfigMap kube-system/kubeadm-config, when it could be read.
    pub cluster_configuration: Option<String>,
    /// The names and addresses in the API server's certificate.
    pub server_names: Vec<String>,
    /// The name that the API server's certificate is verified for, when it is not the endpoint's own host.
    pub tls_server_name: Option<String>,
    /// From where this machine reaches the API server; `None` through a proxy.
    pub local_ip: Option<IpAddr>,
    /// The credential is the node's own certificate already: none has to be requested.
    pub certified: bool,
    /// The server's clock and this machine's at the same moment.
    pub clocks: Option<(Timestamp, Timestamp)>,
    /// Nodes of the cluster, for whoever may list them.
    pub nodes: Vec<NodeOfCluster>,
}

impl ClusterAnswers {
    /// What every cluster answers: where it is and whom to trust. Everything else was not told.
    #[must_use]
    pub fn new(server: impl Into<String>, ca_pem: impl Into<String>, now: Timestamp) -> Self {
        Self {
            server: server.into(),
            ca_pem: ca_pem.into(),
            kubelet_config: None,
            version: None,
            now,
            cluster_configuration: None,
            server_names: Vec::new(),
            tls_server_name: None,
            local_ip: None,
            certified: false,
            clocks: None,
            nodes: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request() -> JoinRequest {
        JoinRequest {
            wait_seconds: 60,
            ..JoinRequest::new(
                Endpoint::parse("10.0.0.1:6443").unwrap(),
                NodeName::parse("n1").unwrap(),
            )
        }
    }

    pub(crate) fn with_systemd_kubelet(mut facts: Facts) -> Facts {
        facts.service_manager = ServiceManager::Systemd;
        facts
            .binaries
            .insert("kubelet".into(), "/usr/bin/kubelet".into());
        facts.units.insert(
            "kubelet".into(),
            crate::UnitFact {
                exists: true,
                enabled: true,
                active: false,
            },
        );
        facts.cri_sockets.push(crate::CriSocket {
            path: "/var/run/containerd/containerd.sock".into(),
            answers: true,
            ..Default::default()
        });
        facts
    }

    #[test]
    fn the_machines_own_kubelet_is_taken_where_it_can_be_used() {
        let plain = Facts::plain("n1", Timestamp::UNIX_EPOCH);
        let own = with_systemd_kubelet(plain.clone());
        let mut request = request();
        assert_eq!(
            request.choose_kubelet(&own),
            Kubelet::System {
                unit: "kubelet".into()
            }
        );
        assert_eq!(request.choose_kubelet(&plain), Kubelet::BuiltInSupervised);
        request.kubelet = KubeletPreference::BuiltIn;
        assert_eq!(request.choose_kubelet(&own), Kubelet::BuiltInUnit);
        request.kubelet = KubeletPreference::Auto;
        request.root = Root::new("/tmp/n1");
        assert_eq!(request.choose_kubelet(&own), Kubelet::BuiltInSupervised);
        request.root = Root::new("/");
        request.runtime = Runtime::Hollow;
        assert_eq!(request.choose_kubelet(&own), Kubelet::BuiltInUnit);
    }

    #[test]
    fn taints_are_read_and_refused() {
        let taint = Taint::parse("dedicated=gpu:NoSchedule").unwrap();
        assert_eq!(taint.to_string(), "dedicated=gpu:NoSchedule");
        assert_eq!(Taint::parse("a/b:NoExecute").unwrap().value, "");
        for bad in [
            "",
            "a",
            "a:Sometimes",
            ":NoSchedule",
            "a b:NoSchedule",
            "a=\n:NoExecute",
        ] {
            assert!(Taint::parse(bad).is_err(), "{bad:?}");
        }
    }
}

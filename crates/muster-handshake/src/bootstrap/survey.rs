//! What a join reads before it writes anything: the cluster's configuration and the Node of our name.
//!
//! Three reads, side by side. A cluster that has or shows no kubeadm configuration is joined in
//! generic mode; a Ready node of our name stops the join. By itself it is a rehearsal: it proves
//! that the credential is accepted and leaves no trace. Knows no socket, clock or key.

use http::StatusCode;
use jiff::Timestamp;
use muster_identity::NodeName;
use serde_json::Value;

use super::{Call, Effect, Event};
use crate::error::HandshakeError;
use crate::progress::Progress;
use crate::wire::{Answer, Request, Response};

const KUBEADM_CONFIG_PATH: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
const KUBELET_CONFIG_PATH: &str = "/api/v1/namespaces/kube-system/configmaps/kubelet-config";

/// What to do when a Ready node has our name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingNode {
    /// Stop: it is probably another machine.
    Refuse,
    /// Go on: the caller knows that it is this machine, for example from its journal.
    TakeOver,
}

/// A text that a cluster may or may not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterText {
    /// It is there.
    Present(String),
    /// There is none: not a kubeadm cluster.
    Absent,
    /// Our credential may not read it.
    Forbidden,
}

impl ClusterText {
    /// The text, if there is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Present(text) => Some(text),
            Self::Absent | Self::Forbidden => None,
        }
    }
}

/// What a kubeadm cluster tells its joiners (kube-system ConfigMaps). All absent or forbidden means
/// generic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `ClusterConfiguration` of ConfigMap kubeadm-config, YAML.
    pub cluster_configuration: ClusterText,
    /// `kubelet` of ConfigMap kubelet-config: a KubeletConfiguration, YAML.
    pub kubelet_configuration: ClusterText,
}

/// What a survey found.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// The cluster's own configuration.
    pub config: ClusterConfig,
    /// The Node of our name, when there is one (not Ready, or taken over).
    pub previous_node: Option<Value>,
    /// Whether the credential may look up nodes; if not, the name is unchecked.
    pub node_name_checked: bool,
}

#[derive(Debug)]
enum NodeRead {
    Absent,
    Present(Value),
    /// Our credential may not look: the name cannot be checked.
    Forbidden,
}

/// The state machine of the survey. What has come is kept until all three answers are there.
#[derive(Debug)]
pub struct Survey {
    node: NodeName,
    existing_node: ExistingNode,
    deadline: Timestamp,
    cluster: Option<ClusterText>,
    kubelet: Option<ClusterText>,
    found: Option<NodeRead>,
}

type Effects = Vec<Effect<Box<Surveyed>>>;

impl Survey {
    /// Begins with the reads, side by side; they have to be answered by `deadline`.
    pub fn start(
        node: NodeName,
        existing_node: ExistingNode,
        deadline: Timestamp,
    ) -> (Self, Effects) {
        let node_path = format!("/api/v1/nodes/{node}");
        let effects = vec![
            Effect::Send(
                Call::KubeadmConfig,
                Request::get(KUBEADM_CONFIG_PATH, "read kube-system/kubeadm-config"),
            ),
            Effect::Send(
                Call::KubeletConfig,
                Request::get(KUBELET_CONFIG_PATH, "read kube-system/kubelet-config"),
            ),
            Effect::Send(
                Call::Node,
                Request::get(node_path, "read the node of this name"),
            ),
        ];
        let machine = Self {
            node,
            existing_node,
            deadline,
            cluster: None,
            kubelet: None,
            found: None,
        };
        (machine, effects)
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub const fn deadline(&self) -> Option<Timestamp> {
        Some(self.deadline)
    }

    /// Takes in what happened. An event that is not waited for changes nothing.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match event {
            Event::Answered(call, answer) => match self.take(call, answer) {
                Ok(()) => self.outcome(),
                Err(error) => vec![Effect::Finished(Err(error))],
            },
            Event::Tick if now >= self.deadline => vec![Effect::Finished(Err(too_late()))],
            _ => Vec::new(),
        }
    }

    fn take(&mut self, call: Call, answer: Answer) -> Result<(), HandshakeError> {
        match call {
            Call::KubeadmConfig => {
                let text = config_text(answer?, "ClusterConfiguration", "kubeadm-config")?;
                self.cluster = Some(text);
            }
            Call::KubeletConfig => {
                self.kubelet = Some(config_text(answer?, "kubelet", "kubelet-config")?);
            }
            Call::Node => self.found = Some(self.node_read(answer?)?),
            Call::WorkerProfile | Call::CreateCsr | Call::ReadCsr => {}
        }
        Ok(())
    }

    fn node_read(&self, response: Response) -> Result<NodeRead, HandshakeError> {
        match response.status {
            StatusCode::NOT_FOUND => Ok(NodeRead::Absent),
            StatusCode::FORBIDDEN => Ok(NodeRead::Forbidden),
            status if status.is_success() => {
                let node = response.json().unwrap_or_default();
                if is_ready(&node) && self.existing_node == ExistingNode::Refuse {
                    let name = self.node.to_string();
                    return Err(HandshakeError::NodeNameTaken { name });
                }
                Ok(NodeRead::Present(node))
            }
            _ => Err(response.into_error("read the node of this name")),
        }
    }

    /// The result, once all three answers are there.
    fn outcome(&mut self) -> Effects {
        let (cluster, kubelet, found) =
            (self.cluster.take(), self.kubelet.take(), self.found.take());
        let (cluster_configuration, kubelet_configuration, found) = match (cluster, kubelet, found)
        {
            (Some(cluster), Some(kubelet), Some(found)) => (cluster, kubelet, found),
            (cluster, kubelet, found) => {
                (self.cluster, self.kubelet, self.found) = (cluster, kubelet, found);
                return Vec::new();
            }
        };
        let node_name_checked = !matches!(found, NodeRead::Forbidden);
        let previous_node = match found {
            NodeRead::Present(node) => Some(node),
            NodeRead::Absent | NodeRead::Forbidden => None,
        };
        let told = Progress::ClusterConfigRead {
            kubeadm_config: cluster_configuration.text().is_some(),
            kubelet_config: kubelet_configuration.text().is_some(),
            node_name_checked,
        };
        let config = ClusterConfig {
            cluster_configuration,
            kubelet_configuration,
        };
        let surveyed = Surveyed {
            config,
            previous_node,
            node_name_checked,
        };
        vec![Effect::Tell(told), Effect::Finished(Ok(Box::new(surveyed)))]
    }
}

pub(super) fn too_late() -> HandshakeError {
    HandshakeError::ServerError {
        what: "show its configuration".to_owned(),
        status: StatusCode::REQUEST_TIMEOUT.as_u16(),
        reason: "Timeout".to_owned(),
        message: "the deadline passed before the server answered".to_owned(),
    }
}

fn config_text(
    response: Response,
    key: &str,
    name: &'static str,
) -> Result<ClusterText, HandshakeError> {
    match response.status {
        StatusCode::NOT_FOUND => Ok(ClusterText::Absent),
        StatusCode::FORBIDDEN => Ok(ClusterText::Forbidden),
        status if status.is_success() => {
            let text = response
                .json()
                .and_then(|object| Some(object.get("data")?.get(key)?.as_str()?.to_owned()));
            Ok(text.map_or(ClusterText::Absent, ClusterText::Present))
        }
        _ => Err(response.into_error(&format!("read kube-system/{name}"))),
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is =
            |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
        is("type", "Ready") && is("status", "True")
    })
}

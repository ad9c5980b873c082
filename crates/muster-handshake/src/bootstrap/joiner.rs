//! The joining half of TLS bootstrap: what a join reads first, then one [`Enrolment`].
//!
//! The cluster's configuration and the Node of our name are read at once and side by side. A
//! cluster that has or shows no kubeadm configuration is joined in generic mode; a Ready node of
//! our name stops the join before anything was written anywhere. Knows no socket, clock or key.

use std::mem;

use http::StatusCode;
use jiff::Timestamp;
use muster_identity::NodeName;
use serde_json::Value;

use super::{Call, CertificateWish, Effect, Enrolment, Event, Issued};
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

/// What TLS bootstrap starts from. The token is the driver's.
#[derive(Debug, Clone)]
pub struct TlsBootstrapRequest {
    /// Our name in the cluster.
    pub node: NodeName,
    /// The certificate that is wanted.
    pub wish: CertificateWish,
    /// What to do about a Ready node of our name.
    pub existing_node: ExistingNode,
    /// When an undecided request is given up.
    pub deadline: Timestamp,
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

/// What comes out of TLS bootstrap.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The cluster's own configuration.
    pub config: ClusterConfig,
    /// The Node of our name, when there was one (not Ready, or taken over).
    pub previous_node: Option<Value>,
    /// The certificate.
    pub issued: Issued,
}

#[derive(Debug, Default)]
struct Reads {
    cluster: Option<ClusterText>,
    kubelet: Option<ClusterText>,
    node: Option<NodeRead>,
}

#[derive(Debug)]
enum NodeRead {
    Absent,
    Present(Value),
    /// Our credential may not look: the name cannot be checked.
    Forbidden,
}

#[derive(Debug)]
enum State {
    /// The three reads are under way; what has come is kept.
    Reading(Reads),
    /// The certificate signing request runs.
    Enrolling { config: ClusterConfig, previous_node: Option<Value>, enrolment: Enrolment },
    /// Over.
    Finished,
}

/// The state machine of the joining half of TLS bootstrap.
#[derive(Debug)]
pub struct TlsBootstrap {
    request: TlsBootstrapRequest,
    state: State,
}

type Effects = Vec<Effect<Box<Enrolled>>>;

impl TlsBootstrap {
    /// Begins with the reads, side by side.
    pub fn start(request: TlsBootstrapRequest) -> (Self, Effects) {
        let node_path = format!("/api/v1/nodes/{}", request.node);
        let effects = vec![
            Effect::Send(
                Call::KubeadmConfig,
                Request::get(KUBEADM_CONFIG_PATH, "read kube-system/kubeadm-config"),
            ),
            Effect::Send(
                Call::KubeletConfig,
                Request::get(KUBELET_CONFIG_PATH, "read kube-system/kubelet-config"),
            ),
            Effect::Send(Call::Node, Request::get(node_path, "read the node of this name")),
        ];
        (Self { request, state: State::Reading(Reads::default()) }, effects)
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Reading(_) => Some(self.request.deadline),
            State::Enrolling { enrolment, .. } => enrolment.deadline(),
            State::Finished => None,
        }
    }

    /// Takes in what happened. An event that the state does not wait for changes nothing.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match (mem::replace(&mut self.state, State::Finished), event) {
            (State::Reading(reads), Event::Answered(call, answer)) => {
                self.answered(reads, call, answer)
            }
            (State::Reading(_), Event::Tick) if now >= self.request.deadline => {
                vec![Effect::Finished(Err(HandshakeError::ServerError {
                    what: "read the cluster's configuration".to_owned(),
                    status: StatusCode::REQUEST_TIMEOUT.as_u16(),
                    reason: "Timeout".to_owned(),
                    message: "the deadline passed before the server answered".to_owned(),
                }))]
            }
            (State::Enrolling { config, previous_node, mut enrolment }, event) => {
                let effects = enrolment.on(event, now);
                self.enrolling(config, previous_node, enrolment, effects)
            }
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn answered(&mut self, mut reads: Reads, call: Call, answer: Answer) -> Effects {
        if let Err(error) = self.take(&mut reads, call, answer) {
            return vec![Effect::Finished(Err(error))];
        }
        match reads {
            Reads { cluster: Some(cluster), kubelet: Some(kubelet), node: Some(node) } => {
                self.enrol(cluster, kubelet, node)
            }
            reads => {
                self.state = State::Reading(reads);
                Vec::new()
            }
        }
    }

    fn take(&self, reads: &mut Reads, call: Call, answer: Answer) -> Result<(), HandshakeError> {
        match call {
            Call::KubeadmConfig => {
                let text = config_text(answer?, "ClusterConfiguration", "kubeadm-config")?;
                reads.cluster = Some(text);
            }
            Call::KubeletConfig => {
                reads.kubelet = Some(config_text(answer?, "kubelet", "kubelet-config")?);
            }
            Call::Node => reads.node = Some(self.node_read(answer?)?),
            Call::CreateCsr | Call::ReadCsr => {}
        }
        Ok(())
    }

    fn node_read(&self, response: Response) -> Result<NodeRead, HandshakeError> {
        match response.status {
            StatusCode::NOT_FOUND => Ok(NodeRead::Absent),
            StatusCode::FORBIDDEN => Ok(NodeRead::Forbidden),
            status if status.is_success() => {
                let node = response.json().unwrap_or_default();
                if is_ready(&node) && self.request.existing_node == ExistingNode::Refuse {
                    let name = self.request.node.to_string();
                    return Err(HandshakeError::NodeNameTaken { name });
                }
                Ok(NodeRead::Present(node))
            }
            _ => Err(response.into_error("read the node of this name")),
        }
    }

    fn enrol(&mut self, cluster: ClusterText, kubelet: ClusterText, node: NodeRead) -> Effects {
        let config =
            ClusterConfig { cluster_configuration: cluster, kubelet_configuration: kubelet };
        let told = Progress::ClusterConfigRead {
            kubeadm_config: config.cluster_configuration.text().is_some(),
            kubelet_config: config.kubelet_configuration.text().is_some(),
            node_name_checked: !matches!(node, NodeRead::Forbidden),
        };
        let previous_node = match node {
            NodeRead::Present(node) => Some(node),
            NodeRead::Absent | NodeRead::Forbidden => None,
        };
        let (enrolment, first) = Enrolment::start(self.request.wish.clone(), self.request.deadline);
        let mut effects = vec![Effect::Tell(told)];
        effects.extend(self.enrolling(config, previous_node, enrolment, first));
        effects
    }

    fn enrolling(
        &mut self,
        config: ClusterConfig,
        previous_node: Option<Value>,
        enrolment: Enrolment,
        effects: Vec<Effect<Box<Issued>>>,
    ) -> Effects {
        let mut outcome = Vec::with_capacity(effects.len());
        let mut over = false;
        for effect in effects {
            outcome.push(match effect {
                Effect::Send(call, request) => Effect::Send(call, request),
                Effect::Watch(request) => Effect::Watch(request),
                Effect::Tell(progress) => Effect::Tell(progress),
                Effect::Finished(result) => {
                    over = true;
                    Effect::Finished(result.map(|issued| {
                        Box::new(Enrolled {
                            config: config.clone(),
                            previous_node: previous_node.clone(),
                            issued: *issued,
                        })
                    }))
                }
            });
        }
        if !over {
            self.state = State::Enrolling { config, previous_node, enrolment };
        }
        outcome
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

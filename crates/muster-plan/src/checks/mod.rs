//! The preflight checks of a node: one file for each family, one list that says which exist.
//!
//! A check looks at facts and the request and at nothing else. Names, severities and, where kubeadm 1.36 has the check,
//! words are kubeadm's; checks of our own have names of the same style.

mod catalogue;
mod cgroup_driver;
mod cgroups;
mod cluster;
mod container_runtime;
mod control_plane;
mod disk_space;
mod file_available;
mod file_existing;
mod host_name;
mod http_proxy;
mod ip_forward;
mod kernel_settings;
mod kubelet_service;
mod kubelet_version;
mod leftovers;
mod live_mounts;
mod network;
mod ports;
mod privileged_user;
mod surroundings;
mod swap;
mod system;

use muster_identity::Host;

use crate::{ClusterAnswers, Facts, Finding, JoinRequest, Runtime};

pub use catalogue::{CATALOGUE, CheckEntry, Level};
pub use cluster::{ApiSight, NodeOfCluster};
pub use control_plane::{ControlPlane, image_findings};
pub use kubelet_version::KUBERNETES_MINOR_SKEW;
pub use system::kernel_options;

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The machine.
    pub facts: &'a Facts,
    /// What is asked for.
    pub request: &'a JoinRequest,
    /// The port of the API server that this node will run; `None` for a worker.
    pub bind_port: Option<u16>,
}

impl Situation<'_> {
    /// The node runs no containers: whatever concerns a runtime or the kernel's support of it does not matter.
    fn is_hollow(&self) -> bool {
        self.request.runtime == Runtime::Hollow
    }

    /// The node has the machine to itself.
    fn has_machine(&self) -> bool {
        self.request.root.is_machine()
    }

    /// The cluster is entered by an IPv6 address.
    fn is_v6(&self) -> bool {
        matches!(self.request.endpoint.host(), Host::Ip(ip) if ip.is_ipv6())
    }
}

type Check = fn(&Situation<'_>, &mut Vec<Finding>);

/// Every check of a worker, in the order in which findings are shown: kubeadm's order, then ours.
const CHECKS: &[Check] = &[
    privileged_user::check,
    file_available::check,
    container_runtime::check,
    swap::check,
    file_existing::check,
    system::check,
    cgroups::check,
    host_name::check,
    kubelet_service::check,
    ports::check,
    http_proxy::check,
    ip_forward::check,
    surroundings::check,
    kernel_settings::check,
    network::check,
    disk_space::check,
    live_mounts::check,
    leftovers::check,
];

fn ignoring(request: &JoinRequest, findings: Vec<Finding>) -> Vec<Finding> {
    let findings = findings.into_iter();
    findings
        .map(|finding| request.ignore.apply(finding))
        .collect()
}

fn common(situation: &Situation<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in CHECKS {
        check(situation, &mut findings);
    }
    findings
}

/// Runs every check of a worker that needs only the machine. Ignored errors come out as warnings.
#[must_use]
pub fn preflight(facts: &Facts, request: &JoinRequest) -> Vec<Finding> {
    let situation = Situation {
        facts,
        request,
        bind_port: request.control_plane.as_ref().map(|plane| plane.bind_port),
    };
    ignoring(request, common(&situation))
}

/// Runs every check of a control-plane node: those of a worker first. With the cluster's answers also the one that
/// needs its version.
#[must_use]
pub fn preflight_control_plane(
    facts: &Facts,
    request: &JoinRequest,
    plane: &ControlPlane,
    answers: Option<&ClusterAnswers>,
) -> Vec<Finding> {
    let situation = Situation {
        facts,
        request,
        bind_port: Some(plane.bind_port),
    };
    let mut findings = common(&situation);
    control_plane::check(&situation, plane, answers, &mut findings);
    ignoring(request, findings)
}

/// Runs the checks that also need the cluster's answers.
#[must_use]
pub fn preflight_with_cluster(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Vec<Finding> {
    let situation = Situation {
        facts,
        request,
        bind_port: None,
    };
    let mut findings = Vec::new();
    kubelet_version::check(&situation, answers, &mut findings);
    cgroup_driver::check(&situation, answers, &mut findings);
    ignoring(request, findings)
}

/// Runs the checks over what was seen of the API server from this machine.
#[must_use]
pub fn preflight_sight(request: &JoinRequest, api: &ApiSight) -> Vec<Finding> {
    ignoring(request, cluster::sight(api, &request.endpoint.to_string()))
}

/// What a join sees on its way that concerns the machine and no credential: clocks that differ, and another Node with
/// this machine's ids. The Node of its own name is the join's own question.
#[must_use]
pub(crate) fn seen_on_the_way(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Vec<Finding> {
    let sight = ApiSight {
        clocks: answers.clocks,
        ..ApiSight::default()
    };
    let others = answers.nodes.iter();
    let others: Vec<NodeOfCluster> = others
        .filter(|node| node.name != request.node_name.as_str())
        .cloned()
        .collect();
    let mut findings = preflight_sight(request, &sight);
    findings.extend(preflight_among(facts, request, &others));
    findings
}

/// Runs the checks over the cluster's Nodes, for whoever may list them.
#[must_use]
pub fn preflight_among(
    facts: &Facts,
    request: &JoinRequest,
    nodes: &[NodeOfCluster],
) -> Vec<Finding> {
    let situation = Situation {
        facts,
        request,
        bind_port: None,
    };
    let mut findings = Vec::new();
    cluster::nodes(&situation, nodes, &mut findings);
    ignoring(request, findings)
}

#[cfg(test)]
mod tests;

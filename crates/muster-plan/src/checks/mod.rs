//! The preflight checks of a worker: one file for each family, one list that says which exist.
//!
//! A check looks at facts and the request and at nothing else. Names and severities are kubeadm 1.36's; checks of
//! our own have names of the same style.

mod cgroups;
mod container_runtime;
mod disk_space;
mod file_available;
mod file_existing;
mod host_name;
mod http_proxy;
mod ip_forward;
mod kubelet_service;
mod kubelet_version;
mod live_mounts;
mod ports;
mod privileged_user;
mod swap;
mod system;

use crate::{ClusterAnswers, Facts, Finding, JoinRequest, Runtime};

pub use kubelet_version::KUBERNETES_MINOR_SKEW;

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The machine.
    pub facts: &'a Facts,
    /// What is asked for.
    pub request: &'a JoinRequest,
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
}

type Check = fn(&Situation<'_>, &mut Vec<Finding>);

/// Every check, in the order in which findings are shown.
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
    disk_space::check,
    live_mounts::check,
];

/// Runs every check that needs only the machine. Ignored errors come out as warnings.
#[must_use]
pub fn preflight(facts: &Facts, request: &JoinRequest) -> Vec<Finding> {
    let situation = Situation { facts, request };
    let mut findings = Vec::new();
    for check in CHECKS {
        check(&situation, &mut findings);
    }
    findings
        .into_iter()
        .map(|finding| request.ignore.apply(finding))
        .collect()
}

/// Runs the checks that also need the cluster's answers.
#[must_use]
pub fn preflight_with_cluster(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    kubelet_version::check(&Situation { facts, request }, answers, &mut findings);
    findings
        .into_iter()
        .map(|finding| request.ignore.apply(finding))
        .collect()
}

#[cfg(test)]
mod tests;

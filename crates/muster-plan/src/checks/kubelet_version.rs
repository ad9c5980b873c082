//! KubeletVersion: a kubelet may be up to three minors older than the API server, and never newer.
//!
//! kubeadm compares the kubelet with itself; the API server is what matters.

use super::Situation;
use crate::{ClusterAnswers, Finding, Kubelet};

/// How many minors a kubelet may be behind the API server (Kubernetes' version skew policy).
pub const KUBERNETES_MINOR_SKEW: u32 = 3;

pub(super) fn check(
    situation: &Situation<'_>,
    answers: &ClusterAnswers,
    findings: &mut Vec<Finding>,
) {
    if !matches!(
        situation.request.choose_kubelet(situation.facts),
        Kubelet::System { .. }
    ) {
        return;
    }
    let versions = (
        situation.facts.kubelet_version.as_deref(),
        answers.version.as_deref(),
    );
    let (Some(kubelet), Some(cluster)) = versions else {
        return;
    };
    let (Some((k_major, k_minor)), Some((c_major, c_minor))) = (minor(kubelet), minor(cluster))
    else {
        return;
    };
    let range = format!(
        "Install a kubelet from {c_major}.{} to {c_major}.{c_minor}.",
        c_minor.saturating_sub(KUBERNETES_MINOR_SKEW)
    );
    if (k_major, k_minor) > (c_major, c_minor) {
        findings.push(Finding::error(
            "KubeletVersion",
            format!("the kubelet version is higher than the control plane version. This is not a supported version skew and may lead to a malfunctional cluster. Kubelet version: \"{kubelet}\" Control plane version: \"{}\"", cluster.trim_start_matches('v')),
            range,
        ));
    } else if k_major != c_major || c_minor.saturating_sub(k_minor) > KUBERNETES_MINOR_SKEW {
        findings.push(Finding::error(
            "KubeletVersion",
            format!("kubelet {kubelet} is more than {KUBERNETES_MINOR_SKEW} minors older than the API server {cluster}"),
            range,
        ));
    }
}

pub(super) fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

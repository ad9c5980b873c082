//! CgroupDriver (ours): a kubelet and a runtime that disagree on who makes control groups start no pod.
//!
//! A kubelet asks a runtime that answers RuntimeConfig and then follows it; only with others its own setting counts.

use super::Situation;
use crate::{ClusterAnswers, Finding, Kubelet};

pub(super) fn check(
    situation: &Situation<'_>,
    answers: &ClusterAnswers,
    findings: &mut Vec<Finding>,
) {
    let facts = situation.facts;
    let Kubelet::System { .. } = situation.request.choose_kubelet(facts) else {
        return;
    };
    let endpoint = situation.request.cri_endpoint(facts);
    let path = endpoint.strip_prefix("unix://").unwrap_or(&endpoint);
    let Some(socket) = facts.cri_sockets.iter().find(|socket| socket.path == path) else {
        return;
    };
    if socket.runtime.tells_config == Some(true) {
        return;
    }
    let (Some(runtime), Some(kubelet)) = (
        socket.runtime.cgroup_driver.as_deref(),
        configured(answers.kubelet_config.as_deref()),
    ) else {
        return;
    };
    if runtime != kubelet {
        let cure = if kubelet == "systemd" {
            "containerd: SystemdCgroup = true in config.toml; CRI-O: cgroup_manager = \"systemd\""
        } else {
            "containerd: SystemdCgroup = false in config.toml; CRI-O: cgroup_manager = \"cgroupfs\""
        };
        findings.push(Finding::error(
            "CgroupDriver",
            format!("the cluster's kubelet configuration says {kubelet}, the container runtime at {path} {runtime}"),
            format!("Make them agree ({cure}), or change cgroupDriver in the ConfigMap kube-system/kubelet-config."),
        ));
    }
}

/// `cgroupDriver` of a KubeletConfiguration; kubeadm's default is systemd.
fn configured(config: Option<&str>) -> Option<String> {
    let value: serde_json::Value = serde_saphyr::from_str(config?).ok()?;
    let driver = value
        .get("cgroupDriver")
        .and_then(serde_json::Value::as_str);
    Some(
        driver
            .filter(|driver| !driver.is_empty())
            .unwrap_or("systemd")
            .to_owned(),
    )
}

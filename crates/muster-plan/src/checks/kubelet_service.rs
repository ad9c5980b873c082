//! Service-kubelet: a kubelet that does not start with the machine is gone after the next boot.

use super::Situation;
use crate::{Finding, Kubelet, KubeletPreference, ServiceManager};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let Kubelet::System { unit } = situation.request.choose_kubelet(facts) else {
        return;
    };
    let fact = facts.unit(&unit);
    let insisted = situation.request.kubelet == KubeletPreference::System;
    if facts.service_manager == ServiceManager::None {
        findings.push(Finding::error(
            "Service-kubelet",
            "no supported init system detected, skipping checking for services",
            "Join with the built-in kubelet, or on a machine with systemd or OpenRC.",
        ));
    } else if !fact.exists && insisted {
        findings.push(Finding::error(
            "Service-kubelet",
            format!("{unit} service does not exist"),
            "Install the kubelet's package, or join with the built-in kubelet.",
        ));
    } else if !fact.enabled {
        let enable = match facts.service_manager {
            ServiceManager::OpenRc => format!("rc-update add {unit} default"),
            _ => format!("systemctl enable {unit}.service"),
        };
        findings.push(Finding::warning(
            "Service-kubelet",
            format!("{unit} service is not enabled, please run '{enable}'"),
            "A join enables it by itself.",
        ));
    }
    if !situation.has_machine() {
        findings.push(Finding::error(
            "Service-kubelet",
            "the machine's own kubelet knows no other root directory",
            "Join without --root, or with the built-in kubelet.",
        ));
    }
    if !facts.binaries.contains_key("kubelet") {
        findings.push(Finding::error(
            "FileExisting-kubelet",
            "kubelet not found in system path",
            "Install the kubelet's package, or join with the built-in kubelet.",
        ));
    }
}

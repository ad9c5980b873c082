//! Service-kubelet: a kubelet that does not start with the machine is gone after the next boot.

use super::Situation;
use crate::{Finding, Kubelet, KubeletPreference};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let Kubelet::System { unit } = situation.request.choose_kubelet(situation.facts) else {
        return;
    };
    let fact = situation.facts.unit(&unit);
    let insisted = situation.request.kubelet == KubeletPreference::System;
    if !fact.exists && insisted {
        findings.push(Finding::error(
            "Service-kubelet",
            format!("there is no service {unit}"),
            "Install the kubelet's package, or join with the built-in kubelet.",
        ));
    }
    if !situation.has_machine() {
        findings.push(Finding::error(
            "Service-kubelet",
            "the machine's own kubelet knows no other root directory",
            "Join without --root, or with the built-in kubelet.",
        ));
    }
    if !situation.facts.binaries.contains_key("kubelet") {
        findings.push(Finding::error(
            "FileExisting-kubelet",
            "kubelet not found in system path",
            "Install the kubelet's package, or join with the built-in kubelet.",
        ));
    }
}

//! FileAvailable: what an earlier join left, or another tool wrote, must not be overwritten.

use super::Situation;
use crate::{Finding, path_id, paths};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    absent(situation, paths::KUBELET_CONF, findings);
    absent(situation, paths::BOOTSTRAP_KUBELET_CONF, findings);
    // A control-plane node may be given its certificates beforehand.
    if situation.bind_port.is_none() {
        absent(situation, paths::CA_CRT, findings);
    }
}

/// Says that something stands at a path.
pub(super) fn absent(situation: &Situation<'_>, path: &str, findings: &mut Vec<Finding>) {
    if situation.facts.files.contains_key(path) {
        findings.push(Finding::error(
            path_id("FileAvailable", path),
            format!("{} already exists", situation.request.root.real(path)),
            "Undo the former join with the tool that made it (`muster reset`, `kubeadm reset`), or move the file away.",
        ));
    }
}

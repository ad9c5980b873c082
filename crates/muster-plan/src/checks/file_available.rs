//! FileAvailable: what an earlier join left, or another tool wrote, must not be overwritten.

use super::Situation;
use crate::{Finding, path_id, paths};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    for path in [
        paths::KUBELET_CONF,
        paths::BOOTSTRAP_KUBELET_CONF,
        paths::CA_CRT,
    ] {
        if situation.facts.files.contains_key(path) {
            let real = situation.request.root.real(path);
            findings.push(Finding::error(
                path_id("FileAvailable", path),
                format!("{real} already exists"),
                "Undo the former join with the tool that made it (`muster reset`, `kubeadm reset`), or move the file away.",
            ));
        }
    }
}

//! LiveMounts (ours): mounts below the kubelet's directory belong to pods of a former node; an undo never goes below
//! them.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let mounts = &situation.facts.kubelet_mounts;
    if let Some(first) = mounts.first() {
        findings.push(Finding::warning(
            "LiveMounts",
            format!(
                "{} live mounts below /var/lib/kubelet, the first at {first}",
                mounts.len()
            ),
            "They are left alone. If they belong to a node that is no more, unmount them.",
        ));
    }
}

//! Hostname: a node's name should lead to the node.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let name = situation.request.node_name.as_str();
    let is_own = name == situation.facts.hostname.to_lowercase();
    if is_own && situation.facts.hostname_resolves == Some(false) {
        findings.push(Finding::warning(
            "Hostname",
            format!("hostname \"{name}\" could not be reached"),
            "Put the name into DNS or /etc/hosts.",
        ));
    }
}

//! Hostname: a node's name should lead to the node.

use super::Situation;
use crate::Finding;

/// The longest name that Kubernetes calls qualified: static pods carry it in labels.
const LONGEST: usize = 63;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let name = situation.request.node_name.as_str();
    if name.len() > LONGEST {
        findings.push(Finding::warning(
            "Hostname",
            format!(
                "invalid node name format \"{name}\": name part must be no more than 63 characters"
            ),
            "Give a shorter name with --node-name.",
        ));
    }
    let facts = situation.facts;
    let resolves = if name == facts.hostname.to_lowercase() {
        facts.hostname_resolves
    } else {
        facts.node_name_resolves
    };
    if resolves == Some(false) && !situation.is_hollow() {
        findings.push(Finding::warning(
            "Hostname",
            format!("hostname \"{name}\" could not be reached"),
            "Put the name into DNS or /etc/hosts.",
        ));
    }
}

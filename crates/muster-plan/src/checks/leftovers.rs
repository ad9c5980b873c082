//! Leftovers (ours): what a former node left on this machine and would meet the new one.
//!
//! Files that would be overwritten are FileAvailable's; these are the rest.

use super::Situation;
use crate::{FileFact, Finding, paths};

/// Interfaces that network plugins make, by prefix.
const LINKS: &[&str] = &[
    "cni0",
    "flannel",
    "cali",
    "cilium",
    "weave",
    "kube-ipvs0",
    "nodelocaldns",
    "antrea",
    "tunl0",
];

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let mut found = Vec::new();
    let holds_something = |path: &str| matches!(facts.files.get(path), Some(FileFact::Dir { entries }) if *entries > 0);
    if facts.files.contains_key(paths::FLAGS_ENV) {
        found.push(situation.request.root.real(paths::FLAGS_ENV));
    }
    if situation.bind_port.is_none() && holds_something(paths::ETCD_DATA_DIR) {
        found.push(situation.request.root.real(paths::ETCD_DATA_DIR));
    }
    if situation.has_machine() && !situation.is_hollow() {
        if holds_something(paths::CNI_STATE_DIR) {
            found.push(paths::CNI_STATE_DIR.to_owned());
        }
        let links = facts.interfaces.keys();
        let links = links.filter(|name| LINKS.iter().any(|prefix| name.starts_with(prefix)));
        found.extend(links.map(|name| format!("interface {name}")));
    }
    if found.is_empty() {
        return;
    }
    // A journal of ours means that a join is resumed or taken back by itself.
    if facts.files.contains_key(paths::JOURNAL) {
        return;
    }
    let more = found.len().saturating_sub(6);
    found.truncate(6);
    let mut list = found.join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    findings.push(Finding::warning(
        "Leftovers",
        format!("a former node has left {list}"),
        "`muster reset` removes what it can prove to be a former node's; with --cni also what its network plugin left.",
    ));
}

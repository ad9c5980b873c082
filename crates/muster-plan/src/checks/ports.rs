//! Port-N: a port that the node needs must be free, unless nodes share the machine and none takes it.

use super::Situation;
use crate::{Facts, Finding, Kubelet};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if !situation.has_machine() && situation.request.kubelet_port.is_none() {
        return;
    }
    let port = situation.request.kubelet_port.unwrap_or(10250);
    // A kubelet that already runs as the service which the join will restart holds its own port.
    let own = match situation.request.choose_kubelet(situation.facts) {
        Kubelet::System { unit } => situation.facts.unit(&unit).active,
        _ => false,
    };
    if port != 0 && !own {
        taken(situation.facts, port, findings);
    }
}

/// Says who holds a port, if anybody does.
pub(super) fn taken(facts: &Facts, port: u16, findings: &mut Vec<Finding>) {
    if !facts.listening.contains(&port) {
        return;
    }
    let remedy = match facts.holders.get(&port) {
        Some(holder) if holder.starts_with("kube") || holder.starts_with("etcd") => format!(
            "{holder} holds it: a node of another cluster must be reset first (`muster reset`)."
        ),
        Some(holder) => format!("{holder} holds it: stop it, or give it another port."),
        None => format!("See who holds it with `ss -ltnp sport = :{port}`."),
    };
    findings.push(Finding::error(
        format!("Port-{port}"),
        format!("Port {port} is in use"),
        remedy,
    ));
}

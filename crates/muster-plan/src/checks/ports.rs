//! Port-10250: the kubelet's own port must be free, unless nodes share the machine and none takes it.

use super::Situation;
use crate::{Finding, Kubelet};

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
    if port != 0 && !own && situation.facts.listening.contains(&port) {
        findings.push(Finding::error(
            format!("Port-{port}"),
            format!("port {port} is in use"),
            format!("See who holds it with `ss -ltnp sport = :{port}`; a kubelet of another cluster must be reset first."),
        ));
    }
}

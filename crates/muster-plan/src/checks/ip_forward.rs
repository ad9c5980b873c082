//! FileContent: pods are reached through this machine only when it forwards packets.
//!
//! kubeadm looks only when the endpoint is a literal address; a node needs it whatever the endpoint, so an endpoint by
//! name gives a warning.

use muster_identity::Host;

use super::Situation;
use crate::{Finding, path_id};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    let host = situation.request.endpoint.host();
    let is_v6 = matches!(host, Host::Ip(ip) if ip.is_ipv6());
    let key = if is_v6 {
        "net/ipv6/conf/default/forwarding"
    } else {
        "net/ipv4/ip_forward"
    };
    if situation.facts.sysctls.get(key).map(|value| value.trim()) == Some("1") {
        return;
    }
    let path = format!("/proc/sys/{key}");
    let id = path_id("FileContent", &path);
    let message = format!("{path} contents are not set to 1");
    let remedy = format!(
        "Set it: `sysctl -w {}=1`, and keep it in /etc/sysctl.d.",
        key.replace('/', ".")
    );
    findings.push(match host {
        Host::Ip(_) => Finding::error(id, message, remedy),
        Host::Dns(_) => Finding::warning(id, message, remedy),
    });
}

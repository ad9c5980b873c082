//! Mtu and ResolvConf (ours): two things of a machine's network that show only when pods talk.

use super::Situation;
use crate::Finding;

/// IPv6 demands it (RFC 8200), and tunnels of network plugins take some off.
const SMALLEST_MTU: u32 = 1280;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    mtu(situation, findings);
    resolv_conf(situation, findings);
}

fn mtu(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let Some(route) = &facts.route else { return };
    let remedy = "Set the network plugin's MTU to what really passes, less its own overhead (50 bytes for VXLAN).";
    let Some(interface) = facts.interfaces.get(&route.interface) else {
        return;
    };
    if route.mtu < interface.mtu {
        findings.push(Finding::warning(
            "Mtu",
            format!(
                "packets to the API server may have {} bytes, but {} says {}: network plugins believe the interface",
                route.mtu, route.interface, interface.mtu
            ),
            remedy,
        ));
    } else if route.mtu < SMALLEST_MTU {
        findings.push(Finding::warning(
            "Mtu",
            format!(
                "packets on {} may have only {} bytes",
                route.interface, route.mtu
            ),
            remedy,
        ));
    }
}

/// A resolver on loopback is not there inside of pods; CoreDNS would ask itself.
fn resolv_conf(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if facts.systemd_resolved || facts.nameservers.is_empty() {
        // For systemd-resolved the kubelet is told of the file with the real servers.
        return;
    }
    let is_loopback = |server: &String| {
        server
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
    };
    if facts.nameservers.iter().all(is_loopback) {
        findings.push(Finding::warning(
            "ResolvConf",
            format!(
                "/etc/resolv.conf names only {}, which inside of a pod is the pod itself: CoreDNS ends in a loop",
                facts.nameservers.join(", ")
            ),
            "Give the kubelet a file with the real name servers: resolvConf in its configuration.",
        ));
    }
}

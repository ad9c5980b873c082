//! TimeSync, Firewalld, Firewall, SecurityModules, OtherDistribution and Unanswered: what runs beside a node, or does not.

use super::Situation;
use crate::Finding;

/// Programs that keep the clock right.
const TIME_SERVICES: &[&str] = &[
    "chronyd",
    "ntpd",
    "systemd-timesyn",
    "openntpd",
    "ntpd-rs",
    "ptp4l",
    "phc2sys",
    "vmtoolsd",
    "VBoxService",
];
/// Nodes of other makes, by their program.
const OTHERS: &[(&str, &str)] = &[
    ("k3s-server", "K3s"),
    ("k3s-agent", "K3s"),
    ("rke2", "RKE2"),
    ("k0s", "k0s"),
    ("kubelite", "MicroK8s"),
];

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    unanswered(situation, findings);
    if situation.is_hollow() {
        return;
    }
    time_sync(situation, findings);
    firewalls(situation, findings);
    security_modules(situation, findings);
    others(situation, findings);
}

/// Facts that are missing were not guessed: whoever reads the rest should know which.
fn unanswered(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    for unanswered in &situation.facts.unanswered {
        findings.push(Finding::warning(
            "Unanswered",
            format!("{} gave no answer within {} ms", unanswered.what, unanswered.millis),
            "Look into it: what hangs here hangs for the kubelet too. Checks that need the answer were left out.",
        ));
    }
}

fn time_sync(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let programs = &situation.facts.programs;
    if !TIME_SERVICES.iter().any(|name| programs.contains(*name)) {
        findings.push(Finding::warning(
            "TimeSync",
            "nothing that keeps the clock right runs here; a clock that is off makes certificates and leases invalid",
            "Install one (chrony or systemd-timesyncd), unless the clock is the host's.",
        ));
    }
}

fn firewalls(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let port = situation.request.kubelet_port.unwrap_or(10250);
    if facts.programs.contains("firewalld") || facts.unit("firewalld").active {
        let ports = match situation.bind_port {
            Some(api) => format!("[{api} {port}]"),
            None => format!("[{port}]"),
        };
        findings.push(Finding::warning(
            "Firewalld",
            format!("firewalld is active, please ensure ports {ports} are open or your cluster may not function correctly"),
            format!("`firewall-cmd --permanent --add-port={port}/tcp`, the network plugin's ports too, then `firewall-cmd --reload`."),
        ));
    }
    if facts.ufw {
        findings.push(Finding::warning(
            "Firewall",
            format!("ufw is switched on: port {port} and the network plugin's ports must be open, and forwarding allowed"),
            format!("`ufw allow {port}/tcp`, and DEFAULT_FORWARD_POLICY=\"ACCEPT\" in /etc/default/ufw."),
        ));
    }
}

fn security_modules(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if facts.selinux.as_deref() == Some("enforcing") {
        findings.push(Finding::warning(
            "SecurityModules",
            "SELinux is enforcing: the container runtime needs its policy, and volumes their labels",
            "Install container-selinux, and switch SELinux on in the runtime (containerd: enable_selinux = true).",
        ));
    }
}

fn others(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let running = &situation.facts.programs;
    if let Some((program, name)) = OTHERS
        .iter()
        .find(|(program, _)| running.contains(*program))
    {
        findings.push(Finding::error(
            "OtherDistribution",
            format!("{name} runs on this machine ({program}) and has a kubelet of its own"),
            format!("One machine is one node: take {name} off it first."),
        ));
    }
}

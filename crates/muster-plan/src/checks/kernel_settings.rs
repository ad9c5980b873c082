//! BridgeNetfilter, InotifyLimits and OpenFiles (ours): settings of the kernel that are too small or off, and are
//! missed only when pods fail.

use super::Situation;
use crate::Finding;

/// The kernel's old default of 128 is used up by some dozens of pods.
const INOTIFY_INSTANCES: u64 = 256;
/// The kernel's old default is 8192.
const INOTIFY_WATCHES: u64 = 16_384;
/// Below this a kubelet or runtime runs out of files on a middling node.
const OPEN_FILES: u64 = 16_384;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    bridge(situation, findings);
    inotify(situation, findings);
    let built_in = situation
        .request
        .choose_kubelet(situation.facts)
        .is_built_in();
    if let Some(limit) = situation
        .facts
        .open_files
        .filter(|limit| *limit < OPEN_FILES && built_in)
    {
        findings.push(Finding::warning(
            "OpenFiles",
            format!("a process may have only {limit} files open"),
            "Raise it (LimitNOFILE= of the service, `ulimit -Hn`).",
        ));
    }
}

/// kubeadm dropped this check: network plugins that do without bridges do not need it.
fn bridge(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    let remedy = "`muster preflight --fix` does both, also for the next boot. Plugins that do without bridges and iptables (such as Cilium) do not need it.";
    if !facts.modules.contains("br_netfilter") {
        findings.push(Finding::warning(
            "BridgeNetfilter",
            "the module br_netfilter is not loaded: packets between pods on a bridge pass by iptables, and services do not work for them",
            remedy,
        ));
        return;
    }
    let family = if situation.is_v6() {
        "ip6tables"
    } else {
        "iptables"
    };
    let key = format!("net/bridge/bridge-nf-call-{family}");
    if facts
        .sysctls
        .get(&key)
        .is_some_and(|value| value.trim() != "1")
    {
        findings.push(Finding::warning(
            "BridgeNetfilter",
            format!(
                "{} is not 1: services do not work for pods on a bridge",
                key.replace('/', ".")
            ),
            remedy,
        ));
    }
}

fn inotify(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    for (key, least) in [
        ("fs/inotify/max_user_instances", INOTIFY_INSTANCES),
        ("fs/inotify/max_user_watches", INOTIFY_WATCHES),
    ] {
        let value = situation.facts.sysctls.get(key);
        let value = value.and_then(|value| value.trim().parse::<u64>().ok());
        if let Some(value) = value.filter(|value| *value < least) {
            let name = key.replace('/', ".");
            findings.push(Finding::warning(
                "InotifyLimits",
                format!("{name} is {value}: pods that watch files or follow logs fail with \"too many open files\""),
                format!("Raise it to {least} or more: `muster preflight --fix`, or `sysctl -w {name}=…`."),
            ));
        }
    }
}

//! FileExisting: programs that a kubelet calls, and (ours, as warnings) those that network plugins call.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    let absent = |program: &str| !situation.facts.binaries.contains_key(program);
    for program in ["losetup", "mount", "cp"] {
        if absent(program) {
            findings.push(Finding::error(
                format!("FileExisting-{program}"),
                format!("{program} not found in system path"),
                format!("Install {program} (packages util-linux, mount, coreutils) and see that it is in PATH."),
            ));
        }
    }
    if absent("umount") {
        findings.push(Finding::error(
            "FileExisting-umount",
            "umount not found in system path",
            "Install it (package mount or util-linux): volumes of ended pods could never be unmounted.",
        ));
    }
    if absent("iptables") && absent("nft") {
        findings.push(Finding::warning(
            "FileExisting-iptables",
            "neither iptables nor nft found in system path",
            "Install one (package iptables or nftables): the kubelet and most network plugins call it.",
        ));
    }
    if absent("ip") {
        findings.push(Finding::warning(
            "FileExisting-ip",
            "ip not found in system path",
            "Install it (package iproute2): network plugins and people who look for faults call it.",
        ));
    }
}

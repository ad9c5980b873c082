//! SystemVerification: the control groups that a kubelet needs.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    let cgroups = &situation.facts.cgroups;
    let required: &[&str] = match cgroups.version {
        2 => &["cpu", "cpuset", "memory", "pids"],
        1 => {
            findings.push(Finding::error(
                "SystemVerification",
                "this machine uses cgroup v1, which kubelets from 1.35 on refuse by default",
                "Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set failCgroupV1: false for the kubelet and ignore this check.",
            ));
            &[
                "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
            ]
        }
        _ => {
            findings.push(Finding::error(
                "SystemVerification",
                "no control groups are mounted at /sys/fs/cgroup",
                "Mount cgroup2 there.",
            ));
            return;
        }
    };
    for controller in required {
        if !cgroups.controllers.contains(*controller) {
            findings.push(Finding::error(
                "SystemVerification",
                format!("the control group controller {controller} is missing"),
                "Enable it in the kernel or on the kernel's command line.",
            ));
        }
    }
}

//! SystemVerification: the control groups that a kubelet needs.

use super::Situation;
use crate::Finding;

/// Controllers without which pods cannot be confined, by version.
const REQUIRED_V2: &[&str] = &["cpu", "cpuset", "memory", "pids"];
const REQUIRED_V1: &[&str] = &[
    "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
];

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    let cgroups = &situation.facts.cgroups;
    let required = match cgroups.version {
        2 => REQUIRED_V2,
        1 => {
            findings.push(version_1(situation));
            REQUIRED_V1
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

/// The machine's own kubelet will not start; the built-in one does not mind.
fn version_1(situation: &Situation<'_>) -> Finding {
    let message = "this machine uses cgroup v1, which kubelets from 1.35 on refuse by default";
    let remedy = "Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set failCgroupV1: false for the kubelet and ignore this check.";
    if situation
        .request
        .choose_kubelet(situation.facts)
        .is_built_in()
    {
        return Finding::warning("SystemVerification", message, remedy);
    }
    Finding::error("SystemVerification", message, remedy)
}

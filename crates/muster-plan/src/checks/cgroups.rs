//! SystemVerification: the control groups that a kubelet needs.

use super::Situation;
use crate::Finding;

/// Controllers without which pods cannot be confined, by version.
const REQUIRED_V2: &[&str] = &["cpu", "cpuset", "memory", "pids"];
const REQUIRED_V1: &[&str] = &[
    "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
];
/// Without these, limits on huge pages and on disk input and output do not work.
const OPTIONAL_V2: &[&str] = &["hugetlb", "io"];
const OPTIONAL_V1: &[&str] = &["hugetlb", "blkio"];

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    let cgroups = &situation.facts.cgroups;
    let (required, optional) = match cgroups.version {
        2 => (REQUIRED_V2, OPTIONAL_V2),
        1 => {
            findings.push(version_1(situation));
            (REQUIRED_V1, OPTIONAL_V1)
        }
        _ => {
            findings.push(Finding::error(
                "SystemVerification",
                "cannot get a cgroup mount point: cannot get a cgroupfs mount point from \"/proc/mounts\"",
                "Mount cgroup2 at /sys/fs/cgroup.",
            ));
            return;
        }
    };
    let absent = |names: &[&str]| -> Vec<String> {
        let absent = names
            .iter()
            .filter(|name| !cgroups.controllers.contains(**name));
        absent.map(|name| (*name).to_owned()).collect()
    };
    let mut missing = absent(required);
    if cgroups.version == 2 && cgroups.freezer == Some(false) {
        missing.push("freezer".to_owned());
    }
    if !missing.is_empty() {
        findings.push(Finding::error(
            "SystemVerification",
            format!("missing required cgroups: {}", missing.join(" ")),
            "Enable them in the kernel or on its command line (for example cgroup_enable=memory).",
        ));
    }
    let missing = absent(optional);
    if !missing.is_empty() {
        findings.push(Finding::warning(
            "SystemVerification",
            format!("missing optional cgroups: {}", missing.join(" ")),
            "Pods' limits on what they control have no effect.",
        ));
    }
}

/// The machine's own kubelet will not start from 1.35 on; the built-in one does not mind.
fn version_1(situation: &Situation<'_>) -> Finding {
    let message = "cgroups v1 support is deprecated and will be removed in a future release. Please migrate to cgroups v2. To explicitly enable cgroups v1 support for kubelet v1.35 or newer, you must set the kubelet configuration option 'FailCgroupV1' to 'false'. You must also explicitly skip this validation. For more information, see https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1";
    let remedy = "Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set failCgroupV1: false for the kubelet and ignore this check.";
    let built_in = situation
        .request
        .choose_kubelet(situation.facts)
        .is_built_in();
    let version = situation.facts.kubelet_version.as_deref();
    let old = version
        .and_then(super::kubelet_version::minor)
        .is_some_and(|version| version < (1, 35));
    if built_in || old {
        return Finding::warning("SystemVerification", message, remedy);
    }
    Finding::error("SystemVerification", message, remedy)
}

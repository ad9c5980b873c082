//! The restricted level: what a careful pod does without.
//!
//! Refuses to know: the baseline level, except which of its checks have no place beside these.

use std::collections::BTreeSet;

use muster_machinery::meta;
use serde_json::Value;

use super::{
    Check, Pod, Versioned, Violation, baseline, containers, name, number, own, quoted, set,
    setters, violation,
};

/// The checks, in the order of their names.
pub(super) const CHECKS: [Versioned; 7] = [
    check(
        "allowPrivilegeEscalation",
        &[(8, escalation), (25, escalation_outside_windows)],
        "",
    ),
    check(
        "capabilities_restricted",
        &[(22, capabilities), (25, capabilities_outside_windows)],
        "capabilities_baseline",
    ),
    check(
        "procMount_restricted",
        &[(35, baseline::proc_mount)],
        "procMount",
    ),
    check("restrictedVolumes", &[(0, volumes)], "hostPathVolumes"),
    check(
        "runAsNonRoot",
        &[(0, non_root), (35, non_root_of_host_users)],
        "",
    ),
    check("runAsUser", &[(23, user), (35, user_of_host_users)], ""),
    check(
        "seccompProfile_restricted",
        &[(19, seccomp), (25, seccomp_outside_windows)],
        "seccompProfile_baseline",
    ),
];

const fn check(
    id: &'static str,
    forms: &'static [(u32, Check)],
    overrides: &'static str,
) -> Versioned {
    Versioned {
        id,
        forms,
        overrides,
    }
}

/// Sorts of volumes that bring nothing of the host along.
const SAFE_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn escalation(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.bad_containers(|container| {
        own(container, "allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    if names.is_empty() {
        return None;
    }
    violation(
        "allowPrivilegeEscalation != false",
        format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers(&names)
        ),
    )
}

fn escalation_outside_windows(pod: Pod<'_>) -> Option<Violation> {
    if pod.runs_on_windows() {
        return None;
    }
    escalation(pod)
}

fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let list = |container, which| {
        let own = meta::items(container, &["securityContext", "capabilities", which]);
        own.iter().filter_map(Value::as_str)
    };
    let keeping = pod.bad_containers(|container| !list(container, "drop").any(|one| one == "ALL"));
    let mut added = BTreeSet::new();
    let adding = pod.bad_containers(|container| {
        let bad: Vec<&str> = list(container, "add")
            .filter(|one| *one != "NET_BIND_SERVICE")
            .collect();
        added.extend(bad.iter().copied());
        !bad.is_empty()
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeping)
        ));
    }
    if !adding.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adding),
            quoted(added)
        ));
    }
    if details.is_empty() {
        return None;
    }
    violation("unrestricted capabilities", details.join("; "))
}

fn capabilities_outside_windows(pod: Pod<'_>) -> Option<Violation> {
    if pod.runs_on_windows() {
        return None;
    }
    capabilities(pod)
}

fn volumes(pod: Pod<'_>) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in meta::items(pod.spec, &["volumes"]) {
        let has = |kind: &&&str| set(volume, &[kind]).is_some();
        if SAFE_VOLUMES.iter().any(|kind| has(&kind)) {
            continue;
        }
        names.push(name(volume));
        kinds.insert(OTHER_VOLUMES.iter().find(has).copied().unwrap_or("unknown"));
    }
    if names.is_empty() {
        return None;
    }
    let word = number(names.len(), "volume", "volumes");
    let uses = number(names.len(), "uses", "use");
    let sorts = number(
        kinds.len(),
        "restricted volume type",
        "restricted volume types",
    );
    violation(
        "restricted volume types",
        format!("{word} {} {uses} {sorts} {}", quoted(names), quoted(kinds)),
    )
}

fn non_root(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = pod.security("runAsNonRoot").and_then(Value::as_bool);
    let of = |container| own(container, "runAsNonRoot").and_then(Value::as_bool);
    let saying_no = pod.bad_containers(|container| of(container) == Some(false));
    if let Some(setters) = setters(of_pod == Some(false), &saying_no) {
        let detail = format!("{setters} must not set securityContext.runAsNonRoot=false");
        return violation(REASON, detail);
    }
    let silent = pod.bad_containers(|container| of(container).is_none() && of_pod != Some(true));
    if silent.is_empty() {
        return None;
    }
    violation(
        REASON,
        format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers(&silent)
        ),
    )
}

fn non_root_of_host_users(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    non_root(pod)
}

fn user(pod: Pod<'_>) -> Option<Violation> {
    let is_root = |user: Option<&Value>| user.and_then(Value::as_i64) == Some(0);
    let names = pod.bad_containers(|container| is_root(own(container, "runAsUser")));
    let setters = setters(is_root(pod.security("runAsUser")), &names)?;
    violation("runAsUser=0", format!("{setters} must not set runAsUser=0"))
}

fn user_of_host_users(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    user(pod)
}

fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    if let Some(violation) = baseline::seccomp(pod) {
        return Some(violation);
    }
    if pod.security("seccompProfile").is_some() {
        return None;
    }
    let silent = pod.bad_containers(|container| own(container, "seccompProfile").is_none());
    if silent.is_empty() {
        return None;
    }
    violation(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        ),
    )
}

fn seccomp_outside_windows(pod: Pod<'_>) -> Option<Violation> {
    if pod.runs_on_windows() {
        return None;
    }
    seccomp(pod)
}

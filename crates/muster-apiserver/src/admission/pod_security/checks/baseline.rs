//! The baseline level: what lets a pod out of its container.
//!
//! Refuses to know: the restricted level, which adds to this one.

use std::collections::BTreeSet;

use muster_machinery::meta;
use serde_json::Value;

use super::{
    Check, Pod, Versioned, Violation, containers, is_true, name, number, own, quoted, set, setters,
    violation,
};

/// The checks, in the order of their names.
pub(super) const CHECKS: [Versioned; 12] = [
    check("appArmorProfile", &[(0, app_armor)]),
    check("capabilities_baseline", &[(0, capabilities)]),
    check("hostNamespaces", &[(0, host_namespaces)]),
    check("hostPathVolumes", &[(0, host_paths)]),
    check("hostPorts", &[(0, host_ports)]),
    check("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    check("privileged", &[(0, privileged)]),
    check(
        "procMount",
        &[(0, proc_mount), (35, proc_mount_of_host_users)],
    ),
    check(
        "seLinuxOptions",
        &[(0, selinux), (31, selinux_with_engines)],
    ),
    check(
        "seccompProfile_baseline",
        &[(0, seccomp_annotations), (19, seccomp)],
    ),
    check(
        "sysctls",
        &[
            (0, sysctls),
            (27, sysctls_27),
            (29, sysctls_29),
            (32, sysctls_32),
        ],
    ),
    check("windowsHostProcess", &[(0, host_process)]),
];

const fn check(id: &'static str, forms: &'static [(u32, Check)]) -> Versioned {
    Versioned {
        id,
        forms,
        overrides: "",
    }
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters that belong to the pod alone, and the version from which each may be set.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn app_armor(pod: Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut values = BTreeSet::new();
    let mut is_bad = |profile: Option<&Value>| {
        let Some(profile) = profile else {
            return false;
        };
        let kind = meta::str_at(profile, &["type"]).unwrap_or_default();
        let bad = !matches!(kind, "RuntimeDefault" | "Localhost");
        if bad {
            values.insert(kind.to_owned());
        }
        bad
    };
    let by_pod = is_bad(pod.security("appArmorProfile"));
    let names = pod.bad_containers(|container| is_bad(own(container, "appArmorProfile")));
    let annotations = pod.annotations.into_iter().flatten();
    let mut annotated: Vec<String> = annotations
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, key, value.as_str()?)))
        .filter(|(_, _, value)| {
            !(value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/"))
        })
        .map(|(_, key, value)| format!("{key}={value:?}"))
        .collect();
    annotated.sort();
    let mut all: Vec<String> = setters(by_pod, &names).into_iter().collect();
    if !annotated.is_empty() {
        all.push(number(annotated.len(), "annotation", "annotations").to_owned());
    }
    if all.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().chain(annotated).collect();
    let reason = number(
        values.len(),
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
    );
    violation(
        reason,
        format!(
            "{} must not set AppArmor profile type to {}",
            all.join(" and "),
            quoted(values)
        ),
    )
}

fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let mut added = BTreeSet::new();
    let names = pod.bad_containers(|container| {
        let own = meta::items(container, &["securityContext", "capabilities", "add"]).iter();
        let bad = own
            .filter_map(Value::as_str)
            .filter(|one| !CAPABILITIES.contains(one));
        let bad: Vec<&str> = bad.collect();
        added.extend(bad.iter().copied());
        !bad.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    violation(
        "non-default capabilities",
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(added)
        ),
    )
}

fn host_namespaces(pod: Pod<'_>) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let shared: Vec<String> = fields
        .filter(|field| is_true(pod.spec.get(field)))
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() {
        return None;
    }
    violation("host namespaces", shared.join(", "))
}

fn host_paths(pod: Pod<'_>) -> Option<Violation> {
    let volumes = meta::items(pod.spec, &["volumes"]).iter();
    let names: Vec<&str> = volumes
        .filter(|volume| set(volume, &["hostPath"]).is_some())
        .map(name)
        .collect();
    if names.is_empty() {
        return None;
    }
    let word = number(names.len(), "volume", "volumes");
    violation("hostPath volumes", format!("{word} {}", quoted(names)))
}

fn host_ports(pod: Pod<'_>) -> Option<Violation> {
    let mut used = BTreeSet::new();
    let names = pod.bad_containers(|container| {
        let ports = meta::items(container, &["ports"]).iter();
        let ports: Vec<String> = ports
            .filter_map(|port| port.get("hostPort")?.as_i64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect();
        let bad = !ports.is_empty();
        used.extend(ports);
        bad
    });
    if names.is_empty() {
        return None;
    }
    let uses = number(names.len(), "uses", "use");
    let word = number(used.len(), "hostPort", "hostPorts");
    let ports: Vec<String> = used.into_iter().collect();
    violation(
        "hostPort",
        format!("{} {uses} {word} {}", containers(&names), ports.join(", ")),
    )
}

fn probe_hosts(pod: Pod<'_>) -> Option<Violation> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let mut hosts = BTreeSet::new();
    let names = pod.bad_containers(|container| {
        let mut bad = false;
        for handler in HANDLERS.iter().filter_map(|path| set(container, path)) {
            for way in ["httpGet", "tcpSocket"] {
                let host = meta::str_at(handler, &[way, "host"]).unwrap_or_default();
                if !host.is_empty() {
                    bad = true;
                    hosts.insert(host.to_owned());
                }
            }
        }
        bad
    });
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let uses = number(names.len(), "uses", "use");
    let word = number(
        hosts.len(),
        "probe or lifecycle host",
        "probe or lifecycle hosts",
    );
    violation(
        "probe or lifecycle host",
        format!("{} {uses} {word} {}", containers(&names), quoted(hosts)),
    )
}

fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.bad_containers(|container| is_true(own(container, "privileged")));
    if names.is_empty() {
        return None;
    }
    violation(
        "privileged",
        format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        ),
    )
}

/// Also a check of the restricted level.
pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let names = pod.bad_containers(|container| {
        let kind = own(container, "procMount").and_then(Value::as_str);
        let bad = kind.filter(|kind| *kind != "Default");
        kinds.extend(bad);
        bad.is_some()
    });
    if names.is_empty() {
        return None;
    }
    violation(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to {}",
            containers(&names),
            quoted(kinds)
        ),
    )
}

fn proc_mount_of_host_users(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    proc_mount(pod)
}

fn selinux(pod: Pod<'_>) -> Option<Violation> {
    selinux_beside(
        pod,
        &["", "container_t", "container_init_t", "container_kvm_t"],
    )
}

fn selinux_with_engines(pod: Pod<'_>) -> Option<Violation> {
    let types = [
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    selinux_beside(pod, &types)
}

fn selinux_beside(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |options: Option<&Value>| {
        let Some(options) = options else {
            return false;
        };
        let text = |field: &str| meta::str_at(options, &[field]).unwrap_or_default();
        let bad_type = !allowed.contains(&text("type"));
        if bad_type {
            types.insert(text("type").to_owned());
        }
        user |= !text("user").is_empty();
        role |= !text("role").is_empty();
        bad_type || !text("user").is_empty() || !text("role").is_empty()
    };
    let by_pod = is_bad(pod.security("seLinuxOptions"));
    let names = pod.bad_containers(|container| is_bad(own(container, "seLinuxOptions")));
    let setters = setters(by_pod, &names)?;
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!(
            "{} {}",
            number(types.len(), "type", "types"),
            quoted(types)
        ));
    }
    if user {
        data.push("user may not be set".to_owned());
    }
    if role {
        data.push("role may not be set".to_owned());
    }
    violation(
        "seLinuxOptions",
        format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            data.join("; ")
        ),
    )
}

fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    const OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let of_containers = pod
        .containers()
        .map(|container| format!("{OF_CONTAINER}{}", name(container)));
    let forbidden: BTreeSet<String> = std::iter::once(OF_POD.to_owned())
        .chain(of_containers)
        .filter_map(|key| {
            let value = pod.annotations?.get(&key)?.as_str()?;
            let allowed = matches!(value, "runtime/default" | "docker/default")
                || value.starts_with("localhost/");
            (!allowed).then(|| format!("{key}={value:?}"))
        })
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let word = number(forbidden.len(), "annotation", "annotations");
    let list: Vec<String> = forbidden.into_iter().collect();
    violation(
        "seccompProfile",
        format!("forbidden {word} {}", list.join(", ")),
    )
}

/// Also the first half of the restricted level's check.
pub(super) fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut is_bad = |profile: Option<&Value>| {
        let Some(profile) = profile else {
            return false;
        };
        let kind = meta::str_at(profile, &["type"]).unwrap_or_default();
        let bad = !matches!(kind, "Localhost" | "RuntimeDefault");
        if bad {
            values.insert(kind.to_owned());
        }
        bad
    };
    let by_pod = is_bad(pod.security("seccompProfile"));
    let names = pod.bad_containers(|container| is_bad(own(container, "seccompProfile")));
    let setters = setters(by_pod, &names)?;
    violation(
        "seccompProfile",
        format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            quoted(values)
        ),
    )
}

fn sysctls(pod: Pod<'_>) -> Option<Violation> {
    sysctls_at(pod, 0)
}

fn sysctls_27(pod: Pod<'_>) -> Option<Violation> {
    sysctls_at(pod, 27)
}

fn sysctls_29(pod: Pod<'_>) -> Option<Violation> {
    sysctls_at(pod, 29)
}

fn sysctls_32(pod: Pod<'_>) -> Option<Violation> {
    sysctls_at(pod, 32)
}

fn sysctls_at(pod: Pod<'_>, minor: u32) -> Option<Violation> {
    let set = meta::items(pod.spec, &["securityContext", "sysctls"]).iter();
    let allowed = |asked: &str| {
        let mut known = SYSCTLS.iter();
        known.any(|(name, from)| *name == asked && *from <= minor)
    };
    let forbidden: Vec<&str> = set.map(name).filter(|asked| !allowed(asked)).collect();
    if forbidden.is_empty() {
        return None;
    }
    violation("forbidden sysctls", forbidden.join(", "))
}

fn host_process(pod: Pod<'_>) -> Option<Violation> {
    let by_pod = is_true(set(
        pod.spec,
        &["securityContext", "windowsOptions", "hostProcess"],
    ));
    let names = pod.bad_containers(|container| {
        is_true(set(
            container,
            &["securityContext", "windowsOptions", "hostProcess"],
        ))
    });
    let setters = setters(by_pod, &names)?;
    violation(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

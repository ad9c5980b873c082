//! SystemVerification: the operating system, its kernel's release, and how the kernel was built.
//!
//! Lists and words are those of k8s.io/system-validators 1.12 (kubeadm 1.36). Options that it calls optional are
//! reported nowhere, as they are not there: their absence stops nothing.

use std::collections::BTreeMap;

use super::Situation;
use crate::{Finding, KernelConfig};

/// Options without which a node does not work; the second name, if any, counts as well.
const REQUIRED: &[(&str, &str)] = &[
    ("NAMESPACES", ""),
    ("NET_NS", ""),
    ("PID_NS", ""),
    ("IPC_NS", ""),
    ("UTS_NS", ""),
    ("CPUSETS", ""),
    ("MEMCG", ""),
    ("INET", ""),
    ("EXT4_FS", ""),
    ("PROC_FS", ""),
    ("NETFILTER_XT_TARGET_REDIRECT", "IP_NF_TARGET_REDIRECT"),
    ("NETFILTER_XT_MATCH_COMMENT", ""),
    ("FAIR_GROUP_SCHED", ""),
];
const REQUIRED_V1: &[(&str, &str)] = &[
    ("CGROUPS", ""),
    ("CGROUP_CPUACCT", ""),
    ("CGROUP_DEVICE", ""),
    ("CGROUP_FREEZER", ""),
    ("CGROUP_PIDS", ""),
    ("CGROUP_SCHED", ""),
];
const REQUIRED_V2: &[(&str, &str)] = &[
    ("CGROUPS", ""),
    ("CGROUP_BPF", ""),
    ("CGROUP_PIDS", ""),
    ("CGROUP_SCHED", ""),
];

/// Every option that is looked at, for whoever reads the file.
pub fn kernel_options() -> impl Iterator<Item = &'static str> {
    let all = [REQUIRED, REQUIRED_V1, REQUIRED_V2].into_iter().flatten();
    all.flat_map(|(name, alias)| [*name, *alias])
        .filter(|name| !name.is_empty())
}

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let facts = situation.facts;
    if facts.kernel_name != "Linux" {
        findings.push(Finding::error(
            "SystemVerification",
            format!("unsupported operating system: {}", facts.kernel_name),
            "Join from a Linux machine.",
        ));
    }
    if situation.is_hollow() {
        return;
    }
    if !is_known_kernel(&facts.kernel) {
        findings.push(Finding::warning(
            "SystemVerification",
            format!(
                "kernel release {} is unsupported. Supported LTS versions from the 5.x series are 5.4, 5.10 and 5.15. Any 6.x version is also supported. For cgroups v2 support, the recommended version is 5.10 or newer",
                facts.kernel
            ),
            "Use a kernel that is still maintained.",
        ));
    }
    kernel_config(situation, findings);
}

fn kernel_config(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let built_in = situation
        .request
        .choose_kubelet(situation.facts)
        .is_built_in();
    match &situation.facts.kernel_config {
        KernelConfig::NotAsked => {}
        KernelConfig::Known { options } => {
            let bad = missing(options, situation.facts.cgroups.version);
            if !bad.is_empty() {
                findings.push(Finding::error(
                    "SystemVerification",
                    format!("unexpected kernel config: {}", bad.join(" ")),
                    "Use a kernel that was built with these options.",
                ));
            }
        }
        // The built-in kubelet starts no containers: nothing depends on the options yet.
        KernelConfig::Unreadable { why } => {
            let message = format!("failed to parse kernel config: {why}");
            let remedy = "Install the kernel's configuration (package linux-image or kernel-core), or ignore this check where it cannot be had.";
            findings.push(if built_in {
                Finding::warning("SystemVerification", message, remedy)
            } else {
                Finding::error("SystemVerification", message, remedy)
            });
        }
    }
}

/// The required options that are neither built in nor a module.
fn missing(options: &BTreeMap<String, char>, cgroup_version: u8) -> Vec<String> {
    let of_cgroups = if cgroup_version == 2 {
        REQUIRED_V2
    } else {
        REQUIRED_V1
    };
    let is_there = |name: &str| matches!(options.get(name), Some('y' | 'm'));
    let wanted = REQUIRED.iter().chain(of_cgroups);
    wanted
        .filter(|(name, alias)| !is_there(name) && !is_there(alias))
        .map(|(name, _)| format!("CONFIG_{name}"))
        .collect()
}

/// The releases that kubeadm 1.36 accepts without a word: `^5\.4`, `^5\.10`, `^5\.15`, and `N.N.N` from 6 on.
fn is_known_kernel(release: &str) -> bool {
    if ["5.4", "5.10", "5.15"]
        .iter()
        .any(|known| release.starts_with(known))
    {
        return true;
    }
    let mut numbers = release.splitn(3, '.');
    let (Some(major), Some(minor), Some(patch)) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all_digits(major)
        && all_digits(minor)
        && patch.starts_with(|c: char| c.is_ascii_digit())
        && major.parse::<u32>().is_ok_and(|major| major >= 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_kubeadm_reads_them() {
        for good in [
            "6.1.0-18-amd64",
            "5.15.0",
            "5.10-rc1",
            "7.0.1",
            "5.4.0",
            "10.0.3",
        ] {
            assert!(is_known_kernel(good), "{good}");
        }
        for bad in [
            "5.14.0-el9",
            "4.19.0",
            "",
            "six",
            "5",
            "6.1",
            "6.x.1",
            "6.1.x",
        ] {
            assert!(!is_known_kernel(bad), "{bad}");
        }
    }

    #[test]
    fn a_module_or_an_alias_is_as_good_as_built_in() {
        let mut options: BTreeMap<String, char> = kernel_options()
            .map(|name| (name.to_owned(), 'y'))
            .collect();
        assert_eq!(missing(&options, 2), Vec::<String>::new());
        options.insert("EXT4_FS".into(), 'm');
        options.remove("NETFILTER_XT_TARGET_REDIRECT");
        assert_eq!(missing(&options, 2), Vec::<String>::new());
        options.insert("IP_NF_TARGET_REDIRECT".into(), 'n');
        options.remove("CGROUP_BPF");
        let bad = ["CONFIG_NETFILTER_XT_TARGET_REDIRECT", "CONFIG_CGROUP_BPF"];
        assert_eq!(missing(&options, 2), bad);
        assert_eq!(
            missing(&options, 1),
            &bad[..1],
            "version 1 does without BPF"
        );
    }
}

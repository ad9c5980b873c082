//! How the kernel was built, and its modules.
//!
//! kubeadm loads the module `configs` where no file tells; nothing is loaded here, as looking changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use muster_plan::KernelConfig;
use muster_plan::checks::kernel_options;
use muster_plan::paths;

/// The largest configuration that is read: real ones have a quarter of a mebibyte.
const LARGEST: usize = 8 << 20;

/// Where a kernel's configuration may be, in kubeadm's order.
fn places(release: &str) -> [String; 9] {
    [
        "/proc/config.gz".into(),
        format!("/boot/config-{release}"),
        format!("/usr/src/linux-{release}/.config"),
        "/usr/src/linux/.config".into(),
        format!("/usr/lib/modules/{release}/config"),
        format!("/usr/lib/ostree-boot/config-{release}"),
        format!("/usr/lib/kernel/config-{release}"),
        format!("/usr/src/linux-headers-{release}/.config"),
        format!("/lib/modules/{release}/build/.config"),
    ]
}

pub(super) async fn config(release: &str) -> KernelConfig {
    let places = places(release);
    let Some(place) = places.iter().find(|place| Path::new(place).exists()) else {
        return KernelConfig::Unreadable {
            why: format!("no config path in [{}] is available", places.join(" ")),
        };
    };
    let text = if place.ends_with(".gz") {
        unpacked(place).await
    } else {
        fs::read(place).map_err(|error| error.to_string())
    };
    match text {
        Ok(text) if text.len() <= LARGEST => KernelConfig::Known {
            options: read_options(&String::from_utf8_lossy(&text)),
        },
        Ok(_) => KernelConfig::Unreadable {
            why: format!("{place} is larger than {LARGEST} bytes"),
        },
        Err(why) => KernelConfig::Unreadable {
            why: format!("{place}: {why}"),
        },
    }
}

/// gzip is on every distribution; the format is not worth a library.
async fn unpacked(path: &str) -> Result<Vec<u8>, String> {
    let output = tokio::process::Command::new("gzip")
        .args(["-dc", path])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("gzip: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!(
            "gzip: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// Lines `CONFIG_NAME=y`, `m` or `n`; others are no options for kubeadm either.
fn read_options(text: &str) -> BTreeMap<String, char> {
    let wanted: BTreeSet<&str> = kernel_options().collect();
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
            let value = value.chars().next().filter(|c| "ymn".contains(*c))?;
            wanted.contains(name).then(|| (name.to_owned(), value))
        })
        .collect()
}

/// The modules that are loaded or built in, of those that matter.
pub(super) fn modules() -> BTreeSet<String> {
    let names = paths::WATCHED_MODULES
        .iter()
        .filter(|name| has_module(name));
    names.map(|name| (*name).to_owned()).collect()
}

/// Whether a module is loaded or built in. One that is built in and has no parameters leaves no trace below
/// `/sys/module`: then what it brings along tells.
pub(crate) fn has_module(name: &str) -> bool {
    let name = name.replace('-', "_");
    if Path::new("/sys/module").join(&name).is_dir() {
        return true;
    }
    match name.as_str() {
        "br_netfilter" => Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists(),
        "nf_conntrack" => Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists(),
        "ip_vs" => Path::new("/proc/net/ip_vs").exists(),
        "overlay" => {
            let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            known
                .lines()
                .any(|line| line.split_ascii_whitespace().last() == Some("overlay"))
        }
        _ => false,
    }
}

/// SELinux's mode, when it is on.
pub(super) fn selinux() -> Option<String> {
    let enforce = fs::read_to_string("/sys/fs/selinux/enforce").ok()?;
    let mode = if enforce.trim() == "1" {
        "enforcing"
    } else {
        "permissive"
    };
    Some(mode.to_owned())
}

pub(super) fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.trim() == "Y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_kubeadm_reads_them() {
        let text = "# CONFIG_NET_NS is not set\nCONFIG_INET=y\n CONFIG_EXT4_FS=m\nCONFIG_MEMCG=\"x\"\nCONFIG_UNKNOWN=y\nnonsense\n";
        let options = read_options(text);
        assert_eq!(
            options,
            BTreeMap::from([("INET".into(), 'y'), ("EXT4_FS".into(), 'm')])
        );
    }
}

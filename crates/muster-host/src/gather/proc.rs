//! What the kernel tells in `/proc` and `/sys` (proc(5), cgroups(7)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use muster_plan::CgroupFact;
use muster_plan::paths::{self, Root};

use crate::HostError;
use crate::local::mounts_below;
use crate::steps::io_error;

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub(super) fn memory() -> Result<u64, HostError> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    Ok(mem_total(&text))
}

fn mem_total(text: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or_default();
    let kib = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .unwrap_or(0);
    kib.saturating_mul(1024)
}

/// The devices of `/proc/swaps`, whose first line is a heading.
pub(super) fn swap() -> Vec<String> {
    let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let devices = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next());
    devices.map(str::to_owned).collect()
}

pub(super) fn cgroups() -> CgroupFact {
    let base = Path::new("/sys/fs/cgroup");
    if let Ok(text) = fs::read_to_string(base.join("cgroup.controllers")) {
        let controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        return CgroupFact {
            version: 2,
            controllers,
            freezer: freezer(base),
        };
    }
    let controllers: BTreeSet<String> =
        v1_controllers(&fs::read_to_string("/proc/cgroups").unwrap_or_default());
    // As kubeadm does it: what the kernel has counts, wherever it is mounted.
    let mounted = controllers.iter().any(|name| base.join(name).is_dir());
    CgroupFact {
        version: u8::from(mounted),
        controllers,
        freezer: None,
    }
}

/// The root group has no such file, but every other has: kubeadm makes one to see it, here those that are there are
/// looked at.
fn freezer(base: &Path) -> Option<bool> {
    let mut groups = fs::read_dir(base).ok()?.flatten().map(|entry| entry.path());
    let group = groups.find(|path| path.join("cgroup.procs").exists())?;
    Some(group.join("cgroup.freeze").exists())
}

/// Lines `name hierarchy cgroups enabled`.
fn v1_controllers(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?;
            (fields.nth(2)? == "1").then(|| name.to_owned())
        })
        .collect()
}

pub(super) fn sysctls() -> BTreeMap<String, String> {
    paths::WATCHED_SYSCTLS
        .iter()
        .filter_map(|key| {
            let value = fs::read_to_string(format!("/proc/sys/{key}")).ok()?;
            Some(((*key).to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// How many files a process may have open.
pub(super) fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

/// What is mounted below the kubelet's directory.
pub(super) fn kubelet_mounts(root: &Root) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Ok(real) = fs::canonicalize(root.dir()) else {
        return Vec::new();
    };
    let below = format!("{}/", paths::KUBELET_DIR);
    mounts_below(&table, &real)
        .into_iter()
        .filter(|path| path.starts_with(&below))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_controllers_are_read() {
        assert_eq!(
            mem_total("MemTotal:       24689764 kB\nMemFree: 1 kB\n"),
            24_689_764 * 1024
        );
        assert_eq!(mem_total("nonsense"), 0);
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t3\t1\t1\nmemory\t0\t1\t0\n";
        assert_eq!(v1_controllers(text), BTreeSet::from(["cpu".to_owned()]));
    }
}

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
        };
    }
    let controllers: BTreeSet<String> =
        v1_controllers(&fs::read_to_string("/proc/cgroups").unwrap_or_default());
    let mounted: BTreeSet<String> = controllers
        .into_iter()
        .filter(|name| base.join(name).is_dir())
        .collect();
    CgroupFact {
        version: u8::from(!mounted.is_empty()),
        controllers: mounted,
    }
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

/// TCP ports in state LISTEN (0A) in this network namespace.
pub(super) fn listening() -> BTreeSet<u16> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .flat_map(|path| listening_in(&fs::read_to_string(path).unwrap_or_default()))
        .collect()
}

fn listening_in(table: &str) -> BTreeSet<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let local = fields.nth(1)?;
            (fields.nth(1)? == "0A").then_some(())?;
            u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
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
    fn listening_ports_are_read_and_others_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            0: 0100007F:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000\n\
            nonsense\n";
        assert_eq!(listening_in(table), BTreeSet::from([10250]));
    }

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

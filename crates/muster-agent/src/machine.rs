//! What this machine is: capacity, names of its kernel and system, identifiers. Read once from
//! `/proc`, `/sys` and `/etc` under a root folder. It decides nothing.

use std::fs;
use std::path::Path;

/// Facts of a machine that a Node reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Logical CPUs.
    pub cpus: usize,
    /// Memory in KiB (`MemTotal`).
    pub memory_kib: u64,
    /// Size of the file system of the kubelet's folder, in KiB.
    pub disk_kib: u64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The firmware's identifier, or the machine id where there is none.
    pub system_uuid: String,
    /// Differs after every boot.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// `PRETTY_NAME` of os-release.
    pub os_image: String,
    /// `kubernetes.io/arch`: Go's name of the architecture.
    pub architecture: &'static str,
}

impl Machine {
    /// Reads the facts. `root` is where `/etc` lies; the kernel is the machine's own.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let machine_id = first_line(&root.join("etc/machine-id"))
            .or_else(|| first_line(Path::new("/etc/machine-id")))
            .unwrap_or_default();
        let system_uuid = first_line(Path::new("/sys/class/dmi/id/product_uuid"))
            .unwrap_or_else(|| machine_id.clone());
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kib: total_memory(),
            disk_kib: disk_size(root),
            system_uuid,
            machine_id,
            boot_id: first_line(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default(),
            kernel_version: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            os_image: os_image(root),
            architecture: architecture(std::env::consts::ARCH),
        }
    }
}

/// A snapshot of what is scarce, for the pressure conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Free and reclaimable memory in KiB (`MemAvailable`).
    pub memory_available_kib: u64,
    /// Free space of the kubelet's file system, in KiB.
    pub disk_available_kib: u64,
    /// Its size, in KiB.
    pub disk_kib: u64,
    /// Processes and threads that run.
    pub processes: u64,
    /// How many may run (`kernel.pid_max`).
    pub processes_limit: u64,
}

impl Usage {
    /// Reads the current usage.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        // "0.00 0.01 0.05 running/total last-pid"
        let processes = loadavg
            .split_whitespace()
            .nth(3)
            .and_then(|part| part.split_once('/'));
        let (available, size) = disk(root);
        Self {
            memory_available_kib: meminfo("MemAvailable:").unwrap_or_default(),
            disk_available_kib: available,
            disk_kib: size,
            processes: processes
                .and_then(|(_, total)| total.parse().ok())
                .unwrap_or_default(),
            processes_limit: first_line(Path::new("/proc/sys/kernel/pid_max"))
                .and_then(|text| text.parse().ok())
                .unwrap_or(u64::MAX),
        }
    }
}

fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn total_memory() -> u64 {
    meminfo("MemTotal:").unwrap_or_default()
}

fn disk_size(root: &Path) -> u64 {
    disk(root).1
}

/// Available and total KiB of the file system under `root`.
fn disk(root: &Path) -> (u64, u64) {
    rustix::fs::statvfs(root).map_or((0, 0), |stat| {
        (
            stat.f_bavail * stat.f_frsize / 1024,
            stat.f_blocks * stat.f_frsize / 1024,
        )
    })
}

fn os_image(root: &Path) -> String {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let text = read(&root.join("etc/os-release"))
        .or_else(|| read(Path::new("/etc/os-release")))
        .unwrap_or_default();
    pretty_name(&text).unwrap_or_else(|| "Linux".to_owned())
}

/// `PRETTY_NAME` of an os-release file (os-release(5)).
fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Go's name for an architecture that Rust names otherwise.
fn architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pretty_name_is_unquoted() {
        assert_eq!(
            pretty_name("ID=x\nPRETTY_NAME=\"Debian 12\"\n").as_deref(),
            Some("Debian 12")
        );
        assert_eq!(pretty_name("ID=x\n"), None);
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let machine = Machine::read(Path::new("/"));
        assert!(machine.cpus > 0 && machine.memory_kib > 0 && machine.disk_kib > 0);
        assert!(!machine.kernel_version.is_empty() && !machine.boot_id.is_empty());
    }
}

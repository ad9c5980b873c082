//! Gathers the facts of this machine: reads, asks, changes nothing.
//!
//! What cannot be seen is left out, not guessed; only what every machine has is an error when missing.

mod network;
mod proc;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use muster_plan::paths::{self, Root};
use muster_plan::{CriSocket, DiskFact, Facts, FileFact, ServiceManager, UnitFact};

use crate::HostError;
use crate::services::Services;
use crate::steps::io_error;

/// Nothing that is asked of the machine may take longer; what does is left out.
const PATIENCE: Duration = Duration::from_millis(800);

/// What runs services on this machine, by the marks that both leave.
pub(crate) fn service_manager() -> ServiceManager {
    if Path::new("/run/systemd/system").is_dir() {
        ServiceManager::Systemd
    } else if Path::new("/run/openrc/softlevel").exists() {
        ServiceManager::OpenRc
    } else {
        ServiceManager::None
    }
}

/// All facts, the slow ones side by side.
pub(crate) async fn facts<S: Services>(
    root: &Root,
    manager: ServiceManager,
    services: &S,
) -> Result<Facts, HostError> {
    let names = rustix::system::uname();
    let hostname = names.nodename().to_string_lossy().into_owned();
    let binaries = binaries();
    let (units, resolves, kubelet_version, cri_sockets) = tokio::join!(
        units(manager, services),
        network::resolves(&hostname),
        kubelet_version(binaries.get("kubelet")),
        cri_sockets(),
    );
    let mut facts = Facts {
        time: Timestamp::now(),
        uid: rustix::process::geteuid().as_raw(),
        hostname_resolves: resolves,
        os: os_name(root),
        kernel_name: names.sysname().to_string_lossy().into_owned(),
        kernel: names.release().to_string_lossy().into_owned(),
        arch: names.machine().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        memory: proc::memory()?,
        swap: proc::swap(),
        cgroups: proc::cgroups(),
        service_manager: manager,
        units: units?,
        binaries,
        kubelet_version,
        cri_sockets,
        listening: proc::listening(),
        files: files(root)?,
        sysctls: proc::sysctls(),
        machine_id: first_line(&root.real("/etc/machine-id")),
        boot_id: first_line("/proc/sys/kernel/random/boot_id"),
        addresses: network::addresses(),
        disk: disk(root),
        proxies: proxies(),
        systemd_resolved: root.is_machine() && is_resolved_running(),
        kubelet_mounts: proc::kubelet_mounts(root),
        hostname,
    };
    // A node below a root directory shares the machine's name unless it is given one.
    facts.hostname = facts.hostname.to_lowercase();
    Ok(facts)
}

async fn units<S: Services>(
    manager: ServiceManager,
    services: &S,
) -> Result<BTreeMap<String, UnitFact>, HostError> {
    let mut units = BTreeMap::new();
    if manager != ServiceManager::None {
        let unit = paths::KUBELET_UNIT;
        units.insert(unit.to_owned(), services.state(unit).await?);
    }
    if manager == ServiceManager::Systemd {
        let unit = paths::MUSTER_KUBELET_UNIT;
        units.insert(unit.to_owned(), services.state(unit).await?);
    }
    Ok(units)
}

fn binaries() -> BTreeMap<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<_> = std::env::split_paths(&path).collect();
    let find = |name: &str| {
        places
            .iter()
            .map(|place| place.join(name))
            .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
    };
    paths::WATCHED_BINARIES
        .iter()
        .filter_map(|name| {
            Some((
                (*name).to_owned(),
                find(name)?.to_string_lossy().into_owned(),
            ))
        })
        .collect()
}

/// `Kubernetes v1.36.2`
async fn kubelet_version(program: Option<&String>) -> Option<String> {
    let mut command = tokio::process::Command::new(program?);
    command
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().strip_prefix("Kubernetes v").map(str::to_owned)
}

async fn cri_sockets() -> Vec<CriSocket> {
    let mut found = Vec::new();
    for path in paths::CRI_SOCKETS {
        found.extend(cri_socket(path).await);
    }
    found
}

/// The socket at a path, and whether something accepts connections on it.
pub(crate) async fn cri_socket(path: &str) -> Option<CriSocket> {
    use std::os::unix::fs::FileTypeExt as _;
    let is_socket = fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return None;
    }
    let connect = tokio::net::UnixStream::connect(path);
    let answers = tokio::time::timeout(PATIENCE, connect)
        .await
        .is_ok_and(|r| r.is_ok());
    Some(CriSocket {
        path: path.to_owned(),
        answers,
    })
}

fn files(root: &Root) -> Result<BTreeMap<String, FileFact>, HostError> {
    let mut files = BTreeMap::new();
    for path in paths::WATCHED {
        let real = root.real(path);
        match fs::symlink_metadata(&real) {
            Ok(metadata) => {
                let fact = if metadata.is_symlink() {
                    FileFact::Symlink
                } else if metadata.is_dir() {
                    let entries = fs::read_dir(&real).map_or(0, Iterator::count);
                    FileFact::Dir {
                        entries: entries as u64,
                    }
                } else if metadata.is_file() {
                    FileFact::File {
                        size: metadata.len(),
                    }
                } else {
                    FileFact::Other
                };
                files.insert((*path).to_owned(), fact);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(io_error("look at", path)(error)),
        }
    }
    Ok(files)
}

/// Room where `/var/lib` is, or will be.
fn disk(root: &Root) -> Option<DiskFact> {
    let place = ["/var/lib", ""]
        .iter()
        .map(|path| root.real(path))
        .find_map(|path| {
            rustix::fs::statvfs(if path.is_empty() { "/" } else { path.as_str() }).ok()
        })?;
    let bytes = |blocks: u64| blocks.saturating_mul(place.f_frsize);
    Some(DiskFact {
        available: bytes(place.f_bavail),
        total: bytes(place.f_blocks),
    })
}

fn proxies() -> BTreeMap<String, String> {
    ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]
        .into_iter()
        .filter_map(|name| {
            let value = std::env::var(name)
                .or_else(|_| std::env::var(name.to_lowercase()))
                .ok()?;
            Some((name.to_owned(), value))
        })
        .collect()
}

fn is_resolved_running() -> bool {
    let stub = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    stub.contains("127.0.0.53") && Path::new("/run/systemd/resolve/resolv.conf").exists()
}

/// `PRETTY_NAME` of os-release; a root directory without one has the machine's.
fn os_name(root: &Root) -> String {
    let places = [
        root.real("/etc/os-release"),
        "/etc/os-release".into(),
        "/usr/lib/os-release".into(),
    ];
    let text = places
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".into(), |name| name.trim_matches('"').to_owned())
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .next()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
}

//! Gathers the facts of this machine: reads, asks, changes nothing.
//!
//! What cannot be seen is left out, not guessed; only what every machine has is an error when missing.

mod kernel;
mod network;
mod proc;
mod route;
mod sockets;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use muster_plan::paths::{self, Root};
use muster_plan::{
    CriSocket, DiskFact, Facts, FileFact, KernelConfig, Route, ServiceManager, Unanswered, UnitFact,
};
use parking_lot::Mutex;

use crate::services::Services;
use crate::steps::io_error;
use crate::{HostError, Subject};

pub(crate) use kernel::has_module;

/// Nothing that is asked of the machine may take longer; what does is left out.
const PATIENCE: Duration = Duration::from_millis(800);
/// As long as kubeadm waits for a container runtime.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);
/// A service manager that is busy with a boot answers late.
const SERVICE_PATIENCE: Duration = Duration::from_secs(3);

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

/// What did not answer in time.
#[derive(Default)]
struct Clockwork(Mutex<Vec<Unanswered>>);

impl Clockwork {
    /// The answer, or a note that there was none within the time that everything has.
    async fn within<T>(&self, what: &str, question: impl Future<Output = T>) -> Option<T> {
        self.limited(what, PATIENCE, question).await
    }

    async fn limited<T>(
        &self,
        what: &str,
        limit: Duration,
        question: impl Future<Output = T>,
    ) -> Option<T> {
        let answer = tokio::time::timeout(limit, question).await;
        if answer.is_err() {
            self.0.lock().push(Unanswered {
                what: what.to_owned(),
                millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            });
        }
        answer.ok()
    }

    /// The same for something that blocks its thread: a file system of a dead server hangs for ever.
    async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let task = tokio::task::spawn_blocking(question);
        self.within(what, task).await?.ok()
    }
}

/// All facts, side by side, each within its time.
pub(crate) async fn facts<S: Services>(
    root: &Root,
    manager: ServiceManager,
    services: &S,
    subject: &Subject,
) -> Result<Facts, HostError> {
    let names = rustix::system::uname();
    let hostname = names.nodename().to_string_lossy().into_owned();
    let kernel = names.release().to_string_lossy().into_owned();
    let binaries = binaries();
    let clock = Clockwork::default();
    let listening = sockets::listening();
    let asked = async {
        tokio::join!(
            clock.limited(
                "the service manager",
                SERVICE_PATIENCE,
                units(manager, services)
            ),
            network::resolves(&hostname),
            node_name_resolves(subject),
            kubelet_version(binaries.get("kubelet")),
            cri_sockets(subject),
            route_to(subject),
        )
    };
    let looked_at = async {
        tokio::join!(
            clock.blocking("the list of processes", {
                let listening = listening.clone();
                move || sockets::running(&listening, Instant::now() + PATIENCE / 2)
            }),
            clock.blocking("the file system of /var/lib", {
                let root = root.clone();
                move || free_room(&root)
            }),
            clock.blocking("the node's files", {
                let (root, paths) = (root.clone(), subject.paths.clone());
                move || files_of(&root, &paths)
            }),
            clock.within("the kernel's configuration", kernel::config(&kernel)),
        )
    };
    let (
        (units, resolves, node_name_resolves, kubelet_version, cri_sockets, route),
        (running, disk, files, kernel_config),
    ) = tokio::join!(asked, looked_at);
    let running = running.unwrap_or_default();
    let files = files.unwrap_or_else(|| Err(hangs(root)))?;
    let units = units.unwrap_or_else(|| Ok(BTreeMap::new()))?;
    let resolv_conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut facts = Facts {
        time: Timestamp::now(),
        uid: rustix::process::geteuid().as_raw(),
        hostname_resolves: resolves,
        node_name_resolves,
        os: os_name(root),
        kernel_name: names.sysname().to_string_lossy().into_owned(),
        kernel,
        arch: names.machine().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        memory: proc::memory()?,
        swap: proc::swap(),
        cgroups: proc::cgroups(),
        service_manager: manager,
        units,
        binaries,
        kubelet_version,
        cri_sockets,
        listening: listening.iter().map(|(port, _)| *port).collect(),
        files,
        sysctls: proc::sysctls(),
        machine_id: first_line(&root.real("/etc/machine-id")),
        boot_id: first_line("/proc/sys/kernel/random/boot_id"),
        addresses: network::addresses(),
        disk: disk.flatten(),
        proxies: proxies(),
        systemd_resolved: root.is_machine() && is_resolved_running(),
        kubelet_mounts: proc::kubelet_mounts(root),
        kernel_config: kernel_config.unwrap_or(KernelConfig::NotAsked),
        holders: running.holders,
        modules: kernel::modules(),
        product_uuid: first_line("/sys/class/dmi/id/product_uuid"),
        interfaces: route::interfaces(),
        route,
        nameservers: route::nameservers(&resolv_conf),
        programs: running.programs,
        ufw: first_line_starting("/etc/ufw/ufw.conf", "ENABLED=yes"),
        selinux: kernel::selinux(),
        apparmor: kernel::apparmor(),
        open_files: proc::open_files(),
        unanswered: clock.0.into_inner(),
        hostname,
    };
    // A node below a root directory shares the machine's name unless it is given one.
    facts.hostname = facts.hostname.to_lowercase();
    Ok(facts)
}

/// Without the node's files nothing can be said of it.
fn hangs(root: &Root) -> HostError {
    HostError::Io {
        action: "look at",
        path: root.real(paths::KUBERNETES_DIR),
        source: io::ErrorKind::TimedOut.into(),
    }
}

async fn node_name_resolves(subject: &Subject) -> Option<bool> {
    network::resolves(subject.node_name.as_deref()?).await
}

async fn route_to(subject: &Subject) -> Option<Route> {
    let (host, port) = subject.api.as_ref()?;
    let look_up = tokio::net::lookup_host((host.as_str(), *port));
    let target = tokio::time::timeout(PATIENCE, look_up)
        .await
        .ok()?
        .ok()?
        .next()?;
    route::to(target)
}

fn first_line_starting(path: &str, start: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.trim().starts_with(start))
}

async fn units<S: Services>(
    manager: ServiceManager,
    services: &S,
) -> Result<BTreeMap<String, UnitFact>, HostError> {
    // One question for all: each is a process.
    let names: &[&str] = match manager {
        ServiceManager::None => &[],
        ServiceManager::OpenRc => &[paths::KUBELET_UNIT],
        ServiceManager::Systemd => &[paths::KUBELET_UNIT, paths::MUSTER_KUBELET_UNIT],
    };
    let states = services.states(names).await?;
    let units = names
        .iter()
        .map(|name| (*name).to_owned())
        .zip(states)
        .collect();
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
        // A Go program that ends at once need not collect its garbage: a third of the time.
        .env("GOGC", "off")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().strip_prefix("Kubernetes v").map(str::to_owned)
}

/// The usual sockets and the one that was named, asked side by side.
async fn cri_sockets(subject: &Subject) -> Vec<CriSocket> {
    let mut places: Vec<&str> = paths::CRI_SOCKETS.to_vec();
    if let Some(path) = &subject.cri_socket
        && !places.contains(&path.as_str())
    {
        places.push(path);
    }
    let mut asked = tokio::task::JoinSet::new();
    for (place, path) in places.into_iter().enumerate() {
        let path = path.to_owned();
        asked.spawn(async move { (place, cri_socket(&path).await) });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().filter_map(|(_, socket)| socket).collect()
}

/// The socket at a path, and what the runtime behind it says.
pub(crate) async fn cri_socket(path: &str) -> Option<CriSocket> {
    use std::os::unix::fs::FileTypeExt as _;
    let is_socket = fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return None;
    }
    let runtime = crate::local::cri::describe(path, RUNTIME_PATIENCE).await;
    Some(CriSocket {
        path: path.to_owned(),
        answers: runtime.silent.is_none(),
        runtime,
    })
}

fn files_of(root: &Root, further: &[String]) -> Result<BTreeMap<String, FileFact>, HostError> {
    let mut files = BTreeMap::new();
    let watched = paths::WATCHED.iter().copied();
    for path in watched.chain(further.iter().map(String::as_str)) {
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
                files.insert(path.to_owned(), fact);
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
fn free_room(root: &Root) -> Option<DiskFact> {
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
        inodes_available: place.f_favail,
        inodes_total: place.f_files,
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

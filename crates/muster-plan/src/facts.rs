//! Everything that is known of a machine before it is touched.
//!
//! Facts are gathered elsewhere and arrive here as one value, so that checks and plans are the same for a machine,
//! a simulation and a saved file. Paths are the node's own (without a root directory before them).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What runs services on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceManager {
    /// systemd is PID 1.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// Neither: what must run is supervised by us.
    None,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum FileFact {
    /// A file.
    File {
        /// Its size in bytes.
        size: u64,
    },
    /// A directory.
    Dir {
        /// How many entries it has.
        entries: u64,
    },
    /// A symbolic link.
    Symlink,
    /// Something else: a socket, a device.
    Other,
}

/// A CRI socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriSocket {
    /// Where it is.
    pub path: String,
    /// Whether something accepts connections on it.
    pub answers: bool,
}

/// A unit of the service manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFact {
    /// Whether the service manager knows it.
    pub exists: bool,
    /// Whether it starts with the machine.
    pub enabled: bool,
    /// Whether it runs, or is being started.
    pub active: bool,
}

/// Room in the file system that holds a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFact {
    /// What an ordinary user may still use.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// The control groups of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFact {
    /// 1 or 2; 0 when none is mounted.
    pub version: u8,
    /// The controllers that can be used.
    pub controllers: BTreeSet<String>,
}

/// Everything gathered of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The machine's clock.
    pub time: Timestamp,
    /// The effective user.
    pub uid: u32,
    /// The machine's own name for itself.
    pub hostname: String,
    /// Whether that name resolves; `None` when it was not tried.
    pub hostname_resolves: Option<bool>,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// The kernel's name, e.g. `Linux`.
    pub kernel_name: String,
    /// The kernel's release, e.g. `6.1.0-18-amd64`.
    pub kernel: String,
    /// The machine's architecture as the kernel names it.
    pub arch: String,
    /// Processors that can be used.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Swap devices in use.
    pub swap: Vec<String>,
    /// Control groups.
    pub cgroups: CgroupFact,
    /// What runs services here.
    pub service_manager: ServiceManager,
    /// The units that matter, by name without suffix.
    pub units: BTreeMap<String, UnitFact>,
    /// Programs found in `PATH`, with their places.
    pub binaries: BTreeMap<String, String>,
    /// What `kubelet --version` says, without the leading `Kubernetes v`.
    pub kubelet_version: Option<String>,
    /// CRI sockets that exist.
    pub cri_sockets: Vec<CriSocket>,
    /// TCP ports on which something listens.
    pub listening: BTreeSet<u16>,
    /// What stands at the paths that matter; absent ones are left out.
    pub files: BTreeMap<String, FileFact>,
    /// Kernel settings by their path below `/proc/sys`.
    pub sysctls: BTreeMap<String, String>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// The kernel's id of this boot.
    pub boot_id: Option<String>,
    /// Addresses by interface, without loopback and link-local ones.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// Room below the node's kubelet directory.
    pub disk: Option<DiskFact>,
    /// Proxy variables of the environment, upper-case names.
    pub proxies: BTreeMap<String, String>,
    /// Whether systemd-resolved answers names here.
    pub systemd_resolved: bool,
    /// Live mounts at or below the kubelet's directory.
    pub kubelet_mounts: Vec<String>,
}

impl Facts {
    /// Facts of a small machine on which a worker join has nothing to object to. For simulations.
    #[must_use]
    pub fn plain(hostname: &str, time: Timestamp) -> Self {
        let sysctls = ["net/ipv4/ip_forward", "net/ipv6/conf/default/forwarding"];
        Self {
            time,
            uid: 0,
            hostname: hostname.to_owned(),
            hostname_resolves: Some(true),
            os: "Simulated Linux".into(),
            kernel_name: "Linux".into(),
            kernel: "6.1.0".into(),
            arch: "x86_64".into(),
            cpus: 2,
            memory: 4 << 30,
            swap: Vec::new(),
            cgroups: CgroupFact {
                version: 2,
                controllers: ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"]
                    .map(String::from)
                    .into(),
            },
            service_manager: ServiceManager::None,
            units: BTreeMap::new(),
            binaries: ["losetup", "mount", "cp"]
                .map(|name| (name.to_owned(), format!("/usr/bin/{name}")))
                .into(),
            kubelet_version: None,
            cri_sockets: Vec::new(),
            listening: BTreeSet::new(),
            files: BTreeMap::new(),
            sysctls: sysctls.map(|name| (name.to_owned(), "1".to_owned())).into(),
            machine_id: Some("0123456789abcdef0123456789abcdef".into()),
            boot_id: None,
            addresses: BTreeMap::new(),
            disk: Some(DiskFact {
                available: 20 << 30,
                total: 40 << 30,
            }),
            proxies: BTreeMap::new(),
            systemd_resolved: false,
            kubelet_mounts: Vec::new(),
        }
    }

    /// The unit of that name; one that does not exist when nothing is known.
    #[must_use]
    pub fn unit(&self, name: &str) -> UnitFact {
        self.units.get(name).copied().unwrap_or_default()
    }
}

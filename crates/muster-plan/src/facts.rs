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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriSocket {
    /// Where it is.
    pub path: String,
    /// Whether a container runtime answers on it.
    pub answers: bool,
    /// What the runtime says of itself; defaults where it was not asked.
    #[serde(default)]
    pub runtime: RuntimeFact,
}

/// What a container runtime says of itself (`runtime.v1`: Version, Status, RuntimeConfig).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeFact {
    /// Its name and version, e.g. `containerd 1.7.24`.
    pub version: Option<String>,
    /// Why nobody answered.
    pub silent: Option<String>,
    /// Why its condition RuntimeReady is not true.
    pub not_ready: Option<String>,
    /// Whether it answers RuntimeConfig; `None` when that was not asked.
    pub tells_config: Option<bool>,
    /// `systemd` or `cgroupfs`, as it says or as its configuration says.
    pub cgroup_driver: Option<String>,
    /// The image of pod sandboxes.
    pub sandbox_image: Option<String>,
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
    /// Files that may still be made; 0 of 0 where the file system does not count them.
    #[serde(default)]
    pub inodes_available: u64,
    /// Files that can be made in all.
    #[serde(default)]
    pub inodes_total: u64,
}

/// What is known of how the kernel was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum KernelConfig {
    /// The options that matter (without `CONFIG_`), each `y`, `m` or `n`; those that the file does not name are
    /// left out.
    Known {
        /// The options.
        options: BTreeMap<String, char>,
    },
    /// No file tells.
    Unreadable {
        /// Why, in words.
        why: String,
    },
    /// Nobody looked.
    NotAsked,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
}

/// The way from this machine to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The interface.
    pub interface: String,
    /// The largest packet on this way, in bytes: a route may have a smaller one than its interface.
    pub mtu: u32,
}

/// Something that was asked of the machine and did not answer in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// What was asked, as a lower-case fragment.
    pub what: String,
    /// How long it had, in milliseconds.
    pub millis: u64,
}

/// The control groups of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFact {
    /// 1 or 2; 0 when none is mounted.
    pub version: u8,
    /// The controllers that can be used.
    pub controllers: BTreeSet<String>,
    /// Version 2: whether groups can be frozen; `None` when that cannot be seen without making a group.
    #[serde(default)]
    pub freezer: Option<bool>,
}

/// Programs that an ordinary Linux has and a node needs.
const WANTED_BINARIES: [&str; 9] = [
    "losetup",
    "mount",
    "umount",
    "cp",
    "ip",
    "iptables",
    "conntrack",
    "ethtool",
    "modprobe",
];

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
    /// Whether the node's name resolves, where it is another one; `None` when it was not tried.
    pub node_name_resolves: Option<bool>,
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
    /// How the kernel was built.
    pub kernel_config: KernelConfig,
    /// Which process holds a port that matters, e.g. `nginx (pid 812)`, where that can be seen.
    pub holders: BTreeMap<u16, String>,
    /// Kernel modules that are loaded or built in, of those that matter.
    pub modules: BTreeSet<String>,
    /// The firmware's id of the machine (`product_uuid`), which the kubelet reports as system UUID.
    pub product_uuid: Option<String>,
    /// Network interfaces by name, without loopback.
    pub interfaces: BTreeMap<String, Interface>,
    /// The default route's interface, or the one that leads to the API server where that is known.
    pub route: Option<Route>,
    /// Name servers of `/etc/resolv.conf`.
    pub nameservers: Vec<String>,
    /// Names of running programs that matter to a node: time services, firewalls, kubelets.
    pub programs: BTreeSet<String>,
    /// Whether ufw is switched on in its configuration.
    pub ufw: bool,
    /// SELinux: `enforcing` or `permissive`; `None` where it is off or absent.
    pub selinux: Option<String>,
    /// Whether AppArmor is on in the kernel.
    pub apparmor: bool,
    /// How many files a process may have open: the hard limit of this process.
    pub open_files: Option<u64>,
    /// What did not answer in time.
    pub unanswered: Vec<Unanswered>,
}

impl Facts {
    /// Facts of a small machine on which a worker join has nothing to object to. For simulations.
    #[must_use]
    pub fn plain(hostname: &str, time: Timestamp) -> Self {
        let sysctls = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/default/forwarding", "1"),
            ("net/bridge/bridge-nf-call-iptables", "1"),
            ("net/bridge/bridge-nf-call-ip6tables", "1"),
            ("fs/inotify/max_user_instances", "8192"),
            ("fs/inotify/max_user_watches", "524288"),
        ];
        Self {
            time,
            uid: 0,
            hostname: hostname.to_owned(),
            hostname_resolves: Some(true),
            node_name_resolves: None,
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
                freezer: Some(true),
            },
            service_manager: ServiceManager::None,
            units: BTreeMap::new(),
            binaries: WANTED_BINARIES
                .map(|name| (name.to_owned(), format!("/usr/bin/{name}")))
                .into(),
            kubelet_version: None,
            cri_sockets: Vec::new(),
            listening: BTreeSet::new(),
            files: BTreeMap::new(),
            sysctls: sysctls
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            machine_id: Some("0123456789abcdef0123456789abcdef".into()),
            boot_id: None,
            addresses: BTreeMap::new(),
            disk: Some(DiskFact {
                available: 20 << 30,
                total: 40 << 30,
                inodes_available: 1 << 20,
                inodes_total: 2 << 20,
            }),
            proxies: BTreeMap::new(),
            systemd_resolved: false,
            kubelet_mounts: Vec::new(),
            kernel_config: KernelConfig::NotAsked,
            holders: BTreeMap::new(),
            modules: ["br_netfilter", "overlay"].map(String::from).into(),
            product_uuid: None,
            interfaces: BTreeMap::new(),
            route: None,
            nameservers: Vec::new(),
            programs: ["chronyd".to_owned()].into(),
            ufw: false,
            selinux: None,
            apparmor: false,
            open_files: Some(1 << 20),
            unanswered: Vec::new(),
        }
    }

    /// The unit of that name; one that does not exist when nothing is known.
    #[must_use]
    pub fn unit(&self, name: &str) -> UnitFact {
        self.units.get(name).copied().unwrap_or_default()
    }
}

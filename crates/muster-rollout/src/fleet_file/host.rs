//! What can be said about one host: how it is reached, what joins it, what made it.
//!
//! It refuses to know defaults and groups; these values are complete.

use std::fmt;

pub use crate::plan::Role;

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Over SSH, to [`super::HostSpec::address`].
    Ssh(SshSettings),
    /// It is a network namespace of this machine, named by [`super::HostSpec::address`].
    Namespace,
    /// It is this machine.
    Local,
}

impl Default for Connection {
    fn default() -> Self {
        Self::Ssh(SshSettings::default())
    }
}

/// How to log in over SSH. What is `None` or empty is left to the user's `ssh_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SshSettings {
    /// The login.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Files with private keys, on this machine; `~/` is the user's home.
    pub identity_files: Vec<String>,
    /// The jump hosts, first to last; empty: none said here.
    pub jump: Vec<JumpHost>,
    /// An `ssh_config` to use instead of the user's own.
    pub config_file: Option<String>,
    /// A `known_hosts` to use instead of the user's own.
    pub known_hosts_file: Option<String>,
}

/// One hop on the way to a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JumpHost {
    /// Its name, address or alias in `ssh_config`.
    pub address: String,
    /// The login there.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Files with private keys, on this machine.
    pub identity_files: Vec<String>,
}

impl fmt::Display for JumpHost {
    /// As `ssh -J` takes it: `user@host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (&self.port, self.address.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.address),
            (Some(port), false) => write!(f, "{}:{port}", self.address),
            (None, _) => f.write_str(&self.address),
        }
    }
}

/// How commands become root's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sudo {
    /// `sudo -n` unless the login is root's already.
    #[default]
    Auto,
    /// The login is all there is.
    Never,
    /// `sudo -n`, always.
    Passwordless,
    /// `sudo -S`, with a password.
    Password(SecretSource),
}

/// Where a secret comes from; never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// Whoever runs the command is asked, once per run.
    Prompt,
    /// A variable of the environment.
    Env(String),
    /// The first line of a file on this machine.
    File(String),
}

/// A taint of a Node (`v1.Taint`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// The key, a label key.
    pub key: String,
    /// The value, maybe empty.
    pub value: String,
    /// The effect.
    pub effect: TaintEffect,
}

impl fmt::Display for Taint {
    /// As kubelet's flag takes it: `key=value:Effect`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}:{}", self.key, self.effect.as_str())
        } else {
            write!(f, "{}={}:{}", self.key, self.value, self.effect.as_str())
        }
    }
}

/// What a taint does (`v1.TaintEffect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaintEffect {
    /// Nothing new is scheduled.
    NoSchedule,
    /// Nothing new is scheduled, if it can be avoided.
    PreferNoSchedule,
    /// What does not tolerate it leaves.
    NoExecute,
}

impl TaintEffect {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// What joins a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMethod {
    /// Our own binary, copied there.
    Muster(MusterMethod),
    /// The host's kubeadm.
    Kubeadm(KubeadmMethod),
    /// The host's k3s.
    K3s(ForeignMethod),
    /// The host's k0s.
    K0s(ForeignMethod),
}

impl Default for HostMethod {
    fn default() -> Self {
        Self::Muster(MusterMethod::default())
    }
}

impl HostMethod {
    /// As it is written.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Muster(_) => "muster",
            Self::Kubeadm(_) => "kubeadm",
            Self::K3s(_) => "k3s",
            Self::K0s(_) => "k0s",
        }
    }
}

/// How our own binary joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MusterMethod {
    /// The binary on this machine that is copied; `None`: the one that runs.
    pub binary: Option<String>,
    /// `muster join --root`; filled in.
    pub root: Option<String>,
    /// `muster join --kubelet`.
    pub kubelet: Kubelet,
    /// `muster join --runtime`.
    pub runtime: Runtime,
    /// `muster join --cri-socket`.
    pub cri_socket: Option<String>,
    /// `muster join --ignore-preflight-errors`.
    pub ignore_preflight_errors: Vec<String>,
    /// More arguments of `muster join`, at the end; filled in.
    pub extra_args: Vec<String>,
}

/// Which kubelet runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kubelet {
    /// The host's own if it has one, else the built-in one.
    #[default]
    Auto,
    /// The host's own.
    System,
    /// The built-in one.
    Builtin,
}

impl Kubelet {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::System => "system",
            Self::Builtin => "builtin",
        }
    }
}

/// What runs containers under the built-in kubelet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// A container runtime.
    #[default]
    Cri,
    /// Nothing: a simulated machine.
    Hollow,
}

impl Runtime {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cri => "cri",
            Self::Hollow => "hollow",
        }
    }
}

/// How kubeadm joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KubeadmMethod {
    /// The program on the host; `None`: `kubeadm` in root's path.
    pub binary: Option<String>,
    /// `nodeRegistration.criSocket`.
    pub cri_socket: Option<String>,
    /// `nodeRegistration.ignorePreflightErrors`.
    pub ignore_preflight_errors: Vec<String>,
    /// More arguments of `kubeadm join`, at the end; filled in.
    pub extra_args: Vec<String>,
}

/// How k3s or k0s joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ForeignMethod {
    /// The program on the host; `None`: by its name in root's path.
    pub binary: Option<String>,
    /// More arguments of `k3s agent` or `k0s install worker`, at the end; filled in.
    pub extra_args: Vec<String>,
}

/// What makes a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// It is there.
    #[default]
    None,
    /// Vagrant.
    Vagrant(VagrantSettings),
    /// Commands of the user's.
    Command(CommandSettings),
    /// A network namespace of this machine with a root directory of its own.
    Local(LocalSettings),
}

impl Provider {
    /// As it is written.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Vagrant(_) => "vagrant",
            Self::Command(_) => "command",
            Self::Local(_) => "local",
        }
    }
}

/// How big a machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Processors, at least 1.
    pub cpus: u32,
    /// Memory in MiB, at least 1.
    pub memory: u32,
}

impl Default for Size {
    /// 2 processors and 8192 MiB.
    fn default() -> Self {
        Self {
            cpus: 2,
            memory: 8192,
        }
    }
}

/// A machine by Vagrant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VagrantSettings {
    /// The directory with the Vagrantfile on this machine; one is made where there is none.
    pub directory: String,
    /// The box; needed where the machine is not in the Vagrantfile.
    pub image: Option<String>,
    /// How big.
    pub size: Size,
}

/// A machine by commands, run on this machine through `/bin/sh -c`. `{name}`, `{address}`, `{cpus}` and `{memory}` are
/// filled in, and stand in the environment as `MUSTER_NODE_NAME`, `MUSTER_NODE_ADDRESS`, `MUSTER_CPUS`, `MUSTER_MEMORY_MB`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandSettings {
    /// Makes it, also when some of it is there already. If it prints a last line `address=ADDRESS`, the host is there.
    pub create: String,
    /// Unmakes it, also when nothing is there.
    pub destroy: String,
    /// How big.
    pub size: Size,
}

/// A machine that is a network namespace of this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalSettings {
    /// The directory below which it has one of its own, with `root` in it.
    pub directory: String,
}

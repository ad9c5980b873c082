//! Every check by name: who runs it and how bad its findings can be. `docs/reference/preflight.md` is held to this list.

use crate::{Finding, Severity};

/// How bad a check's findings can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only warnings.
    Warning,
    /// Only errors.
    Error,
    /// Both, depending on what is found.
    Either,
}

impl Level {
    /// The word on the reference page.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Either => "both",
        }
    }

    fn allows(self, severity: Severity) -> bool {
        match self {
            Self::Warning => severity == Severity::Warning,
            Self::Error => severity == Severity::Error,
            Self::Either => true,
        }
    }
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckEntry {
    /// Its name; a part in angle brackets stands for what it names.
    pub name: &'static str,
    /// How bad its findings can be.
    pub level: Level,
    /// Only control-plane nodes run it.
    pub control_plane: bool,
    /// kubeadm 1.36 has a check of this name on joins.
    pub kubeadm: bool,
}

impl CheckEntry {
    /// Whether a finding may come from this check.
    #[must_use]
    pub fn may_find(&self, finding: &Finding) -> bool {
        let named = match self.name.split_once('<') {
            None => finding.id == self.name,
            Some((prefix, _)) => finding
                .id
                .strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty()),
        };
        // What is ignored was an error before.
        let severity = if finding.ignored {
            Severity::Error
        } else {
            finding.severity
        };
        named && self.level.allows(severity)
    }
}

const fn of(name: &'static str, level: Level, control_plane: bool, kubeadm: bool) -> CheckEntry {
    CheckEntry {
        name,
        level,
        control_plane,
        kubeadm,
    }
}

/// Every check, in the order of the reference page: kubeadm's, those of control-plane nodes, ours.
pub const CATALOGUE: &[CheckEntry] = &[
    of("IsPrivilegedUser", Level::Error, false, true),
    of("FileAvailable-<path>", Level::Error, false, true),
    of("CRI", Level::Error, false, true),
    of("ContainerRuntimeVersion", Level::Warning, false, true),
    of("Swap", Level::Warning, false, true),
    of("FileExisting-<program>", Level::Either, false, true),
    of("SystemVerification", Level::Either, false, true),
    of("Hostname", Level::Warning, false, true),
    of("KubeletVersion", Level::Error, false, true),
    of("Service-<unit>", Level::Either, false, true),
    of("Port-<port>", Level::Error, false, true),
    of("HTTPProxy", Level::Warning, false, true),
    of("FileContent-<path>", Level::Either, false, true),
    of("NumCPU", Level::Error, true, true),
    of("Mem", Level::Error, true, true),
    of("KubernetesVersion", Level::Warning, true, true),
    of("Firewalld", Level::Warning, false, true),
    of("HTTPProxyCIDR", Level::Either, true, true),
    of("DirAvailable-<path>", Level::Error, true, true),
    of("ExternalEtcdClientCertificates", Level::Error, true, true),
    of("ImagePull", Level::Either, true, true),
    of("SharedCertificates", Level::Error, true, false),
    of("RootDirectory", Level::Error, false, false),
    of("ApiServer", Level::Error, false, false),
    of("ClockSkew", Level::Either, false, false),
    of("TimeSync", Level::Warning, false, false),
    of("NodeName", Level::Either, false, false),
    of("MachineId", Level::Warning, false, false),
    of("CgroupDriver", Level::Error, false, false),
    of("DiskSpace", Level::Either, false, false),
    of("Inodes", Level::Either, false, false),
    of("BridgeNetfilter", Level::Warning, false, false),
    of("InotifyLimits", Level::Warning, false, false),
    of("OpenFiles", Level::Warning, false, false),
    of("NodeIP", Level::Either, false, false),
    of("KubeletArgs", Level::Warning, false, false),
    of("ClusterDNS", Level::Warning, false, false),
    of("Mtu", Level::Warning, false, false),
    of("ResolvConf", Level::Warning, false, false),
    of("Firewall", Level::Warning, false, false),
    of("SecurityModules", Level::Warning, false, false),
    of("OtherDistribution", Level::Error, false, false),
    of("LiveMounts", Level::Warning, false, false),
    of("Leftovers", Level::Warning, false, false),
    of("Unanswered", Level::Warning, false, false),
];

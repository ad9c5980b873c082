//! Where a joined node keeps things: kubeadm's paths, then ours.
//!
//! All are absolute on the node; a root directory (`--root`) is put before them by whoever touches the disk, and by
//! [`Root::real`] where a file names another. Source of the modes: the files of a node that kubeadm 1.36 joined.

/// kubeadm's directory.
pub const KUBERNETES_DIR: &str = "/etc/kubernetes";
/// The kubelet's credentials.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// What kubeadm hands a kubelet that fetches its own certificate. We never write it; it must not be there.
pub const BOOTSTRAP_KUBELET_CONF: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// The directory of the cluster's CA.
pub const PKI_DIR: &str = "/etc/kubernetes/pki";
/// The cluster's CA, for the kubelet to verify its clients.
pub const CA_CRT: &str = "/etc/kubernetes/pki/ca.crt";
/// Static pods.
pub const MANIFESTS_DIR: &str = "/etc/kubernetes/manifests";
/// The kubelet's directory.
pub const KUBELET_DIR: &str = "/var/lib/kubelet";
/// The kubelet's configuration.
pub const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
/// What is particular to this machine in it.
pub const INSTANCE_CONFIG: &str = "/var/lib/kubelet/instance-config.yaml";
/// Flags that the packaged unit hands to the kubelet.
pub const FLAGS_ENV: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// The kubelet's certificates.
pub const KUBELET_PKI_DIR: &str = "/var/lib/kubelet/pki";
/// The kubelet's private key until there is a certificate, as the kubelet itself names it.
pub const KUBELET_KEY_TMP: &str = "/var/lib/kubelet/pki/kubelet-client.key.tmp";
/// The link to the certificate and key in use.
pub const KUBELET_CLIENT_CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// The certificate with which the kubelet serves unless the cluster signs one.
pub const KUBELET_SERVING_CRT: &str = "/var/lib/kubelet/pki/kubelet.crt";
/// Its key.
pub const KUBELET_SERVING_KEY: &str = "/var/lib/kubelet/pki/kubelet.key";
/// The data of a stacked etcd member, unless the cluster configures another place.
pub const ETCD_DATA_DIR: &str = "/var/lib/etcd";
/// The configuration of network plugins.
pub const CNI_CONF_DIR: &str = "/etc/cni/net.d";
/// What network plugins remember.
pub const CNI_STATE_DIR: &str = "/var/lib/cni";
/// The logs of pods, by pod.
pub const POD_LOGS: &str = "/var/log/pods";
/// Links to them, by container.
pub const CONTAINER_LOGS: &str = "/var/log/containers";
/// Modules to be loaded at boot, as `muster preflight --fix` writes them.
pub const MODULES_CONF: &str = "/etc/modules-load.d/90-muster.conf";
/// Kernel settings at boot, as `muster preflight --fix` writes them.
pub const SYSCTL_CONF: &str = "/etc/sysctl.d/90-muster.conf";
/// Our own directory: the journal and the backups.
pub const STATE_DIR: &str = "/var/lib/muster";
/// The journal.
pub const JOURNAL: &str = "/var/lib/muster/state.db";
/// Copies of files that a step replaced, one per step, until the saga ends.
pub const BACKUP_DIR: &str = "/var/lib/muster/backup";
/// Locked while a join or reset runs.
pub const LOCK: &str = "/var/lib/muster/lock";
/// Process ids of what we supervise.
pub const RUN_DIR: &str = "/run/muster";
/// The supervised kubelet's process id.
pub const KUBELET_PID: &str = "/run/muster/kubelet.pid";
/// Logs of what we supervise.
pub const LOG_DIR: &str = "/var/log/muster";
/// The supervised kubelet's log.
pub const KUBELET_LOG: &str = "/var/log/muster/kubelet.log";
/// Where our own unit goes.
pub const UNIT_DIR: &str = "/etc/systemd/system";
/// The built-in kubelet's unit.
pub const MUSTER_KUBELET_UNIT: &str = "muster-kubelet.service";
/// The packaged kubelet's unit.
pub const KUBELET_UNIT: &str = "kubelet";

/// Paths whose presence the checks want to know.
pub const WATCHED: &[&str] = &[
    KUBELET_CONF,
    BOOTSTRAP_KUBELET_CONF,
    CA_CRT,
    KUBELET_DIR,
    KUBELET_CLIENT_CURRENT,
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
    "/etc/kubernetes/pki/ca.key",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "/etc/kubernetes/manifests/kube-scheduler.yaml",
    "/etc/kubernetes/manifests/etcd.yaml",
    FLAGS_ENV,
    ETCD_DATA_DIR,
    CNI_CONF_DIR,
    CNI_STATE_DIR,
    JOURNAL,
];

/// Programs that the checks look for in `PATH`.
pub const WATCHED_BINARIES: &[&str] = &[
    "kubelet",
    "containerd",
    "crio",
    "losetup",
    "mount",
    "umount",
    "cp",
    "ip",
    "iptables",
    "nft",
    "conntrack",
    "ethtool",
    "modprobe",
    "openrc",
    "systemctl",
    "rc-service",
];

/// Kernel settings that the checks look at.
pub const WATCHED_SYSCTLS: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv6/conf/default/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
];

/// Kernel modules that the checks look for below `/sys/module`.
pub const WATCHED_MODULES: &[&str] = &["br_netfilter", "overlay", "nf_conntrack", "ip_vs"];

/// Programs whose running tells something about a node (their names as the kernel cuts them, 15 characters).
pub const WATCHED_PROGRAMS: &[&str] = &[
    "chronyd",
    "ntpd",
    "systemd-timesyn",
    "openntpd",
    "ntpd-rs",
    "ptp4l",
    "phc2sys",
    "vmtoolsd",
    "VBoxService",
    "firewalld",
    "kubelet",
    "k3s-server",
    "k3s-agent",
    "k0s",
    "rke2",
    "microk8s",
    "kubelite",
];

/// Kernel settings that are read from a file below `/proc/sys`, without it.
pub const PROC_SYS: &str = "/proc/sys";

/// CRI sockets, as kubeadm dials them, in its order.
pub const CRI_SOCKETS: &[&str] = &[
    "/var/run/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
];

/// The directory that stands for `/` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(String);

impl Root {
    /// Takes a directory; `/` and the empty text mean the machine's own root.
    #[must_use]
    pub fn new(dir: &str) -> Self {
        Self(dir.trim_end_matches('/').to_owned())
    }

    /// Whether this is the machine's own root.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory as it was given; `/` for the machine's own.
    #[must_use]
    pub fn dir(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The path on the machine of a path on the node.
    #[must_use]
    pub fn real(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_goes_before_every_path_and_the_machines_own_changes_nothing() {
        assert_eq!(Root::new("/").real(CA_CRT), CA_CRT);
        assert_eq!(
            Root::new("/tmp/n1/").real(CA_CRT),
            "/tmp/n1/etc/kubernetes/pki/ca.crt"
        );
        assert_eq!(Root::new("").dir(), "/");
        assert!(!Root::new("/tmp/n1").is_machine());
    }
}

//! `muster reset`: how far taking a machine out of its cluster goes.

use clap::Args;
use std::path::PathBuf;

/// Flags of `muster reset`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reset {
    /// Every path lies under this folder
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// Also delete the Node object, with this kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Say what would be done, and do not do it
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also remove configuration, state and interfaces of network plugins
    #[arg(long)]
    pub(crate) cni: bool,
    /// Also remove the packet filter's chains of kube-proxy and network plugins
    #[arg(long)]
    pub(crate) firewall: bool,
    /// Also remove what kubeadm left in /etc/kubernetes/tmp
    #[arg(long)]
    pub(crate) cleanup_tmp_dir: bool,
    /// Where the certificates of a node without journal are
    #[arg(long, default_value = "/etc/kubernetes/pki", value_name = "DIR")]
    pub(crate) cert_dir: String,
    /// The CRI socket whose pods go, for a node without journal; else every one that answers
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cri_socket: Option<String>,
    /// Leave the etcd member that runs here in its cluster
    #[arg(long)]
    pub(crate) keep_etcd_member: bool,
}

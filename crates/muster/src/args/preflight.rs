//! `muster preflight`: the checks alone, and what mends the machine.

use crate::args::join::KubeletChoice;
use crate::args::kubelet::Runtime;
use clap::Args;
use std::path::PathBuf;

/// Flags of `muster preflight`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Preflight {
    /// API servers to look at, HOST:PORT: whether they can be reached, their clocks, their versions
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoints: Vec<String>,
    /// Also the checks of a control-plane node
    #[arg(long)]
    pub(crate) control_plane: bool,
    /// The address that the API server on this machine would tell to others
    #[arg(
        long = "apiserver-advertise-address",
        requires = "control_plane",
        value_name = "ADDRESS"
    )]
    pub(crate) advertise_address: Option<String>,
    /// Its port
    #[arg(
        long = "apiserver-bind-port",
        requires = "control_plane",
        default_value_t = 6443,
        value_name = "PORT"
    )]
    pub(crate) bind_port: u16,
    /// The node's name; else this machine's host name
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Which kubelet would run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kubelet: KubeletChoice,
    /// What would run containers
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runtime: Runtime,
    /// The CRI socket; else the only one that answers
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cri_socket: Option<String>,
    /// Compare with the cluster's Nodes, as whoever this kubeconfig names
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Checks whose failure is only a warning; `all` for all
    #[arg(long, value_delimiter = ',', value_name = "CHECKS")]
    pub(crate) ignore_preflight_errors: Vec<String>,
    /// Load modules, set kernel settings and switch swap off, now and for the next boot
    #[arg(long)]
    pub(crate) fix: bool,
    /// With --fix: do not ask
    #[arg(short, long, requires = "fix")]
    pub(crate) yes: bool,
    /// With --fix: say what would be done, and do not do it
    #[arg(long, requires = "fix", conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Take back what --fix did
    #[arg(long, conflicts_with_all = ["fix", "endpoints", "control_plane"])]
    pub(crate) undo: bool,
    /// Every path lies under this folder
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
}

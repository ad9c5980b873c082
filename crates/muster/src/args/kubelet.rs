//! `muster kubelet` and `muster supervise`.

use clap::{Args, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// What runs containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// A container runtime over its CRI socket
    #[default]
    Cri,
    /// Nothing: a simulated machine, labelled muster.dev/hollow=true
    Hollow,
}

/// What a node says of itself when it registers.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeFlags {
    /// The node's address, or one of each family; else the one that packets to the API server leave from
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub(crate) node_ip: Vec<IpAddr>,
    /// Labels to register with: key=value,…
    #[arg(long, value_delimiter = ',', value_name = "LABELS")]
    pub(crate) node_labels: Vec<String>,
    /// Taints to register with: key=value:effect,…
    #[arg(long, value_delimiter = ',', value_name = "TAINTS")]
    pub(crate) register_with_taints: Vec<String>,
}

/// Flags of the built-in kubelet.
#[derive(Args, Clone, Debug)]
pub(crate) struct Kubelet {
    /// Every path lies under this folder
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// What runs containers
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runtime: Runtime,
    /// The CRI socket; else the one of the kubelet configuration, else containerd's
    #[arg(long, value_name = "SOCKET")]
    pub(crate) container_runtime_endpoint: Option<String>,
    /// The node's name; else the one in its certificate
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname_override: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

/// Flags of the supervisor.
#[derive(Args, Clone, Debug)]
pub(crate) struct Supervise {
    /// Where to tell who runs; held locked, so that there is never a second supervisor
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: PathBuf,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

//! `muster node`: one node into a cluster and out of it, and which there are.

use crate::args::fleet::{Listeners, State, Way};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Add a node to a cluster, list nodes, take one out.
#[derive(Args, Clone, Debug)]
pub(crate) struct Node {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do with nodes.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Verb {
    /// Make a machine if it is not there, join it, and wait until its Node is Ready; or leave nothing behind
    Add(Box<Add>),
    /// List the nodes of a cluster
    List(List),
    /// Drain a node, delete it, and reset its machine
    Remove(Box<Remove>),
}

/// What makes the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Nothing: it is there
    None,
    /// Vagrant
    Vagrant,
    /// Commands of your own: --create and --destroy
    Command,
    /// A network namespace of this machine
    Local,
}

/// How a single host is reached and joined.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HostFlags {
    /// A fleet file: the cluster, the defaults, and the host itself if it is in there
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Its groups in the fleet file
    #[arg(long = "group", value_name = "GROUP", requires = "file")]
    pub(crate) groups: Vec<String>,
    /// The SSH address, or an alias of ssh_config; else the name
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["namespace", "local"])]
    pub(crate) address: Option<String>,
    /// The login
    #[arg(long, value_name = "USER")]
    pub(crate) ssh_user: Option<String>,
    /// The SSH port
    #[arg(long, value_name = "PORT")]
    pub(crate) ssh_port: Option<u16>,
    /// A private key for SSH
    #[arg(long, value_name = "FILE")]
    pub(crate) identity_file: Option<String>,
    /// Jump hosts, first to last: USER@HOST:PORT,…
    #[arg(long, value_delimiter = ',', value_name = "HOSTS")]
    pub(crate) jump: Vec<String>,
    /// The host is this network namespace of this machine
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    pub(crate) namespace: Option<String>,
    /// The host is this machine
    #[arg(long)]
    pub(crate) local: bool,
    /// What joins it: muster, kubeadm, k3s or k0s
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// A directory that stands for / (method muster)
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<String>,
    /// What makes the machine; else as the fleet file says, else nothing
    #[arg(long, value_enum, value_name = "PROVIDER")]
    pub(crate) provider: Option<Provider>,
    /// Processors of a machine that is made [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpus: Option<u32>,
    /// Memory of a machine that is made, in MiB [default: 8192]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) memory: Option<u32>,
    /// Where machines of Vagrant, or the roots of namespaces, are kept
    #[arg(long, value_name = "DIR", requires = "provider")]
    pub(crate) directory: Option<String>,
    /// The box that Vagrant makes it of
    #[arg(long = "box", value_name = "BOX", requires = "provider")]
    pub(crate) image: Option<String>,
    /// The line for the shell that makes it
    #[arg(long, value_name = "LINE", requires = "provider")]
    pub(crate) create: Option<String>,
    /// The line for the shell that unmakes it
    #[arg(long, value_name = "LINE", requires = "provider")]
    pub(crate) destroy: Option<String>,
}

/// Flags of `node add`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Add {
    /// The name of the machine and of its Node
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) host: HostFlags,
    /// Labels of the Node: key=value,…
    #[arg(long, value_delimiter = ',', value_name = "LABELS")]
    pub(crate) labels: Vec<String>,
    /// Simulate the machine: no containers (method muster)
    #[arg(long)]
    pub(crate) hollow: bool,
    /// How long the Node may take to become Ready, such as 5m
    #[arg(long, value_name = "DURATION")]
    pub(crate) ready_timeout: Option<String>,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) way: Way,
    #[command(flatten)]
    pub(crate) listeners: Listeners,
}

/// Flags of `node list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// The kubeconfig to use; else $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Flags of `node remove`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remove {
    /// The name of the Node
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) host: HostFlags,
    /// How long pods may take to leave
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub(crate) drain_timeout: String,
    /// Evict pods that no controller makes again elsewhere
    #[arg(long)]
    pub(crate) force: bool,
    /// Evict pods whose emptyDir volumes are lost with them
    #[arg(long)]
    pub(crate) delete_emptydir_data: bool,
    /// Leave the machine as it is: for machines that are gone
    #[arg(long)]
    pub(crate) no_reset: bool,
    #[command(flatten)]
    pub(crate) way: Way,
}

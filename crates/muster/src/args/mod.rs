//! The command line. It says what can be asked for; it does nothing.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod control_plane;
pub(crate) mod csr;
pub(crate) mod fleet;
pub(crate) mod join;
pub(crate) mod kubeadm;
pub(crate) mod kubelet;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod playground;
pub(crate) mod preflight;
pub(crate) mod reset;
pub(crate) mod server;
pub(crate) mod token;

use crate::printer::Output;
use clap::{Parser, Subcommand};

/// Gets machines into Kubernetes clusters: any join credential, one machine or a thousand,
/// nothing left half-joined.
#[derive(Parser)]
#[command(
    name = "muster",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// How much to log on standard error: -v info, -vv debug, -vvv trace.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Format of results and events.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What muster can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// A control plane and nodes on this machine: the two-minute try-out
    Playground(playground::Playground),
    /// Run the embedded control plane
    Server(server::Server),
    /// Join this machine to a cluster
    Join(Box<join::Join>),
    /// One node: add it with its machine, list nodes, drain and remove one
    Node(node::Node),
    /// Check this machine without changing it; --fix mends what is safe to mend
    Preflight(preflight::Preflight),
    /// Undo what a join did to this machine
    Reset(reset::Reset),
    /// Join many machines as one run: all of them, or none half-joined
    Fleet(fleet::Fleet),
    /// Run the built-in kubelet, for machines without one
    Kubelet(kubelet::Kubelet),
    /// Create, list and delete bootstrap tokens
    Token(token::Token),
    /// Print, check and migrate kubeadm's configuration files; list images
    Config(kubeadm::AsKubeadm),
    /// Look at, renew and request a control plane's certificates
    Certs(kubeadm::AsKubeadm),
    /// Make a kubeconfig for somebody more
    Kubeconfig(kubeadm::AsKubeadm),
    /// Single phases of kubeadm's init: tokens and RBAC, configuration, certificates, join lines
    Init(kubeadm::AsKubeadm),
    /// List certificate requests, approve and deny them
    Csr(csr::Csr),
    /// Turn JoinTokenRequests into join tokens
    Operator(operator::Operator),
    /// Join simulated nodes to a cluster and say how long it took
    Bench(bench::Bench),
    /// Keep a process running (used where there is no service manager)
    #[command(hide = true)]
    Supervise(kubelet::Supervise),
}

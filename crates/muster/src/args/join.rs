//! `muster join` and `muster reset`: the flags of kubeadm for workers, and our own.

use crate::args::kubelet::{NodeFlags, Runtime};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What a join waits for at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// The Node exists
    #[default]
    Registered,
    /// The Node is Ready
    Ready,
    /// Nothing beyond the started kubelet
    None,
}

/// Which kubelet runs on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KubeletChoice {
    /// The machine's own, if it has one; else the built-in one
    #[default]
    Auto,
    /// The machine's own, through its service manager
    System,
    /// The built-in one
    Builtin,
}

/// Flags of `muster join`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Join {
    /// The API server, HOST:PORT
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: String,
    /// The bootstrap token, `id.secret`; `-` reads it from standard input
    #[arg(
        long,
        env = "MUSTER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Pin of a CA key: sha256:HEX; may be repeated
    #[arg(
        long = "discovery-token-ca-cert-hash",
        value_delimiter = ',',
        value_name = "PIN"
    )]
    pub(crate) pins: Vec<String>,
    /// Trust any CA that is signed with the token: whoever knows the token may pose as the cluster
    #[arg(long = "discovery-token-unsafe-skip-ca-verification")]
    pub(crate) unsafe_skip_ca_verification: bool,
    /// The node's name; else this machine's host name
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// The CRI socket; else the first one that is found
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cri_socket: Option<String>,
    /// Which kubelet to run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kubelet: KubeletChoice,
    /// What runs containers under the built-in kubelet
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runtime: Runtime,
    /// Checks whose failure is only a warning; `all` for all
    #[arg(long, value_delimiter = ',', value_name = "CHECKS")]
    pub(crate) ignore_preflight_errors: Vec<String>,
    /// When the join counts as done
    #[arg(long, value_enum, default_value_t)]
    pub(crate) wait: Wait,
    /// How long to wait for the certificate and for the node
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub(crate) timeout: String,
    /// Leave everything as it is when the join fails
    #[arg(long)]
    pub(crate) keep_on_failure: bool,
    /// Say what would be done, after checking the credential against the cluster
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Every path lies under this folder, so that several nodes can live on one machine
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
}

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
}

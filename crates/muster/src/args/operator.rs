//! `muster operator`.

use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The operator of JoinTokenRequests.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Operator {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// The kubeconfig of the cluster with the requests; else the account of the pod that this runs in, else
    /// $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Where the Lease is kept, and what could not be removed yet; the pod's namespace, else kube-system
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// The name of this operator among others; a random one outside of pods
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// Where /healthz, /readyz and /metrics are served. Port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub(crate) bind: SocketAddr,
    /// Work at once, without waiting for the Lease
    #[arg(long)]
    pub(crate) no_leader_election: bool,
    /// How long the Lease is good for when its holder vanishes; at least 3s
    #[arg(long, default_value = "15s", value_name = "DURATION")]
    pub(crate) lease_duration: String,
    /// How many requests are worked on at the same time
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) concurrency: u16,
    /// How many writes to clusters are begun in a second
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(crate) rate: u32,
    /// How the log on standard error is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// What else there is.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Verb {
    /// Print the manifests that a cluster needs: definition, rights, Deployment
    Manifests(Manifests),
}

/// Flags of `operator manifests`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Manifests {
    /// The namespace that the operator runs in
    #[arg(
        long = "operator-namespace",
        default_value = "muster-system",
        value_name = "NAMESPACE"
    )]
    pub(crate) namespace: String,
    /// The image that has muster as its entry point
    #[arg(long, default_value = concat!("muster:", env!("CARGO_PKG_VERSION")), value_name = "IMAGE")]
    pub(crate) image: String,
    /// How many operators run; one leads
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) replicas: u32,
    /// Only the definition of JoinTokenRequests
    #[arg(long)]
    pub(crate) crd_only: bool,
}

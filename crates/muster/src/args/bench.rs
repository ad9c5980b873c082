//! `muster bench`.

use clap::Args;
use std::path::PathBuf;

/// Joins simulated nodes with the whole protocol, each over connections of its own.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
    /// The cluster; else $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How many nodes join
    #[arg(long, default_value_t = 1000)]
    pub(crate) nodes: usize,
    /// How many join at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,
    /// Names are PREFIX-0, PREFIX-1, …
    #[arg(long, default_value = "bench", value_name = "PREFIX")]
    pub(crate) name_prefix: String,
    /// Delete the Nodes afterwards
    #[arg(long)]
    pub(crate) clean: bool,
}

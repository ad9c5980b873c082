//! `muster csr`: the certificate requests that joins leave for a person to decide.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Certificate signing requests, on any cluster.
#[derive(Args)]
pub(crate) struct Csr {
    /// The kubeconfig to use; else $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do with requests.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the requests: who asks for what, and what became of it
    List,
    /// Approve requests
    Approve {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Deny requests; a join that waits for one stops at once
    Deny {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Why, for the one who asked
        #[arg(
            long,
            default_value = "denied by an administrator",
            value_name = "TEXT"
        )]
        reason: String,
    },
}

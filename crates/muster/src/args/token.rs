//! `muster token`: the flags of `kubeadm token`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Bootstrap tokens, on any cluster.
#[derive(Args)]
pub(crate) struct Token {
    /// The kubeconfig to use; else $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Say what would be done, and do not do it
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do with tokens.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Create a token on the cluster
    Create(Create),
    /// List the tokens of the cluster
    List,
    /// Delete tokens, named by id or in full
    Delete {
        /// Ids (`abcdef`) or whole tokens (`abcdef.0123456789abcdef`)
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Print a random token without asking a cluster
    Generate,
}

/// Flags of `token create`.
#[derive(Args)]
pub(crate) struct Create {
    /// The token (`id.secret`); a random one if left out. `-` reads it from standard input
    #[arg(value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// How long it lives: 1s, 2m, 24h0m0s; 0 is for ever
    #[arg(long, default_value = "24h0m0s", value_name = "DURATION")]
    pub(crate) ttl: String,
    /// What it may be used for
    #[arg(long, value_delimiter = ',', default_value = "signing,authentication")]
    pub(crate) usages: Vec<String>,
    /// Extra groups of who comes with it
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "system:bootstrappers:kubeadm:default-node-token"
    )]
    pub(crate) groups: Vec<String>,
    /// What it is for, for people
    #[arg(long, default_value = "")]
    pub(crate) description: String,
    /// Print the whole join line instead of the token alone
    #[arg(long)]
    pub(crate) print_join_command: bool,
    /// Print the line for a control-plane node, with this key of the uploaded certificates
    #[arg(long, value_name = "KEY", requires = "print_join_command")]
    pub(crate) certificate_key: Option<String>,
}

//! `muster token`: the flags of `kubeadm token`, and those of `k0s token` for its join tokens.

use clap::{Args, Subcommand, ValueEnum};
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
    Create(Box<Create>),
    /// Say what is in a token, of whatever kind; its secret stays hidden
    Inspect(Inspect),
    /// List the tokens of the cluster
    List {
        /// Only those that let in this role
        #[arg(long, value_enum, value_name = "ROLE")]
        role: Option<Role>,
    },
    /// Delete tokens, named by id or in full
    Delete {
        /// Ids (`abcdef`) or whole tokens (`abcdef.0123456789abcdef`)
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Print a random token without asking a cluster
    Generate,
}

/// In which form a token is printed, and for whom its Secret is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The token alone, `id.secret`
    #[default]
    Plain,
    /// The line for `kubeadm join`
    Kubeadm,
    /// A join token of k0s: server, CA and token in one text
    K0s,
    /// A token of K3s with the hash of the CA, for agents
    K3s,
}

/// Whom a join token of k0s lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Nodes
    #[default]
    Worker,
    /// Members of a control plane of k0s
    Controller,
}

/// Flags of `token inspect`.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A file with a token; `-` is standard input. Without it $K0S_TOKEN, else standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Flags of `token create`.
#[derive(Args)]
pub(crate) struct Create {
    /// The token (`id.secret`); a random one if left out. `-` reads it from standard input
    #[arg(value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// How long it lives: 1s, 2m, 24h0m0s; 0 is for ever
    #[arg(
        long,
        visible_aliases = ["expiry", "valid"],
        default_value = "24h0m0s",
        value_name = "DURATION"
    )]
    pub(crate) ttl: String,
    /// What is printed, and for whom the Secret is
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        conflicts_with = "print_join_command"
    )]
    pub(crate) format: Format,
    /// With --format k0s or --pre-shared: whom it lets in
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    /// With --format k0s or --pre-shared: where the token leads, if not to the kubeconfig's server
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Ask no cluster: write the Secret's manifest and a join token of k0s into files
    #[arg(
        long,
        requires_all = ["cert", "url"],
        conflicts_with_all = ["print_join_command", "format", "usages", "groups"]
    )]
    pub(crate) pre_shared: bool,
    /// With --pre-shared: the cluster's CA, PEM
    #[arg(long, value_name = "FILE", requires = "pre_shared")]
    pub(crate) cert: Option<PathBuf>,
    /// With --pre-shared: the folder for the files
    #[arg(long, value_name = "DIR", default_value = ".", requires = "pre_shared")]
    pub(crate) out: PathBuf,
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

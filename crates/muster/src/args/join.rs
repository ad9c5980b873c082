//! `muster join`: the flags of kubeadm for workers, and our own.

use crate::args::control_plane::ControlPlaneFlags;
use crate::args::kubelet::Runtime;
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
    /// The Node is Ready and the kubelet has its serving certificate, where it asks the cluster for one
    Serving,
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

/// Which address of the API server is used when the cluster advertises another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prefer {
    /// The one that was typed, if its certificate is for it
    #[default]
    Typed,
    /// The one that the cluster advertises, as kubeadm does
    Advertised,
}

const FINDING: &str = "Finding and trusting the cluster";
const NODE: &str = "The node";
const KUBELET: &str = "The kubelet and its container runtime";
const COURSE: &str = "How it goes";

/// What a JoinConfiguration says, so that no flag says it beside one; and what only a join by flags knows. Secrets that
/// may stand in the environment are looked at where the file is read.
const SAID_BY_FILE: [&str; 26] = [
    "endpoint",
    "token_file",
    "discovery_token",
    "tls_bootstrap_token",
    "pins",
    "unsafe_skip_ca_verification",
    "discovery_file",
    "certificate_authority",
    "kubeconfig",
    "profile",
    "prefer_endpoint",
    "discovery_timeout",
    "node_ip",
    "node_labels",
    "node_annotations",
    "register_with_taints",
    "kubelet_args",
    "patches",
    "cluster_dns",
    "cluster_domain",
    "cri_socket",
    "control_plane",
    "certificate_key_file",
    "apiserver_advertise_address",
    "apiserver_bind_port",
    "timeout",
];

/// Flags of `muster join`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Join {
    /// The API server, HOST or HOST:PORT (IPv6 in brackets); a discovery file or kubeconfig names its own
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// A JoinConfiguration of kubeadm's; `-` reads it from standard input. What it can say is not said by flags
    #[arg(long, value_name = "FILE", conflicts_with_all = SAID_BY_FILE)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) credential: CredentialFlags,
    #[command(flatten)]
    pub(crate) node: JoinNodeFlags,
    #[command(flatten)]
    pub(crate) kubelet: KubeletFlags,
    #[command(flatten)]
    pub(crate) plane: ControlPlaneFlags,
    #[command(flatten)]
    pub(crate) course: CourseFlags,
}

/// What lets a machine in.
#[derive(Args, Clone, Debug)]
pub(crate) struct CredentialFlags {
    /// The bootstrap token, `id.secret`, for discovery and for the certificate, or a join token of k0s (also in
    /// $K0S_TOKEN); `-` reads it from standard input
    #[arg(long, env = "MUSTER_TOKEN", hide_env_values = true, value_name = "TOKEN", help_heading = FINDING)]
    pub(crate) token: Option<String>,
    /// A file with the token; a join token of k0s may be folded
    #[arg(long, value_name = "FILE", conflicts_with = "token", help_heading = FINDING)]
    pub(crate) token_file: Option<PathBuf>,
    /// The token for discovery alone
    #[arg(long, value_name = "TOKEN", help_heading = FINDING)]
    pub(crate) discovery_token: Option<String>,
    /// The token for the certificate alone
    #[arg(long, value_name = "TOKEN", help_heading = FINDING)]
    pub(crate) tls_bootstrap_token: Option<String>,
    /// Pin of a CA key: sha256:HEX; may be repeated
    #[arg(
        long = "discovery-token-ca-cert-hash",
        value_delimiter = ',',
        value_name = "PIN",
        help_heading = FINDING
    )]
    pub(crate) pins: Vec<String>,
    /// Trust any CA that is signed with the token: whoever knows the token may pose as the cluster
    #[arg(long = "discovery-token-unsafe-skip-ca-verification", help_heading = FINDING)]
    pub(crate) unsafe_skip_ca_verification: bool,
    /// A kubeconfig that introduces the cluster: a path, file:// or https://
    #[arg(long, value_name = "FILE", help_heading = FINDING)]
    pub(crate) discovery_file: Option<String>,
    /// The cluster's CA, PEM: together with a token nothing has to be discovered. With a discovery file
    /// over https: the CA of that server, instead of the public ones
    #[arg(long, value_name = "FILE", help_heading = FINDING)]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// An administrator's kubeconfig: the cluster and the credential for the certificate
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["discovery_file", "token", "token_file", "discovery_token"],
        help_heading = FINDING
    )]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The worker profile of k0s that configures the kubelet; only with a join token of k0s
    #[arg(long, value_name = "NAME", help_heading = FINDING)]
    pub(crate) profile: Option<String>,
    /// Which address is used when the cluster advertises another one than was typed
    #[arg(long, value_enum, default_value_t, help_heading = FINDING)]
    pub(crate) prefer_endpoint: Prefer,
    /// How long what may pass by itself (no answer, no signature yet) is tried again during discovery
    #[arg(long, default_value = "0s", value_name = "DURATION", help_heading = FINDING)]
    pub(crate) discovery_timeout: String,
}

/// What the Node will be.
#[derive(Args, Clone, Debug)]
pub(crate) struct JoinNodeFlags {
    /// The node's name; else this machine's host name
    #[arg(long, value_name = "NAME", help_heading = NODE)]
    pub(crate) node_name: Option<String>,
    /// The node's address, or one of each family; `auto` takes the one that leads to the API server
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS", help_heading = NODE)]
    pub(crate) node_ip: Vec<String>,
    /// Labels: key=value,…; those that a node may not give itself need --kubeconfig
    #[arg(long, value_delimiter = ',', value_name = "LABELS", help_heading = NODE)]
    pub(crate) node_labels: Vec<String>,
    /// An annotation: key=value; may be repeated
    #[arg(long = "node-annotation", value_name = "ANNOTATION", help_heading = NODE)]
    pub(crate) node_annotations: Vec<String>,
    /// Taints to register with: key=value:effect,…
    #[arg(
        long,
        alias = "taint",
        value_delimiter = ',',
        value_name = "TAINTS",
        help_heading = NODE
    )]
    pub(crate) register_with_taints: Vec<String>,
}

/// What runs on the machine.
#[derive(Args, Clone, Debug)]
pub(crate) struct KubeletFlags {
    /// Which kubelet to run
    #[arg(long, value_enum, default_value_t, help_heading = KUBELET)]
    pub(crate) kubelet: KubeletChoice,
    /// A kubelet flag without its dashes: name=value; may be repeated, the order is kept
    #[arg(long = "kubelet-arg", value_name = "NAME=VALUE", help_heading = KUBELET)]
    pub(crate) kubelet_args: Vec<String>,
    /// A directory of patches as kubeadm reads them, for example kubeletconfiguration0+merge.yaml
    #[arg(long, value_name = "DIR", help_heading = KUBELET)]
    pub(crate) patches: Option<PathBuf>,
    /// The DNS address of the cluster, where the cluster publishes no kubelet configuration
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS", help_heading = KUBELET)]
    pub(crate) cluster_dns: Vec<std::net::IpAddr>,
    /// The DNS domain of the cluster, where the cluster publishes no kubelet configuration
    #[arg(long, value_name = "DOMAIN", help_heading = KUBELET)]
    pub(crate) cluster_domain: Option<String>,
    /// The CRI socket; else the only one that answers
    #[arg(long, value_name = "SOCKET", help_heading = KUBELET)]
    pub(crate) cri_socket: Option<String>,
    /// What runs containers under the built-in kubelet
    #[arg(long, value_enum, default_value_t, help_heading = KUBELET)]
    pub(crate) runtime: Runtime,
}

/// How a join goes about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct CourseFlags {
    /// Checks whose failure is only a warning; `all` for all
    #[arg(long, value_delimiter = ',', value_name = "CHECKS", help_heading = COURSE)]
    pub(crate) ignore_preflight_errors: Vec<String>,
    /// When the join counts as done
    #[arg(long, value_enum, default_value_t, help_heading = COURSE)]
    pub(crate) wait: Wait,
    /// How long to wait for the certificate and for the node
    #[arg(long, default_value = "5m", value_name = "DURATION", help_heading = COURSE)]
    pub(crate) timeout: String,
    /// Leave everything as it is when the join fails
    #[arg(long, help_heading = COURSE)]
    pub(crate) keep_on_failure: bool,
    /// Say what would be done, after checking the credential against the cluster
    #[arg(long, help_heading = COURSE)]
    pub(crate) dry_run: bool,
    /// Every path lies under this folder, so that several nodes can live on one machine
    #[arg(long, default_value = "/", value_name = "DIR", help_heading = COURSE)]
    pub(crate) root: PathBuf,
}

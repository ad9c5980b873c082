//! `muster server`.

use super::audit::Audit;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags of the embedded control plane.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Where keys, certificates, the kubeconfig and the database live
    #[arg(
        long,
        default_value = "/var/lib/muster/server",
        env = "MUSTER_DATA_DIR",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Address to listen on; may be repeated. Port 0 takes a free one
    #[arg(long, default_value = "0.0.0.0:6443", value_name = "HOST:PORT")]
    pub(crate) bind: Vec<SocketAddr>,
    /// The address that joining machines are told to use; else the first bound address that is not a wildcard,
    /// else the address of the default route
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise_address: Option<String>,
    /// Further names and addresses for the serving certificate; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,
    /// Where objects are kept: `sqlite` (a file in the data directory), `sqlite://PATH` or `memory`
    #[arg(long, default_value = "sqlite", value_name = "STORE")]
    pub(crate) datastore_endpoint: String,
    /// A file that is written once the server is ready; it holds the bound addresses, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Let requests for kubelet serving certificates wait for a person
    #[arg(long)]
    pub(crate) no_approve_kubelet_serving: bool,
    /// How long a node may be silent before it counts as lost
    #[arg(long, default_value = "50s", value_name = "DURATION")]
    pub(crate) node_monitor_grace_period: String,
    /// The longest life of a certificate that the signers issue
    #[arg(long, default_value = "8760h", value_name = "DURATION")]
    pub(crate) cluster_signing_duration: String,
    #[command(flatten)]
    pub(crate) audit: Audit,
}

//! `muster fleet`: many machines into a cluster, as one run.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Many machines into a cluster, as one run: all of them, or none half-joined.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fleet {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do with a fleet.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Verb {
    /// Say what a join would do to each host, and how it would be taken back; changes nothing
    Plan(Plan),
    /// Join every host of the fleet
    Join(Join),
    /// Say how far the last run is, or how it ended
    Status(Status),
    /// Go on with a run that was cut off, from its journal
    Resume(TakeUp),
    /// Take a run back: every host that it attempted, from its journal
    Undo(TakeUp),
}

/// Which fleet.
#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// The fleet file, kind: FleetConfiguration
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// An inventory of k0sctl or Ansible, instead of a fleet file or for hosts beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// Of the inventory, only these hosts and groups
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        requires = "inventory"
    )]
    pub(crate) limit: Vec<String>,
}

/// Where a fleet's journal is.
#[derive(Args, Clone, Debug)]
pub(crate) struct State {
    /// The directory of the fleet's journal; else /var/lib/muster-fleet/NAME as root, $XDG_STATE_HOME/muster/fleets/NAME as anybody else
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// How machines and the cluster are reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct Way {
    /// The cluster's kubeconfig, whatever the fleet file says
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// A file whose first line is a bootstrap token that exists already, `-` for standard input: it is used instead of one made
    /// for the run, and not revoked
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust machines whose host key nobody knows yet, and write their keys down. A key that has changed is refused all the same
    #[arg(long)]
    pub(crate) accept_new_host_keys: bool,
}

/// Who else is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct Listeners {
    /// POST events there, in batches, as JSON
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Send spans to an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp: Option<String>,
    /// Write no Kubernetes Events on the Nodes
    #[arg(long)]
    pub(crate) no_node_events: bool,
}

/// Flags of `fleet plan`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) way: Way,
    /// Do not look at cluster and hosts
    #[arg(long, conflicts_with = "save")]
    pub(crate) offline: bool,
    /// Keep the plan, so that `fleet join --plan` refuses to run when anything is different by then
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

/// Flags of `fleet join`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Join {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) way: Way,
    #[command(flatten)]
    pub(crate) listeners: Listeners,
    /// Run only if cluster and hosts are as they were when this plan was saved
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
}

/// Flags of `fleet status`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) state: State,
    /// The run; else the last one
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// Flags of `fleet resume` and `fleet undo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TakeUp {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) way: Way,
    #[command(flatten)]
    pub(crate) listeners: Listeners,
    /// The run; else the last one
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
}

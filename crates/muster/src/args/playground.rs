//! `muster playground`.

use clap::Args;
use std::path::PathBuf;

/// Flags of the try-out.
#[derive(Args, Clone, Debug)]
pub(crate) struct Playground {
    /// How many nodes join
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) nodes: u16,
    /// End as soon as all nodes are Ready, and leave nothing behind
    #[arg(long)]
    pub(crate) once: bool,
    /// Where everything is kept while it runs; removed at the end if the playground made it
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Run the nodes as plain processes even where network namespaces could be made
    #[arg(long)]
    pub(crate) no_namespaces: bool,
    /// Port of the API server; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub(crate) port: u16,
}

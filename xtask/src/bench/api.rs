//! `cargo xtask bench api`: what the API server does under load, on a server of its own and, where there is one,
//! on a peer.
//!
//! It knows the limits that the project owes for the API (the table in ARCHITECTURE.md).

mod scenes;
mod shapes;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::{
    peer::Peer,
    process::Server,
    report::{self, Figure},
    target::Target,
};
use scenes::{Bench, Sizes};

/// The API: reads, writes, watches, leases and long lists, beside a peer where there is one.
#[derive(Args)]
pub(crate) struct Api {
    /// How many ConfigMaps are created, read, patched and listed.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// How many watch at the same time.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// How many nodes renew their leases, and how many Nodes are listed.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// For how many seconds leases are renewed.
    #[arg(long, default_value_t = 60)]
    lease_seconds: u64,
    /// Over how many connections leases are renewed.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Only the scenes whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The peer's URL; its credentials come from --kubeconfig.
    #[arg(long, requires = "kubeconfig")]
    vs: Option<String>,
    /// The peer's kubeconfig.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kube-apiserver to start as a peer.
    #[arg(long, default_value = "kube-apiserver")]
    kube_apiserver: String,
    /// The etcd below it.
    #[arg(long, default_value = "etcd")]
    etcd: String,
    /// Measure muster only.
    #[arg(long)]
    alone: bool,
    /// `json` for one document instead of lines.
    #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

/// Runs the benchmark.
pub(super) fn run(api: &Api) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(api))
}

async fn measure(api: &Api) -> Result<()> {
    let own = {
        let (server, _) = Server::start()?;
        let target = Target::from_kubeconfig(&server.kubeconfig(), None)?;
        api.figures("muster", &target, vec![server.pid()]).await?
    };
    let peer = api.peer().await.context("the peer");
    let peer = peer.unwrap_or_else(|error| {
        say(&format!("{error:#}: there is nothing to compare with"));
        None
    });
    let peer = peer.as_deref();
    if api.output == "json" {
        report::print_json(&own, peer);
    } else {
        report::print(&own, peer);
    }
    Ok(())
}

impl Api {
    async fn peer(&self) -> Result<Option<Vec<Figure>>> {
        if self.alone {
            return Ok(None);
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            let target = Target::from_kubeconfig(kubeconfig, self.vs.as_deref())?;
            return Ok(Some(self.figures("peer", &target, Vec::new()).await?));
        }
        let programs = Peer::find(&self.kube_apiserver).zip(Peer::find(&self.etcd));
        let Some((apiserver, etcd)) = programs else {
            say("no kube-apiserver and etcd at hand: muster alone is measured");
            return Ok(None);
        };
        let peer = Peer::start(&apiserver, &etcd).await?;
        let figures = self.figures("kube-apiserver", peer.target(), peer.pids());
        Ok(Some(figures.await?))
    }

    async fn figures(&self, name: &str, target: &Target, pids: Vec<u32>) -> Result<Vec<Figure>> {
        let sizes = Sizes {
            objects: self.objects,
            watchers: self.watchers,
            nodes: self.nodes,
            lease_seconds: self.lease_seconds,
            connections: self.connections,
        };
        Bench::new(name, target, pids, sizes).run(&self.only).await
    }
}

/// Tells how far the benchmark is.
#[expect(
    clippy::print_stderr,
    reason = "progress, beside the figures on standard output"
)]
fn say(what: &str) {
    eprintln!("{what}");
}

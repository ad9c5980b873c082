//! `cargo xtask bench join`: simulated nodes join a release build; each figure as a ratio of its limit.
//!
//! It knows the limits that the project owes for joins (the table in ARCHITECTURE.md).

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::{
    process::{Server, binary, resident_mb},
    report::{Better, compare},
    versus::Versus,
};

/// N simulated nodes join: joins/s, latencies, the server's memory and start-up time.
#[derive(Args)]
pub(crate) struct Join {
    /// How many nodes join.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// How many join at the same time.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Join this cluster instead of a server that is started for the purpose.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    versus: Versus,
}

impl Join {
    /// Whether the program to measure is there already.
    pub(super) fn is_given_a_build(&self) -> bool {
        self.versus.built().is_some()
    }
}

/// Runs the benchmark.
pub(super) fn run(join: &Join) -> Result<()> {
    if join.versus.is_asked() {
        let kubeconfig = join
            .kubeconfig
            .as_deref()
            .context("--vs needs --kubeconfig of the control plane's administrator")?;
        let muster = join.versus.built().map_or_else(binary, Path::to_owned);
        return join.versus.run(&muster, kubeconfig);
    }
    match &join.kubeconfig {
        Some(kubeconfig) => {
            let report = joins(kubeconfig, join.nodes, join.concurrency, None)?;
            print_joins(&report);
            Ok(())
        }
        None => own_server(join.nodes, join.concurrency),
    }
}

fn own_server(nodes: usize, concurrency: usize) -> Result<()> {
    let (server, started_in) = Server::start()?;
    println!();
    compare(
        "cold start to /readyz",
        started_in.as_secs_f64() * 1e3,
        "ms",
        300.0,
        Better::Less,
    );
    let kubeconfig = server.kubeconfig();
    let few = joins(&kubeconfig, 3, 1, Some("bench-few"))?;
    compare(
        "protocol part of one join (p50 of 3)",
        number(&few, "protocol_p50_ms"),
        "ms",
        50.0,
        Better::Less,
    );
    compare(
        "server memory with 3 nodes",
        resident_mb(server.pid())?,
        "MB",
        40.0,
        Better::Less,
    );
    let report = joins(&kubeconfig, nodes, concurrency, Some("bench"))?;
    print_joins(&report);
    compare(
        "joins per second",
        number(&report, "joins_per_second"),
        "/s",
        300.0,
        Better::More,
    );
    compare(
        &format!("server memory with {} nodes", nodes + 3),
        resident_mb(server.pid())?,
        "MB",
        150.0,
        Better::Less,
    );
    Ok(())
}

fn joins(
    kubeconfig: &Path,
    nodes: usize,
    concurrency: usize,
    prefix: Option<&str>,
) -> Result<Value> {
    let mut command = Command::new(binary());
    command
        .args(["bench", "-o", "json", "--nodes", &nodes.to_string()])
        .args(["--concurrency", &concurrency.to_string(), "--kubeconfig"])
        .arg(kubeconfig);
    if let Some(prefix) = prefix {
        command.args(["--name-prefix", prefix]);
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the joins")?;
    if !output.status.success() {
        bail!(
            "the joins failed: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    serde_json::from_slice(&output.stdout).context("the report of the joins is no JSON")
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or(f64::NAN)
}

fn print_joins(report: &Value) {
    println!(
        "{} joins, {} at a time: {:.0} joins/s; one join p50 {:.1} ms, p99 {:.1} ms; \
         discovery to certificate p50 {:.1} ms, p99 {:.1} ms",
        report["nodes"],
        report["concurrency"],
        number(report, "joins_per_second"),
        number(report, "join_p50_ms"),
        number(report, "join_p99_ms"),
        number(report, "protocol_p50_ms"),
        number(report, "protocol_p99_ms"),
    );
}

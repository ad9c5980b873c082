//! `cargo xtask bench`: builds the release binary and lets it measure itself, printing ratios.
//!
//! It knows the limits that the project owes (the table in ARCHITECTURE.md); tests never time.

use crate::command::{self, root};
use crate::versus::Versus;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which benchmark.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// N simulated nodes join: joins/s, latencies, the server's memory and start-up time.
    Join {
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
    },
}

/// Runs the benchmark.
///
/// # Errors
/// When something cannot be built, started or measured. A missed limit is printed, not an error.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let Kind::Join { versus, .. } = &bench.kind;
    if let Some(muster) = versus.built() {
        return compare_with_kubeadm(bench, muster);
    }
    command::run(
        "cargo",
        &["build", "--release", "--locked", "--package", "muster"],
    )?;
    if versus.is_asked() {
        return compare_with_kubeadm(bench, &binary());
    }
    match &bench.kind {
        Kind::Join {
            nodes,
            concurrency,
            kubeconfig: Some(kubeconfig),
            ..
        } => {
            let report = joins(kubeconfig, *nodes, *concurrency, None)?;
            print_joins(&report);
            Ok(())
        }
        Kind::Join {
            nodes,
            concurrency,
            kubeconfig: None,
            ..
        } => own_server(*nodes, *concurrency),
    }
}

fn compare_with_kubeadm(bench: &Bench, muster: &Path) -> Result<()> {
    let Kind::Join {
        versus, kubeconfig, ..
    } = &bench.kind;
    let kubeconfig = kubeconfig
        .as_deref()
        .context("--vs needs --kubeconfig of the control plane's administrator")?;
    versus.run(muster, kubeconfig)
}

fn binary() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/muster")
}

/// A server that is stopped when the benchmark ends, however it ends.
struct Server {
    process: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn own_server(nodes: usize, concurrency: usize) -> Result<()> {
    let (server, started_in) = start_server()?;
    println!();
    compare(
        "cold start to /readyz",
        started_in.as_secs_f64() * 1e3,
        "ms",
        300.0,
        Better::Less,
    );
    let kubeconfig = server.folder.join("data/admin.kubeconfig");
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
        resident_mb(server.process.id())?,
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
        resident_mb(server.process.id())?,
        "MB",
        150.0,
        Better::Less,
    );
    Ok(())
}

fn start_server() -> Result<(Server, Duration)> {
    let folder = std::env::temp_dir().join(format!("muster-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let log = std::fs::File::create(folder.join("server.log"))?;
    let ready = folder.join("ready");
    let begin = Instant::now();
    let process = Command::new(binary())
        .args(["server", "--bind", "127.0.0.1:0", "--data-dir"])
        .arg(folder.join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot start the server")?;
    let mut server = Server { process, folder };
    while !ready.exists() {
        if let Some(status) = server.process.try_wait()? {
            bail!(
                "the server ended at once: {status}; see its log in {}",
                server.folder.display()
            );
        }
        if begin.elapsed() > Duration::from_secs(30) {
            bail!("the server was not ready within 30 s");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((server, begin.elapsed()))
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

enum Better {
    Less,
    More,
}

fn compare(what: &str, value: f64, unit: &str, limit: f64, better: Better) {
    let (ratio, kept, sign) = match better {
        Better::Less => (value / limit, value <= limit, "<="),
        Better::More => (value / limit, value >= limit, ">="),
    };
    let verdict = if kept { "kept" } else { "MISSED" };
    println!(
        "{what}: {value:.1} {unit} ({ratio:.2} of the limit {sign} {limit} {unit}: {verdict})"
    );
}

/// Resident memory of a process in megabytes (10^6 bytes), from `/proc/PID/status`.
fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS line")?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .context("an empty VmRSS line")?
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}

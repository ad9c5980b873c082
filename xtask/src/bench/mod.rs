//! `cargo xtask bench`: builds the release binary and measures it, printing ratios.
//!
//! It knows the limits that the project owes (the table in ARCHITECTURE.md); tests never time.

mod api;
mod fleet;
mod join;
mod load;
mod operator;
mod peer;
mod process;
mod report;
mod target;
mod versus;

use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::command;

/// Which benchmark.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// N simulated nodes join: joins/s, latencies, the server's memory and start-up time.
    Join(join::Join),
    /// Join token requests: how long one takes, and a thousand at once.
    Operator(operator::Operator),
    /// The API: reads, writes, watches, leases and long lists, beside a peer where there is one.
    Api(api::Api),
    /// The coordinator of a fleet's run, simulated: invariants, memory, linearity.
    Fleet(fleet::Fleet),
}

/// Runs the benchmark.
///
/// # Errors
/// When something cannot be built, started or measured. A missed limit is printed, not an error.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match &bench.kind {
        Kind::Join(join) => {
            if !join.is_given_a_build() {
                build("muster")?;
            }
            join::run(join)
        }
        Kind::Operator(operator) => {
            if !operator.is_given_a_build() {
                build("muster")?;
            }
            operator::run(operator)
        }
        // A driver without optimisation would measure itself.
        Kind::Api(_) if cfg!(debug_assertions) => {
            build("muster")?;
            build("xtask")?;
            again()
        }
        Kind::Api(api) => api::run(api),
        Kind::Fleet(fleet) => fleet::run(fleet),
    }
}

fn build(package: &str) -> Result<()> {
    command::run(
        "cargo",
        &["build", "--release", "--locked", "--package", package],
    )
}

/// The same arguments for the release build of this program.
fn again() -> Result<()> {
    let status = Command::new(process::binary().with_file_name("xtask"))
        .args(std::env::args_os().skip(1))
        .status()?;
    if !status.success() {
        bail!("the benchmark failed: {status}");
    }
    Ok(())
}

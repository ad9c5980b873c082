//! `cargo xtask bench fleet`: the coordinator of a fleet's run in its simulation: one large fleet, or many seeds.
//!
//! It knows the limits that the project owes and how the player is built; what is played and which invariants are held
//! is the business of `muster_rollout::simulation`.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::{
    process::binary,
    report::{Better, compare},
};
use crate::command::{self, root};

/// The most memory that the coordinator and its simulated world may take, in MB.
const MEMORY_MB: f64 = 1024.0;

/// How much longer each host may take in a fleet of ten times the size.
const LINEARITY: f64 = 1.5;

/// The coordinator over simulated hosts and a virtual clock; every invariant is checked after every event.
#[derive(Args)]
pub(crate) struct Fleet {
    /// One run over so many hosts, beside one over a tenth of them.
    #[arg(long, value_name = "HOSTS", default_value_t = 100_000)]
    simulated: u64,
    /// Instead, so many small runs with everything from chance: fleets, policies, faults, crashes.
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    /// The seed, or the first of the seeds. Without it, one from the clock; it is printed.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds the player and lets it play.
pub(super) fn run(fleet: &Fleet) -> Result<()> {
    command::run(
        "cargo",
        &[
            "build",
            "--release",
            "--locked",
            "--package",
            "muster-rollout",
            "--features",
            "testing",
            "--example",
            "simulate",
        ],
    )?;
    let seed = fleet.seed.unwrap_or_else(from_the_clock);
    println!("seed {seed}");
    match fleet.seeds {
        Some(seeds) => many(seeds, seed),
        None => one(fleet.simulated, seed),
    }
}

fn from_the_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}

fn one(hosts: u64, seed: u64) -> Result<()> {
    let few = play(&["hosts", &(hosts / 10).max(1).to_string(), &seed.to_string()])?;
    let many = play(&["hosts", &hosts.to_string(), &seed.to_string()])?;
    tell(&few);
    tell(&many);
    let rss = number(&many, "rss_kib")? / 1024.0;
    compare("peak memory", rss, "MB", MEMORY_MB, Better::Less);
    let each = |report: &Value| -> Result<f64> {
        let hosts = report["hosts"]["hosts"].as_f64().context("no hosts")?;
        Ok(number(report, "seconds")? / hosts)
    };
    let growth = each(&many)? / each(&few)?;
    compare(
        "time per host, N beside N/10",
        growth,
        "times",
        LINEARITY,
        Better::Less,
    );
    let events = |report: &Value| number(report, "inputs").unwrap_or(0.0);
    println!(
        "events per host, N beside N/10: {:.2} times",
        (events(&many) / events(&few))
            * (few["hosts"]["hosts"].as_f64().unwrap_or(1.0) / hosts as f64)
    );
    Ok(())
}

fn tell(report: &Value) {
    let figure = |name: &str| number(report, name).unwrap_or(f64::NAN);
    let (seconds, inputs) = (figure("seconds"), figure("inputs"));
    println!(
        "{}: {}; {:.0} s of virtual time in {seconds:.2} s, {inputs} events in and {} effects out \
         ({:.0} events/s), {} records, {} tokens, at most {} hosts at once, {:.1} MB",
        report["hosts"],
        report["ending"],
        figure("virtual_seconds"),
        figure("effects"),
        inputs / seconds,
        figure("records"),
        figure("tokens"),
        figure("at_once"),
        figure("rss_kib") / 1024.0,
    );
}

fn many(seeds: u64, first: u64) -> Result<()> {
    let report = play(&["seeds", &seeds.to_string(), &first.to_string()])?;
    let seconds = number(&report, "seconds")?;
    let inputs = number(&report, "inputs")?;
    println!(
        "{seeds} runs in {} lives: no violated invariant. Endings: {}. {:.0} h of virtual time in {seconds:.1} s, \
         {inputs} events ({:.0}/s), {:.1} MB",
        report["lives"],
        report["endings"],
        number(&report, "virtual_seconds")? / 3600.0,
        inputs / seconds,
        number(&report, "rss_kib")? / 1024.0,
    );
    Ok(())
}

fn play(arguments: &[&str]) -> Result<Value> {
    let player = binary().with_file_name("examples").join("simulate");
    let output = Command::new(&player)
        .args(arguments)
        .current_dir(root())
        .output()
        .with_context(|| format!("cannot start {}", player.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "the simulation of `{}` failed:\n{said}",
            arguments.join(" ")
        );
    }
    serde_json::from_str(said.trim()).context("the player said something else than JSON")
}

fn number(report: &Value, name: &str) -> Result<f64> {
    report[name]
        .as_f64()
        .with_context(|| format!("no {name} in the report"))
}

//! Plays the simulation from outside: one large fleet, or many small ones, and says in JSON what it came to.
//!
//! `simulate hosts N SEED` or `simulate seeds N SEED`. For `cargo xtask bench fleet`; it measures nothing itself but
//! counts and its own time.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "a program, not the library: its time is real"
)]

use std::{process::ExitCode, time::Instant};

use muster_rollout::simulation::{Report, Scene, Violation, play};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    match (arguments.first().map(String::as_str), number(1), number(2)) {
        (Some("hosts"), Some(hosts), Some(seed)) => one(hosts, seed),
        (Some("seeds"), Some(seeds), Some(seed)) => many(seeds, seed),
        _ => {
            println!("simulate hosts|seeds NUMBER SEED");
            ExitCode::from(2)
        }
    }
}

fn one(hosts: u64, seed: u64) -> ExitCode {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    let scene = Scene::large(hosts, seed);
    let begin = Instant::now();
    match play(&scene) {
        Err(violation) => refuse(&[violation]),
        Ok(report) => {
            let mut said = counts(&report);
            said["seconds"] = begin.elapsed().as_secs_f64().into();
            said["rss_kib"] = peak_rss_kib().into();
            println!("{said}");
            ExitCode::SUCCESS
        }
    }
}

fn many(seeds: u64, first: u64) -> ExitCode {
    let begin = Instant::now();
    let (mut violations, mut inputs, mut lives, mut virtual_seconds) = (Vec::new(), 0, 0, 0.0);
    let mut endings = std::collections::BTreeMap::<String, u64>::new();
    for seed in first..first.saturating_add(seeds) {
        match play(&Scene::random(seed)) {
            Err(violation) => violations.push(violation),
            Ok(report) => {
                inputs += report.inputs;
                lives += u64::from(report.lives);
                virtual_seconds += report.virtual_time.as_secs_f64();
                let mended = if report.mended { ", once stuck" } else { "" };
                let ending = format!("{:?}{mended}", report.verdict.ending).to_lowercase();
                *endings.entry(ending).or_default() += 1;
            }
        }
    }
    if !violations.is_empty() {
        return refuse(&violations);
    }
    println!(
        "{}",
        serde_json::json!({
            "seeds": seeds,
            "violations": 0,
            "inputs": inputs,
            "lives": lives,
            "endings": endings,
            "virtual_seconds": virtual_seconds,
            "seconds": begin.elapsed().as_secs_f64(),
            "rss_kib": peak_rss_kib(),
        })
    );
    ExitCode::SUCCESS
}

fn refuse(violations: &[Violation]) -> ExitCode {
    println!("{} violated invariants", violations.len());
    for violation in violations.iter().take(20) {
        println!("{violation}");
    }
    ExitCode::FAILURE
}

fn counts(report: &Report) -> serde_json::Value {
    serde_json::json!({
        "hosts": report.verdict.counts,
        "ending": report.verdict.ending,
        "inputs": report.inputs,
        "effects": report.effects,
        "records": report.records,
        "deeds": report.deeds,
        "tokens": report.tokens,
        "at_once": report.high_water,
        "virtual_seconds": report.virtual_time.as_secs_f64(),
    })
}

/// The most memory that this process ever had, as the kernel counts it (`VmHWM`).
fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

//! The project's tasks: `cargo xtask test`, `cargo xtask tidy`, `cargo xtask bench`.
//!
//! Everything longer than a line of shell lives here, in Rust. It knows how the
//! repository is built and checked; it knows nothing of what muster does.
#![expect(
    clippy::print_stdout,
    reason = "a task runner speaks on standard output"
)]

mod bench;
mod command;
mod packages;
mod test;
mod tidy;
mod versus;

use clap::{Parser, Subcommand};

/// The tasks of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that CI checks: format, lints, tidy, all tests, documentation.
    Test,
    /// The architecture's invariants, as far as a program can check them.
    Tidy,
    /// Benchmarks; they print ratios against a limit or a peer.
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Test => test::run(),
        Task::Tidy => tidy::run(),
        Task::Bench(bench) => bench::run(&bench),
    }
}

//! `cargo xtask test`: what CI runs, in the order in which it fails fastest.

use crate::command::{self, in_path, run_with};
use crate::{packages, tidy};
use anyhow::Result;

/// Format, tidy, lints, every test, documentation.
///
/// # Errors
/// The first check that fails.
pub(crate) fn run() -> Result<()> {
    command::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run()?;
    packages::ensure()?;
    command::run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    // The tests that run the program as a user would start this very binary.
    command::run("cargo", &["build", "--workspace", "--bins", "--locked"])?;
    tests()?;
    run_with(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

fn tests() -> Result<()> {
    let path = format!(
        "{}:{}:/usr/sbin:/sbin",
        packages::tools().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let environment = [("PATH", path.as_str())];
    if in_path("cargo-nextest") {
        run_with(
            "cargo",
            &["nextest", "run", "--workspace", "--locked"],
            &environment,
        )?;
        return run_with(
            "cargo",
            &["test", "--workspace", "--doc", "--locked"],
            &environment,
        );
    }
    run_with("cargo", &["test", "--workspace", "--locked"], &environment)
}

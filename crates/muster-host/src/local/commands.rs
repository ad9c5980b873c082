//! Runs one command, within a time, and keeps the end of what it said.
//!
//! Only names of units and fixed words ever stand on these command lines.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::HostError;

/// Service managers wait up to 90 s for a service to stop.
const LIMIT: Duration = Duration::from_secs(100);
/// How much of a command's words is kept.
const KEPT: usize = 2048;

/// What a command said.
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) status: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it to its end, whatever that is.
pub(crate) async fn ask(program: &Path, args: &[&str]) -> Result<Said, HostError> {
    let command = line(program, args);
    let run = Command::new(program)
        .args(args.iter().map(OsStr::new))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run)
        .await
        .map_err(|_| HostError::CommandTimeout {
            command: command.clone(),
            seconds: LIMIT.as_secs(),
        })?
        .map_err(|source| HostError::Io {
            action: "run",
            path: command,
            source,
        })?;
    Ok(Said {
        success: output.status.success(),
        status: output.status.to_string(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs it and demands success.
pub(crate) async fn run(program: &Path, args: &[&str]) -> Result<String, HostError> {
    let said = ask(program, args).await?;
    if said.success {
        return Ok(said.stdout);
    }
    // Some programs give the reason on one and the result on the other.
    let output = format!("{}\n{}", said.stdout.trim(), said.stderr.trim());
    Err(HostError::Command {
        command: line(program, args),
        status: said.status,
        output: tail(output.trim(), KEPT).to_owned(),
    })
}

/// Runs it with a text on its standard input and demands success.
pub(crate) async fn run_with_input(
    program: &Path,
    args: &[&str],
    input: String,
) -> Result<(), HostError> {
    use tokio::io::AsyncWriteExt as _;
    let command = line(program, args);
    let failed = |source| HostError::Io {
        action: "run",
        path: command.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(args.iter().map(OsStr::new))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why by itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .map_err(|_| HostError::CommandTimeout {
            command: command.clone(),
            seconds: LIMIT.as_secs(),
        })?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(HostError::Command {
        command,
        status: output.status.to_string(),
        output: tail(said.trim(), KEPT).to_owned(),
    })
}

fn line(program: &Path, args: &[&str]) -> String {
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    std::iter::once(name.as_ref())
        .chain(args.iter().copied())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last part of a text, cut between characters.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

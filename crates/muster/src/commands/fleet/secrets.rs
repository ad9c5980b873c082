//! Secrets that a fleet file names: asked for on the terminal without being shown, or read from a variable or a file.

use muster_fleet::rollout::Secrets;
use muster_identity::Secret;
use muster_rollout::fleet_file::SecretSource;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

/// The longest secret, in bytes.
const LONGEST: u64 = 4096;

/// Finds secrets as this program can.
pub(crate) fn finder() -> Secrets {
    Arc::new(find)
}

fn find(source: &SecretSource) -> Result<Secret<String>, String> {
    match source {
        SecretSource::Prompt => ask("password for sudo on the hosts: ")
            .map_err(|error| format!("there is no terminal to ask on ({error})")),
        SecretSource::Env(name) => match std::env::var(name) {
            Ok(value) => Ok(Secret::new(value)),
            Err(_) => Err(format!("the variable {name} is not set")),
        },
        SecretSource::File(path) => {
            let line =
                crate::entropy::first_line_of(Path::new(path)).map_err(|failure| failure.what)?;
            Ok(Secret::new(line))
        }
    }
}

fn ask(question: &str) -> std::io::Result<Secret<String>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let answer = unseen(&terminal);
    terminal.write_all(b"\n")?;
    answer
}

fn unseen(terminal: &File) -> std::io::Result<Secret<String>> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(terminal, OptionalActions::Now, &silent)?;
    let mut line = Secret::new(String::new());
    let read = BufReader::new(terminal.take(LONGEST)).read_line(line.expose_mut());
    tcsetattr(terminal, OptionalActions::Now, &before)?;
    read?;
    Ok(Secret::new(
        line.expose().trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

//! Where random bytes and secrets typed by people come from. Below this binary both are arguments.

use crate::exit::Failure;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::io::BufRead;
use std::path::Path;

/// The longest line that is read from standard input, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// Fills `bytes` from the operating system's generator.
pub(crate) fn fill(bytes: &mut [u8]) {
    if SystemRandom::new().fill(bytes).is_err() {
        // Going on would mean guessable keys.
        std::process::abort();
    }
}

/// One line of standard input: how a secret is handed over without standing on a command line.
pub(crate) fn line_of_standard_input() -> Result<String, Failure> {
    let mut line = String::new();
    let mut limited = std::io::Read::take(std::io::stdin().lock(), LONGEST_LINE);
    limited
        .read_line(&mut line)
        .map_err(|error| Failure::usage("standard input cannot be read").because(&error))?;
    Ok(line.trim().to_owned())
}

/// The first line of a file that holds a secret.
pub(crate) fn first_line_of(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read", path.display())).because(&error)
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut line = String::new();
    let mut limited = std::io::BufReader::new(std::io::Read::take(file, LONGEST_LINE));
    limited.read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim().to_owned())
}

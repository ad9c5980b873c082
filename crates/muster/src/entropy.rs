//! Where random bytes and secrets typed by people come from. Below this binary both are arguments.

use crate::exit::Failure;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::io::BufRead;

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

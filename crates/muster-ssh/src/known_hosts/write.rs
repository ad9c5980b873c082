//! A new line for a known_hosts file, and its way into the file.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::pattern::hashed;
use super::{base64_of, wire_algorithm};

/// The line that makes a key known under a name; with a salt, the name is hidden.
pub(crate) fn line_for(name: &str, key: &[u8], salt: Option<&[u8]>) -> String {
    let names = salt.map_or_else(|| name.to_owned(), |salt| hashed(name, salt));
    let algorithm = wire_algorithm(key).unwrap_or("unknown");
    format!("{names} {algorithm} {}", base64_of(key))
}

/// Adds a line at the end of a file; makes the file (0600) and its folder (0700) when they are missing.
///
/// # Errors
/// What the file system says.
pub(crate) fn append(file: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(file)?;
    let mut text = String::with_capacity(line.len() + 2);
    if !ends_with_a_line(&mut file)? {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    // One write: others may append at the same time.
    file.write_all(text.as_bytes())
}

fn ends_with_a_line(file: &mut fs::File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

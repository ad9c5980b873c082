//! Files of a control plane: read whole, written whole or not at all, keys never readable by others.

use super::refusal::{Refusal, go_words};
use muster_identity::Secret;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a file that may hold a key.
pub(super) fn read(path: &str) -> Result<Secret<Vec<u8>>, Refusal> {
    std::fs::read(path)
        .map(Secret::new)
        .map_err(|error| Refusal::failed(format!("open {path}: {}", go_words(&error))))
}

/// Writes a file beside its place and moves it there, so that a power cut leaves the old one or the new one.
pub(super) fn write(path: &str, content: &[u8], mode: u32) -> Result<(), Refusal> {
    let refuse = |error: &std::io::Error| {
        Refusal::failed(format!("failed to write {path:?}: {}", go_words(error)))
    };
    if let Some(folder) = Path::new(path).parent() {
        std::fs::create_dir_all(folder).map_err(|error| refuse(&error))?;
    }
    let beside = format!("{path}.muster-new");
    let written = (|| {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if let Err(error) = &written {
        let _ = std::fs::remove_file(&beside);
        return Err(refuse(error));
    }
    Ok(())
}

//! Who may touch the file: it is private to its user from the first byte, and to one store at a time.
//! Refuses to know what is written in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// Proof that this store alone has the file open. The lock goes when the proof does, or with the
/// process, however it dies.
#[derive(Debug)]
pub(super) struct ExclusiveUse {
    locked: File,
}

/// Unlocked by word, not just by closing: a child that this process is starting at this moment shares
/// the descriptor until it executes its program, and would keep the lock that long.
impl Drop for ExclusiveUse {
    fn drop(&mut self) {
        if let Err(error) = self.locked.unlock() {
            tracing::warn!(%error, "the lock file could not be unlocked");
        }
    }
}

/// Makes sure that the file is there, private, and ours alone.
pub(super) fn claim(path: &Path) -> Result<ExclusiveUse, StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    let exclusive = lock(path)?;
    create_private(path, folder)?;
    Ok(exclusive)
}

fn create_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(StoreError::io("create", folder))?;
    // The new name must outlive a power cut as well as what will be in it.
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or_else(|| Path::new(".")))
}

/// The lock lives in a file of its own: SQLite's POSIX locks on the database would be lost with the
/// first descriptor of it that this process closes.
fn lock(path: &Path) -> Result<ExclusiveUse, StoreError> {
    let lock_path = lock_path(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(StoreError::io("open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(ExclusiveUse { locked: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", lock_path)(error)),
    }
}

/// Beside the database, as SQLite names its own companions.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    PathBuf::from(name)
}

/// SQLite gives its `-wal` and `-shm` files the mode of the database, so this covers all three.
fn create_private(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let created = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    match created {
        Ok(_) => sync_folder(folder),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_private(path),
        Err(error) => Err(StoreError::io("create", path)(error)),
    }
}

fn check_private(path: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(path).map_err(StoreError::io("inspect", path))?;
    if !metadata.is_file() {
        let error = io::Error::new(ErrorKind::InvalidInput, "not a regular file");
        return Err(StoreError::io("open", path)(error));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(StoreError::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_being_started_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let exclusive = claim(&path).unwrap();
        // What a forked child has until it executes.
        let _inherited = exclusive.locked.try_clone().unwrap();
        assert!(matches!(claim(&path), Err(StoreError::InUse { .. })));
        drop(exclusive);
        claim(&path).unwrap();
    }
}

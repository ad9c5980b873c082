//! Our own directory on a machine, `/var/lib/muster`: the lock, the journal, the backups; and its removal.
//!
//! It is made when first needed, with everything closed to others, and removed when nothing of ours is left.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_plan::paths::{self, Root};
use muster_saga::JournalError;
use muster_storage::{SqliteStore, Store, StoreError};

use crate::{JoinError, Journal};

/// Directories on the way that were made with ours, one a line, innermost first: they go with it.
const MADE: &str = "made";

/// Our directory, locked by this process.
pub struct StateDir {
    dir: PathBuf,
    lock: File,
    store: Arc<dyn Store>,
    made: Vec<PathBuf>,
}

impl StateDir {
    /// Whether a journal is there, without touching anything.
    #[must_use]
    pub fn exists(root: &Root) -> bool {
        Path::new(&root.real(paths::JOURNAL)).exists()
    }

    /// Makes the directory if need be, locks it and opens the journal.
    ///
    /// # Errors
    /// [`JoinError::Locked`] when another process has it, [`JoinError::StateDir`] or [`JoinError::Journal`] when it
    /// cannot be used.
    pub fn open(root: &Root) -> Result<Self, JoinError> {
        let dir = PathBuf::from(root.real(paths::STATE_DIR));
        let lock_path = PathBuf::from(root.real(paths::LOCK));
        let mut made = missing(&dir, Path::new(root.dir()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir.parent().unwrap_or(&dir))
            .map_err(state_dir("make", &dir))?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(state_dir("make", &dir)(error)),
        }
        let lock = hold(&lock_path)?;
        remember_made(&dir, &mut made)?;
        let journal = root.real(paths::JOURNAL);
        let store = SqliteStore::open(&journal).map_err(|source| match source {
            StoreError::InUse { .. } => JoinError::Locked {
                path: journal.into(),
            },
            source => journal_error(source),
        })?;
        Ok(Self {
            dir,
            lock,
            store: Arc::new(store),
            made,
        })
    }

    /// The journal in it.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::new(Arc::clone(&self.store))
    }

    /// Removes the directory with the journal: nothing of ours is left on the machine.
    ///
    /// # Errors
    /// [`JoinError::StateDir`] when it cannot be removed.
    pub async fn remove(self) -> Result<(), JoinError> {
        self.store.close().await.map_err(journal_error)?;
        let Self {
            dir,
            lock,
            store,
            made,
        } = self;
        drop(store);
        fs::remove_dir_all(&dir).map_err(state_dir("remove", &dir))?;
        for parent in made {
            // Somebody may be using it by now: then it stays.
            if fs::remove_dir(&parent).is_err() {
                break;
            }
        }
        drop(lock);
        Ok(())
    }

    /// Closes the journal and lets go of the lock; everything stays.
    ///
    /// # Errors
    /// [`JoinError::Journal`] when the journal cannot be closed in order.
    pub async fn close(self) -> Result<(), JoinError> {
        self.store.close().await.map_err(journal_error)
    }

    /// Removes the directory if no saga has anything left to take back, otherwise closes it.
    ///
    /// # Errors
    /// As [`StateDir::remove`] and [`StateDir::close`].
    pub async fn settle(self) -> Result<(), JoinError> {
        let nothing_left = match self.journal().tell().await {
            Ok(Ok(told)) => told.iter().all(crate::Told::is_over),
            Ok(Err(_)) | Err(_) => false,
        };
        if nothing_left {
            self.remove().await
        } else {
            self.close().await
        }
    }
}

fn journal_error(source: StoreError) -> JoinError {
    JoinError::Journal {
        source: JournalError::Store {
            source: Box::new(source),
        },
    }
}

fn state_dir(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JoinError {
    let path = path.to_owned();
    move |source| JoinError::StateDir {
        action,
        path,
        source,
    }
}

/// The parents of `dir`, below `root`, that are not there; innermost first.
fn missing(dir: &Path, root: &Path) -> Vec<PathBuf> {
    let parents = dir.ancestors().skip(1);
    let below = parents.take_while(|path| path.starts_with(root) || root == Path::new("/"));
    below
        .take_while(|path| !path.exists())
        .map(Path::to_owned)
        .collect()
}

/// Keeps the list from the first time on, as later on everything is there.
fn remember_made(dir: &Path, made: &mut Vec<PathBuf>) -> Result<(), JoinError> {
    let path = dir.join(MADE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            *made = text.lines().map(PathBuf::from).collect();
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let lines: Vec<String> = made
                .iter()
                .map(|p| p.to_string_lossy().into_owned())
                .collect();
            fs::write(&path, lines.join("\n")).map_err(state_dir("write", &path))
        }
        Err(error) => Err(state_dir("read", &path)(error)),
    }
}

pub(crate) fn hold(path: &Path) -> Result<File, JoinError> {
    for _ in 0..16 {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(state_dir("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JoinError::Locked { path: path.into() }),
            Err(TryLockError::Error(error)) => return Err(state_dir("lock", path)(error)),
        }
        // A reset may have removed the file between our opening and locking it.
        let held = file.metadata().map_err(state_dir("look at", path))?.ino();
        if fs::metadata(path).is_ok_and(|named| named.ino() == held) {
            return Ok(file);
        }
    }
    Err(JoinError::Locked { path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn it_is_closed_to_others_locked_and_gone_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_str().unwrap());
        assert!(!StateDir::exists(&root));
        let state = StateDir::open(&root).unwrap();
        assert!(StateDir::exists(&root));
        let mode = |path: &str| fs::metadata(root.real(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(paths::STATE_DIR), 0o700);
        assert_eq!(mode(paths::JOURNAL), 0o600);
        assert!(matches!(
            StateDir::open(&root),
            Err(JoinError::Locked { .. })
        ));
        state.close().await.unwrap();
        let again = StateDir::open(&root).unwrap();
        again.remove().await.unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "the parents were made too"
        );
    }

    #[tokio::test]
    async fn parents_that_were_there_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        let root = Root::new(dir.path().to_str().unwrap());
        StateDir::open(&root).unwrap().remove().await.unwrap();
        assert!(dir.path().join("var/lib").is_dir());
        assert!(!dir.path().join("var/lib/muster").exists());
    }
}

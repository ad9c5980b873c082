//! Why a store said no. One enum for the port: every store answers with the same words.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{KeyValue, Revision};

/// Why a store did not do what it was asked. Unless the variant says otherwise nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `create` found the key alive. Use `update` against `current.modified`, or another key.
    #[error("key {:?} exists already at revision {}", current.key, current.modified)]
    AlreadyExists {
        /// The pair that is there.
        current: KeyValue,
    },
    /// `update` or `delete` found no such key. Create it, or take the absence for an answer.
    #[error("key {key:?} does not exist")]
    NotFound {
        /// The key asked for.
        key: String,
    },
    /// `update` or `delete` expected another revision. Decide anew from `current`, and try again.
    #[error("key {:?} is at revision {}, not at {expected}", current.key, current.modified)]
    Conflict {
        /// The revision the caller expected.
        expected: Revision,
        /// The pair that is there.
        current: KeyValue,
    },
    /// The revision has been compacted away. List anew at the current revision.
    #[error("revisions before {oldest} have been compacted")]
    Compacted {
        /// The oldest revision that can still be listed at or watched after.
        oldest: Revision,
    },
    /// The revision has not happened yet. It comes from another store or from a lost future of this
    /// one (a restored backup): list anew.
    #[error("the revision lies ahead of the current revision {current}")]
    FutureRevision {
        /// The newest revision there is.
        current: Revision,
    },
    /// A key or value is longer than the store takes. Store less.
    #[error("{what} of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// "key" or "value".
        what: &'static str,
        /// The length offered.
        bytes: usize,
        /// The length allowed.
        limit: usize,
    },
    /// A key is empty or holds a NUL. A mistake of the caller.
    #[error("a key must not {reason}")]
    InvalidKey {
        /// What it must not.
        reason: &'static str,
    },
    /// The store was closed. Open it again.
    #[error("the store is closed")]
    Closed,
    /// Another process (or another part of this one) has the store open. Stop it, or use another path.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The file of the store.
        path: PathBuf,
    },
    /// The file is open to other users of the machine, so its secrets may be known. Inspect it, then
    /// `chmod 600` it.
    #[error("{} may be read by other users (mode {mode:04o})", path.display())]
    Exposed {
        /// The file of the store.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A newer version of this program wrote the file. Use that version.
    #[error("{} has schema version {found}, newer than {known}", path.display())]
    NewerSchema {
        /// The file of the store.
        path: PathBuf,
        /// The version the file claims.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// The file is a database, but not one of ours. Use another path.
    #[error("{} is not a store", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file operation failed. Look at the disk.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The database failed. A write that ends so is not promised to be there, nor to be absent once
    /// the process has been restarted; read before trying again.
    #[error("cannot {action}")]
    Database {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// What the database said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// For `map_err` at a file operation.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source: Arc::new(source),
        }
    }

    /// For `map_err` at a database call.
    pub(crate) fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database {
            action,
            source: Arc::new(source),
        }
    }
}

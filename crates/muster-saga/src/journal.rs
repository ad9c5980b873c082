//! The port of a journal: the promise that a returned `Ok` means durable.
//!
//! The trait is written with a plain future, so a blocking store and an asynchronous one both fit; this crate has
//! no runtime and implements it nowhere but in tests.

use std::future::Future;

use crate::{Entry, RecordError};

/// A record could not be made durable. The saga must stop: neither the deed nor the next record may follow.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store refused or failed.
    #[error("the journal cannot be written")]
    Store {
        /// The store's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The entry itself cannot be encoded or read.
    #[error("the journal holds or was given an unusable entry")]
    Entry {
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
}

/// Where the entries of one saga are kept.
pub trait Journal {
    /// Makes entries durable, all of them or none. `Ok` means: they are there after a power cut.
    fn append(&self, entries: &[Entry]) -> impl Future<Output = Result<(), JournalError>> + Send;
}

//! The port. Every store gives these promises and no more; the module `conformance`
//! (feature `testing`) checks them on any store.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{KeyValue, Page, Revision, StoreError, Watch};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The longest value, in bytes (2 MiB, a little above what an API server lets in).
pub const MAX_VALUE_BYTES: usize = 2 * 1024 * 1024;

/// A revisioned key space. Used as `Arc<dyn Store>` everywhere.
///
/// * **Writes** are totally ordered by their revisions and durable, as far as the store is durable at
///   all, before they are acknowledged. A future that is dropped half-way leaves open whether its
///   write happens.
/// * **Reads** see every write that was acknowledged before they began.
/// * **Watches** see every write once, in order, without gaps.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes a key that is not there, and answers its revision.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the key is there.
    async fn create(&self, key: &str, value: Bytes) -> Result<Revision, StoreError>;

    /// Replaces the value of a key whose last write was `expected`, and answers the new revision.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without the key, [`StoreError::Conflict`] at another revision.
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, StoreError>;

    /// Deletes a key whose last write was `expected`, and answers the revision of the delete.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without the key, [`StoreError::Conflict`] at another revision.
    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StoreError>;

    /// Reads one key, with the revision at which the answer holds.
    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), StoreError>;

    /// Lists the keys that begin with `prefix` in byte order, as of revision `at` (now, if `None`),
    /// behind the key `after` (exclusive), at most `limit` of them (all, if 0).
    ///
    /// # Errors
    /// [`StoreError::Compacted`] or [`StoreError::FutureRevision`] if `at` cannot be answered.
    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Watches the writes to keys that begin with `prefix`, with revisions greater than `after`.
    /// Watching after the revision of a [`Page`] continues that listing exactly.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] or [`StoreError::FutureRevision`] if `after` cannot be continued.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;

    /// Forgets the history before `up_to`: superseded values and the traces of deleted keys. Listing
    /// at `up_to` and watching after it still work. An `up_to` that is compacted already is no error.
    ///
    /// # Errors
    /// [`StoreError::FutureRevision`] if `up_to` has not happened yet.
    async fn compact(&self, up_to: Revision) -> Result<(), StoreError>;

    /// The revision of the newest acknowledged write.
    fn current_revision(&self) -> Revision;

    /// Stops taking writes, answers those that wait, ends all watches and lets go of files. Calls after
    /// it end in [`StoreError::Closed`]; closing twice is no error. Dropping a store does the same.
    async fn close(&self) -> Result<(), StoreError>;
}

//! What is stored and what is read: revisions, key-value pairs and pages of them.
//! Plain values; nothing here touches a disk or waits.

use std::fmt;

use bytes::Bytes;

/// A moment in the life of a store.
///
/// Every write takes the next revision, so a revision names one write and the state right after it.
/// Revisions start at 1, grow strictly, and never go back, not even over restarts and compactions.
/// `Revision(0)` is the empty store before its first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The empty store before its first write.
    pub const ZERO: Self = Self(0);

    /// The revision of the write that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value at some revision.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) bytes.
    pub key: String,
    /// The value, at most [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES) bytes.
    pub value: Bytes,
    /// The revision of the write that created the key (again, if it had been deleted before).
    pub created: Revision,
    /// The revision of the last write to the key: what `update` and `delete` expect.
    pub modified: Revision,
}

/// Values may hold secrets, so `Debug` shows only their length.
impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &self.key)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("created", &self.created.0)
            .field("modified", &self.modified.0)
            .finish()
    }
}

/// One page of a listing, in the byte order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The pairs of this page.
    pub items: Vec<KeyValue>,
    /// The revision at which the whole listing holds. Ask for the next page `at` this revision, or
    /// watch `after` it.
    pub revision: Revision,
    /// Whether keys follow behind the last item.
    pub more: bool,
    /// How many keys follow behind the last item.
    pub remaining: usize,
}

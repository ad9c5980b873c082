//! What a watch tells: one event per write.

use bytes::Bytes;

use crate::{KeyValue, Revision, StoreError};

/// What a write did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was created or updated.
    Put,
    /// The key was deleted.
    Delete,
}

/// One write. Each revision is exactly one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened to the key.
    pub kind: EventKind,
    /// On [`EventKind::Put`] the pair as it is now. On [`EventKind::Delete`] the last value, with
    /// `modified` being the revision of the delete.
    pub kv: KeyValue,
    /// The pair as it was before this write; `None` when the write created the key.
    pub previous: Option<KeyValue>,
}

impl Event {
    /// The revision of the write.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.kv.modified
    }

    /// Whether this write created its key.
    #[must_use]
    pub const fn is_create(&self) -> bool {
        self.previous.is_none()
    }
}

/// The decisions of compare-and-set: what a write makes of the current pair, for every store alike.
impl Event {
    pub(crate) fn creating(
        key: &str,
        value: Bytes,
        current: Option<KeyValue>,
        revision: Revision,
    ) -> Result<Self, StoreError> {
        if let Some(current) = current {
            return Err(StoreError::AlreadyExists { current });
        }
        let kv = KeyValue {
            key: key.to_owned(),
            value,
            created: revision,
            modified: revision,
        };
        Ok(Self {
            kind: EventKind::Put,
            kv,
            previous: None,
        })
    }

    pub(crate) fn updating(
        key: &str,
        value: Bytes,
        expected: Revision,
        current: Option<KeyValue>,
        revision: Revision,
    ) -> Result<Self, StoreError> {
        let previous = at_expected(key, expected, current)?;
        let created = previous.created;
        let kv = KeyValue {
            key: key.to_owned(),
            value,
            created,
            modified: revision,
        };
        Ok(Self {
            kind: EventKind::Put,
            kv,
            previous: Some(previous),
        })
    }

    pub(crate) fn deleting(
        key: &str,
        expected: Revision,
        current: Option<KeyValue>,
        revision: Revision,
    ) -> Result<Self, StoreError> {
        let previous = at_expected(key, expected, current)?;
        let kv = KeyValue {
            modified: revision,
            ..previous.clone()
        };
        Ok(Self {
            kind: EventKind::Delete,
            kv,
            previous: Some(previous),
        })
    }
}

fn at_expected(
    key: &str,
    expected: Revision,
    current: Option<KeyValue>,
) -> Result<KeyValue, StoreError> {
    match current {
        None => Err(StoreError::NotFound {
            key: key.to_owned(),
        }),
        Some(current) if current.modified != expected => {
            Err(StoreError::Conflict { expected, current })
        }
        Some(current) => Ok(current),
    }
}

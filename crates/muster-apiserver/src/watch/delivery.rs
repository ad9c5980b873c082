//! One change on its way to many watchers: what has been written of it for one of them is there for all.
//!
//! Refuses to know: how a change is written. Whoever does it names the form; the bytes go when the last
//! watcher has been told, so that the ring of recent changes does not carry them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{CacheEvent, StoredObject};

/// A change that is being handed out.
#[derive(Debug)]
pub(crate) struct Delivery {
    event: Arc<CacheEvent>,
    left: OnceLock<Arc<StoredObject>>,
    /// A handful of forms at most: a list is quicker than a map.
    written: Mutex<Vec<(Form, Bytes)>>,
}

/// A way to write a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The event's type, such as `ADDED`.
    pub(crate) event: &'static str,
    /// The representation, as the writer numbers them.
    pub(crate) representation: u8,
    /// The served `apiVersion`.
    pub(crate) api_version: String,
}

impl Delivery {
    pub(crate) fn new(event: Arc<CacheEvent>) -> Self {
        Self {
            event,
            left: OnceLock::new(),
            written: Mutex::default(),
        }
    }

    /// The change.
    pub(crate) fn event(&self) -> &CacheEvent {
        &self.event
    }

    /// For selections that the object has left: its last state in them, at the revision of the change.
    pub(crate) fn left(&self) -> Option<Arc<StoredObject>> {
        let previous = self.event.previous.as_ref()?;
        let made = || Arc::new(previous.at_revision(self.event.revision()));
        Some(Arc::clone(self.left.get_or_init(made)))
    }

    /// The change in a form, written by `write` if nobody has done it before.
    pub(crate) fn written<E>(
        &self,
        form: Form,
        write: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        // Held while writing: the others that wait would only do the same work.
        let mut written = self.written.lock();
        if let Some((_, bytes)) = written.iter().find(|(known, _)| *known == form) {
            return Ok(bytes.clone());
        }
        let bytes = write()?;
        written.push((form, bytes.clone()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Change, *};

    #[test]
    fn a_form_is_written_once() {
        let object = Arc::new(StoredObject::new("a".into(), 3, b"{\"metadata\":{}}"));
        let previous = Arc::new(StoredObject::new("a".into(), 2, b"{\"metadata\":{}}"));
        let delivery = Delivery::new(Arc::new(CacheEvent {
            change: Change::Modified,
            object,
            previous: Some(previous),
        }));
        let form = |event| Form {
            event,
            representation: 0,
            api_version: "v1".to_owned(),
        };
        let mut writes = 0;
        for event in ["ADDED", "MODIFIED", "ADDED"] {
            let written = delivery.written(form(event), || {
                writes += 1;
                Ok::<_, ()>(Bytes::from_static(event.as_bytes()))
            });
            assert_eq!(written.unwrap(), event);
        }
        assert_eq!(writes, 2);
        assert_eq!(delivery.left().unwrap().revision(), 3);
    }
}

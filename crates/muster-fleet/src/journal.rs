//! The journal in a key space: one key for each write, created and never changed.
//!
//! Keys are `/saga/<id>/<number>` with the ten digits of the first entry's number, so that byte order is the order of
//! writing, and what is written together is there as a whole or not at all. `create` refuses a key
//! that is there, so two writers can never tell two stories under one name.

use std::sync::Arc;

use bytes::Bytes;
use muster_saga::{
    Entry, JournalError, ReplayError, SagaId, SagaState, SagaStatus, decode, encode, replay,
};
use muster_storage::{Store, StoreError};

const PREFIX: &str = "/saga/";

/// The sagas of one machine.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
}

/// One saga as the journal tells it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which.
    pub id: SagaId,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// What they come to.
    pub state: SagaState,
}

impl Told {
    /// Whether nothing is left to take back or to finish: it was taken back, or it removed something for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let removed = self.state.header().kind == crate::reset::KIND;
        match self.state.status() {
            SagaStatus::Undone => true,
            status => removed && status == SagaStatus::Done,
        }
    }
}

fn store_error(source: StoreError) -> JournalError {
    JournalError::Store {
        source: Box::new(source),
    }
}

fn key(id: &SagaId, seq: u64) -> String {
    format!("{PREFIX}{id}/{seq:010}")
}

impl Journal {
    /// A journal in this key space.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Every saga that is told of, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`] when entries cannot be read; the inner result when they contradict each other.
    pub async fn tell(&self) -> Result<Result<Vec<Told>, ReplayError>, JournalError> {
        let page = self
            .store
            .list(PREFIX, None, None, 0)
            .await
            .map_err(store_error)?;
        let mut sagas: Vec<(SagaId, Vec<Entry>)> = Vec::new();
        for pair in page.items {
            let Some((id, _)) = pair.key[PREFIX.len()..].split_once('/') else {
                continue;
            };
            let written = decode(&pair.value).map_err(|source| JournalError::Entry { source })?;
            match sagas.last_mut() {
                Some((last, entries)) if last.as_str() == id => entries.extend(written),
                _ => sagas.push((SagaId::new(id), written)),
            }
        }
        let told = sagas.into_iter().map(|(id, entries)| {
            let state = replay(&entries)?;
            Ok(Told { id, entries, state })
        });
        let mut told: Vec<Told> = match told.collect() {
            Ok(told) => told,
            Err(error) => return Ok(Err(error)),
        };
        told.sort_by_key(|told| told.state.started());
        Ok(Ok(told))
    }

    /// Removes a saga that has been taken back: nothing will be asked of it any more.
    ///
    /// # Errors
    /// [`JournalError`] when the store fails; what is left is still a whole story, as the last entries go first.
    pub async fn forget(&self, told: &Told) -> Result<(), JournalError> {
        debug_assert!(told.is_over(), "only what is no more");
        let prefix = format!("{PREFIX}{}/", told.id);
        let page = self
            .store
            .list(&prefix, None, None, 0)
            .await
            .map_err(store_error)?;
        for pair in page.items.into_iter().rev() {
            self.store
                .delete(&pair.key, pair.modified)
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }

    /// The journal of one saga.
    pub(crate) fn of(&self, id: SagaId) -> SagaJournal {
        SagaJournal {
            store: Arc::clone(&self.store),
            id,
        }
    }
}

/// The entries of one saga.
pub(crate) struct SagaJournal {
    store: Arc<dyn Store>,
    id: SagaId,
}

impl muster_saga::Journal for SagaJournal {
    async fn append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let bytes = encode(entries).map_err(|source| JournalError::Entry { source })?;
        let key = key(&self.id, first.seq);
        self.store
            .create(&key, Bytes::from(bytes))
            .await
            .map(drop)
            .map_err(store_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use muster_saga::{Definition, FORMAT_VERSION, Header, Journal as _, Record};
    use muster_storage::MemoryStore;

    fn header(id: &str, started: i64) -> Entry {
        Entry {
            version: FORMAT_VERSION,
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            record: Record::Header(Header {
                kind: "join".into(),
                id: SagaId::new(id),
                started: Timestamp::from_second(started).unwrap(),
                parameters: serde_json::Value::Null,
                definition: Definition::new(vec![]).unwrap(),
            }),
        }
    }

    fn unwind(seq: u64) -> Entry {
        let record = Record::Unwind {
            reason: "test".into(),
        };
        Entry {
            version: FORMAT_VERSION,
            seq,
            at: Timestamp::UNIX_EPOCH,
            record,
        }
    }

    #[tokio::test]
    async fn sagas_are_told_in_the_order_in_which_they_began() {
        let journal = Journal::new(Arc::new(MemoryStore::new()));
        journal
            .of(SagaId::new("b"))
            .append(&[header("b", 1)])
            .await
            .unwrap();
        journal
            .of(SagaId::new("a"))
            .append(&[header("a", 2)])
            .await
            .unwrap();
        journal
            .of(SagaId::new("b"))
            .append(&[unwind(1)])
            .await
            .unwrap();
        let told = journal.tell().await.unwrap().unwrap();
        let ids: Vec<&str> = told.iter().map(|told| told.id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
        assert_eq!(told[0].entries.len(), 2);
    }

    #[tokio::test]
    async fn an_entry_is_never_written_over_another() {
        let journal = Journal::new(Arc::new(MemoryStore::new()));
        let saga = journal.of(SagaId::new("a"));
        saga.append(&[header("a", 1)]).await.unwrap();
        assert!(saga.append(&[header("a", 9)]).await.is_err());
    }

    #[tokio::test]
    async fn what_is_written_together_is_told_in_its_order() {
        let journal = Journal::new(Arc::new(MemoryStore::new()));
        let saga = journal.of(SagaId::new("a"));
        saga.append(&[header("a", 1), unwind(1)]).await.unwrap();
        let told = journal.tell().await.unwrap().unwrap();
        assert_eq!(told[0].entries, [header("a", 1), unwind(1)]);
    }

    #[tokio::test]
    async fn a_story_with_a_hole_is_damaged_and_not_guessed_at() {
        let journal = Journal::new(Arc::new(MemoryStore::new()));
        let saga = journal.of(SagaId::new("a"));
        saga.append(&[header("a", 1)]).await.unwrap();
        saga.append(&[unwind(2)]).await.unwrap();
        assert!(matches!(
            journal.tell().await.unwrap(),
            Err(ReplayError::Gap { .. })
        ));
    }
}

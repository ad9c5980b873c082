//! A store in memory, for tests, dry runs and simulated worlds: the same promises except that nothing
//! outlives the process. It keeps its whole history until it is compacted.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::hub::Hub;
use crate::key::{check_key, check_value};
use crate::watch::Log;
use crate::{Event, EventKind, KeyValue, Page, Revision, Store, StoreError, Watch, WatchBatch};

/// A [`Store`] that forgets everything when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    hub: Arc<Hub>,
    history: Arc<History>,
}

impl MemoryStore {
    /// An empty store at revision 0.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hub(Hub::new(Revision::ZERO))
    }

    /// A store whose ring keeps only `events`, so that tests can drive watches into the log.
    #[cfg(test)]
    pub(crate) fn with_ring(events: usize) -> Self {
        Self::with_hub(Hub::with_ring(Revision::ZERO, events))
    }

    fn with_hub(hub: Hub) -> Self {
        Self {
            hub: Arc::new(hub),
            history: Arc::default(),
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.hub.is_closed() {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    /// Decides a write, records it and publishes it, all under one lock so that the hub sees the order.
    fn write(
        &self,
        key: &str,
        decide: impl FnOnce(Option<KeyValue>, Revision) -> Result<Event, StoreError>,
    ) -> Result<Revision, StoreError> {
        let mut versions = self.history.versions.write();
        self.check_open()?;
        let revision = versions.current.next();
        let event = decide(versions.latest(key), revision)?;
        versions.record(event.clone());
        self.hub.publish(vec![event]);
        Ok(revision)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.hub.close();
    }
}

/// Every version of every key since the last compaction.
#[derive(Debug, Default)]
struct History {
    versions: RwLock<Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    /// Per key its writes in order; never an empty list.
    keys: BTreeMap<String, Vec<Event>>,
    /// Which key each revision wrote.
    order: BTreeMap<Revision, String>,
    current: Revision,
    compacted: Revision,
}

impl Versions {
    fn latest(&self, key: &str) -> Option<KeyValue> {
        self.keys
            .get(key)
            .and_then(|writes| alive_at(writes, self.current))
    }

    fn record(&mut self, event: Event) {
        self.current = event.revision();
        self.order.insert(event.revision(), event.kv.key.clone());
        self.keys
            .entry(event.kv.key.clone())
            .or_default()
            .push(event);
    }

    fn check_readable(&self, revision: Revision) -> Result<(), StoreError> {
        if revision < self.compacted {
            return Err(StoreError::Compacted {
                oldest: self.compacted,
            });
        }
        if revision > self.current {
            return Err(StoreError::FutureRevision {
                current: self.current,
            });
        }
        Ok(())
    }

    fn event_at(&self, revision: Revision, key: &str) -> Option<&Event> {
        let writes = self.keys.get(key)?;
        let place = writes
            .binary_search_by_key(&revision, Event::revision)
            .ok()?;
        writes.get(place)
    }

    fn compact(&mut self, up_to: Revision) {
        self.compacted = up_to;
        let Self { keys, order, .. } = self;
        keys.retain(|_, writes| {
            let past = writes.partition_point(|event| event.revision() <= up_to);
            let Some(last) = past.checked_sub(1) else {
                return true;
            };
            let keep_last = writes[last].kind == EventKind::Put;
            let forgotten = if keep_last { last } else { past };
            for event in writes.drain(..forgotten) {
                order.remove(&event.revision());
            }
            !writes.is_empty()
        });
    }
}

/// The pair that a key's writes leave alive at a revision.
fn alive_at(writes: &[Event], revision: Revision) -> Option<KeyValue> {
    let past = writes.partition_point(|event| event.revision() <= revision);
    let last = writes.get(past.checked_sub(1)?)?;
    (last.kind == EventKind::Put).then(|| last.kv.clone())
}

#[async_trait]
impl Log for History {
    async fn read(
        self: Arc<Self>,
        prefix: &str,
        after: Revision,
        limit: usize,
    ) -> Result<WatchBatch, StoreError> {
        let versions = self.versions.read();
        versions.check_readable(after)?;
        let mut events = Vec::new();
        for (revision, key) in versions
            .order
            .range((Bound::Excluded(after), Bound::Unbounded))
        {
            if !key.starts_with(prefix) {
                continue;
            }
            events.extend(versions.event_at(*revision, key).cloned());
            if events.len() == limit {
                return Ok(WatchBatch {
                    events,
                    revision: *revision,
                });
            }
        }
        Ok(WatchBatch {
            events,
            revision: versions.current,
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, key: &str, value: Bytes) -> Result<Revision, StoreError> {
        check_key(key)?;
        check_value(&value)?;
        self.write(key, |current, revision| {
            Event::creating(key, value, current, revision)
        })
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, StoreError> {
        check_key(key)?;
        check_value(&value)?;
        self.write(key, |current, revision| {
            Event::updating(key, value, expected, current, revision)
        })
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StoreError> {
        check_key(key)?;
        self.write(key, |current, revision| {
            Event::deleting(key, expected, current, revision)
        })
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), StoreError> {
        check_key(key)?;
        self.check_open()?;
        let versions = self.history.versions.read();
        Ok((versions.latest(key), versions.current))
    }

    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.check_open()?;
        let versions = self.history.versions.read();
        let revision = at.unwrap_or(versions.current);
        versions.check_readable(revision)?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut items = Vec::new();
        let mut remaining = 0;
        let range = versions.keys.range::<str, _>((start, Bound::Unbounded));
        for (_, writes) in range.take_while(|(key, _)| key.starts_with(prefix)) {
            let Some(kv) = alive_at(writes, revision) else {
                continue;
            };
            if limit == 0 || items.len() < limit {
                items.push(kv);
            } else {
                remaining += 1;
            }
        }
        Ok(Page {
            items,
            revision,
            more: remaining > 0,
            remaining,
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.check_open()?;
        self.history.versions.read().check_readable(after)?;
        let log = Arc::<History>::clone(&self.history);
        Ok(Watch::new(Arc::clone(&self.hub), log, prefix, after))
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        self.check_open()?;
        let mut versions = self.history.versions.write();
        if up_to > versions.current {
            return Err(StoreError::FutureRevision {
                current: versions.current,
            });
        }
        if up_to > versions.compacted {
            versions.compact(up_to);
        }
        Ok(())
    }

    fn current_revision(&self) -> Revision {
        self.hub.revision()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _no_write_in_between = self.history.versions.write();
        self.hub.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_memory_store_obeys_all_laws() {
        crate::conformance::run_all(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> })
            .await;
    }
}

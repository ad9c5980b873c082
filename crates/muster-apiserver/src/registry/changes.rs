//! Where a watch gets its changes from: the cache, live; or, for a place that the cache has forgotten, the store's
//! history until it has come up with the cache.
//!
//! Refuses to know: selections, bookmarks, clients.

use std::{collections::VecDeque, sync::Arc};

use muster_machinery::status::Status;
use muster_storage::{Event, EventKind, StoreError, Watch};

use super::{Refusal, storage_failure};
use crate::watch::{
    CacheEvent, Change, Delivery, Interest, ResourceCache, StoredObject, Subscription,
};

/// Where changes come from.
pub(super) enum Source {
    /// The cache, live.
    Cache(Subscription),
    /// The store's history, for revisions that the cache no longer has.
    History(Box<History>),
}

/// What comes.
pub(super) enum Arrival {
    /// A change.
    Change(Arc<Delivery>),
    /// The history broke off.
    Failed(Refusal),
    /// Nothing more: the watcher was too slow, the cache began anew, or the store has closed.
    Closed,
}

/// The store's history, and where in the cache to go on behind it.
pub(super) struct History {
    watch: Watch,
    events: VecDeque<Event>,
    /// What all keys of the resource begin with.
    prefix: String,
    cache: Arc<ResourceCache>,
    namespace: Option<String>,
    interest: Interest,
}

impl Source {
    /// The next change. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Arrival {
        loop {
            match self {
                Self::Cache(subscription) => {
                    if let Some(event) = subscription.backlog.pop_front() {
                        return Arrival::Change(Arc::new(Delivery::new(event)));
                    }
                    let live = subscription.live.recv().await;
                    return live.map_or(Arrival::Closed, Arrival::Change);
                }
                Self::History(history) => {
                    if let Some(delivery) = history.next_ready() {
                        return Arrival::Change(delivery);
                    }
                    if let Some(live) = history.go_over() {
                        *self = Self::Cache(live);
                        continue;
                    }
                    if let Err(end) = history.read().await {
                        return end;
                    }
                }
            }
        }
    }

    /// The next change, if there is one without waiting.
    pub(super) fn next_ready(&mut self) -> Option<Arc<Delivery>> {
        match self {
            Self::Cache(subscription) => match subscription.backlog.pop_front() {
                Some(event) => Some(Arc::new(Delivery::new(event))),
                None => subscription.live.try_recv().ok(),
            },
            Self::History(history) => history.next_ready(),
        }
    }

    /// Whether a change is there without waiting.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Cache(subscription) => {
                !subscription.backlog.is_empty() || !subscription.live.is_empty()
            }
            Self::History(history) => !history.events.is_empty(),
        }
    }

    /// The revision up to which everything has been told, `None` while changes wait.
    /// `published` was read before this call: what came later cannot be lost.
    pub(super) fn told(&self, published: u64) -> Option<u64> {
        match self {
            _ if self.is_ready() => None,
            // Thrown out, and the rest has been told: what is missing is not known.
            Self::Cache(subscription) if subscription.live.is_closed() => None,
            Self::Cache(_) => Some(published),
            Self::History(history) => Some(history.watch.revision().0),
        }
    }
}

impl History {
    pub(super) fn new(
        watch: Watch,
        prefix: String,
        cache: Arc<ResourceCache>,
        namespace: Option<&str>,
        interest: Interest,
    ) -> Self {
        Self {
            watch,
            events: VecDeque::new(),
            prefix,
            cache,
            namespace: namespace.map(str::to_owned),
            interest,
        }
    }

    fn next_ready(&mut self) -> Option<Arc<Delivery>> {
        while let Some(event) = self.events.pop_front() {
            if let Some(event) = self.change_of(&event) {
                return Some(Arc::new(Delivery::new(Arc::new(event))));
            }
        }
        None
    }

    /// The place in the cache behind what has been told, if the cache has it.
    fn go_over(&self) -> Option<Subscription> {
        let (namespace, interest) = (self.namespace.as_deref(), self.interest.clone());
        self.cache
            .subscribe_after(self.watch.revision().0, namespace, interest)
            .ok()
    }

    async fn read(&mut self) -> Result<(), Arrival> {
        match self.watch.next().await {
            None => Err(Arrival::Closed),
            Some(Ok(batch)) => {
                self.events.extend(batch.events);
                Ok(())
            }
            Some(Err(StoreError::Compacted { oldest })) => {
                let told = self.watch.revision().0;
                let status = Status::too_old_resource_version(told, oldest.0);
                Err(Arrival::Failed(status.into()))
            }
            Some(Err(error)) => Err(Arrival::Failed(storage_failure(&error))),
        }
    }

    fn change_of(&self, event: &Event) -> Option<CacheEvent> {
        let key: Arc<str> = event.kv.key.strip_prefix(&self.prefix)?.into();
        let object = StoredObject::new(Arc::clone(&key), event.kv.modified.0, &event.kv.value);
        let previous = event
            .previous
            .as_ref()
            .map(|previous| Arc::new(StoredObject::new(key, previous.modified.0, &previous.value)));
        let change = match (event.kind, &previous) {
            (EventKind::Delete, _) => Change::Deleted,
            (EventKind::Put, Some(_)) => Change::Modified,
            (EventKind::Put, None) => Change::Added,
        };
        Some(CacheEvent {
            change,
            object: Arc::new(object),
            previous,
        })
    }
}

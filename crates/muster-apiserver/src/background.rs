//! What happens without being asked: events end after an hour, the store forgets old history, the serving
//! certificate is renewed, the store is asked whether it is alive.
//!
//! Refuses to know: requests. Each task ends with the server.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use muster_machinery::meta;
use muster_storage::{Revision, Store, StoreError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    system::Health,
    watch::{WatchCache, resource_prefix},
};

/// How long an event is kept.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// How often old events are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How often history is forgotten: what is older than the previous round goes (as kube-apiserver does).
const COMPACT_EVERY: Duration = Duration::from_secs(300);
/// How often the store is asked whether it is alive.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// Begins all tasks.
pub(crate) fn start(
    store: &Arc<dyn Store>,
    cache: &Arc<WatchCache>,
    health: &Arc<Health>,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) {
    let tasks = stop.clone();
    tracker.spawn(
        tasks.run_until_cancelled_owned(expire_events(Arc::clone(store), Arc::clone(cache))),
    );
    tracker.spawn(
        stop.clone()
            .run_until_cancelled_owned(compact(Arc::clone(store))),
    );
    let (store, health) = (Arc::clone(store), Arc::clone(health));
    tracker.spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            health.probe(&store).await;
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }));
}

async fn compact(store: Arc<dyn Store>) {
    let mut keep_from = store.current_revision();
    loop {
        tokio::time::sleep(COMPACT_EVERY).await;
        let now = store.current_revision();
        match store.compact(keep_from).await {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => tracing::warn!(%error, "old history could not be forgotten"),
        }
        keep_from = now;
    }
}

async fn expire_events(store: Arc<dyn Store>, cache: Arc<WatchCache>) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        expire_before(&*store, &cache, Timestamp::now() - EVENT_LIFE).await;
    }
}

/// Deletes events that were last seen before `limit`.
async fn expire_before(store: &dyn Store, cache: &WatchCache, limit: Timestamp) {
    let prefix = resource_prefix("", "events");
    for event in cache.resource("", "events").snapshot(None, None, 0).objects {
        let Ok(value) = event.value() else { continue };
        let seen = ["lastTimestamp", "eventTime", "firstTimestamp"]
            .iter()
            .find_map(|field| meta::time_at(&value, &[field]))
            .max(meta::creation_timestamp(&value));
        if seen.is_some_and(|seen| seen >= limit) {
            continue;
        }
        let key = format!("{prefix}{}", event.key());
        match store.delete(&key, Revision(event.revision())).await {
            // Changed or gone meanwhile: then it is looked at again next time, if at all.
            Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "old events could not be deleted");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_storage::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::watch::encode_stored;

    #[tokio::test]
    async fn only_events_that_were_not_seen_lately_go() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        for (name, seen) in [
            ("old", "2026-01-01T00:00:00Z"),
            ("new", "2026-01-01T02:00:00Z"),
        ] {
            let event = json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "lastTimestamp": seen});
            let key = format!("/registry/core/events/default/{name}");
            store
                .create(&key, encode_stored(&event).unwrap())
                .await
                .unwrap();
        }
        let (cache, _task) = WatchCache::start(Arc::clone(&store)).await.unwrap();
        expire_before(&*store, &cache, "2026-01-01T01:30:00Z".parse().unwrap()).await;
        let left = store
            .list("/registry/core/events/", None, None, 0)
            .await
            .unwrap()
            .items;
        let keys: Vec<_> = left.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["/registry/core/events/default/new"]);
    }
}

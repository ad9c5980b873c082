//! The watch cache: every resource, fed by one watch on the store, complete up to a published revision.
//!
//! Refuses to know: requests, permissions, formats. It never writes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use muster_storage::{EventKind, KeyValue, Revision, Store, StoreError};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{attributes::Selectable, object::StoredObject, resource::ResourceCache};

/// Where all objects live in the store.
pub(crate) const ROOT: &str = "/registry/";

/// The name of the core group in keys.
const CORE: &str = "core";

/// The caches of all resources.
#[derive(Debug)]
pub(crate) struct WatchCache {
    resources: RwLock<HashMap<String, Arc<ResourceCache>>>,
    start: RwLock<u64>,
    published: watch::Sender<u64>,
}

/// The cache did not reach a revision in time.
#[derive(Debug)]
pub(crate) struct Behind {
    /// The revision it has reached.
    pub(crate) current: u64,
}

impl WatchCache {
    /// Loads everything from the store and keeps following it in a task that ends with the returned guard.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
    ) -> Result<(Arc<Self>, tokio_util::task::AbortOnDropHandle<()>), StoreError> {
        let cache = Arc::new(Self {
            resources: RwLock::default(),
            start: RwLock::default(),
            published: watch::Sender::new(0),
        });
        let revision = cache.load(&*store).await?;
        let task = tokio::spawn(follow(Arc::clone(&cache), store, revision));
        Ok((cache, tokio_util::task::AbortOnDropHandle::new(task)))
    }

    /// The cache of a resource; made empty on first use.
    pub(crate) fn resource(&self, group: &str, plural: &str) -> Arc<ResourceCache> {
        let group = if group.is_empty() { CORE } else { group };
        self.by_path(&format!("{group}/{plural}"))
    }

    /// The revision up to which every resource is complete.
    pub(crate) fn revision(&self) -> u64 {
        *self.published.borrow()
    }

    /// Waits until the cache is complete up to `revision`.
    pub(crate) async fn reach(&self, revision: u64, patience: Duration) -> Result<(), Behind> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut published = self.published.subscribe();
        let reached = published.wait_for(|current| *current >= revision);
        match tokio::time::timeout(patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Behind {
                current: self.revision(),
            }),
        }
    }

    /// The path below [`ROOT`] and the cache of every resource that was ever used.
    pub(crate) fn all(&self) -> Vec<(String, Arc<ResourceCache>)> {
        let resources = self.resources.read();
        resources
            .iter()
            .map(|(path, cache)| (path.clone(), Arc::clone(cache)))
            .collect()
    }

    fn by_path(&self, path: &str) -> Arc<ResourceCache> {
        if let Some(found) = self.resources.read().get(path) {
            return Arc::clone(found);
        }
        let mut resources = self.resources.write();
        if let Some(found) = resources.get(path) {
            return Arc::clone(found);
        }
        let (group, plural) = path.split_once('/').unwrap_or((CORE, path));
        let group = if group == CORE { "" } else { group };
        let made = Arc::new(ResourceCache::new(
            Selectable::of(group, plural),
            *self.start.read(),
        ));
        resources.insert(path.to_owned(), Arc::clone(&made));
        made
    }

    async fn load(&self, store: &dyn Store) -> Result<u64, StoreError> {
        let page = store.list(ROOT, None, None, 0).await?;
        let revision = page.revision.0;
        let mut loaded: HashMap<String, BTreeMap<Arc<str>, Arc<StoredObject>>> = HashMap::new();
        for item in page.items {
            if let Some((path, key)) = split_key(&item.key) {
                let key: Arc<str> = key.into();
                let object = StoredObject::new(Arc::clone(&key), item.modified.0, &item.value);
                loaded
                    .entry(path.to_owned())
                    .or_default()
                    .insert(key, Arc::new(object));
            }
        }
        *self.start.write() = revision;
        let known: Vec<String> = self.resources.read().keys().cloned().collect();
        for path in known {
            loaded.entry(path).or_default();
        }
        for (path, objects) in loaded {
            self.by_path(&path).replace(objects, revision);
        }
        self.published.send_replace(revision);
        Ok(revision)
    }

    fn apply(&self, kind: EventKind, item: &KeyValue) {
        if let Some((path, key)) = split_key(&item.key) {
            let deleted = matches!(kind, EventKind::Delete);
            self.by_path(path)
                .apply(key, &item.value, item.modified.0, deleted);
        }
    }
}

/// Follows the store until it closes; when the watch breaks otherwise, loads everything again.
async fn follow(cache: Arc<WatchCache>, store: Arc<dyn Store>, mut revision: u64) {
    loop {
        follow_once(&cache, &*store, revision).await;
        revision = loop {
            match cache.load(&*store).await {
                Ok(loaded) => break loaded,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot load the store, trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        };
    }
}

async fn follow_once(cache: &WatchCache, store: &dyn Store, after: u64) {
    let mut watch = match store.watch(ROOT, Revision(after)) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot follow the store from revision {after}");
            return;
        }
    };
    while let Some(batch) = watch.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "the store's watch broke");
                return;
            }
        };
        for event in &batch.events {
            cache.apply(event.kind, &event.kv);
        }
        cache.published.send_replace(batch.revision.0);
    }
}

/// Splits a store key into `group/plural` and `[namespace/]name`.
fn split_key(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(ROOT)?;
    let group_end = rest.find('/')?;
    let plural_end = rest[group_end + 1..].find('/')? + group_end + 1;
    Some((&rest[..plural_end], &rest[plural_end + 1..]))
}

/// The store prefix of a resource, with the trailing slash.
pub(crate) fn resource_prefix(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { CORE } else { group };
    format!("{ROOT}{group}/{plural}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_into_resource_and_object() {
        assert_eq!(
            split_key("/registry/core/pods/ns/p"),
            Some(("core/pods", "ns/p"))
        );
        assert_eq!(
            split_key("/registry/core/nodes/n"),
            Some(("core/nodes", "n"))
        );
        assert_eq!(split_key("/registry/core"), None);
        assert_eq!(split_key("/other/core/nodes/n"), None);
        assert_eq!(
            resource_prefix("apps", "deployments"),
            "/registry/apps/deployments/"
        );
    }
}

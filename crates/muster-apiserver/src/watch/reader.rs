//! The watch cache as an [`ObjectReader`]: what authenticators, authorizers and admission look at.
//!
//! Refuses to know: why they look. The few kinds that are read on nearly every request stay parsed.

use std::sync::Arc;

use serde_json::Value;

use super::{Change, StoredObject, WatchCache};
use crate::request::{Changes, ObjectReader};

impl ObjectReader for WatchCache {
    fn get(
        &self,
        group: &str,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Arc<Value>> {
        let cache = self.resource(group, resource);
        let object = match namespace {
            Some(namespace) => cache.get(&format!("{namespace}/{name}"))?,
            None => cache.get(name)?,
        };
        Some(value_of(&object, group, resource))
    }

    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let snapshot = self.resource(group, resource).snapshot(namespace, None, 0);
        snapshot
            .objects
            .iter()
            .map(|object| value_of(object, group, resource))
            .collect()
    }

    fn generation(&self, group: &str, resource: &str) -> u64 {
        self.resource(group, resource).last_change()
    }

    fn changes(&self, group: &str, resource: &str, since: Option<u64>) -> Changes {
        let cache = self.resource(group, resource);
        if let Some((events, until)) = since.and_then(|since| cache.changes_after(since).ok()) {
            let objects = events.iter().map(|event| {
                let there = event.change != Change::Deleted;
                let value = there.then(|| value_of(&event.object, group, resource));
                (event.object.key().to_string(), value)
            });
            return Changes {
                is_everything: false,
                until,
                objects: objects.collect(),
            };
        }
        let snapshot = cache.snapshot(None, None, 0);
        let objects = snapshot.objects.iter().map(|object| {
            let value = value_of(object, group, resource);
            (object.key().to_string(), Some(value))
        });
        Changes {
            is_everything: true,
            until: snapshot.last_change,
            objects: objects.collect(),
        }
    }
}

fn value_of(object: &StoredObject, group: &str, resource: &str) -> Arc<Value> {
    if stays_parsed(group, resource) {
        object.kept_value()
    } else {
        object.shared_value()
    }
}

fn stays_parsed(group: &str, resource: &str) -> bool {
    group == "rbac.authorization.k8s.io"
        || (group.is_empty() && matches!(resource, "namespaces" | "serviceaccounts"))
}

//! Reading: one object, or many with selectors, pages and the semantics of resource versions.
//!
//! Refuses to know: how lists are written.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use muster_machinery::status::{CONTINUE_EXPIRED, Status};
use muster_storage::{Revision, StoreError};
use serde::{Deserialize, Serialize};

use super::{
    Call, ListOptions, Refusal, Registry, options::Freshness, parse_version, select::Selection,
    storage_failure,
};
use crate::watch::{ResourceCache, StoredObject};

/// How many objects are read from the store at once when a page is not in the cache.
const STORE_PAGE: usize = 500;

/// A list, or a page of one.
#[derive(Debug)]
pub(crate) struct ObjectList {
    /// The objects in key order.
    pub(crate) objects: Vec<Arc<StoredObject>>,
    /// The revision at which the whole list holds.
    pub(crate) revision: u64,
    /// The token that gets the next page; empty at the end.
    pub(crate) continue_token: String,
    /// How many objects follow, where that is known.
    pub(crate) remaining: Option<usize>,
}

/// A page's place in a list. The token is this as JSON in base64, as kube-apiserver makes it.
#[derive(Debug, Serialize, Deserialize)]
struct Continuation {
    /// `meta.k8s.io/v1`.
    v: String,
    /// The revision of the whole list.
    rv: i64,
    /// The last key that was given out, with a NUL: the next one begins behind it.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Registry {
    /// One object.
    pub(crate) async fn get(
        &self,
        call: &Call<'_>,
        resource_version: &str,
    ) -> Result<Arc<StoredObject>, Refusal> {
        match resource_version {
            "0" => {}
            "" => self.catch_up().await?,
            version => self.reach(parse_version(version)?).await?,
        }
        self.resource_cache(call)
            .get(&call.key())
            .ok_or_else(|| call.not_found())
    }

    /// Many objects.
    pub(crate) async fn list(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
    ) -> Result<ObjectList, Refusal> {
        let cache = self.resource_cache(call);
        let selection = Selection::new(
            &options.labels,
            &options.fields,
            call.served,
            cache.selectable(),
        );
        let freshness = options.freshness()?;
        if !options.continue_token.is_empty() {
            let place = Continuation::parse(&options.continue_token)?;
            let after = place.start.trim_end_matches('\0').to_owned();
            return match u64::try_from(place.rv) {
                Ok(revision) => {
                    self.list_at(call, &cache, options, &selection, revision, Some(&after))
                        .await
                }
                Err(_) => {
                    self.list_now(call, &cache, options, &selection, Some(&after))
                        .await
                }
            };
        }
        match freshness {
            Freshness::Newest => self.catch_up().await?,
            Freshness::Any => {}
            Freshness::NotOlderThan(revision) => self.reach(revision).await?,
            Freshness::Exactly(revision) => {
                return self
                    .list_at(call, &cache, options, &selection, revision, None)
                    .await;
            }
        }
        self.list_now(call, &cache, options, &selection, None).await
    }

    async fn list_now(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        options: &ListOptions,
        selection: &Selection,
        after: Option<&str>,
    ) -> Result<ObjectList, Refusal> {
        if let (Some(name), None) = (selection.name(), after)
            && (!call.resource.namespaced || call.namespace().is_some())
        {
            let revision = self.cache.revision();
            let found = cache
                .get(&call.key_of(name))
                .filter(|object| selection.matches(object));
            let revision = found
                .as_ref()
                .map_or(revision, |object| revision.max(object.revision()));
            return Ok(ObjectList::complete(found.into_iter().collect(), revision));
        }
        let snapshot = cache.snapshot(call.namespace(), after, self.cache.revision());
        Ok(page(
            snapshot.objects,
            snapshot.revision,
            options,
            selection,
        ))
    }

    /// The list as it was at `revision`: from the cache if nothing has changed since, else from history.
    async fn list_at(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        options: &ListOptions,
        selection: &Selection,
        revision: u64,
        after: Option<&str>,
    ) -> Result<ObjectList, Refusal> {
        self.reach(revision).await?;
        let snapshot = cache.snapshot(call.namespace(), after, self.cache.revision());
        if snapshot.last_change <= revision {
            return Ok(page(snapshot.objects, revision, options, selection));
        }
        let objects = self
            .history(call, selection, options.limit, revision, after)
            .await?;
        Ok(page(objects, revision, options, selection))
    }

    /// Selected objects as they were at `revision`: enough of them for one page and the look behind it.
    async fn history(
        &self,
        call: &Call<'_>,
        selection: &Selection,
        limit: usize,
        revision: u64,
        after: Option<&str>,
    ) -> Result<Vec<Arc<StoredObject>>, Refusal> {
        let root = call.resource.storage_prefix();
        let prefix = match call.namespace() {
            Some(namespace) => format!("{root}{namespace}/"),
            None => root.clone(),
        };
        let mut cursor = after.map(|after| format!("{root}{after}"));
        let mut found = Vec::new();
        loop {
            let page = self
                .store
                .list(
                    &prefix,
                    Some(Revision(revision)),
                    cursor.as_deref(),
                    STORE_PAGE,
                )
                .await
                .map_err(|error| history_failure(&error, revision, after.is_some()))?;
            for item in page.items {
                let key = item.key.strip_prefix(&root).unwrap_or(&item.key);
                let object = StoredObject::new(key.into(), item.modified.0, &item.value);
                if selection.matches(&object) {
                    found.push(Arc::new(object));
                }
                cursor = Some(item.key);
            }
            if !page.more || (limit > 0 && found.len() > limit && !selection.is_everything()) {
                return Ok(found);
            }
        }
    }
}

impl ObjectList {
    /// A list of nothing, at no particular revision.
    pub(crate) fn empty() -> Self {
        Self::complete(Vec::new(), 0)
    }

    fn complete(objects: Vec<Arc<StoredObject>>, revision: u64) -> Self {
        Self {
            objects,
            revision,
            continue_token: String::new(),
            remaining: None,
        }
    }
}

fn page(
    objects: Vec<Arc<StoredObject>>,
    revision: u64,
    options: &ListOptions,
    selection: &Selection,
) -> ObjectList {
    let limit = options.limit;
    if selection.is_everything() && (limit == 0 || objects.len() <= limit) {
        return ObjectList::complete(objects, revision);
    }
    let total = objects.len();
    let mut selected = objects
        .into_iter()
        .filter(|object| selection.matches(object));
    if limit == 0 {
        return ObjectList::complete(selected.collect(), revision);
    }
    let objects: Vec<_> = selected.by_ref().take(limit).collect();
    let more = selected.next().is_some();
    let continue_token = match objects.last() {
        Some(last) if more => Continuation::after(last.key(), revision),
        _ => String::new(),
    };
    let remaining = (more && options.selects_everything()).then(|| total - objects.len());
    ObjectList {
        objects,
        revision,
        continue_token,
        remaining,
    }
}

impl Continuation {
    fn after(key: &str, revision: u64) -> String {
        let place = Self {
            v: TOKEN_VERSION.to_owned(),
            rv: i64::try_from(revision).unwrap_or(i64::MAX),
            start: format!("{key}\0"),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).unwrap_or_default())
    }

    fn parse(token: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| refuse(&error.to_string()))?;
        let place: Self =
            serde_json::from_slice(&bytes).map_err(|error| refuse(&error.to_string()))?;
        let traverses = place
            .start
            .split('/')
            .any(|part| matches!(part, "." | ".."));
        if place.v != TOKEN_VERSION || place.start.is_empty() || place.rv == 0 || traverses {
            return Err(refuse("encoded start key or version is wrong").into());
        }
        Ok(place)
    }
}

fn history_failure(error: &StoreError, revision: u64, continued: bool) -> Refusal {
    match error {
        StoreError::Compacted { .. } if continued => Status::expired(CONTINUE_EXPIRED).into(),
        StoreError::Compacted { oldest } => {
            Status::too_old_resource_version(revision, oldest.0).into()
        }
        StoreError::FutureRevision { current } => {
            Status::too_large_resource_version(revision, current.0).into()
        }
        other => storage_failure(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_finds_its_place_again() {
        let token = Continuation::after("ns/pod-1", 77);
        let place = Continuation::parse(&token).unwrap();
        assert_eq!((place.rv, place.start.as_str()), (77, "ns/pod-1\0"));
    }

    #[test]
    fn a_forged_token_is_refused() {
        let forged = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#);
        for token in ["", "%%%", "AAAA", &forged] {
            assert_eq!(
                Continuation::parse(token).unwrap_err().code(),
                400,
                "{token}"
            );
        }
    }
}

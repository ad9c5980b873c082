//! Reading: one object, or many with selectors, pages and the semantics of resource versions.
//!
//! Refuses to know: how lists are written.

use std::sync::Arc;

use muster_machinery::status::Status;
use muster_storage::{Revision, StoreError};

use super::{
    Call, ListOptions, Refusal, Registry,
    continuation::{ListPath, Place},
    list_options::Freshness,
    parse_version,
    select::Selection,
    storage_failure,
};
use crate::watch::{ROOT, ResourceCache, Snapshot, StoredObject};

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
        )
        .served_as(call.custom);
        let bounds = Bounds::of(call, options);
        if !options.continue_token.is_empty() {
            let place = Place::parse(&options.continue_token, &bounds.path)?;
            if !matches!(options.resource_version.as_str(), "" | "0") {
                let why = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(why).into());
            }
            let bounds = bounds.after(&place);
            return match place.revision {
                Some(revision) => {
                    self.list_at(call, &cache, &bounds, &selection, revision)
                        .await
                }
                None => {
                    self.catch_up().await?;
                    Ok(self.list_now(call, &cache, &bounds, &selection))
                }
            };
        }
        match options.freshness()? {
            Freshness::Newest => self.catch_up().await?,
            // As upstream: whoever takes any state gets all of it, so that reflectors need no pages.
            Freshness::Any => {
                let all = Bounds { limit: 0, ..bounds };
                return Ok(self.list_now(call, &cache, &all, &selection));
            }
            Freshness::NotOlderThan(revision) => self.reach(revision).await?,
            Freshness::Exactly(revision) => {
                return self
                    .list_at(call, &cache, &bounds, &selection, revision)
                    .await;
            }
        }
        Ok(self.list_now(call, &cache, &bounds, &selection))
    }

    fn list_now(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        bounds: &Bounds,
        selection: &Selection,
    ) -> ObjectList {
        if let (Some(name), None) = (selection.name(), &bounds.after)
            && (!call.resource.namespaced || call.namespace().is_some())
        {
            let revision = self.cache.revision();
            let found = cache
                .get(&call.key_of(name))
                .filter(|object| selection.matches(object));
            let revision = found
                .as_ref()
                .map_or(revision, |object| revision.max(object.revision()));
            return ObjectList::complete(found.into_iter().collect(), revision);
        }
        let snapshot = self.snapshot(call, cache, bounds);
        page(snapshot.objects, snapshot.revision, bounds, selection, 0)
    }

    fn snapshot(&self, call: &Call<'_>, cache: &ResourceCache, bounds: &Bounds) -> Snapshot {
        cache.snapshot(
            call.namespace(),
            bounds.after.as_deref(),
            self.cache.revision(),
        )
    }

    /// The list as it was at `revision`: from the cache if nothing has changed since, else from history.
    async fn list_at(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        bounds: &Bounds,
        selection: &Selection,
        revision: u64,
    ) -> Result<ObjectList, Refusal> {
        self.reach(revision).await?;
        let snapshot = self.snapshot(call, cache, bounds);
        if snapshot.last_change <= revision && !self.is_compacted(revision) {
            return Ok(page(snapshot.objects, revision, bounds, selection, 0));
        }
        let (objects, behind) = self.history(bounds, selection, revision).await?;
        Ok(page(objects, revision, bounds, selection, behind))
    }

    /// Whether history before `revision` and itself is gone. What nothing has changed since could still be told,
    /// but whoever pages on is to hear the same on every page.
    fn is_compacted(&self, revision: u64) -> bool {
        matches!(
            self.store.watch(ROOT, Revision(revision)),
            Err(StoreError::Compacted { .. })
        )
    }

    /// Selected objects as they were at `revision`, enough of them for one page and the look behind it, and how
    /// many more there are that nobody has looked at.
    async fn history(
        &self,
        bounds: &Bounds,
        selection: &Selection,
        revision: u64,
    ) -> Result<(Vec<Arc<StoredObject>>, usize), Refusal> {
        let prefix = bounds.path.store_prefix();
        let root = bounds.path.resource_prefix();
        let mut cursor = bounds.after.as_ref().map(|after| format!("{root}{after}"));
        let mut found = Vec::new();
        loop {
            let page = self
                .store
                .list(
                    prefix,
                    Some(Revision(revision)),
                    cursor.as_deref(),
                    STORE_PAGE,
                )
                .await
                .map_err(|error| bounds.history_failure(&error, revision))?;
            for item in page.items {
                let key = item.key.strip_prefix(root).unwrap_or(&item.key);
                let object = StoredObject::new(key.into(), item.modified.0, &item.value);
                if selection.matches(&object) {
                    found.push(Arc::new(object));
                }
                cursor = Some(item.key);
            }
            if !page.more || (bounds.limit > 0 && found.len() > bounds.limit) {
                return Ok((found, page.remaining));
            }
        }
    }
}

/// Which part of a collection a list is about.
struct Bounds {
    path: ListPath,
    /// Only what comes behind this key, exclusive.
    after: Option<String>,
    /// The most objects; 0 for all.
    limit: usize,
    /// Whether the page before named this place.
    is_continued: bool,
    /// Whether it can be known how many objects follow.
    counts: bool,
}

impl Bounds {
    fn of(call: &Call<'_>, options: &ListOptions) -> Self {
        Self {
            path: ListPath::new(call.resource.storage_prefix(), call.namespace()),
            after: None,
            limit: options.limit,
            is_continued: false,
            counts: options.selects_everything(),
        }
    }

    fn after(self, place: &Place) -> Self {
        Self {
            after: Some(place.after.clone()),
            is_continued: true,
            ..self
        }
    }

    fn history_failure(&self, error: &StoreError, revision: u64) -> Refusal {
        match (error, &self.after) {
            (StoreError::Compacted { .. }, Some(after)) if self.is_continued => {
                Status::continue_expired(Place::newest(after).token(&self.path)).into()
            }
            (StoreError::Compacted { .. }, _) => Status::list_expired().into(),
            (StoreError::FutureRevision { current }, _) => {
                Status::too_large_resource_version(revision, current.0).into()
            }
            (other, _) => storage_failure(other),
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

/// Makes a page of objects behind which `behind` more were not looked at.
fn page(
    objects: Vec<Arc<StoredObject>>,
    revision: u64,
    bounds: &Bounds,
    selection: &Selection,
    behind: usize,
) -> ObjectList {
    let limit = bounds.limit;
    if selection.is_everything() && behind == 0 && (limit == 0 || objects.len() <= limit) {
        return ObjectList::complete(objects, revision);
    }
    let total = objects.len() + behind;
    let mut selected = objects
        .into_iter()
        .filter(|object| selection.matches(object));
    if limit == 0 {
        return ObjectList::complete(selected.collect(), revision);
    }
    let objects: Vec<_> = selected.by_ref().take(limit).collect();
    let more = selected.next().is_some();
    let continue_token = match objects.last() {
        Some(last) if more => Place::at(last.key(), revision).token(&bounds.path),
        _ => String::new(),
    };
    let remaining = (more && bounds.counts).then(|| total - objects.len());
    ObjectList {
        objects,
        revision,
        continue_token,
        remaining,
    }
}

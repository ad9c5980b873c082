//! The registry: create, read, update, delete and follow any resource of the table, over one store and one
//! watch cache. What a kind does differently stands in `strategy`, one file per matter.
//!
//! Refuses to know: HTTP, formats, who may do what.

mod apply;
mod changes;
mod collection;
mod continuation;
mod conversion;
mod create;
mod delete;
mod eviction;
mod follow;
mod identity;
mod list;
mod list_options;
mod metadata;
mod options;
mod ownership;
mod patch;
mod quota;
mod scale;
mod select;
mod strategy;
mod subresource;
mod update;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use muster_machinery::{
    resources::{Resource, Subresource},
    status::Status,
};
use muster_storage::{Revision, Store, StoreError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    authn::Authenticator,
    custom::CustomVersion,
    notes::Notes,
    request::{ResourceRequest, UserInfo},
    watch::{Behind, ResourceCache, StoredObject, WatchCache, encode_stored},
};

pub(crate) use conversion::Conversion;
pub(crate) use follow::{Follower, Frame, Telling};
pub(crate) use list::ObjectList;
pub(crate) use list_options::{ListOptions, parse_version};
pub(crate) use options::{DeleteOptions, Propagation, WriteKind, WriteOptions};
pub(crate) use ownership::Owners;
pub(crate) use patch::{APPLY_PATCH, PatchKind};
pub(crate) use strategy::ServiceAddresses;

/// A refused request.
pub(crate) type Refusal = Box<Status>;

/// How long a read waits for the cache before it gives up.
const READ_PATIENCE: Duration = Duration::from_secs(3);
/// How long a finished write waits until everybody can see it.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How often a change is tried again when somebody else was faster.
const CONFLICT_RETRIES: usize = 16;
/// The largest object that is stored, in bytes of JSON (etcd's default limit).
const MAX_OBJECT: usize = 1_572_864;

/// One authorised request on a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// Who asks.
    pub(crate) user: &'a UserInfo,
    /// The request's attributes.
    pub(crate) request: &'a ResourceRequest,
    /// The table's entry under which objects are kept.
    pub(crate) resource: &'a Resource,
    /// The table's entry that was asked for; another one where a resource is served under two names.
    pub(crate) served: &'a Resource,
    /// The version of a custom resource; `None` for built-in ones. Its objects pass through the registry in the served form.
    pub(crate) custom: Option<&'a CustomVersion>,
    /// The subresource's entry, if one is addressed.
    pub(crate) sub: Option<&'a Subresource>,
    /// When the request came in.
    pub(crate) now: Timestamp,
    /// What is noted on the way: warnings, remarks for the audit log.
    pub(crate) notes: &'a Notes,
}

impl Call<'_> {
    /// The group under which objects are kept.
    pub(crate) fn group(&self) -> &str {
        &self.resource.group
    }

    /// The namespace, for namespaced resources.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.request
            .namespace
            .as_deref()
            .filter(|_| self.resource.namespaced)
    }

    /// The name in the path; empty for collections.
    pub(crate) fn name(&self) -> &str {
        self.request.name.as_deref().unwrap_or_default()
    }

    /// The addressed object's key within its resource.
    pub(crate) fn key(&self) -> String {
        self.key_of(self.name())
    }

    /// The key of `name` in the request's namespace.
    pub(crate) fn key_of(&self, name: &str) -> String {
        match self.namespace() {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }

    /// The key in the store.
    pub(crate) fn store_key(&self, key: &str) -> String {
        format!("{}{key}", self.resource.storage_prefix())
    }

    /// Whether group and plural are these.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.resource.group == group && self.resource.plural == plural
    }

    /// The subresource's name, or the empty string.
    pub(crate) fn sub_name(&self) -> &str {
        self.sub.map_or("", |sub| &sub.name)
    }

    /// A stored object in the form in which it is worked on.
    fn read(&self, stored: &StoredObject) -> Result<Value, Refusal> {
        let mut object = value_of(stored)?;
        if let Some(custom) = self.custom {
            custom.serve(&mut object)?;
        }
        Ok(object)
    }

    /// 404 for the addressed object.
    pub(crate) fn not_found(&self) -> Refusal {
        Status::not_found(self.resource.group_resource(), self.name()).into()
    }

    /// 409 for the addressed object.
    pub(crate) fn conflict(&self) -> Refusal {
        Status::conflict(self.resource.group_resource(), self.name()).into()
    }
}

/// What a write made of an object.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The object is there, in this state.
    Stored(Arc<StoredObject>),
    /// The object is gone; this was its last state.
    Removed(Arc<StoredObject>),
}

impl Outcome {
    /// The object's state, whichever became of it.
    pub(crate) fn object(self) -> Arc<StoredObject> {
        match self {
            Self::Stored(object) | Self::Removed(object) => object,
        }
    }
}

/// Every resource of the server.
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    cache: Arc<WatchCache>,
    admission: Arc<Admission>,
    authenticator: Arc<Authenticator>,
    addresses: ServiceAddresses,
    stop: CancellationToken,
}

impl Registry {
    /// A registry over a store and the cache that follows it. `stop` ends all watches.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        cache: Arc<WatchCache>,
        admission: Arc<Admission>,
        authenticator: Arc<Authenticator>,
        stop: CancellationToken,
    ) -> Self {
        let addresses = ServiceAddresses::new(Arc::clone(&cache));
        Self {
            store,
            cache,
            admission,
            authenticator,
            addresses,
            stop,
        }
    }

    /// Whether the addressed object is there, as far as the cache knows.
    pub(crate) fn exists(&self, call: &Call<'_>) -> bool {
        self.resource_cache(call).get(&call.key()).is_some()
    }

    /// Ends everything that goes on with the server.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The objects of a resource.
    pub(crate) fn cache_of(&self, resource: &Resource) -> Arc<ResourceCache> {
        self.cache.resource(&resource.group, &resource.plural)
    }

    fn resource_cache(&self, call: &Call<'_>) -> Arc<ResourceCache> {
        self.cache.resource(call.group(), &call.resource.plural)
    }

    /// The newest state of the addressed object.
    async fn current(&self, call: &Call<'_>) -> Result<Arc<StoredObject>, Refusal> {
        self.catch_up().await?;
        self.resource_cache(call)
            .get(&call.key())
            .ok_or_else(|| call.not_found())
    }

    /// Waits until the cache has everything that was acknowledged before now.
    async fn catch_up(&self) -> Result<(), Refusal> {
        self.reach(self.store.current_revision().0).await
    }

    async fn reach(&self, revision: u64) -> Result<(), Refusal> {
        self.cache
            .reach(revision, READ_PATIENCE)
            .await
            .map_err(|Behind { current }| {
                Status::too_large_resource_version(revision, current).into()
            })
    }

    /// Waits until a write of ours is visible to every later request. It has happened in any case.
    async fn settle(&self, revision: u64) {
        if self.cache.reach(revision, WRITE_PATIENCE).await.is_err() {
            tracing::warn!(revision, "the watch cache lags behind the store");
        }
    }

    /// Writes a new object. `Ok(None)` if the name is taken.
    async fn insert(
        &self,
        call: &Call<'_>,
        key: &str,
        object: &Value,
    ) -> Result<Option<Arc<StoredObject>>, Refusal> {
        let bytes = encode(call, object)?;
        match self.store.create(&call.store_key(key), bytes.clone()).await {
            Ok(revision) => {
                self.settle(revision.0).await;
                Ok(Some(Arc::new(StoredObject::new(
                    key.into(),
                    revision.0,
                    &bytes,
                ))))
            }
            Err(StoreError::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(storage_failure(&error)),
        }
    }

    /// Replaces `old`. `Ok(Err(newer))` if somebody was faster, with the state found then.
    async fn replace(
        &self,
        call: &Call<'_>,
        old: &StoredObject,
        object: &Value,
    ) -> Result<Result<Arc<StoredObject>, Option<Arc<StoredObject>>>, Refusal> {
        let bytes = encode(call, object)?;
        let key = call.store_key(old.key());
        match self
            .store
            .update(&key, bytes.clone(), Revision(old.revision()))
            .await
        {
            Ok(revision) => {
                self.settle(revision.0).await;
                let key = Arc::clone(old.key());
                Ok(Ok(Arc::new(StoredObject::new(key, revision.0, &bytes))))
            }
            Err(error) => raced(old, error).map(Err),
        }
    }

    /// Removes `old`. `Ok(Err(newer))` if somebody was faster.
    async fn remove(
        &self,
        call: &Call<'_>,
        old: &StoredObject,
    ) -> Result<Result<Arc<StoredObject>, Option<Arc<StoredObject>>>, Refusal> {
        match self
            .store
            .delete(&call.store_key(old.key()), Revision(old.revision()))
            .await
        {
            Ok(revision) => {
                self.settle(revision.0).await;
                Ok(Ok(Arc::new(old.at_revision(revision.0))))
            }
            Err(error) => raced(old, error).map(Err),
        }
    }
}

fn raced(old: &StoredObject, error: StoreError) -> Result<Option<Arc<StoredObject>>, Refusal> {
    match error {
        StoreError::Conflict { current, .. } => {
            let key = Arc::clone(old.key());
            Ok(Some(Arc::new(StoredObject::new(
                key,
                current.modified.0,
                &current.value,
            ))))
        }
        StoreError::NotFound { .. } => Ok(None),
        other => Err(storage_failure(&other)),
    }
}

fn encode(call: &Call<'_>, object: &Value) -> Result<bytes::Bytes, Refusal> {
    let bytes = match call.custom {
        Some(custom) => {
            let mut object = object.clone();
            custom.store(&mut object)?;
            encode_stored(&object)
        }
        None => encode_stored(object),
    };
    let bytes = bytes.map_err(Status::internal)?;
    if bytes.len() > MAX_OBJECT {
        return Err(Status::request_entity_too_large(&format!(
            "{} of {} bytes is over the limit of {MAX_OBJECT}",
            call.resource.group_resource(),
            bytes.len()
        ))
        .into());
    }
    Ok(bytes)
}

/// The store's failures in words for clients; its own words go to the log.
fn storage_failure(error: &StoreError) -> Refusal {
    match error {
        StoreError::Closed => Status::service_unavailable("the server is shutting down").into(),
        StoreError::TooLarge { .. } => Status::request_entity_too_large(&error.to_string()).into(),
        other => {
            tracing::error!(error = ?other, "the store failed");
            Status::internal("the store failed").into()
        }
    }
}

/// Reads a stored object as a value.
fn value_of(object: &StoredObject) -> Result<Value, Refusal> {
    object.value().map_err(|error| {
        tracing::error!(key = &**object.key(), %error, "a stored object is damaged");
        Status::internal("the stored object cannot be read").into()
    })
}

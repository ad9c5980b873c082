//! The keeper of definitions: gives them their names and conditions, and takes the objects of a deleted definition away
//! before it goes. Works whenever a definition changes, one decision after the other, so that no name is given twice.
//!
//! Refuses to know: the rules of naming (those are the data model's), requests. Who changes a definition may wait until the
//! keeper has had its say.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use muster_machinery::{
    crd::{
        CLEANUP_FINALIZER, Definition, is_protected_group,
        naming::{Condition, Decision, Taken, decide},
    },
    meta,
    resources::{self, Resource},
    status::Reason,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{DEFINITIONS, Entry, GROUP};
use crate::{
    authz::MASTERS,
    notes::Notes,
    registry::{
        Call, DeleteOptions, ListOptions, Outcome, Owners, Refusal, Registry, WriteOptions,
    },
    request::{ResourceRequest, UserInfo},
    route::ResourceCatalogue,
    watch::{Interest, ResourceCache, WatchCache},
};

/// How long who changes a definition waits for the keeper.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the end of objects is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long objects may take to go before the definition says that they do not.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How long the keeper rests after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The keeper.
pub(crate) struct Keeper {
    registry: Arc<Registry>,
    catalogue: Arc<ResourceCatalogue>,
    definitions: Arc<ResourceCache>,
    user: UserInfo,
    passed: watch::Sender<u64>,
    /// Uids of definitions whose objects are being taken away.
    ending: Mutex<Vec<String>>,
}

impl Keeper {
    /// A keeper that does not work yet.
    pub(crate) fn new(
        registry: Arc<Registry>,
        catalogue: Arc<ResourceCatalogue>,
        cache: &WatchCache,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry,
            catalogue,
            definitions: cache.resource(GROUP, DEFINITIONS),
            user: UserInfo::new("system:apiserver", [MASTERS]),
            passed: watch::Sender::new(0),
            ending: Mutex::default(),
        })
    }

    /// Works until it is dropped.
    pub(crate) async fn work(self: Arc<Self>, tasks: TaskTracker) {
        loop {
            let (snapshot, mut changes) =
                self.definitions.subscribe_from_now(None, Interest::All, 0);
            let mut revision = snapshot.last_change;
            loop {
                if let Err(refusal) = self.pass(&tasks).await {
                    tracing::warn!(%refusal, "definitions cannot be kept");
                    tokio::time::sleep(PAUSE).await;
                }
                self.passed.send_replace(revision.max(1));
                // Lagging behind closes the subscription; then everything is looked at anew.
                let Some(change) = changes.live.recv().await else {
                    break;
                };
                revision = change.event().revision();
                while let Ok(change) = changes.live.try_recv() {
                    revision = change.event().revision();
                }
            }
        }
    }

    /// Waits until the keeper has looked at every definition as it is now.
    pub(crate) async fn catch_up(&self) {
        let wanted = self.definitions.last_change();
        let mut passed = self.passed.subscribe();
        let reached = passed.wait_for(|passed| *passed >= wanted);
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            tracing::warn!(wanted, "definitions are decided on late");
        }
    }

    /// Looks at every definition once.
    async fn pass(self: &Arc<Self>, tasks: &TaskTracker) -> Result<(), Refusal> {
        let index = self.catalogue.custom();
        let mut waiting: Vec<&Entry> = index
            .entries()
            .filter(|entry| is_undecided(&entry.definition))
            .collect();
        waiting.sort_by_key(|entry| entry.object.revision());
        let mut given: HashMap<String, muster_machinery::crd::Names> = HashMap::new();
        for entry in waiting {
            let definition = &entry.definition;
            let mut taken = Taken::default();
            let builtin = resources::all()
                .iter()
                .filter(|own| own.group == definition.group);
            builtin.for_each(|resource: &Resource| taken.take_resource(resource));
            let others = index.entries().map(|other| &other.definition);
            for other in others
                .filter(|other| other.group == definition.group && other.name != definition.name)
            {
                taken.take(given.get(&other.name).unwrap_or(&other.accepted));
            }
            let object = entry
                .object
                .value()
                .map_err(muster_machinery::status::Status::internal)?;
            let decision = decide(definition, &object, &taken);
            given.insert(definition.name.clone(), decision.accepted.clone());
            if !decision.stands_in(&object) {
                self.write(definition, &decision).await?;
            }
        }
        for entry in index.entries() {
            self.end_later(&entry.definition, tasks);
        }
        Ok(())
    }

    async fn write(&self, definition: &Definition, decision: &Decision) -> Result<(), Refusal> {
        self.change_status(definition, |object| {
            decision.write(object, Timestamp::now())
        })
        .await
        .map(drop)
    }

    /// Changes a definition's status. That it is gone or somebody else was faster is no failure.
    async fn change_status(
        &self,
        definition: &Definition,
        mut change: impl FnMut(&mut Value) + Send,
    ) -> Result<Option<Outcome>, Refusal> {
        let Some(resource) = resources::find(GROUP, "v1", DEFINITIONS) else {
            return Ok(None);
        };
        let request = ResourceRequest {
            subresource: Some("status".to_owned()),
            name: Some(definition.name.clone()),
            ..request_of(resource)
        };
        let notes = Notes::default();
        let call = Call {
            user: &self.user,
            request: &request,
            resource,
            served: resource,
            custom: None,
            sub: resource.subresource("status"),
            now: Timestamp::now(),
            notes: &notes,
        };
        let options = WriteOptions {
            manager: "kube-apiserver".to_owned(),
            ..WriteOptions::default()
        };
        let changed = self
            .registry
            .modify(&call, &options, Owners::Track, |old| {
                let mut new = old.clone();
                if meta::uid(old) == definition.uid {
                    change(&mut new);
                }
                Ok(new)
            })
            .await;
        match changed {
            Ok(outcome) => Ok(Some(outcome)),
            Err(refusal) if matches!(refusal.reason(), Reason::NotFound | Reason::Conflict) => {
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Takes the objects of a deleted definition away, beside everything else.
    fn end_later(self: &Arc<Self>, definition: &Arc<Definition>, tasks: &TaskTracker) {
        if !definition.is_deleted || !definition.is_held {
            return;
        }
        let mut ending = self.ending.lock();
        if ending.contains(&definition.uid) {
            return;
        }
        ending.push(definition.uid.clone());
        let (keeper, definition) = (Arc::clone(self), Arc::clone(definition));
        let stop = self.registry.stop();
        tasks.spawn(stop.run_until_cancelled_owned(async move {
            while let Err(refusal) = keeper.end(&definition).await {
                tracing::warn!(definition = definition.name, %refusal, "objects of a deleted definition stay");
                tokio::time::sleep(PAUSE).await;
            }
            keeper.ending.lock().retain(|uid| *uid != definition.uid);
        }));
    }

    /// Takes objects away, then lets the definition go.
    async fn end(&self, definition: &Definition) -> Result<(), Refusal> {
        let begins = Condition::terminating(
            true,
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
        );
        self.change_status(definition, |object| begins.set(object, Timestamp::now()))
            .await?;
        let ended = if definition.is("Established") {
            match self.empty(&definition.name).await {
                Ok(()) => Condition::terminating(
                    false,
                    "InstanceDeletionCompleted",
                    "removed all instances",
                ),
                Err((reason, why)) => {
                    let stays = Condition::terminating(true, reason, why.clone());
                    self.change_status(definition, |object| stays.set(object, Timestamp::now()))
                        .await?;
                    return Err(muster_machinery::status::Status::internal(why).into());
                }
            }
        } else {
            Condition::terminating(false, "NeverEstablished", "resource was never established")
        };
        self.change_status(definition, |object| {
            ended.set(object, Timestamp::now());
            let kept: Vec<String> = meta::finalizers(object)
                .filter(|finalizer| *finalizer != CLEANUP_FINALIZER)
                .map(str::to_owned)
                .collect();
            if let Some(metadata) = meta::metadata_mut(object) {
                metadata.remove("finalizers");
                if !kept.is_empty() {
                    metadata.insert("finalizers".to_owned(), json!(kept));
                }
            }
        })
        .await
        .map(drop)
    }

    /// Deletes every object of a definition and waits until they are gone.
    async fn empty(&self, name: &str) -> Result<(), (&'static str, String)> {
        let storage = self.catalogue.custom().entry(name).and_then(Entry::storage);
        let Some((resource, version)) = storage else {
            return Ok(());
        };
        let objects = self.registry.cache_of(&resource);
        if objects.len() == 0 {
            return Ok(());
        }
        let request = request_of(&resource);
        let notes = Notes::default();
        let call = Call {
            user: &self.user,
            request: &request,
            resource: &resource,
            served: &resource,
            custom: Some(&version),
            sub: None,
            now: Timestamp::now(),
            notes: &notes,
        };
        let (all, options) = (ListOptions::default(), DeleteOptions::default());
        self.registry
            .delete_collection(&call, &all, &options)
            .await
            .map_err(|refusal| {
                (
                    "InstanceDeletionFailed",
                    format!("could not issue all deletes: {refusal}"),
                )
            })?;
        let emptied = async {
            while objects.len() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(END_PATIENCE, emptied)
            .await
            .map_err(|_| {
                let left = objects.len();
                (
                    "InstanceDeletionCheck",
                    format!("could not confirm zero CustomResources remaining: {left} are left"),
                )
            })
    }
}

fn request_of(resource: &Resource) -> ResourceRequest {
    ResourceRequest {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        resource: resource.plural.to_string(),
        ..ResourceRequest::default()
    }
}

/// Whether there may be something to decide. Approvals stand in annotations, which the short form does not have.
fn is_undecided(definition: &Definition) -> bool {
    definition.wanted != definition.accepted
        || !definition.is("NamesAccepted")
        || !definition.is("Established")
        || is_protected_group(&definition.group)
}

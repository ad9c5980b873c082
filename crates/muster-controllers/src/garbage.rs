//! Deletes objects all of whose owners are gone, and carries out foreground and orphaning deletions.
//!
//! The graph of owners says where to look; whether an owner is gone is always asked of the API
//! before anything is deleted, and every delete names the uid it means.

mod graph;

use crate::events::{Change, changes};
use crate::failure::is_outdated;
use crate::keyed::{self, Outcome};
use crate::resources::{Deletable, supporting};
use futures::stream::{AbortHandle, SelectAll};
use futures::{Stream, StreamExt, stream};
use graph::{Graph, Item, Owner, Uid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    Api, DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::core::ApiResource;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

type Metadata = PartialObjectMeta<DynamicObject>;

/// How many objects are looked at at the same time.
const LIMIT: usize = 16;
/// How soon discovery is tried again when it failed.
const DISCOVERY_PAUSE: Duration = Duration::from_secs(1);
/// How long after a change of a definition resources are discovered again: definitions come in crowds.
const DEFINITIONS_PAUSE: Duration = Duration::from_millis(500);
/// Finalizer of an orphaning deletion (`metav1.FinalizerOrphanDependents`).
const ORPHAN: &str = "orphan";
/// Finalizer of a foreground deletion (`metav1.FinalizerDeleteDependents`).
const FOREGROUND: &str = "foregroundDeletion";

struct Collector {
    client: Client,
    /// Only ever grows: items know their resource by its place.
    resources: RwLock<Vec<Deletable>>,
    graph: Mutex<Graph>,
}

/// Collects garbage for ever.
pub(crate) async fn run(client: Client) {
    let resources = discover(&client).await;
    let collector = Arc::new(Collector {
        client,
        resources: RwLock::new(resources),
        graph: Mutex::new(Graph::default()),
    });
    let (sender, receiver) = mpsc::unbounded_channel();
    let feeding = feed(Arc::clone(&collector), sender);
    let work = stream::unfold(receiver, |mut receiver| async move {
        let uid: Uid = receiver.recv().await?;
        Some(((uid.clone(), uid), receiver))
    });
    let working = keyed::run(work, LIMIT, |uid: Uid| {
        let collector = Arc::clone(&collector);
        async move { collector.look_at(&uid).await }
    });
    futures::future::join(feeding, working).await;
}

async fn discover(client: &Client) -> Vec<Deletable> {
    loop {
        match supporting(client, &["delete", "list", "watch"]).await {
            // Events are never owned, and there may be very many of them.
            Ok(found) => {
                return found
                    .into_iter()
                    .filter(|one| one.resource.plural != "events")
                    .collect();
            }
            Err(error) => tracing::warn!(%error, "discovery failed and is tried again"),
        }
        tokio::time::sleep(DISCOVERY_PAUSE).await;
    }
}

/// Tells the graph of every change of every resource.
async fn feed(collector: Arc<Collector>, work: mpsc::UnboundedSender<Uid>) {
    let mut all = SelectAll::new();
    let mut watched: HashMap<usize, AbortHandle> = HashMap::new();
    let known = collector.resources.read().len();
    for index in 0..known {
        let (changes, handle) = stream::abortable(watch_one(&collector, index));
        watched.insert(index, handle);
        all.push(changes.boxed());
    }
    let mut due: Option<Instant> = None;
    loop {
        let look_again = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            next = all.next() => {
                let Some((index, change)) = next else {
                    return;
                };
                if collector.is_definition(index) {
                    due.get_or_insert_with(|| Instant::now() + DEFINITIONS_PAUSE);
                }
                let found = collector.on_change(index, change);
                if found.into_iter().any(|uid| work.send(uid).is_err()) {
                    return;
                }
            }
            () = look_again => {
                due = None;
                let served = discover(&collector.client).await;
                for (index, handle) in &watched {
                    if !collector.is_among(*index, &served) {
                        handle.abort();
                    }
                }
                watched.retain(|_, handle| !handle.is_aborted());
                for index in collector.take_up(&served, &watched) {
                    let (changes, handle) = stream::abortable(watch_one(&collector, index));
                    watched.insert(index, handle);
                    all.push(changes.boxed());
                }
            }
        }
    }
}

fn watch_one(
    collector: &Collector,
    index: usize,
) -> impl Stream<Item = (usize, Change<Metadata>)> + Send + use<> {
    let resource = collector.resources.read()[index].resource.clone();
    let api: Api<Metadata> = Api::all_with(collector.client.clone(), &resource);
    changes_of(api).map(move |change| (index, change))
}

/// As [`changes`], for types that are only known at run time.
fn changes_of(api: Api<Metadata>) -> impl Stream<Item = Change<Metadata>> + Send {
    changes(api, watcher::Config::default())
}

fn item_of(resource: usize, object: &Metadata) -> Item {
    let metadata = &object.metadata;
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    Item {
        resource,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone().unwrap_or_default(),
        owners: owners
            .iter()
            .map(|owner| Owner {
                uid: owner.uid.clone(),
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                blocks: owner.block_owner_deletion.unwrap_or(false),
            })
            .collect(),
        deleting: metadata.deletion_timestamp.is_some(),
        orphans: finalizers.iter().any(|one| one == ORPHAN),
        foreground: finalizers.iter().any(|one| one == FOREGROUND),
    }
}

impl Collector {
    /// Whether changes of this resource may change what there is to watch.
    fn is_definition(&self, index: usize) -> bool {
        let resources = self.resources.read();
        let resource = &resources[index].resource;
        resource.group == "apiextensions.k8s.io" && resource.plural == "customresourcedefinitions"
    }

    fn is_among(&self, index: usize, served: &[Deletable]) -> bool {
        let resources = self.resources.read();
        served.iter().any(|one| is_same(one, &resources[index]))
    }

    /// Remembers what is served and not watched; answers the places.
    fn take_up(&self, served: &[Deletable], watched: &HashMap<usize, AbortHandle>) -> Vec<usize> {
        let mut resources = self.resources.write();
        let mut taken = Vec::new();
        for one in served {
            let known = |(index, own): (usize, &Deletable)| is_same(own, one).then_some(index);
            let place = resources.iter().enumerate().find_map(known);
            match place {
                Some(index) if watched.contains_key(&index) => {}
                Some(index) => taken.push(index),
                None => {
                    resources.push(one.clone());
                    taken.push(resources.len() - 1);
                }
            }
        }
        taken
    }

    fn on_change(&self, index: usize, change: Change<Metadata>) -> Vec<Uid> {
        let mut graph = self.graph.lock();
        match change {
            Change::Present(object) => match object.uid() {
                Some(uid) => graph.on_present(&uid, item_of(index, &object)),
                None => Vec::new(),
            },
            Change::Gone(former) => graph.on_gone(&former.uid),
            Change::Listed => Vec::new(),
        }
    }

    async fn look_at(&self, uid: &str) -> Outcome {
        let item = self.graph.lock().get(uid);
        let Some(item) = item else {
            return Outcome::Done;
        };
        let result = if item.deleting && item.orphans {
            self.orphan(uid, &item).await
        } else if item.deleting && item.foreground {
            self.delete_dependents(uid, &item).await
        } else if item.deleting {
            Ok(())
        } else {
            self.check_owners(uid, &item).await
        };
        match result {
            Ok(()) => Outcome::Done,
            Err(error) if is_outdated(&error) => Outcome::Done,
            Err(error) => {
                tracing::warn!(name = item.name, %error, "garbage collection is tried again");
                Outcome::Retry
            }
        }
    }

    fn api(&self, item: &Item) -> Api<DynamicObject> {
        let of = self.resources.read()[item.resource].clone();
        self.api_of(&of, item.namespace.as_deref())
    }

    fn api_of(&self, of: &Deletable, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| of.namespaced) {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &of.resource),
            None => Api::all_with(self.client.clone(), &of.resource),
        }
    }

    /// Deletes `item` when all its owners are gone; drops the references to some that are.
    async fn check_owners(&self, uid: &str, item: &Item) -> Result<(), kube::Error> {
        let mut living = Vec::new();
        for owner in &item.owners {
            if self.standing(owner, item.namespace.as_deref()).await? != Standing::Gone {
                living.push(owner.uid.clone());
            }
        }
        if living.len() == item.owners.len() {
            return Ok(());
        }
        if living.is_empty() {
            tracing::info!(
                name = item.name,
                uid,
                "deleting an object whose owners are gone"
            );
            return self.delete(uid, item, PropagationPolicy::Background).await;
        }
        self.keep_judged_owners(uid, item, |owner| living.contains(&owner.uid))
            .await
    }

    /// Asks the API. A kind that nobody serves is never taken for a missing owner, nor is one that
    /// cannot be looked up: what lives in no namespace cannot say in which one its owner does.
    async fn standing(
        &self,
        owner: &Owner,
        namespace: Option<&str>,
    ) -> Result<Standing, kube::Error> {
        // The newest first: a kind that was defined anew is another one.
        let served = {
            let resources = self.resources.read();
            let of_kind = |one: &&Deletable| is_kind(&one.resource, owner);
            resources.iter().rev().find(of_kind).cloned()
        };
        let Some(resource) = served.filter(|one| namespace.is_some() || !one.namespaced) else {
            return Ok(Standing::Lives);
        };
        let api = self.api_of(&resource, namespace);
        let found = api.get_metadata_opt(&owner.name).await?;
        let Some(found) = found.filter(|object| object.uid().as_deref() == Some(&owner.uid)) else {
            return Ok(Standing::Gone);
        };
        let leaving = found.metadata.deletion_timestamp.is_some()
            && found.finalizers().iter().any(|one| one == FOREGROUND);
        Ok(if leaving {
            Standing::Leaves
        } else {
            Standing::Lives
        })
    }

    async fn delete(
        &self,
        uid: &str,
        item: &Item,
        policy: PropagationPolicy,
    ) -> Result<(), kube::Error> {
        let parameters = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        self.api(item)
            .delete(&item.name, &parameters)
            .await
            .map(|_| ())
    }

    /// Keeps only some owners after a judgement of all of them. An object whose owners are no longer
    /// those that were judged is left alone: its own event brings it, and the owners that wait for it,
    /// here again. Otherwise two judgements side by side could each drop the owner that the other kept.
    async fn keep_judged_owners(
        &self,
        uid: &str,
        item: &Item,
        keep: impl Fn(&Owner) -> bool,
    ) -> Result<(), kube::Error> {
        let object = self.api(item).get_metadata(&item.name).await?;
        if is_outdated_judgement(&item.owners, object.owner_references()) {
            return Ok(());
        }
        self.write_owners(uid, item, &object, keep).await
    }

    /// Keeps only some owners, whoever else owns the object by now.
    async fn keep_owners(
        &self,
        uid: &str,
        item: &Item,
        keep: impl Fn(&Owner) -> bool,
    ) -> Result<(), kube::Error> {
        let object = self.api(item).get_metadata(&item.name).await?;
        self.write_owners(uid, item, &object, keep).await
    }

    async fn write_owners(
        &self,
        uid: &str,
        item: &Item,
        object: &Metadata,
        keep: impl Fn(&Owner) -> bool,
    ) -> Result<(), kube::Error> {
        let kept: Vec<_> = object
            .owner_references()
            .iter()
            .filter(|reference| {
                item.owners
                    .iter()
                    .find(|owner| owner.uid == reference.uid)
                    .is_none_or(&keep)
            })
            .collect();
        let change = json!({ "ownerReferences": kept });
        self.write_metadata(uid, item, object, change).await
    }

    /// Changes the metadata of the very object that was read, and of no later one of its name.
    async fn write_metadata(
        &self,
        uid: &str,
        item: &Item,
        object: &Metadata,
        mut change: Value,
    ) -> Result<(), kube::Error> {
        if object.uid().as_deref() != Some(uid) {
            return Ok(());
        }
        change["resourceVersion"] = json!(object.resource_version());
        change["uid"] = json!(uid);
        let patch = Patch::Merge(json!({ "metadata": change }));
        self.api(item)
            .patch_metadata(&item.name, &PatchParams::default(), &patch)
            .await
            .map(|_| ())
    }

    async fn delete_dependents(&self, uid: &str, item: &Item) -> Result<(), kube::Error> {
        let dependents = self.graph.lock().dependents(uid);
        for (dependent, known) in dependents.iter().filter(|(_, known)| !known.deleting) {
            match self.let_go(uid, dependent, known).await {
                Err(error) if !is_outdated(&error) => return Err(error),
                _ => {}
            }
        }
        if self.graph.lock().is_blocked(uid) {
            return Ok(());
        }
        self.remove_finalizer(uid, item, FOREGROUND).await
    }

    /// Deletes a dependent together with its owner, unless another owner wants it to stay.
    async fn let_go(&self, owner: &str, uid: &str, item: &Item) -> Result<(), kube::Error> {
        for other in item.owners.iter().filter(|other| other.uid != owner) {
            if self.standing(other, item.namespace.as_deref()).await? == Standing::Lives {
                return self
                    .keep_judged_owners(uid, item, |one| one.uid != owner)
                    .await;
            }
        }
        self.delete(uid, item, PropagationPolicy::Foreground).await
    }

    async fn orphan(&self, uid: &str, item: &Item) -> Result<(), kube::Error> {
        let dependents = self.graph.lock().dependents(uid);
        for (dependent, known) in dependents {
            self.keep_owners(&dependent, &known, |owner| owner.uid != uid)
                .await?;
        }
        self.remove_finalizer(uid, item, ORPHAN).await
    }

    async fn remove_finalizer(
        &self,
        uid: &str,
        item: &Item,
        which: &str,
    ) -> Result<(), kube::Error> {
        let Some(object) = self.api(item).get_metadata_opt(&item.name).await? else {
            return Ok(());
        };
        let kept: Vec<_> = object
            .finalizers()
            .iter()
            .filter(|one| *one != which)
            .collect();
        let change = json!({ "finalizers": kept });
        self.write_metadata(uid, item, &object, change).await
    }
}

/// What has become of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is there, or nobody can tell.
    Lives,
    /// It waits for its dependents to be gone, and then goes itself.
    Leaves,
    /// It is not there, or it is another one of the same name.
    Gone,
}

/// Whether the owners are not those that were judged any more.
fn is_outdated_judgement(judged: &[Owner], now: &[OwnerReference]) -> bool {
    judged.len() != now.len()
        || !judged
            .iter()
            .all(|owner| now.iter().any(|one| one.uid == owner.uid))
}

/// Whether two are one resource, in one version.
fn is_same(a: &Deletable, b: &Deletable) -> bool {
    let (x, y) = (&a.resource, &b.resource);
    (&x.group, &x.version, &x.plural, &x.kind) == (&y.group, &y.version, &y.plural, &y.kind)
        && a.namespaced == b.namespaced
}

/// Whether `resource` is the kind of `owner`, in whatever version.
fn is_kind(resource: &ApiResource, owner: &Owner) -> bool {
    let group = owner
        .api_version
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    resource.kind == owner.kind && resource.group == group
}

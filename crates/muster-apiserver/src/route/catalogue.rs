//! Which resources are served, by the parts of their paths, and the documents that say so: the built-in ones, and those that
//! definitions bring, as they are at the moment of the question.
//!
//! Refuses to know: how they are served.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use muster_machinery::{
    discovery::Catalogue,
    gvk::join_api_version,
    resources::{self, Resource},
};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::{
    custom::{CustomVersion, DEFINITIONS, GROUP, Index},
    watch::{ResourceCache, WatchCache},
};

/// The served resources.
pub(crate) struct ResourceCatalogue {
    by_version: HashMap<String, HashMap<String, Arc<Resource>>>,
    definitions: Arc<ResourceCache>,
    custom: RwLock<Arc<State>>,
    /// Held while a new state is made, so that each is made once.
    refresh: Mutex<()>,
    stop: CancellationToken,
}

/// What definitions brought at one revision.
#[derive(Default)]
struct State {
    /// The last change of a definition that is in here.
    seen: Option<u64>,
    index: Arc<Index>,
    documents: OnceLock<Arc<Catalogue>>,
}

impl ResourceCatalogue {
    /// Every built-in resource, and what the definitions in the cache bring. `stop` ends watches.
    pub(crate) fn new(cache: &WatchCache, stop: CancellationToken) -> Self {
        let mut by_version: HashMap<String, HashMap<String, Arc<Resource>>> = HashMap::new();
        for resource in resources::all() {
            by_version
                .entry(resource.api_version())
                .or_default()
                .insert(resource.plural.to_string(), Arc::new(resource.clone()));
        }
        Self {
            by_version,
            definitions: cache.resource(GROUP, DEFINITIONS),
            custom: RwLock::default(),
            refresh: Mutex::default(),
            stop,
        }
    }

    /// The definitions as they are now.
    pub(crate) fn custom(&self) -> Arc<Index> {
        Arc::clone(&self.state().index)
    }

    fn state(&self) -> Arc<State> {
        let is_current = |state: &State| state.seen == Some(self.definitions.last_change());
        let known = Arc::clone(&self.custom.read());
        if is_current(&known) {
            return known;
        }
        let _one_at_a_time = self.refresh.lock();
        let known = Arc::clone(&self.custom.read());
        if is_current(&known) {
            return known;
        }
        let snapshot = self.definitions.snapshot(None, None, 0);
        let state = Arc::new(State {
            seen: Some(snapshot.last_change),
            index: Arc::new(Index::of(&snapshot.objects, &known.index, &self.stop)),
            documents: OnceLock::new(),
        });
        *self.custom.write() = Arc::clone(&state);
        state
    }

    /// The resource behind a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.look_up(group, version, plural)
            .map(|(resource, _)| resource)
    }

    /// The resource behind a path, with its definition's version if it is a custom one.
    pub(crate) fn look_up(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<(Arc<Resource>, Option<CustomVersion>)> {
        let api_version = join_api_version(group, version);
        if let Some(resource) = self
            .by_version
            .get(&api_version)
            .and_then(|own| own.get(plural))
        {
            return Some((Arc::clone(resource), None));
        }
        let state = self.state();
        let (resource, custom) = state.index.find(&api_version, plural)?;
        Some((Arc::clone(resource), Some(custom.clone())))
    }

    /// The built-in resource of a kind, by its `apiVersion`.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let resources = self.by_version.get(api_version)?;
        resources
            .values()
            .find(|resource| resource.kind == kind)
            .cloned()
    }

    /// The resources of a group and version, in no order; `None` when there is none of them.
    pub(crate) fn in_version(&self, api_version: &str) -> Option<Vec<Arc<Resource>>> {
        let built_in = self.by_version.get(api_version);
        let mut found: Vec<_> = built_in
            .into_iter()
            .flat_map(HashMap::values)
            .cloned()
            .collect();
        let index = self.custom();
        found.extend(
            index
                .in_version(api_version)
                .map(|(resource, _)| Arc::clone(resource)),
        );
        (!found.is_empty()).then_some(found)
    }

    /// Every `apiVersion` that has resources, in order.
    pub(crate) fn versions(&self) -> BTreeSet<String> {
        let index = self.custom();
        let custom = index.versions().map(str::to_owned);
        self.by_version.keys().cloned().chain(custom).collect()
    }

    /// The discovery documents.
    pub(crate) fn documents(&self) -> Arc<Catalogue> {
        let state = self.state();
        let documents = state.documents.get_or_init(|| {
            let mut documents = Catalogue::builtin();
            let mut versions: Vec<&str> = state.index.versions().collect();
            versions.sort_unstable();
            for version in versions {
                for (resource, _) in state.index.in_version(version) {
                    documents.add(Resource::clone(resource));
                }
            }
            Arc::new(documents)
        });
        Arc::clone(documents)
    }
}

//! The clusters that tokens are made in: one client each, kept while a request or a debt has to do with it.
//!
//! A task per cluster finds its kubeconfig, connects, and follows the tokens there that are ours. So a cluster that
//! comes, goes or returns is noticed without asking again and again. It refuses to know what requests want.

mod following;
mod standing;

pub(crate) use standing::Standing;

use super::decide::{ClusterState, Ready};
use super::flavour::Way;
use super::request::Place;
use super::world::World;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::{Api, Client};
use parking_lot::Mutex;
use standing::StandingTokens;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long one call to a target cluster may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a cluster is kept that nobody has to do with.
const LINGER: Duration = Duration::from_secs(300);
/// Who has to do with a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A request.
    Request(Place),
    /// A debt, by the name of its ConfigMap.
    Debt(String),
}

/// A cluster that answers.
pub(crate) struct Target {
    pub(crate) secrets: Api<SecretObject>,
    pub(crate) way: Way,
    pub(crate) ready: Ready,
    pub(crate) calls: Semaphore,
}

struct Entry {
    shared: Arc<Shared>,
    wanted_by: HashSet<Item>,
    /// Since when nobody has to do with the cluster.
    idle: Option<Instant>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task of a cluster has in common with everybody else.
struct Shared {
    place: Place,
    state: Mutex<(ClusterState, Option<Arc<Target>>)>,
    /// Look again.
    poke: Notify,
    /// A call failed: look whether the cluster still answers.
    is_suspect: AtomicBool,
}

/// All target clusters.
pub(crate) struct Targets {
    client: Client,
    world: Arc<World>,
    /// The uid of `kube-system` where the requests are.
    pub(crate) manager: String,
    items: mpsc::UnboundedSender<Item>,
    entries: Mutex<HashMap<Place, Entry>>,
    wants: Mutex<HashMap<Item, HashSet<Place>>>,
    /// Tokens of ours that stand in them, as far as known.
    pub(crate) standing: StandingTokens,
    /// When it was last looked for clusters that nobody has to do with.
    looked: Mutex<Instant>,
}

/// Lets all clusters go when it is dropped: their tasks hold on to what they work for.
pub(crate) struct Tether(pub(crate) Arc<Targets>);

impl Drop for Tether {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Targets {
    /// No clusters yet. Whoever has to be looked at again is sent to `items`.
    pub(crate) fn new(
        client: Client,
        world: Arc<World>,
        manager: String,
        items: mpsc::UnboundedSender<Item>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            world,
            manager,
            items,
            entries: Mutex::default(),
            wants: Mutex::default(),
            standing: StandingTokens::default(),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Says with which clusters an item has to do from now on.
    pub(crate) fn set_wants(self: &Arc<Self>, item: &Item, places: HashSet<Place>) {
        let mut wants = self.wants.lock();
        let before = if places.is_empty() {
            wants.remove(item).unwrap_or_default()
        } else {
            wants
                .insert(item.clone(), places.clone())
                .unwrap_or_default()
        };
        let mut entries = self.entries.lock();
        for place in places.difference(&before) {
            let entry = entries
                .entry(place.clone())
                .or_insert_with(|| self.begin(place.clone()));
            entry.wanted_by.insert(item.clone());
            entry.idle = None;
        }
        for place in before.difference(&places) {
            let Some(entry) = entries.get_mut(place) else {
                continue;
            };
            entry.wanted_by.remove(item);
            if entry.wanted_by.is_empty() {
                entry.idle = Some(Instant::now());
            }
        }
        let mut looked = self.looked.lock();
        if looked.elapsed() > LINGER / 10 {
            *looked = Instant::now();
            self.let_go(&mut entries);
        }
    }

    /// Ends what nobody has had to do with for a while. The next request often comes soon after the last one.
    fn let_go(&self, entries: &mut HashMap<Place, Entry>) {
        entries.retain(|place, entry| {
            let keeps = entry.idle.is_none_or(|since| since.elapsed() < LINGER);
            if !keeps {
                self.standing.keep(place, &HashSet::new());
            }
            keeps
        });
    }

    fn begin(self: &Arc<Self>, place: Place) -> Entry {
        let shared = Arc::new(Shared {
            place,
            state: Mutex::new((ClusterState::Connecting, None)),
            poke: Notify::new(),
            is_suspect: AtomicBool::new(false),
        });
        let (targets, of) = (Arc::clone(self), Arc::clone(&shared));
        let task = tokio::spawn(async move { targets.follow(&of).await });
        Entry {
            shared,
            wanted_by: HashSet::new(),
            idle: None,
            task: task.abort_handle(),
        }
    }

    /// What is known of a cluster.
    pub(crate) fn state(&self, place: &Place) -> ClusterState {
        let entries = self.entries.lock();
        let state = entries
            .get(place)
            .map(|entry| entry.shared.state.lock().0.clone());
        state.unwrap_or(ClusterState::Connecting)
    }

    /// The cluster, if it answers.
    pub(crate) fn target(&self, place: &Place) -> Option<Arc<Target>> {
        let entries = self.entries.lock();
        entries.get(place)?.shared.state.lock().1.clone()
    }

    /// Has a cluster looked at again: its object or a Secret changed.
    pub(crate) fn poke(&self, place: &Place) {
        if let Some(entry) = self.entries.lock().get(place) {
            entry.shared.poke.notify_one();
        }
    }

    /// As [`Targets::poke`], for all clusters.
    pub(crate) fn poke_all(&self) {
        for entry in self.entries.lock().values() {
            entry.shared.poke.notify_one();
        }
    }

    /// A call failed in a way that says something of the cluster.
    pub(crate) fn suspect(&self, place: &Place) {
        if let Some(entry) = self.entries.lock().get(place) {
            entry.shared.is_suspect.store(true, Ordering::Relaxed);
            entry.shared.poke.notify_one();
        }
    }

    /// How many clusters answer, and how many there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let entries = self.entries.lock();
        let answers = |entry: &&Entry| entry.shared.state.lock().1.is_some();
        (entries.values().filter(answers).count(), entries.len())
    }

    /// Lets all clusters go.
    fn end(&self) {
        self.wants.lock().clear();
        self.entries.lock().clear();
    }
}

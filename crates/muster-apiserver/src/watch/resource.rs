//! The cache of one resource: its objects in key order, a bounded ring of recent changes, and the watchers
//! that changes are handed to. One writer (the feed), many readers.
//!
//! Refuses to know: selectors beyond the coarse index that keeps a change from waking a thousand watchers
//! that asked for one name each, and how events are written to a client.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::{Delivery, Selectable, object::StoredObject};

/// Most changes kept per resource.
const RING_EVENTS: usize = 4096;
/// Most bytes of objects kept in the ring of a resource, once it has [`RING_FLOOR`] changes.
const RING_BYTES: usize = 2 << 20;
/// Changes kept whatever they weigh.
const RING_FLOOR: usize = 64;
/// Changes a watcher may lag behind before it is closed and has to watch again.
const WATCHER_LAG: usize = 4096;

/// After how many new watchers the places of those that left are cleared.
const SWEEP_EVERY: usize = 512;

/// What a change did to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The object was made.
    Added,
    /// The object was replaced.
    Modified,
    /// The object is gone; the event carries its last state under the revision of the deletion.
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct CacheEvent {
    /// What happened.
    pub(crate) change: Change,
    /// The state after the change; after a deletion the last state.
    pub(crate) object: Arc<StoredObject>,
    /// The state before the change, if there was one.
    pub(crate) previous: Option<Arc<StoredObject>>,
}

impl CacheEvent {
    /// The revision of the change.
    pub(crate) fn revision(&self) -> u64 {
        self.object.revision()
    }
}

/// Which changes a watcher can be interested in at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Any change.
    All,
    /// Changes of objects of this name.
    Name(String),
    /// Changes of objects whose first selectable field had or has this value.
    Field(String),
}

/// The changes after a point in time: first those that had happened already, then the live ones.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Changes between the asked revision and now, oldest first.
    pub(crate) backlog: VecDeque<Arc<CacheEvent>>,
    /// Changes from now on. Ends when the watcher was too slow or the cache was reloaded.
    pub(crate) live: mpsc::Receiver<Arc<Delivery>>,
}

/// Objects at one revision.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The objects in key order.
    pub(crate) objects: Vec<Arc<StoredObject>>,
    /// The revision at which the resource looked like this.
    pub(crate) revision: u64,
    /// The revision since which it has looked like this.
    pub(crate) last_change: u64,
}

/// The ring no longer holds the changes after the asked revision.
#[derive(Debug)]
pub(crate) struct TooOld;

/// Cache of one resource.
#[derive(Debug)]
pub(crate) struct ResourceCache {
    selectable: Selectable,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Arc<str>, Arc<StoredObject>>,
    ring: VecDeque<Arc<CacheEvent>>,
    ring_bytes: usize,
    /// Every change after this revision is in the ring.
    floor: u64,
    /// The revision of the last change.
    revision: u64,
    watchers: Watchers,
}

#[derive(Debug, Default)]
struct Watchers {
    /// Watchers taken in since the places of those that left were last cleared everywhere.
    added: usize,
    all: Vec<Slot>,
    by_name: HashMap<String, Vec<Slot>>,
    by_field: HashMap<String, Vec<Slot>>,
}

#[derive(Debug)]
struct Slot {
    namespace: Option<String>,
    sender: mpsc::Sender<Arc<Delivery>>,
}

impl ResourceCache {
    /// An empty cache that knows of no change after `floor`.
    pub(super) fn new(selectable: Selectable, floor: u64) -> Self {
        Self {
            selectable,
            state: RwLock::new(State {
                floor,
                revision: floor,
                ..State::default()
            }),
        }
    }

    /// The resource's selectable fields.
    pub(crate) fn selectable(&self) -> Selectable {
        self.selectable
    }

    /// The object under `key` (`namespace/name` or `name`).
    pub(crate) fn get(&self, key: &str) -> Option<Arc<StoredObject>> {
        self.state.read().objects.get(key).cloned()
    }

    /// The revision of the last change that this resource saw.
    pub(crate) fn last_change(&self) -> u64 {
        self.state.read().revision
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// How many watchers are connected.
    pub(crate) fn watchers(&self) -> usize {
        self.state.read().watchers.len()
    }

    /// All objects, or those of one namespace, after `after` (exclusive) if given.
    /// `published` is the revision up to which the whole cache is complete.
    pub(crate) fn snapshot(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        published: u64,
    ) -> Snapshot {
        let state = self.state.read();
        Snapshot {
            objects: state.range(namespace, after),
            revision: published.max(state.revision),
            last_change: state.revision,
        }
    }

    /// The changes after `revision`, oldest first, and the revision of the last one, without following on.
    pub(crate) fn changes_after(
        &self,
        revision: u64,
    ) -> Result<(Vec<Arc<CacheEvent>>, u64), TooOld> {
        let state = self.state.read();
        if revision < state.floor {
            return Err(TooOld);
        }
        let start = state
            .ring
            .partition_point(|event| event.revision() <= revision);
        let events = state.ring.range(start..).cloned().collect();
        Ok((events, state.revision))
    }

    /// Follows changes after `revision`.
    pub(crate) fn subscribe_after(
        &self,
        revision: u64,
        namespace: Option<&str>,
        interest: Interest,
    ) -> Result<Subscription, TooOld> {
        let mut state = self.state.write();
        if revision < state.floor {
            return Err(TooOld);
        }
        let start = state
            .ring
            .partition_point(|event| event.revision() <= revision);
        let backlog = state
            .ring
            .range(start..)
            .filter(|event| in_namespace(event, namespace))
            .cloned()
            .collect();
        Ok(Subscription {
            backlog,
            live: state.watchers.add(namespace, interest),
        })
    }

    /// Takes the present state and follows changes after it, without a gap between the two.
    pub(crate) fn subscribe_from_now(
        &self,
        namespace: Option<&str>,
        interest: Interest,
        published: u64,
    ) -> (Snapshot, Subscription) {
        let mut state = self.state.write();
        let snapshot = Snapshot {
            objects: state.range(namespace, None),
            revision: published.max(state.revision),
            last_change: state.revision,
        };
        let live = state.watchers.add(namespace, interest);
        (
            snapshot,
            Subscription {
                backlog: VecDeque::new(),
                live,
            },
        )
    }

    /// Takes a change in: `stored` is the state after it, or the last state if `deleted`.
    pub(super) fn apply(&self, key: &str, stored: &[u8], revision: u64, deleted: bool) {
        let mut state = self.state.write();
        let known = state.objects.get_key_value(key);
        let key = known.map_or_else(|| Arc::from(key), |(key, _)| Arc::clone(key));
        let object = Arc::new(StoredObject::new(Arc::clone(&key), revision, stored));
        let previous = if deleted {
            state.objects.remove(&key)
        } else {
            state.objects.insert(key, Arc::clone(&object))
        };
        let change = match (&previous, deleted) {
            (_, true) => Change::Deleted,
            (Some(_), false) => Change::Modified,
            (None, false) => Change::Added,
        };
        let event = Arc::new(CacheEvent {
            change,
            object,
            previous,
        });
        state.revision = revision;
        state.remember(Arc::clone(&event));
        state.watchers.hand_out(&event, self.selectable);
    }

    /// Replaces everything: changes in between are unknown, so watchers are closed and older revisions gone.
    pub(super) fn replace(&self, objects: BTreeMap<Arc<str>, Arc<StoredObject>>, revision: u64) {
        *self.state.write() = State {
            objects,
            floor: revision,
            revision,
            ..State::default()
        };
    }
}

impl State {
    fn range(&self, namespace: Option<&str>, after: Option<&str>) -> Vec<Arc<StoredObject>> {
        let prefix = namespace.map(|namespace| format!("{namespace}/"));
        let lower = match (after, &prefix) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(prefix)) => Bound::Included(prefix.as_str()),
            (None, None) => Bound::Unbounded,
        };
        let in_range = self
            .objects
            .range::<str, _>((lower, Bound::Unbounded))
            .map(|(_, object)| object);
        match &prefix {
            None => in_range.cloned().collect(),
            Some(prefix) => in_range
                .take_while(|object| object.key().starts_with(prefix.as_str()))
                .cloned()
                .collect(),
        }
    }

    fn remember(&mut self, event: Arc<CacheEvent>) {
        self.ring_bytes += event.object.json().len();
        self.ring.push_back(event);
        while self.ring.len() > RING_EVENTS
            || (self.ring_bytes > RING_BYTES && self.ring.len() > RING_FLOOR)
        {
            let Some(oldest) = self.ring.pop_front() else {
                break;
            };
            self.ring_bytes -= oldest.object.json().len();
            self.floor = oldest.revision();
        }
    }
}

impl Watchers {
    fn add(
        &mut self,
        namespace: Option<&str>,
        interest: Interest,
    ) -> mpsc::Receiver<Arc<Delivery>> {
        self.added += 1;
        if self.added >= SWEEP_EVERY {
            self.sweep();
        }
        let (sender, receiver) = mpsc::channel(WATCHER_LAG);
        let slot = Slot {
            namespace: namespace.map(str::to_owned),
            sender,
        };
        let slots = match interest {
            Interest::All => &mut self.all,
            Interest::Name(name) => self.by_name.entry(name).or_default(),
            Interest::Field(value) => self.by_field.entry(value).or_default(),
        };
        slots.retain(|slot| !slot.sender.is_closed());
        slots.push(slot);
        receiver
    }

    fn sweep(&mut self) {
        self.added = 0;
        let clear = |slots: &mut Vec<Slot>| slots.retain(|slot| !slot.sender.is_closed());
        clear(&mut self.all);
        for index in [&mut self.by_name, &mut self.by_field] {
            index.retain(|_, slots| {
                clear(slots);
                !slots.is_empty()
            });
        }
    }

    fn len(&self) -> usize {
        let open = |slots: &Vec<Slot>| slots.iter().filter(|slot| !slot.sender.is_closed()).count();
        open(&self.all)
            + self.by_name.values().map(open).sum::<usize>()
            + self.by_field.values().map(open).sum::<usize>()
    }

    fn hand_out(&mut self, event: &Arc<CacheEvent>, selectable: Selectable) {
        if self.all.is_empty() && self.by_name.is_empty() && self.by_field.is_empty() {
            return;
        }
        let delivery = Arc::new(Delivery::new(Arc::clone(event)));
        deliver(&mut self.all, &delivery);
        deliver_indexed(&mut self.by_name, event.object.name(), &delivery);
        if self.by_field.is_empty() {
            return;
        }
        let now = event.object.attributes(selectable).field(0);
        deliver_indexed(&mut self.by_field, now, &delivery);
        if let Some(previous) = &event.previous {
            let before = previous.attributes(selectable).field(0);
            if before != now {
                deliver_indexed(&mut self.by_field, before, &delivery);
            }
        }
    }
}

fn deliver_indexed(index: &mut HashMap<String, Vec<Slot>>, value: &str, delivery: &Arc<Delivery>) {
    if let Some(slots) = index.get_mut(value) {
        deliver(slots, delivery);
        if slots.is_empty() {
            index.remove(value);
        }
    }
}

/// Hands the event to each watcher; one that has gone or cannot keep up loses its place.
fn deliver(slots: &mut Vec<Slot>, delivery: &Arc<Delivery>) {
    slots.retain(|slot| {
        if !in_namespace(delivery.event(), slot.namespace.as_deref()) {
            return !slot.sender.is_closed();
        }
        slot.sender.try_send(Arc::clone(delivery)).is_ok()
    });
}

fn in_namespace(event: &CacheEvent, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| event.object.namespace() == Some(namespace))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::object::encode_stored, *};

    fn put(cache: &ResourceCache, key: &str, revision: u64) {
        let name = key.rsplit('/').next();
        let stored = encode_stored(&json!({"metadata": {"name": name}, "data": "x".repeat(100)}));
        cache.apply(key, &stored.unwrap(), revision, false);
    }

    fn keys(snapshot: &Snapshot) -> Vec<&str> {
        snapshot
            .objects
            .iter()
            .map(|object| &**object.key())
            .collect()
    }

    #[test]
    fn a_namespace_is_listed_without_its_neighbours() {
        let cache = ResourceCache::new(Selectable::default(), 0);
        for (revision, key) in (1..).zip(["a/x", "a-b/x", "a/y", "b/x"]) {
            put(&cache, key, revision);
        }
        assert_eq!(keys(&cache.snapshot(Some("a"), None, 4)), ["a/x", "a/y"]);
        assert_eq!(keys(&cache.snapshot(Some("a"), Some("a/x"), 4)), ["a/y"]);
        assert_eq!(
            keys(&cache.snapshot(None, Some("a-b/x"), 4)),
            ["a/x", "a/y", "b/x"]
        );
    }

    #[test]
    fn a_watcher_gets_the_backlog_and_then_live_changes_without_gap_or_repeat() {
        let cache = ResourceCache::new(Selectable::default(), 0);
        put(&cache, "a", 1);
        put(&cache, "b", 2);
        let mut sub = cache.subscribe_after(1, None, Interest::All).unwrap();
        put(&cache, "b", 3);
        let backlog: Vec<_> = sub.backlog.iter().map(|event| event.revision()).collect();
        let live = sub.live.try_recv().unwrap();
        assert_eq!(
            (backlog, live.event().revision(), live.event().change),
            (vec![2], 3, Change::Modified)
        );
        assert!(sub.live.try_recv().is_err());
    }

    #[test]
    fn a_change_wakes_only_watchers_of_its_name() {
        let cache = ResourceCache::new(Selectable::default(), 0);
        let mut a = cache
            .subscribe_after(0, None, Interest::Name("a".into()))
            .unwrap();
        let mut b = cache
            .subscribe_after(0, None, Interest::Name("b".into()))
            .unwrap();
        put(&cache, "a", 1);
        assert!(a.live.try_recv().is_ok());
        assert!(b.live.try_recv().is_err());
        drop(b);
        put(&cache, "b", 2);
        assert_eq!(cache.watchers(), 1);
    }

    #[test]
    fn the_ring_is_bounded_and_older_revisions_are_refused() {
        let cache = ResourceCache::new(Selectable::default(), 0);
        let total = RING_EVENTS as u64 + 10;
        for revision in 1..=total {
            put(&cache, "a", revision);
        }
        assert!(cache.subscribe_after(9, None, Interest::All).is_err());
        let sub = cache.subscribe_after(10, None, Interest::All).unwrap();
        assert_eq!(sub.backlog.len(), RING_EVENTS);
    }

    #[test]
    fn a_watcher_that_does_not_read_is_closed_and_others_are_not() {
        let cache = ResourceCache::new(Selectable::default(), 0);
        let mut slow = cache.subscribe_after(0, None, Interest::All).unwrap();
        for revision in 1..=(WATCHER_LAG as u64 + 1) {
            put(&cache, "a", revision);
        }
        let mut fresh = cache
            .subscribe_after(WATCHER_LAG as u64 + 1, None, Interest::All)
            .unwrap();
        put(&cache, "a", WATCHER_LAG as u64 + 2);
        let mut seen = 0;
        while let Ok(event) = slow.live.try_recv() {
            seen += 1;
            assert_eq!(event.event().revision(), seen);
        }
        assert_eq!(seen, WATCHER_LAG as u64);
        assert!(matches!(
            slow.live.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        ));
        assert!(fresh.live.try_recv().is_ok());
    }
}

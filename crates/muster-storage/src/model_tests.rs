//! The stores against a model that is too simple to be wrong: the list of all events that ever were.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{
    Event, EventKind, KeyValue, MemoryStore, Revision, SqliteStore, Store, StoreError, Watch,
};

/// Small, so that watches fall out of it all the time.
const RING: usize = 5;

const KEYS: [&str; 6] = ["a", "a/", "a/b", "a/c", "ab", "b"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    Create(&'static str, u8),
    Update(&'static str, u8, Expect),
    Delete(&'static str, Expect),
    Get(&'static str),
    List {
        prefix: &'static str,
        at: Option<Index>,
        after: Option<&'static str>,
        limit: usize,
    },
    Watch {
        prefix: &'static str,
        after: Index,
    },
    Follow(Index),
    Compact(Index),
    Reopen,
}

#[derive(Clone, Debug)]
enum Expect {
    TheCurrent,
    Some(Index),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || prop::sample::select(&KEYS[..]);
    let prefix = || prop::sample::select(&PREFIXES[..]);
    let index = || any::<Index>();
    let expect = || prop_oneof![4 => Just(Expect::TheCurrent), 1 => index().prop_map(Expect::Some)];
    let op = prop_oneof![
        6 => (key(), any::<u8>()).prop_map(|(key, value)| Op::Create(key, value)),
        8 => (key(), any::<u8>(), expect()).prop_map(|(key, value, e)| Op::Update(key, value, e)),
        4 => (key(), expect()).prop_map(|(key, expect)| Op::Delete(key, expect)),
        2 => key().prop_map(Op::Get),
        4 => (prefix(), prop::option::of(index()), prop::option::of(key()), 0..4_usize)
            .prop_map(|(prefix, at, after, limit)| Op::List { prefix, at, after, limit }),
        3 => (prefix(), index()).prop_map(|(prefix, after)| Op::Watch { prefix, after }),
        3 => index().prop_map(Op::Follow),
        1 => index().prop_map(Op::Compact),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..80)
}

/// All that ever happened, and how much of it may be forgotten.
#[derive(Default)]
struct Model {
    story: Vec<Event>,
    compacted: Revision,
}

impl Model {
    fn current(&self) -> Revision {
        Revision(self.story.len() as u64)
    }

    fn state(&self, at: Revision) -> BTreeMap<&str, &KeyValue> {
        let mut state = BTreeMap::new();
        for event in self.story.iter().filter(|event| event.revision() <= at) {
            match event.kind {
                EventKind::Put => state.insert(event.kv.key.as_str(), &event.kv),
                EventKind::Delete => state.remove(event.kv.key.as_str()),
            };
        }
        state
    }

    fn now(&self, key: &str) -> Option<KeyValue> {
        self.state(self.current())
            .get(key)
            .map(|kv| KeyValue::clone(kv))
    }

    /// A revision from 0 to one beyond the present.
    fn some_revision(&self, index: &Index) -> Revision {
        Revision(index.index(self.story.len() + 2) as u64)
    }

    fn expected(&self, expect: &Expect, key: &str) -> Revision {
        match expect {
            Expect::TheCurrent => self.now(key).map_or(Revision(1), |kv| kv.modified),
            Expect::Some(index) => self.some_revision(index),
        }
    }

    fn readable(&self, revision: Revision) -> Result<(), String> {
        if revision < self.compacted {
            return Err(shown(&StoreError::Compacted {
                oldest: self.compacted,
            }));
        }
        if revision > self.current() {
            return Err(shown(&StoreError::FutureRevision {
                current: self.current(),
            }));
        }
        Ok(())
    }

    fn put(&mut self, key: &str, value: u8, previous: Option<KeyValue>) -> Revision {
        let modified = self.current().next();
        let created = previous.as_ref().map_or(modified, |kv| kv.created);
        let kv = KeyValue {
            key: key.to_owned(),
            value: value_of(value),
            created,
            modified,
        };
        self.story.push(Event {
            kind: EventKind::Put,
            kv,
            previous,
        });
        modified
    }

    fn create(&mut self, key: &str, value: u8) -> Result<Revision, String> {
        match self.now(key) {
            Some(current) => Err(shown(&StoreError::AlreadyExists { current })),
            None => Ok(self.put(key, value, None)),
        }
    }

    fn at(&self, key: &str, expected: Revision) -> Result<KeyValue, String> {
        match self.now(key) {
            None => Err(shown(&StoreError::NotFound {
                key: key.to_owned(),
            })),
            Some(current) if current.modified != expected => {
                Err(shown(&StoreError::Conflict { expected, current }))
            }
            Some(current) => Ok(current),
        }
    }

    fn update(&mut self, key: &str, value: u8, expected: Revision) -> Result<Revision, String> {
        let current = self.at(key, expected)?;
        Ok(self.put(key, value, Some(current)))
    }

    fn delete(&mut self, key: &str, expected: Revision) -> Result<Revision, String> {
        let current = self.at(key, expected)?;
        let modified = self.current().next();
        let kv = KeyValue {
            modified,
            ..current.clone()
        };
        self.story.push(Event {
            kind: EventKind::Delete,
            kv,
            previous: Some(current),
        });
        Ok(modified)
    }
}

fn value_of(value: u8) -> Bytes {
    Bytes::from(vec![value; usize::from(value % 4)])
}

/// Errors are compared by all they hold (`Debug` of a pair leaves out the value, which reads cover).
fn shown(error: &StoreError) -> String {
    format!("{error:?}")
}

/// A store under test, the model, and the watches that run on it.
struct Trial<'a> {
    store: Arc<dyn Store>,
    reopen: Option<&'a Path>,
    model: Model,
    watches: Vec<(Watch, &'static str)>,
}

impl Trial<'_> {
    async fn step(&mut self, op: &Op) {
        let (store, model) = (&self.store, &mut self.model);
        match op {
            Op::Create(key, value) => {
                let done = store.create(key, value_of(*value)).await;
                assert_eq!(done.map_err(|e| shown(&e)), model.create(key, *value));
            }
            Op::Update(key, value, expect) => {
                let expected = model.expected(expect, key);
                let done = store.update(key, value_of(*value), expected).await;
                assert_eq!(
                    done.map_err(|e| shown(&e)),
                    model.update(key, *value, expected)
                );
            }
            Op::Delete(key, expect) => {
                let expected = model.expected(expect, key);
                let done = store.delete(key, expected).await;
                assert_eq!(done.map_err(|e| shown(&e)), model.delete(key, expected));
            }
            Op::Get(key) => {
                let read = store.get(key).await.unwrap();
                assert_eq!(read, (model.now(key), model.current()));
            }
            Op::List {
                prefix,
                at,
                after,
                limit,
            } => {
                let at = at.map(|index| model.some_revision(&index));
                self.list(prefix, at, *after, *limit).await;
            }
            Op::Watch { prefix, after } => {
                let after = model.some_revision(after);
                let watch = store.watch(prefix, after);
                assert_eq!(
                    watch.as_ref().map(|_| ()).map_err(shown),
                    model.readable(after)
                );
                self.watches
                    .extend(watch.ok().map(|watch| (watch, *prefix)));
            }
            Op::Follow(index) if !self.watches.is_empty() => {
                let chosen = index.index(self.watches.len());
                let (watch, prefix) = self.watches.swap_remove(chosen);
                self.follow(watch, prefix).await;
            }
            Op::Follow(_) => {}
            Op::Compact(index) => {
                let up_to = model.some_revision(index);
                let done = store.compact(up_to).await.map_err(|e| shown(&e));
                if up_to > model.current() {
                    assert_eq!(done, model.readable(up_to));
                } else {
                    assert_eq!(done, Ok(()));
                    model.compacted = model.compacted.max(up_to);
                }
            }
            Op::Reopen => self.reopen().await,
        }
        assert_eq!(self.store.current_revision(), self.model.current());
    }

    async fn list(&self, prefix: &str, at: Option<Revision>, after: Option<&str>, limit: usize) {
        let page = self.store.list(prefix, at, after, limit).await;
        let at = at.unwrap_or_else(|| self.model.current());
        if let Err(refusal) = self.model.readable(at) {
            assert_eq!(page.map_err(|e| shown(&e)), Err(refusal));
            return;
        }
        let page = page.unwrap();
        let state = self.model.state(at);
        let mut expected: Vec<_> = state
            .into_iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after))
            .map(|(_, kv)| kv.clone())
            .collect();
        let all = expected.len();
        if limit > 0 {
            expected.truncate(limit);
        }
        assert_eq!(page.remaining, all - expected.len());
        assert_eq!(page.more, page.remaining > 0);
        assert_eq!(page.items, expected);
        assert_eq!(page.revision, at);
    }

    /// Reads a watch up to the present and, if it is still whole, keeps it.
    async fn follow(&mut self, mut watch: Watch, prefix: &'static str) {
        while watch.revision() < self.model.current() {
            let before = watch.revision();
            let batch = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
            let batch = match batch
                .expect("a watch that is behind does not wait")
                .unwrap()
            {
                Ok(batch) => batch,
                Err(error) => {
                    assert!(
                        before < self.model.compacted,
                        "ended without a reason: {error:?}"
                    );
                    assert_eq!(Err(shown(&error)), self.model.readable(before));
                    assert!(watch.next().await.is_none());
                    return;
                }
            };
            let expected: Vec<_> = self
                .model
                .story
                .iter()
                .filter(|event| event.kv.key.starts_with(prefix))
                .filter(|event| event.revision() > before && event.revision() <= batch.revision)
                .cloned()
                .collect();
            assert_eq!(batch.events, expected);
            assert_eq!(batch.revision, watch.revision());
            assert!(batch.revision > before);
        }
        self.watches.push((watch, prefix));
    }

    async fn reopen(&mut self) {
        let Some(path) = self.reopen else { return };
        self.store.close().await.unwrap();
        for (mut watch, _) in self.watches.drain(..) {
            while let Some(ended) = watch.next().await {
                let compacted = watch.revision() < self.model.compacted;
                assert!(
                    ended.is_ok() || compacted,
                    "ended without a reason: {ended:?}"
                );
            }
        }
        self.store = Arc::new(SqliteStore::open_with_ring(path, RING).unwrap());
    }

    async fn run(mut self, ops: &[Op]) {
        for op in ops {
            self.step(op).await;
        }
        for (watch, prefix) in std::mem::take(&mut self.watches) {
            self.follow(watch, prefix).await;
        }
        self.reopen().await;
        for at in 0..=self.model.current().0 {
            self.list("", Some(Revision(at)), None, 0).await;
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_memory_store_does_as_the_model_does(ops in ops()) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_ring(RING));
        let trial =
            Trial { store, reopen: None, model: Model::default(), watches: Vec::new() };
        block_on(trial.run(&ops));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sqlite_store_does_as_the_model_does_even_reopened(ops in ops()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_with_ring(&path, RING).unwrap());
        let (model, watches) = (Model::default(), Vec::new());
        block_on(Trial { store, reopen: Some(&path), model, watches }.run(&ops));
    }
}

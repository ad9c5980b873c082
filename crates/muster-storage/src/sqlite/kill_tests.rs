//! Killed at any moment, the store has everything that it acknowledged. The test runs itself again as a
//! child that writes and says what was acknowledged, kills it, and looks.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;

use super::SqliteStore;
use crate::{EventKind, Revision, Store, StoreError};

/// In the child's environment: the path of the store.
const CHILD: &str = "MUSTER_STORAGE_KILL_TEST_CHILD";

const ROUNDS: u64 = 20;
const WRITERS: u64 = 12;

#[test]
fn a_store_killed_at_any_moment_has_all_it_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD) {
        return child(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    // What is known to be so: per key the last acknowledged write and whether it was a delete.
    let mut known = BTreeMap::new();
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(&path, random_delay(round));
        assert!(
            !acknowledged.is_empty(),
            "the child wrote something before it was killed"
        );
        for Ack {
            key,
            revision,
            deleted,
        } in acknowledged
        {
            let before = known.insert(key.clone(), (revision, deleted));
            assert!(
                before.is_none_or(|(old, _)| old < revision),
                "revisions of {key} grow"
            );
        }
        verify(&path, &mut known);
    }
}

/// From now to well into the writing, over several commits and sweeps.
fn random_delay(round: u64) -> Duration {
    let chance = RandomState::new().hash_one(round);
    Duration::from_micros(chance % 60_000)
}

struct Ack {
    key: String,
    revision: Revision,
    deleted: bool,
}

/// Starts a child, lets it live for `delay` after its first word, and collects what it said.
fn run_and_kill(path: &Path, delay: Duration) -> Vec<Ack> {
    let (_crate, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::a_store_killed_at_any_moment_has_all_it_acknowledged");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name.as_str(), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (spoke, first_word) = mpsc::channel();
    let listening = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            acknowledged.extend(parse(&line));
            if acknowledged.len() == 1 {
                let _ = spoke.send(());
            }
            line.clear();
        }
        acknowledged
    });
    let started = first_word.recv_timeout(Duration::from_secs(60));
    if started.is_ok() {
        // Nobody else gets in while the child lives.
        let rival = SqliteStore::open(path);
        assert!(matches!(rival, Err(StoreError::InUse { .. })), "{rival:?}");
        std::thread::sleep(delay);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    started.expect("the child acknowledges a write");
    listening.join().unwrap()
}

/// `ack put KEY REVISION` or `ack delete KEY REVISION`, perhaps behind something of the test harness.
fn parse(line: &str) -> Option<Ack> {
    let said = &line[line.find("ack ")?..];
    let words: Vec<_> = said.strip_suffix('\n')?.split(' ').collect();
    let [_, kind, key, revision] = words[..] else {
        panic!("not understood: {line:?}")
    };
    let revision = Revision(revision.parse().unwrap());
    Some(Ack {
        key: key.to_owned(),
        revision,
        deleted: kind == "delete",
    })
}

/// Each key is at its last acknowledged write, or at a later one that was not acknowledged in time.
fn verify(path: &Path, known: &mut BTreeMap<String, (Revision, bool)>) {
    {
        let connection = Connection::open(path).unwrap();
        let sound: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(path).unwrap();
        let newest = known.values().map(|(revision, _)| *revision).max().unwrap();
        assert!(
            store.current_revision() >= newest,
            "no acknowledged revision can be given again"
        );
        for (key, (revision, deleted)) in known.iter() {
            let (now, at) = store.get(key).await.unwrap();
            match now {
                Some(now) if *deleted => {
                    assert!(now.created > *revision, "{key} came back to life")
                }
                Some(now) => {
                    assert!(
                        now.modified >= *revision,
                        "{key}: an acknowledged write is lost"
                    );
                    assert_eq!(now.value, value(key, now.value.first().copied().unwrap()));
                }
                None if *deleted => {}
                // Its delete was committed, but nobody heard of it.
                None => {
                    assert!(
                        at > *revision && is_mortal(key),
                        "{key}: an acknowledged key is lost"
                    );
                }
            }
        }
        gapless(&store).await;
        // What is in the store now is known from here on, heard of or not.
        let all = store.list("", None, None, 0).await.unwrap();
        known.clear();
        known.extend(
            all.items
                .into_iter()
                .map(|kv| (kv.key, (kv.modified, false))),
        );
        store.close().await.unwrap();
    });
}

/// The story since the last compaction has every revision, and ends at the state that is listed.
async fn gapless(store: &SqliteStore) {
    let oldest = match store.watch("", Revision(0)) {
        Err(StoreError::Compacted { oldest }) => oldest,
        _ => Revision(0),
    };
    let page = store.list("", Some(oldest), None, 0).await.unwrap();
    let mut state: BTreeMap<_, _> = page
        .items
        .into_iter()
        .map(|kv| (kv.key.clone(), kv))
        .collect();
    let mut watch = store.watch("", oldest).unwrap();
    let mut last = oldest;
    while watch.revision() < store.current_revision() {
        for event in watch.next().await.unwrap().unwrap().events {
            assert_eq!(event.revision(), last.next(), "no revision is missing");
            last = event.revision();
            let before = match event.kind {
                EventKind::Put => state.insert(event.kv.key.clone(), event.kv),
                EventKind::Delete => state.remove(&event.kv.key),
            };
            assert_eq!(before, event.previous);
        }
    }
    let now = store.list("", None, None, 0).await.unwrap();
    assert_eq!(state.into_values().collect::<Vec<_>>(), now.items);
}

/// Long enough to need several pages, and telling whose it is.
fn value(key: &str, fill: u8) -> Bytes {
    let mut value = vec![fill; 3000];
    value.extend_from_slice(key.as_bytes());
    Bytes::from(value)
}

fn child(path: &Path) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for writer in 0..WRITERS {
            tokio::spawn(write_for_ever(Arc::clone(&store), writer));
        }
        loop {
            tokio::time::sleep(Duration::from_millis(15)).await;
            store.compact(store.current_revision()).await.unwrap();
        }
    });
}

/// Lives of keys: created, updated a few times, and every second one deleted.
async fn write_for_ever(store: Arc<dyn Store>, writer: u64) {
    let (_, born) = store.get("any").await.unwrap();
    for life in 0.. {
        let key = format!("{}-{writer}-{life}", born.0);
        let mut at = store.create(&key, value(&key, 0)).await.unwrap();
        say("put", &key, at);
        for fill in 1..4 {
            at = store.update(&key, value(&key, fill), at).await.unwrap();
            say("put", &key, at);
        }
        if is_mortal(&key) {
            at = store.delete(&key, at).await.unwrap();
            say("delete", &key, at);
        }
    }
}

/// Whether the key, named after its life, ends in a delete.
fn is_mortal(key: &str) -> bool {
    key.ends_with(['0', '2', '4', '6', '8'])
}

fn say(kind: &str, key: &str, revision: Revision) {
    let line = format!("ack {kind} {key} {revision}\n");
    // One write: a line is in the pipe as a whole or not at all.
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().lock().flush().unwrap();
}

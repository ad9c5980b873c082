//! What only the SQLite store promises: the file, restarts, failing commits.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use rusqlite::Connection;

use super::sweep::Sweep;
use super::{SqliteStore, file, schema};
use crate::{Revision, Store, StoreError};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// As another program would look into the file.
fn outsider(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sqlite_store_obeys_all_laws() {
    let folder = folder();
    let count = AtomicU32::new(0);
    crate::conformance::run_all(|| async {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        let store = SqliteStore::open(folder.path().join(name)).unwrap();
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn the_file_and_its_companions_are_private_from_the_start() {
    let folder = folder();
    let path = folder.path().join("new/folders/store.db");
    let store = SqliteStore::open(&path).unwrap();
    store.create("a", text("secret")).await.unwrap();
    store.get("a").await.unwrap();
    for private in [&path, &companion(&path, "-wal"), &companion(&path, "-shm")] {
        assert_eq!(mode(private), 0o600, "{}", private.display());
    }
    assert_eq!(mode(&file::lock_path(&path)), 0o600);
    assert_eq!(mode(&folder.path().join("new")), 0o700);
    assert_eq!(mode(&folder.path().join("new/folders")), 0o700);
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    let folder = folder();
    let path = folder.path().join("store.db");
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&path)
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = SqliteStore::open(&path);
    assert!(
        matches!(refused, Err(StoreError::Exposed { mode: 0o640, .. })),
        "{refused:?}"
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!("{} may be read by other users (mode 0640)", path.display())
    );
}

#[tokio::test]
async fn one_store_at_a_time_has_the_file() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let first = SqliteStore::open(&path).unwrap();
    first.create("a", text("1")).await.unwrap();
    let second = SqliteStore::open(&path);
    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    // The refused attempt took nothing from the first.
    let mut left_over = first.watch("", Revision(0)).unwrap();
    first.create("b", text("1")).await.unwrap();
    drop(first);
    let third = SqliteStore::open(&path).expect("a watch that is left over does not hold the file");
    assert_eq!(third.current_revision(), Revision(2));
    while let Some(batch) = left_over.next().await {
        batch.unwrap();
    }
}

#[tokio::test]
async fn files_of_others_and_of_the_future_are_refused_and_left_alone() {
    let folder = folder();
    let private = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let text_file = private(
        "notes.txt",
        &b"not a database at all, just text. ".repeat(100),
    );
    let refused = SqliteStore::open(&text_file);
    assert!(
        matches!(refused, Err(StoreError::Foreign { .. })),
        "{refused:?}"
    );

    let other = private("other.db", b"");
    outsider(&other)
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    let before = fs::read(&other).unwrap();
    let refused = SqliteStore::open(&other);
    assert!(
        matches!(refused, Err(StoreError::Foreign { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&other).unwrap(), before);

    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    outsider(&path)
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let refused = SqliteStore::open(&path);
    assert!(
        matches!(
            refused,
            Err(StoreError::NewerSchema {
                found: 2,
                known: 1,
                ..
            })
        ),
        "{refused:?}"
    );

    let refused = SqliteStore::open(folder.path());
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
}

#[test]
fn the_file_is_set_up_to_be_durable_and_to_shrink() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let _exclusive = file::claim(&path).unwrap();
    let (connection, _) = schema::open_writer(&path).unwrap();
    let pragma = |connection: &Connection, name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    assert_eq!(pragma(&connection, "journal_mode"), "wal".to_owned().into());
    assert_eq!(pragma(&connection, "synchronous"), 2.into(), "FULL");
    assert_eq!(pragma(&connection, "auto_vacuum"), 2.into(), "INCREMENTAL");
    assert_eq!(pragma(&connection, "foreign_keys"), 1.into());
    let reader = schema::open_reader(&path).unwrap();
    assert_eq!(pragma(&reader, "query_only"), 1.into());
    assert!(reader.execute("DELETE FROM log", []).is_err());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let a = store.create("a", text("1")).await.unwrap();
    let a = store.update("a", text("2"), a).await.unwrap();
    let b = store.create("b", text("1")).await.unwrap();
    store.delete("b", b).await.unwrap();
    let now = store.list("", None, None, 0).await.unwrap();
    store.close().await.unwrap();
    assert!(
        !companion(&path, "-wal").exists(),
        "a closed store is one file"
    );

    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.list("", None, None, 0).await.unwrap(), now);
    assert_eq!(
        store.list("", Some(b), None, 0).await.unwrap().items.len(),
        2
    );
    let mut story = store.watch("", Revision(0)).unwrap();
    assert_eq!(story.next().await.unwrap().unwrap().events.len(), 4);
    assert_eq!(store.update("a", text("3"), a).await.unwrap(), Revision(5));
}

#[tokio::test]
async fn revisions_go_on_after_everything_was_compacted_away() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let created = store.create("a", text("1")).await.unwrap();
    let gone = store.delete("a", created).await.unwrap();
    store.compact(gone).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.current_revision(), gone);
    let old = store.list("", Some(created), None, 0).await;
    assert!(
        matches!(old, Err(StoreError::Compacted { oldest }) if oldest == gone),
        "{old:?}"
    );
    assert_eq!(store.create("a", text("2")).await.unwrap(), gone.next());
}

#[tokio::test]
async fn compaction_makes_the_file_smaller() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let big = Bytes::from(vec![7; 256 * 1024]);
    let mut at = store.create("a", big.clone()).await.unwrap();
    for _ in 0..20 {
        at = store.update("a", big.clone(), at).await.unwrap();
    }
    store.compact(at).await.unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 512 * 1024);
    assert_eq!(fs::metadata(companion(&path, "-wal")).unwrap().len(), 0);
    assert_eq!(store.get("a").await.unwrap().0.unwrap().value, big);
}

#[tokio::test]
async fn an_interrupted_sweep_leaves_nothing_that_can_be_read() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    // More than two slices of history.
    let lives = (0..50).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = format!("{n:02}");
            let mut at = store.create(&key, text("first")).await.unwrap();
            for _ in 0..50 {
                at = store.update(&key, text("later"), at).await.unwrap();
            }
            if n % 2 == 0 {
                store.delete(&key, at).await.unwrap();
            }
        })
    });
    for life in join_all(lives).await {
        life.unwrap();
    }
    let now = store.list("", None, None, 0).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    {
        let _exclusive = file::claim(&path).unwrap();
        let (mut connection, state) = schema::open_writer(&path).unwrap();
        let mut sweep = Sweep::begin(&mut connection, state.current, state.current).unwrap();
        assert!(
            !sweep.step(&mut connection).unwrap(),
            "one slice is not enough"
        );
    }
    let rows = |path: &Path| -> i64 {
        outsider(path)
            .query_row("SELECT count(*) FROM log", [], |row| row.get(0))
            .unwrap()
    };
    assert!(rows(&path) > 25);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.list("", None, None, 0).await.unwrap(), now);
    assert_eq!(now.items.len(), 25);
    let old = store.list("", Some(Revision(1)), None, 0).await;
    assert!(matches!(old, Err(StoreError::Compacted { .. })), "{old:?}");
    store.compact(now.revision).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(rows(&path), 25, "the next compaction finishes the work");
}

/// A compaction is durable a moment before the readers are told. A read in that moment must ask the file.
#[tokio::test]
async fn a_read_that_a_compaction_overtakes_notices() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open_with_ring(&path, 1).unwrap();
    let first = store.create("a", text("1")).await.unwrap();
    let second = store.update("a", text("2"), first).await.unwrap();
    let third = store.update("a", text("3"), second).await.unwrap();
    let mut overtaken = store.watch("", first).unwrap();
    outsider(&path)
        .execute(
            "UPDATE counter SET value = ?1 WHERE name = 'compacted'",
            [third],
        )
        .unwrap();
    let old = store.list("", Some(first), None, 0).await;
    assert!(
        matches!(old, Err(StoreError::Compacted { oldest }) if oldest == third),
        "{old:?}"
    );
    let batch = overtaken.next().await.unwrap();
    assert!(
        matches!(batch, Err(StoreError::Compacted { oldest }) if oldest == third),
        "{batch:?}"
    );
    assert_eq!(store.list("", None, None, 0).await.unwrap().items.len(), 1);
}

/// A deferred constraint is checked at COMMIT: the only failure that can be arranged there from outside.
#[tokio::test]
async fn a_failed_commit_fails_its_group_and_is_never_told() {
    let folder = folder();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    outsider(&path)
        .execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER poison AFTER INSERT ON log WHEN new.key = 'poison'
             BEGIN INSERT INTO child VALUES (1); END;",
        )
        .unwrap();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let mut watch = store.watch("", Revision(0)).unwrap();
    let before = store.create("before", text("1")).await.unwrap();

    let failed = store.create("poison", text("1")).await;
    assert!(
        matches!(
            failed,
            Err(StoreError::Database {
                action: "commit",
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(store.current_revision(), before);
    assert_eq!(store.get("poison").await.unwrap(), (None, before));

    // In company: whoever shared the group was told of the failure, everyone else succeeded.
    let writes = (0..60).map(|n| {
        let store = Arc::clone(&store);
        let key = if n % 10 == 0 {
            "poison".to_owned()
        } else {
            format!("k/{n}")
        };
        tokio::spawn(async move { (key.clone(), store.create(&key, text("1")).await) })
    });
    let mut acknowledged = Vec::new();
    let mut failures = 0;
    for done in join_all(writes).await {
        match done.unwrap() {
            (key, Ok(revision)) => acknowledged.push((revision, key)),
            (
                _,
                Err(StoreError::Database {
                    action: "commit", ..
                }),
            ) => failures += 1,
            (key, other) => panic!("{key}: {other:?}"),
        }
    }
    assert!(failures >= 6);
    let after = store.create("after", text("1")).await.unwrap();
    acknowledged.extend([(before, "before".to_owned()), (after, "after".to_owned())]);
    acknowledged.sort();
    let mut told = Vec::new();
    while watch.revision() < after {
        let batch = watch.next().await.unwrap().unwrap();
        told.extend(
            batch
                .events
                .into_iter()
                .map(|event| (event.revision(), event.kv.key)),
        );
    }
    assert_eq!(told, acknowledged);
    let listed = store.list("", None, None, 0).await.unwrap();
    let mut listed: Vec<_> = listed
        .items
        .into_iter()
        .map(|kv| (kv.modified, kv.key))
        .collect();
    listed.sort();
    assert_eq!(listed, acknowledged);
}

#[tokio::test]
async fn dropping_the_store_keeps_what_was_put_into_the_queue() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let mut writes: Vec<_> = (0..100)
        .map(|n| Box::pin(store.create(Box::leak(format!("{n}").into_boxed_str()), text("1"))))
        .collect();
    for write in &mut writes {
        // Polled once, each write is in the queue; then its caller loses interest.
        let _ = futures::poll!(write);
    }
    drop(writes);
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.current_revision(), Revision(100));
}

/// A day of renewals in small: writers go on while history is forgotten again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_steady_writes_and_compactions_the_file_stays_small() {
    const KEYS: usize = 20;
    const ROUNDS: usize = 12;
    let folder = folder();
    let path = folder.path().join("store.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
    let renewals = (0..KEYS).map(|key| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = format!("lease-{key}");
            let mut last = store.create(&key, text("first")).await.unwrap();
            for _ in 0..ROUNDS * 20 {
                let value = Bytes::from(vec![b'x'; 4096]);
                last = store.update(&key, value, last).await.unwrap();
            }
        })
    });
    let renewals = join_all(renewals.collect::<Vec<_>>());
    let compactions = async {
        for round in 1..=ROUNDS {
            let reached = Revision((round * KEYS * 15) as u64);
            let mut progress = store.watch("", store.current_revision()).unwrap();
            while store.current_revision() < reached {
                progress.next().await.unwrap().unwrap();
            }
            store.compact(store.current_revision()).await.unwrap();
        }
    };
    let (renewed, ()) = tokio::join!(renewals, compactions);
    for renewal in renewed {
        renewal.unwrap();
    }
    store.compact(store.current_revision()).await.unwrap();

    let written = KEYS * ROUNDS * 20 * 4096;
    let size = |path: &Path| fs::metadata(path).unwrap().len() as usize;
    let kept = size(&path) + size(&companion(&path, "-wal"));
    assert!(kept < written / 20, "{kept} bytes of {written}");
    let page = store.list("lease-", None, None, 0).await.unwrap();
    assert_eq!(page.items.len(), KEYS);
}

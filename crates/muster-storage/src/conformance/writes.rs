//! Laws about compare-and-set: who may write, what a refusal tells, what a write leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{bytes, create, delete, listed, pair, unexpected, update};
use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Revision, Store, StoreError};

/// An empty store is at revision 0; each write takes the next revision.
pub async fn revisions_count_writes_from_one(store: Arc<dyn Store>) {
    assert_eq!(store.current_revision(), Revision(0));
    let a = create(&store, "a", "1").await;
    assert_eq!(a, Revision(1));
    assert_eq!(update(&store, "a", "2", a).await, Revision(2));
    assert_eq!(create(&store, "b", "1").await, Revision(3));
    assert_eq!(delete(&store, "a", Revision(2)).await, Revision(4));
    assert_eq!(store.current_revision(), Revision(4));
}

/// `create` of a key that is there tells what is there.
pub async fn create_refuses_a_living_key(store: Arc<dyn Store>) {
    let first = create(&store, "a", "first").await;
    match store.create("a", bytes("second")).await {
        Err(StoreError::AlreadyExists { current }) => {
            assert_eq!(current, pair("a", "first", first, first));
        }
        other => unexpected("AlreadyExists", &other),
    }
    assert_eq!(
        listed(&store, "", None).await,
        [pair("a", "first", first, first)]
    );
}

/// `update` at another revision tells what is there; without the key, that it is absent.
pub async fn update_needs_the_expected_revision(store: Arc<dyn Store>) {
    let created = create(&store, "a", "1").await;
    let modified = update(&store, "a", "2", created).await;
    for wrong in [Revision(0), created, modified.next(), Revision(u64::MAX)] {
        match store.update("a", bytes("3"), wrong).await {
            Err(StoreError::Conflict { expected, current }) => {
                assert_eq!(expected, wrong);
                assert_eq!(current, pair("a", "2", created, modified));
            }
            other => unexpected("Conflict", &other),
        }
    }
    match store.update("b", bytes("1"), modified).await {
        Err(StoreError::NotFound { key }) => assert_eq!(key, "b"),
        other => unexpected("NotFound", &other),
    }
    assert_eq!(
        listed(&store, "", None).await,
        [pair("a", "2", created, modified)]
    );
}

/// `delete` at another revision tells what is there; without the key, that it is absent.
pub async fn delete_needs_the_expected_revision(store: Arc<dyn Store>) {
    let created = create(&store, "a", "1").await;
    let modified = update(&store, "a", "2", created).await;
    match store.delete("a", created).await {
        Err(StoreError::Conflict { expected, current }) => {
            assert_eq!(expected, created);
            assert_eq!(current, pair("a", "2", created, modified));
        }
        other => unexpected("Conflict", &other),
    }
    let gone = delete(&store, "a", modified).await;
    for expected in [created, modified, gone] {
        let again = store.delete("a", expected).await;
        assert!(
            matches!(again, Err(StoreError::NotFound { .. })),
            "{again:?}"
        );
    }
    assert_eq!(listed(&store, "", None).await, []);
}

/// A deleted key begins a new life: its old revisions no longer fit.
pub async fn a_key_can_be_created_again(store: Arc<dyn Store>) {
    let first = create(&store, "a", "1").await;
    let gone = delete(&store, "a", first).await;
    let second = create(&store, "a", "2").await;
    assert!(second > gone);
    assert_eq!(
        listed(&store, "a", None).await,
        [pair("a", "2", second, second)]
    );
    for old in [first, gone] {
        let updated = store.update("a", bytes("3"), old).await;
        assert!(
            matches!(updated, Err(StoreError::Conflict { .. })),
            "{updated:?}"
        );
    }
}

/// What was refused leaves no trace in the count of revisions.
pub async fn refusals_take_no_revision(store: Arc<dyn Store>) {
    let a = create(&store, "a", "1").await;
    assert!(store.create("a", bytes("2")).await.is_err());
    assert!(store.update("a", bytes("2"), Revision(77)).await.is_err());
    assert!(store.delete("b", a).await.is_err());
    assert!(store.create("", bytes("2")).await.is_err());
    assert_eq!(store.current_revision(), a);
    assert_eq!(create(&store, "b", "1").await, a.next());
}

/// Of many writes that expect the same revision one succeeds, and the others are told of it.
pub async fn of_rival_writes_one_wins(store: Arc<dyn Store>) {
    let mut expected = create(&store, "a", "start").await;
    for round in 0..5 {
        let rivals = (0..32).map(|rival| {
            let store = Arc::clone(&store);
            let value = bytes(&format!("{round}/{rival}"));
            tokio::spawn(async move { (value.clone(), store.update("a", value, expected).await) })
        });
        let mut winners = Vec::new();
        for done in join_all(rivals).await {
            match done.expect("a rival does not panic") {
                (value, Ok(revision)) => winners.push((value, revision)),
                (_, Err(StoreError::Conflict { current, .. })) => {
                    assert!(current.modified > expected);
                }
                (_, other) => unexpected("Conflict", &other),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let (now, _) = store.get("a").await.expect("the key can be read");
        let now = now.expect("the key is there");
        assert_eq!((now.value, now.modified), winners[0]);
        expected = now.modified;
    }
}

/// Writes that run together with refused ones succeed, each with a revision of its own.
pub async fn refused_writes_do_not_harm_their_neighbours(store: Arc<dyn Store>) {
    let taken = create(&store, "taken", "").await;
    let writes = (0..200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            match n % 4 {
                0 => store.create("taken", bytes("again")).await,
                1 => store.update("absent", bytes("1"), taken).await,
                _ => store.create(&format!("key-{n}"), bytes("1")).await,
            }
        })
    });
    let mut revisions = Vec::new();
    for (n, done) in join_all(writes).await.into_iter().enumerate() {
        match (n % 4, done.expect("a write does not panic")) {
            (0, Err(StoreError::AlreadyExists { .. })) | (1, Err(StoreError::NotFound { .. })) => {}
            (2 | 3, Ok(revision)) => revisions.push(revision),
            (_, other) => unexpected("the answer of its own", &other),
        }
    }
    revisions.sort_unstable();
    let expected: Vec<_> = (2..=101).map(Revision).collect();
    assert_eq!(
        revisions, expected,
        "no revision is shared, none is left out"
    );
}

/// Values are bytes: empty, with NULs, not text, up to the limit.
pub async fn values_are_any_bytes(store: Arc<dyn Store>) {
    let all: Vec<u8> = (0..=255).collect();
    let values = [Vec::new(), vec![0; 3], all, vec![0xff; MAX_VALUE_BYTES]];
    for (n, value) in values.into_iter().enumerate() {
        let key = format!("key-{n}");
        let value = Bytes::from(value);
        let created = store
            .create(&key, value.clone())
            .await
            .expect("any value is taken");
        let (read, _) = store.get(&key).await.expect("the key can be read");
        let read = read.expect("the key is there");
        assert!(
            read.value == value,
            "the value of {key} comes back as it was"
        );
        store
            .delete(&key, created)
            .await
            .expect("the key can be deleted");
    }
}

/// Too long keys and values and impossible keys are refused, by reads as by writes.
pub async fn keys_and_values_are_bounded(store: Arc<dyn Store>) {
    let longest = "k".repeat(MAX_KEY_BYTES);
    let created = create(&store, &longest, "1").await;
    assert_eq!(
        listed(&store, "kk", None).await,
        [pair(&longest, "1", created, created)]
    );

    let too_long = "k".repeat(MAX_KEY_BYTES + 1);
    let refused = store.create(&too_long, Bytes::new()).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { what: "key", .. })),
        "{refused:?}"
    );
    let refused = store.get(&too_long).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { what: "key", .. })),
        "{refused:?}"
    );

    let too_big = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
    let refused = store.create("a", too_big.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { what: "value", .. })),
        "{refused:?}"
    );
    let refused = store.update(&longest, too_big, created).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { what: "value", .. })),
        "{refused:?}"
    );

    for impossible in ["", "a\0b"] {
        let refused = store.create(impossible, Bytes::new()).await;
        assert!(
            matches!(refused, Err(StoreError::InvalidKey { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(store.current_revision(), created);
}

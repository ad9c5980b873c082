//! Laws about reading: what a listing holds, and at which revision.

use std::sync::Arc;

use super::{create, delete, listed, pair, update};
use crate::{KeyValue, Revision, Store, StoreError};

/// A read that begins after an acknowledgement sees the write.
pub async fn reads_see_acknowledged_writes(store: Arc<dyn Store>) {
    let (absent, at) = store.get("a").await.expect("an empty store can be read");
    assert_eq!((absent, at), (None, Revision(0)));
    let mut modified = create(&store, "a", "0").await;
    let created = modified;
    for n in 1..50 {
        modified = update(&store, "a", &n.to_string(), modified).await;
        let now = pair("a", &n.to_string(), created, modified);
        assert_eq!(
            store.get("a").await.expect("readable"),
            (Some(now.clone()), modified)
        );
        let now = [now];
        assert_eq!(listed(&store, "a", None).await, now);
        assert_eq!(listed(&store, "a", Some(modified)).await, now);
        assert_eq!(store.current_revision(), modified);
    }
    let gone = delete(&store, "a", modified).await;
    assert_eq!(store.get("a").await.expect("readable"), (None, gone));
    assert_eq!(listed(&store, "", None).await, []);
}

/// Keys come in the order of their bytes, and only those that begin with the prefix.
pub async fn listings_are_in_byte_order_within_the_prefix(store: Arc<dyn Store>) {
    let mut keys = vec![
        "/a",
        "/a/",
        "/a/b",
        "/a/b/c",
        "/a/B",
        "/a/bc",
        "/a0",
        "/b",
        "/a/é",
        "/a/\u{D7FF}",
        "/a/\u{E000}",
        "/a/\u{10FFFF}",
        "/a/\u{10FFFF}x",
        "/a%",
        "/a_b",
        "/A/b",
        "\u{10FFFF}",
    ];
    for key in &keys {
        create(&store, key, key).await;
    }
    keys.sort_unstable();
    let prefixes = [
        "",
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a%",
        "/a_",
        "/a/\u{D7FF}",
        "/a/\u{10FFFF}",
        "\u{10FFFF}",
        "x",
    ];
    for prefix in prefixes {
        let expected: Vec<_> = keys
            .iter()
            .copied()
            .filter(|key| key.starts_with(prefix))
            .collect();
        let page = store
            .list(prefix, None, None, 0)
            .await
            .expect("a prefix can be listed");
        let found: Vec<_> = page.items.iter().map(|kv| kv.key.as_str()).collect();
        assert_eq!(found, expected, "under {prefix:?}");
        assert_eq!((page.more, page.remaining), (false, 0));
        assert_eq!(page.revision, store.current_revision());
    }
}

/// Each past revision stays as it was.
pub async fn listings_at_a_revision_do_not_change(store: Arc<dyn Store>) {
    let mut states: Vec<Vec<KeyValue>> = vec![Vec::new()];
    let a = create(&store, "k/a", "1").await;
    states.push(listed(&store, "", None).await);
    let b = create(&store, "k/b", "1").await;
    states.push(listed(&store, "", None).await);
    let a = update(&store, "k/a", "2", a).await;
    states.push(listed(&store, "", None).await);
    delete(&store, "k/b", b).await;
    states.push(listed(&store, "", None).await);
    create(&store, "k/b", "2").await;
    states.push(listed(&store, "", None).await);
    delete(&store, "k/a", a).await;
    states.push(listed(&store, "", None).await);
    let sizes: Vec<_> = states.iter().map(Vec::len).collect();
    assert_eq!(sizes, [0, 1, 2, 2, 1, 2, 1]);
    for (revision, state) in (0..).map(Revision).zip(&states) {
        let page = store
            .list("k/", Some(revision), None, 0)
            .await
            .expect("readable");
        assert_eq!(&page.items, state, "at {revision}");
        assert_eq!(page.revision, revision);
    }
}

/// Paging at the first page's revision gives that revision's listing, whatever is written meanwhile.
pub async fn pages_join_to_the_listing_of_one_revision(store: Arc<dyn Store>) {
    for n in 0..25 {
        create(&store, &format!("p/{n:02}"), "1").await;
    }
    create(&store, "q", "1").await;
    for limit in [1, 4, 5, 24, 25, 26] {
        let whole = store.list("p/", None, None, 0).await.expect("readable");
        let mut joined: Vec<KeyValue> = Vec::new();
        loop {
            let after = joined.last().map(|kv| kv.key.clone());
            let page = store
                .list("p/", Some(whole.revision), after.as_deref(), limit)
                .await;
            let page = page.expect("the revision stays readable");
            assert!(page.items.len() <= limit);
            assert_eq!(page.revision, whole.revision);
            joined.extend(page.items);
            assert_eq!(page.remaining, whole.items.len() - joined.len());
            assert_eq!(page.more, page.remaining > 0);
            // Behind, at, and before the place where the next page begins.
            for disturbed in [&whole.items[0], &whole.items[joined.len() - 1]] {
                let (now, _) = store.get(&disturbed.key).await.expect("readable");
                if let Some(now) = now {
                    update(&store, &now.key, "2", now.modified).await;
                }
            }
            if !page.more {
                break;
            }
        }
        assert_eq!(joined, whole.items, "by {limit}");
    }
    // A place outside the prefix is before all of it, or behind.
    let page = store
        .list("p/", None, Some("a"), 0)
        .await
        .expect("readable");
    assert_eq!(page.items.len(), 25);
    let page = store
        .list("p/", None, Some("z"), 3)
        .await
        .expect("readable");
    assert_eq!((page.items.len(), page.more), (0, false));
}

/// A revision that has not happened can be neither listed nor watched.
pub async fn the_future_cannot_be_read(store: Arc<dyn Store>) {
    let current = create(&store, "a", "1").await;
    for ahead in [current.next(), Revision(u64::MAX)] {
        let listed = store.list("", Some(ahead), None, 0).await;
        assert!(
            matches!(listed, Err(StoreError::FutureRevision { current: told }) if told == current),
            "{listed:?}"
        );
        let watched = store.watch("", ahead);
        assert!(
            matches!(watched, Err(StoreError::FutureRevision { .. })),
            "{watched:?}"
        );
        let compacted = store.compact(ahead).await;
        assert!(
            matches!(compacted, Err(StoreError::FutureRevision { .. })),
            "{compacted:?}"
        );
    }
}

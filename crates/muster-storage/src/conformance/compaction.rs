//! Laws about forgetting: what is gone is said to be gone, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{create, delete, listed, seen_up_to, update, within};
use crate::{Event, EventKind, KeyValue, Revision, Store, StoreError};

/// Before the compacted revision nothing is answered; at it and after it all is as before.
pub async fn compaction_forgets_the_past_only(store: Arc<dyn Store>) {
    // Revisions:   1 2 3 4 5 6 7 8 9
    let a = create(&store, "a", "1").await;
    let a = update(&store, "a", "2", a).await;
    let b = create(&store, "b", "1").await;
    let b = update(&store, "b", "2", b).await;
    delete(&store, "b", b).await;
    let a = update(&store, "a", "3", a).await;
    let c = create(&store, "c", "1").await;
    delete(&store, "c", c).await;
    let last = update(&store, "a", "4", a).await;

    let mut compacted = Revision(0);
    for up_to in [2, 4, 5, 7, 8, 9].map(Revision) {
        let mut before = Vec::new();
        for at in up_to.0..=last.0 {
            before.push(listed(&store, "", Some(Revision(at))).await);
        }
        let mut story = store.watch("", up_to).expect("not compacted yet");
        let story = seen_up_to(&mut story, last).await;

        store
            .compact(up_to)
            .await
            .expect("the past can be compacted");
        store
            .compact(compacted)
            .await
            .expect("what is compacted already stays compacted");
        compacted = up_to;

        for (at, state) in (up_to.0..).zip(before) {
            assert_eq!(
                listed(&store, "", Some(Revision(at))).await,
                state,
                "at {at} of {up_to}"
            );
        }
        let mut again = store
            .watch("", up_to)
            .expect("the compacted revision can be watched after");
        assert_eq!(seen_up_to(&mut again, last).await, story, "after {up_to}");
        for gone in 0..up_to.0 {
            assert_gone(&store, Revision(gone), up_to).await;
        }
    }
}

async fn assert_gone(store: &Arc<dyn Store>, revision: Revision, up_to: Revision) {
    let listed = store.list("", Some(revision), None, 0).await;
    assert!(
        matches!(listed, Err(StoreError::Compacted { oldest }) if oldest == up_to),
        "{listed:?}"
    );
    let watched = store.watch("", revision);
    assert!(
        matches!(watched, Err(StoreError::Compacted { oldest }) if oldest == up_to),
        "{watched:?}"
    );
}

/// A watch that a compaction overtakes tells all that happened, or ends with `Compacted`; no third.
pub async fn compaction_keeps_watches_whole_or_ends_them(store: Arc<dyn Store>) {
    let mut behind = store.watch("", Revision(0)).expect("watchable");
    let mut at = create(&store, "a", "0").await;
    for n in 1..100 {
        at = update(&store, "a", &n.to_string(), at).await;
    }
    store.compact(at).await.expect("compactable");
    let mut seen = Vec::new();
    loop {
        match within("the overtaken watch", behind.next()).await {
            Some(Ok(batch)) => seen.extend(batch.events.iter().map(Event::revision)),
            Some(Err(StoreError::Compacted { oldest })) => {
                assert_eq!(oldest, at);
                assert!(
                    within("the end", behind.next()).await.is_none(),
                    "an error is the end"
                );
                return;
            }
            other => assert!(other.is_none(), "neither events nor compacted: {other:?}"),
        }
        if behind.revision() == at {
            break;
        }
    }
    assert_eq!(seen, (1..=100).map(Revision).collect::<Vec<_>>());
}

/// Compacting everything away, even the newest write, does not make revisions repeat.
pub async fn compaction_never_turns_revisions_back(store: Arc<dyn Store>) {
    let created = create(&store, "a", "1").await;
    let gone = delete(&store, "a", created).await;
    store.compact(gone).await.expect("compactable");
    assert_eq!(store.current_revision(), gone);
    assert_eq!(store.get("a").await.expect("readable"), (None, gone));
    let page = store.list("", None, None, 0).await.expect("readable");
    assert_eq!((page.items.len(), page.revision), (0, gone));
    assert_eq!(create(&store, "a", "2").await, gone.next());
}

/// Writes and reads go on while compactions run, and a mirror kept by listing and watching (listing
/// anew when told `Compacted`) ends up the same as the store.
pub async fn compaction_under_load_loses_nothing(store: Arc<dyn Store>) {
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = format!("{writer}");
            for life in 0..10 {
                let mut at = create(&store, &key, "0").await;
                for n in 1..9 {
                    at = update(&store, &key, &n.to_string(), at).await;
                }
                if life < 9 {
                    delete(&store, &key, at).await;
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // Eight keys, ten lives of nine writes each, nine of them ended by a delete.
    let last = Revision(8 * (10 * 9 + 9));
    let mirror = tokio::spawn(mirror(Arc::clone(&store), last));
    while store.current_revision() < last {
        let page = store
            .list("", None, None, 0)
            .await
            .expect("the present is always readable");
        store.compact(page.revision).await.expect("compactable");
    }
    for writer in writers {
        writer.await.expect("a writer does not panic");
    }
    let mirrored = within("the mirror", mirror)
        .await
        .expect("the mirror does not panic");
    let truth = listed(&store, "", None).await;
    assert_eq!(mirrored.into_values().collect::<Vec<_>>(), truth);
    assert_eq!(truth.len(), 8);
}

/// The keys of a store as a client knows them who lists once and then follows.
async fn mirror(store: Arc<dyn Store>, last: Revision) -> BTreeMap<String, KeyValue> {
    loop {
        let page = store
            .list("", None, None, 0)
            .await
            .expect("the present is always readable");
        let pairs = page.items.into_iter().map(|kv| (kv.key.clone(), kv));
        let mut mirrored: BTreeMap<_, _> = pairs.collect();
        let mut watch = match store.watch("", page.revision) {
            Ok(watch) => watch,
            Err(error) => {
                assert!(matches!(error, StoreError::Compacted { .. }), "{error:?}");
                continue;
            }
        };
        while watch.revision() < last {
            match within("a batch", watch.next())
                .await
                .expect("the store is open")
            {
                Ok(batch) => batch
                    .events
                    .into_iter()
                    .for_each(|event| apply(&mut mirrored, event)),
                Err(error) => {
                    assert!(matches!(error, StoreError::Compacted { .. }), "{error:?}");
                    break;
                }
            }
        }
        if watch.revision() == last {
            return mirrored;
        }
    }
}

fn apply(mirrored: &mut BTreeMap<String, KeyValue>, event: Event) {
    let before = match event.kind {
        EventKind::Put => mirrored.insert(event.kv.key.clone(), event.kv),
        EventKind::Delete => mirrored.remove(&event.kv.key),
    };
    assert_eq!(before, event.previous, "an event continues what was known");
}

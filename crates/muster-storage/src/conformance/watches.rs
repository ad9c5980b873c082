//! Laws about watching: every write once, in order, from anywhere, at any speed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{bytes, create, delete, pair, seen_up_to, update, within};
use crate::{Event, EventKind, Revision, Store};

/// Events carry the pair, the pair before it, and the right kind.
pub async fn watches_tell_what_happened(store: Arc<dyn Store>) {
    let mut live = store
        .watch("", Revision(0))
        .expect("the present can be watched");
    let one = create(&store, "a", "1").await;
    let two = update(&store, "a", "2", one).await;
    let three = delete(&store, "a", two).await;
    let four = create(&store, "a", "4").await;
    let (first, second) = (pair("a", "1", one, one), pair("a", "2", one, two));
    let put = |kv, previous| Event {
        kind: EventKind::Put,
        kv,
        previous,
    };
    let expected = [
        put(first.clone(), None),
        put(second.clone(), Some(first)),
        Event {
            kind: EventKind::Delete,
            kv: pair("a", "2", one, three),
            previous: Some(second),
        },
        put(pair("a", "4", four, four), None),
    ];
    assert_eq!(seen_up_to(&mut live, four).await, expected);
    for after in 0..=4 {
        let mut past = store
            .watch("", Revision(after))
            .expect("the past can be watched");
        let skipped = usize::try_from(after).expect("small");
        assert_eq!(
            seen_up_to(&mut past, four).await,
            expected[skipped..],
            "after {after}"
        );
    }
}

/// Only keys under the prefix are told, but how far the watch is, is told of all.
pub async fn watches_filter_by_prefix_and_tell_progress(store: Arc<dyn Store>) {
    let mut watch = store.watch("in/", Revision(0)).expect("watchable");
    let inside = create(&store, "in/a", "1").await;
    assert_eq!(seen_up_to(&mut watch, inside).await.len(), 1);
    let mut outside = inside;
    for key in ["in", "in0", "im/", "out/in/"] {
        outside = create(&store, key, "1").await;
    }
    assert_eq!(
        seen_up_to(&mut watch, outside).await,
        [],
        "progress without events"
    );
    assert_eq!(watch.revision(), outside);
    let gone = delete(&store, "in/a", inside).await;
    let seen = seen_up_to(&mut watch, gone).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].kind, EventKind::Delete);
}

/// A listing and a watch after its revision make one unbroken story, while others write.
pub async fn watches_join_past_and_present(store: Arc<dyn Store>) {
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        let mut last = Revision(0);
        for n in 0..300 {
            last = create(&writer, &format!("k/{n:03}"), "1").await;
        }
        last
    });
    let mut stories = Vec::new();
    for _ in 0..20 {
        let page = store.list("k/", None, None, 0).await.expect("readable");
        let watch = store
            .watch("k/", page.revision)
            .expect("a page can be continued");
        stories.push((page, watch));
        tokio::task::yield_now().await;
    }
    let last = writing.await.expect("the writer does not panic");
    for (page, mut watch) in stories {
        let mut told: Vec<_> = page.items.into_iter().map(|kv| kv.key).collect();
        let seen = seen_up_to(&mut watch, last).await;
        told.extend(seen.into_iter().map(|event| event.kv.key));
        let expected: Vec<_> = (0..300).map(|n| format!("k/{n:03}")).collect();
        assert_eq!(told, expected);
    }
}

/// Many writers, and watches that begin at many places: all tell the same.
pub async fn watches_from_everywhere_agree_under_load(store: Arc<dyn Store>) {
    let early = store.watch("", Revision(0)).expect("watchable");
    let early = tokio::spawn(async move {
        let mut early = early;
        seen_up_to(&mut early, Revision(800)).await
    });
    let writers = (0..16).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = format!("w/{writer:02}");
            let mut at = create(&store, &key, "0").await;
            for n in 1..50 {
                at = update(&store, &key, &n.to_string(), at).await;
            }
        })
    });
    for done in join_all(writers).await {
        done.expect("a writer does not panic");
    }
    let story = within("the early watch", early)
        .await
        .expect("the early watch does not panic");
    let revisions: Vec<_> = story.iter().map(Event::revision).collect();
    assert_eq!(revisions, (1..=800).map(Revision).collect::<Vec<_>>());
    for after in [0, 1, 399, 799, 800] {
        let mut late = store.watch("", Revision(after)).expect("watchable");
        let skipped = usize::try_from(after).expect("small");
        assert_eq!(seen_up_to(&mut late, Revision(800)).await, story[skipped..]);
    }
    let mut one = store.watch("w/07", Revision(0)).expect("watchable");
    let values: Vec<_> = seen_up_to(&mut one, Revision(800)).await;
    let values: Vec<_> = values.into_iter().map(|event| event.kv.value).collect();
    assert_eq!(
        values,
        (0..50).map(|n| bytes(&n.to_string())).collect::<Vec<_>>()
    );
}

/// A watch that is not read while thousands of writes pass tells them all when it is.
pub async fn slow_watches_miss_nothing(store: Arc<dyn Store>) {
    let mut slow = store.watch("s/", Revision(0)).expect("watchable");
    let (total, writers) = (6000_u64, 200);
    let writing = (0..writers).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..total / writers {
                create(&store, &format!("s/{writer:03}/{n:03}"), "value").await;
            }
        })
    });
    for done in join_all(writing).await {
        done.expect("a writer does not panic");
    }
    let seen = seen_up_to(&mut slow, Revision(total)).await;
    let revisions: Vec<_> = seen.iter().map(Event::revision).collect();
    assert_eq!(revisions, (1..=total).map(Revision).collect::<Vec<_>>());
}

/// Giving up on waiting for a batch and waiting again is as good as waiting on.
pub async fn abandoned_waits_lose_nothing(store: Arc<dyn Store>) {
    let mut watch = store.watch("", Revision(0)).expect("watchable");
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 0..100 {
            create(&writer, &format!("{n:03}"), "1").await;
        }
    });
    let mut seen = Vec::new();
    within("all events", async {
        while watch.revision() < Revision(100) {
            let impatience = Duration::from_micros(seen.len() as u64 % 7 * 50);
            if let Ok(batch) = tokio::time::timeout(impatience, watch.next()).await {
                seen.extend(batch.expect("open").expect("not compacted").events);
            }
        }
    })
    .await;
    writing.await.expect("the writer does not panic");
    let revisions: Vec<_> = seen.iter().map(Event::revision).collect();
    assert_eq!(revisions, (1..=100).map(Revision).collect::<Vec<_>>());
}

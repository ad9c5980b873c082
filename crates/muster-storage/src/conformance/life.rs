//! Laws about the end: closing answers everyone.

use std::sync::Arc;

use futures::future::join_all;

use super::{bytes, create, seen_up_to, within};
use crate::{Revision, Store, StoreError};

/// Each write that meets a close is done or refused, none is left waiting; afterwards all is refused.
pub async fn closing_answers_every_write(store: Arc<dyn Store>) {
    let mut watch = store.watch("", Revision(0)).expect("watchable");
    create(&store, "first", "1").await;
    let writes: Vec<_> = (0..100)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(&format!("k/{n}"), bytes("1")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    within("the close", store.close())
        .await
        .expect("a store can be closed");
    let mut newest = Revision(1);
    for done in within("all answers", join_all(writes)).await {
        match done.expect("a write does not panic") {
            Ok(revision) => newest = newest.max(revision),
            other => assert!(matches!(other, Err(StoreError::Closed)), "{other:?}"),
        }
    }
    // The acknowledged writes were told before the end.
    let seen = seen_up_to(&mut watch, newest).await;
    assert_eq!(seen.len() as u64, newest.0);
    assert!(within("the end of the watch", watch.next()).await.is_none());

    within("the second close", store.close())
        .await
        .expect("closing twice is no error");
    assert!(matches!(
        store.create("b", bytes("1")).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(
        store.update("b", bytes("1"), newest).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(
        store.delete("first", Revision(1)).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(store.get("first").await, Err(StoreError::Closed)));
    assert!(matches!(
        store.list("", None, None, 0).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(store.watch("", newest), Err(StoreError::Closed)));
    assert!(matches!(
        store.compact(Revision(1)).await,
        Err(StoreError::Closed)
    ));
}

/// A watch that waits is told of the end, whether the store is closed or dropped.
pub async fn closing_ends_watches(store: Arc<dyn Store>) {
    let mut waiting = store.watch("", Revision(0)).expect("watchable");
    let waiting = tokio::spawn(async move { waiting.next().await.is_none() });
    tokio::task::yield_now().await;
    drop(store);
    assert!(
        within("the end of the watch", waiting)
            .await
            .expect("no panic")
    );
}

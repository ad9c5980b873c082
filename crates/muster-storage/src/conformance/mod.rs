//! The laws of a [`Store`], for every store alike: one async function per law, and [`run_all`].
//! A law panics when it is broken. The laws use nothing but the port, so they refuse to know what
//! kind of store they judge.

mod compaction;
mod life;
mod reads;
mod watches;
mod writes;

pub use compaction::*;
pub use life::*;
pub use reads::*;
pub use watches::*;
pub use writes::*;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Event, KeyValue, Revision, Store, Watch};

/// How long a law waits for what must come. Long: only a broken store ever waits it out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Judges a store by all laws. `factory` gives a new empty store each time, and the laws call it
/// within a multi-threaded or current-thread tokio runtime with its timer enabled.
///
/// # Panics
/// When a law is broken.
pub async fn run_all<F, S>(factory: F)
where
    F: Fn() -> S,
    S: Future<Output = Arc<dyn Store>>,
{
    macro_rules! judge {
        ($($law:ident),* $(,)?) => {
            $(
                tracing::debug!(law = stringify!($law));
                $law(factory().await).await;
            )*
        };
    }
    judge!(
        revisions_count_writes_from_one,
        create_refuses_a_living_key,
        update_needs_the_expected_revision,
        delete_needs_the_expected_revision,
        a_key_can_be_created_again,
        refusals_take_no_revision,
        of_rival_writes_one_wins,
        refused_writes_do_not_harm_their_neighbours,
        values_are_any_bytes,
        keys_and_values_are_bounded,
        reads_see_acknowledged_writes,
        listings_are_in_byte_order_within_the_prefix,
        listings_at_a_revision_do_not_change,
        pages_join_to_the_listing_of_one_revision,
        the_future_cannot_be_read,
        watches_tell_what_happened,
        watches_filter_by_prefix_and_tell_progress,
        watches_join_past_and_present,
        watches_from_everywhere_agree_under_load,
        slow_watches_miss_nothing,
        abandoned_waits_lose_nothing,
        compaction_forgets_the_past_only,
        compaction_keeps_watches_whole_or_ends_them,
        compaction_never_turns_revisions_back,
        compaction_under_load_loses_nothing,
        closing_answers_every_write,
        closing_ends_watches,
    );
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn pair(key: &str, value: &str, created: Revision, modified: Revision) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: bytes(value),
        created,
        modified,
    }
}

async fn create(store: &Arc<dyn Store>, key: &str, value: &str) -> Revision {
    store
        .create(key, bytes(value))
        .await
        .expect("a key that is not there can be created")
}

async fn update(store: &Arc<dyn Store>, key: &str, value: &str, expected: Revision) -> Revision {
    let updated = store.update(key, bytes(value), expected).await;
    updated.expect("a key can be updated at its revision")
}

async fn delete(store: &Arc<dyn Store>, key: &str, expected: Revision) -> Revision {
    store
        .delete(key, expected)
        .await
        .expect("a key can be deleted at its revision")
}

async fn listed(store: &Arc<dyn Store>, prefix: &str, at: Option<Revision>) -> Vec<KeyValue> {
    store
        .list(prefix, at, None, 0)
        .await
        .expect("a readable revision can be listed")
        .items
}

/// Waits, but not for ever.
async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
    waited.expect("just checked")
}

/// All events of a watch up to a revision, each batch checked on the way.
async fn seen_up_to(watch: &mut Watch, revision: Revision) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    while watch.revision() < revision {
        let before = watch.revision();
        let batch = within("the next batch of a watch", watch.next()).await;
        let batch = batch
            .expect("the store is open")
            .expect("the watch is not compacted");
        assert!(batch.revision > before, "a batch moves on");
        assert_eq!(
            batch.revision,
            watch.revision(),
            "a watch knows how far it is"
        );
        for event in batch.events {
            let newest = seen.last().map_or(before, Event::revision);
            assert!(event.revision() > newest, "events come in order, once");
            assert!(
                event.revision() <= batch.revision,
                "a batch ends where it says"
            );
            seen.push(event);
        }
    }
    seen
}

/// For the arm of a `match` that must not be reached.
#[track_caller]
#[expect(clippy::panic, reason = "a broken law is a panic")]
fn unexpected<T: Debug>(expected: &str, found: &T) {
    panic!("expected {expected}, found {found:?}");
}

//! Waiting for a value, never for a time. Knows nothing of clusters.

use std::future::Future;
use std::time::Duration;

/// How long a whole story may take.
pub const STORY: Duration = Duration::from_secs(55);
/// How long one value may take to come, below [`STORY`] so that its name is told.
const VALUE: Duration = Duration::from_secs(40);
/// How often a value is looked for.
const EVERY: Duration = Duration::from_millis(25);

/// Tells a story that must come to an end.
///
/// # Panics
/// When it does not within [`STORY`].
pub async fn in_time<T>(story: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STORY, story).await {
        Ok(told) => told,
        Err(_) => panic!("the story did not end within {STORY:?}"),
    }
}

/// Waits until `probe` finds something.
///
/// # Panics
/// When it has not after 40 seconds; `what` says what was missing.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    match tokio::time::timeout(VALUE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: it did not come within {VALUE:?}"),
    }
}

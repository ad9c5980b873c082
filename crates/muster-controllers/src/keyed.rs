//! Works through a stream of keyed items: one at a time per key, many keys side by side.
//!
//! A newer item of a key replaces one that waits; a failed one is tried again with a growing pause
//! and blocks nobody meanwhile. It knows nothing of Kubernetes.

use crate::jitter::spread;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::time::Duration;

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is left to do until a newer item of the key arrives.
    Done,
    /// The same item is tried again after a pause that doubles each time, and differs between keys.
    Retry,
    /// The same item is looked at again after this time, which doubles each time; not a failure.
    Again(Duration),
    /// The same item is looked at again after this time, whatever was before.
    Later(Duration),
}

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before something is looked at again that waits for others.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

struct Entry<T> {
    item: Option<T>,
    running: bool,
    queued: bool,
    failures: u32,
    /// Counts the items of this key, so that a pause that ends late is recognised as outdated.
    version: u64,
}

/// Handles every item of `items`, at most `limit` at the same time, until the stream ends.
pub(crate) async fn run<K, T, H, F>(items: impl Stream<Item = (K, T)>, limit: usize, handle: H)
where
    K: Clone + Eq + Hash,
    T: Clone,
    H: Fn(T) -> F,
    F: Future<Output = Outcome>,
{
    let mut items = pin!(items.fuse());
    let mut entries: HashMap<K, Entry<T>> = HashMap::new();
    let mut waiting: VecDeque<K> = VecDeque::new();
    let mut running = FuturesUnordered::new();
    let mut pausing = FuturesUnordered::new();
    let mut version = 0_u64;
    loop {
        while running.len() < limit {
            let Some(key) = waiting.pop_front() else {
                break;
            };
            let Some(entry) = entries.get_mut(&key) else {
                continue;
            };
            entry.queued = false;
            let Some(item) = entry.item.take() else {
                continue;
            };
            entry.running = true;
            let work = handle(item.clone());
            running.push(async move { (key, item, work.await) });
        }
        tokio::select! {
            next = items.next() => {
                let Some((key, item)) = next else { return };
                version += 1;
                let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
                    item: None, running: false, queued: false, failures: 0, version,
                });
                entry.item = Some(item);
                entry.failures = 0;
                entry.version = version;
                if !entry.running && !entry.queued {
                    entry.queued = true;
                    waiting.push_back(key);
                }
            }
            Some((key, item, outcome)) = running.next(), if !running.is_empty() => {
                let Some(entry) = entries.get_mut(&key) else { continue };
                entry.running = false;
                if entry.item.is_some() {
                    entry.queued = true;
                    waiting.push_back(key);
                    continue;
                }
                let Some(pause) = pause_after(outcome, &mut entry.failures) else {
                    entries.remove(&key);
                    continue;
                };
                let pause = if outcome == Outcome::Retry { spread(pause, &key) } else { pause };
                let of = entry.version;
                pausing.push(async move {
                    tokio::time::sleep(pause).await;
                    (key, item, of)
                });
            }
            Some((key, item, of)) = pausing.next(), if !pausing.is_empty() => {
                let Some(entry) = entries.get_mut(&key) else { continue };
                if entry.version == of && !entry.running && !entry.queued {
                    entry.item = Some(item);
                    entry.queued = true;
                    waiting.push_back(key);
                }
            }
        }
    }
}

fn pause_after(outcome: Outcome, failures: &mut u32) -> Option<Duration> {
    match outcome {
        Outcome::Done => None,
        Outcome::Again(first) => Some(growing(first, LONGEST_WAIT, failures)),
        Outcome::Later(pause) => {
            *failures = 0;
            Some(pause)
        }
        Outcome::Retry => Some(growing(FIRST_PAUSE, LONGEST_PAUSE, failures)),
    }
}

/// `first`, doubled for each time before.
fn growing(first: Duration, longest: Duration, before: &mut u32) -> Duration {
    let pause = first.saturating_mul(2_u32.saturating_pow(*before));
    *before = before.saturating_add(1);
    pause.min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    fn stream<T>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> {
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_key_is_tried_again_and_blocks_no_other() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&log);
        let worker = tokio::spawn(run(
            stream(receiver),
            1,
            move |item: (&'static str, u32)| {
                let seen = Arc::clone(&seen);
                async move {
                    let tries = {
                        let mut seen = seen.lock();
                        seen.push(item);
                        seen.iter().filter(|other| **other == item).count()
                    };
                    if item.0 == "bad" && tries < 3 {
                        Outcome::Retry
                    } else {
                        Outcome::Done
                    }
                }
            },
        ));
        sender
            .send(("bad", ("bad", 1)))
            .expect("the worker listens");
        sender
            .send(("good", ("good", 1)))
            .expect("the worker listens");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(
            *log.lock(),
            vec![("bad", 1), ("good", 1), ("bad", 1), ("bad", 1)]
        );
        drop(sender);
        worker.await.expect("the worker ends with its stream");
    }

    #[tokio::test(start_paused = true)]
    async fn what_rests_is_looked_at_again_after_the_same_time_each_time() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let begin = tokio::time::Instant::now();
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&log);
        let worker = tokio::spawn(run(stream(receiver), 1, move |_: u32| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().push(begin.elapsed().as_secs());
                Outcome::Later(Duration::from_secs(60))
            }
        }));
        sender.send(("key", 1)).expect("the worker listens");
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(*log.lock(), vec![0, 60, 120, 180]);
        drop(sender);
        worker.await.expect("the worker ends with its stream");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_item_replaces_the_one_that_waits() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&log);
        let worker = tokio::spawn(run(stream(receiver), 4, move |item: u32| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().push(item);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Outcome::Done
            }
        }));
        for item in 1..=5 {
            sender.send(("key", item)).expect("the worker listens");
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*log.lock(), vec![1, 5]);
        drop(sender);
        worker.await.expect("the worker ends with its stream");
    }
}

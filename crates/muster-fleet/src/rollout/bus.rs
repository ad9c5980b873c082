//! One stream of events, many listeners, each with a queue of its own: one that stalls loses events, which is counted
//! and told, and stops nothing.
//!
//! It refuses to know what listeners do with events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_rollout::Event;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Events that wait for one listener.
const QUEUE: usize = 8192;
/// The most that a listener is given at once.
const BATCH: usize = 256;
/// How long listeners may take for what is left at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Takes events in, some at a time and in their order.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Takes events in.
    ///
    /// # Errors
    /// Why these are lost, in words; the next ones are tried again.
    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String>;
}

/// A listener that did not get everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// Its name.
    pub sink: String,
    /// How many events it did not get.
    pub lost: u64,
    /// Why, the last time.
    pub reason: String,
}

struct Listener {
    name: String,
    queue: mpsc::Sender<Arc<Event>>,
    dropped: Arc<AtomicU64>,
    task: JoinHandle<Option<(u64, String)>>,
}

/// Where events go.
#[derive(Default)]
pub(crate) struct Bus {
    listeners: Vec<Listener>,
}

impl Bus {
    /// A bus with these listeners.
    pub(crate) fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            listeners: sinks.into_iter().map(listen).collect(),
        }
    }

    /// Tells everybody. Never waits.
    pub(crate) fn tell(&self, event: Event) {
        let event = Arc::new(event);
        for listener in &self.listeners {
            if listener.queue.try_send(Arc::clone(&event)).is_err() {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lets listeners finish, within limits, and says who missed something.
    pub(crate) async fn close(self) -> Vec<Lapse> {
        let mut lapses = Vec::new();
        let end = tokio::time::Instant::now() + FAREWELL;
        // All of them hear that this is the end before any is waited for.
        let leaving: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| {
                (
                    listener.name,
                    listener.dropped,
                    listener.task,
                    QUEUE - listener.queue.capacity(),
                )
            })
            .collect();
        for (name, dropped, mut task, waiting) in leaving {
            let (lost, reason) = match tokio::time::timeout_at(end, &mut task).await {
                Ok(Ok(None)) => (0, "its queue was full".to_owned()),
                Ok(Ok(Some((lost, reason)))) => (lost, reason),
                Ok(Err(_)) => (waiting as u64, "it broke".to_owned()),
                Err(_) => {
                    task.abort();
                    (waiting as u64, "it did not take them in".to_owned())
                }
            };
            let lost = lost + dropped.load(Ordering::Relaxed);
            if lost > 0 {
                lapses.push(Lapse {
                    sink: name,
                    lost,
                    reason,
                });
            }
        }
        lapses
    }
}

fn listen(mut sink: Box<dyn Sink>) -> Listener {
    let (queue, mut events) = mpsc::channel::<Arc<Event>>(QUEUE);
    let name = sink.name().to_owned();
    let task = tokio::spawn(async move {
        let mut lost: Option<(u64, String)> = None;
        let mut batch = Vec::with_capacity(BATCH);
        while events.recv_many(&mut batch, BATCH).await > 0 {
            if let Err(reason) = sink.take(&batch).await {
                let before = lost.map_or(0, |(count, _)| count);
                lost = Some((before + batch.len() as u64, reason));
            }
            batch.clear();
        }
        lost
    });
    Listener {
        name,
        queue,
        dropped: Arc::default(),
        task,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use muster_rollout::{EventKind, RunId};
    use parking_lot::Mutex;

    fn event(sequence: u64) -> Event {
        Event {
            run: RunId("r".into()),
            incarnation: 0,
            sequence,
            at: Timestamp::UNIX_EPOCH,
            kind: EventKind::RunStarted { hosts: 1 },
        }
    }

    struct Keeps(Arc<Mutex<Vec<u64>>>);

    #[async_trait]
    impl Sink for Keeps {
        fn name(&self) -> &str {
            "keeps"
        }

        async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
            self.0
                .lock()
                .extend(events.iter().map(|event| event.sequence));
            Ok(())
        }
    }

    struct Stalls;

    #[async_trait]
    impl Sink for Stalls {
        fn name(&self) -> &str {
            "stalls"
        }

        async fn take(&mut self, _: &[Arc<Event>]) -> Result<(), String> {
            std::future::pending().await
        }
    }

    struct Fails;

    #[async_trait]
    impl Sink for Fails {
        fn name(&self) -> &str {
            "fails"
        }

        async fn take(&mut self, _: &[Arc<Event>]) -> Result<(), String> {
            Err("no".to_owned())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_stalls_stops_nothing_and_what_it_missed_is_told() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let bus = Bus::new(vec![
            Box::new(Stalls),
            Box::new(Keeps(Arc::clone(&kept))),
            Box::new(Fails),
        ]);
        let all = QUEUE as u64 + 1000;
        for sequence in 0..all {
            bus.tell(event(sequence));
            if sequence % 1000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let lapses = bus.close().await;
        assert_eq!(*kept.lock(), (0..all).collect::<Vec<_>>());
        let names: Vec<&str> = lapses.iter().map(|lapse| lapse.sink.as_str()).collect();
        assert_eq!(names, ["stalls", "fails"]);
        assert!(lapses[0].lost > 1000);
        assert_eq!(
            lapses[1],
            Lapse {
                sink: "fails".into(),
                lost: all,
                reason: "no".into()
            }
        );
    }
}

//! Where writes meet watches: the newest events in a bounded ring, and one bell that rings at each
//! commit. The hub refuses to know where older events are kept and who listens, so that a slow watch
//! costs nothing: it finds its place in the ring, or is sent to the log.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{Event, KeyValue, Revision};

/// The most events the ring keeps.
const RING_EVENTS: usize = 4096;

/// The most bytes of keys and values the ring keeps (counting shared buffers twice).
const RING_BYTES: usize = 4 * 1024 * 1024;

/// The ring and the bell of one store.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: RwLock<Ring>,
    bell: watch::Sender<Bell>,
}

/// What listeners wait on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell {
    /// The newest published revision.
    pub(crate) revision: Revision,
    /// Whether the store has closed: nothing more will come.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The ring holds every event after this revision.
    since: Revision,
    newest: Revision,
    max_events: usize,
}

/// What the ring can say about the time after a revision.
#[derive(Debug)]
pub(crate) enum Recent {
    /// All matching events up to `revision`, maybe none.
    Events {
        events: Vec<Event>,
        revision: Revision,
    },
    /// Nothing has happened since.
    Nothing,
    /// The ring has forgotten some of it: read the log.
    Forgotten,
}

impl Hub {
    pub(crate) fn new(current: Revision) -> Self {
        Self::with_ring(current, RING_EVENTS)
    }

    /// A hub with a ring of its own size: tests make it small to drive watches into the log.
    pub(crate) fn with_ring(current: Revision, max_events: usize) -> Self {
        let ring = Ring {
            events: VecDeque::new(),
            bytes: 0,
            since: current,
            newest: current,
            max_events,
        };
        let (bell, _) = watch::channel(Bell {
            revision: current,
            closed: false,
        });
        Self {
            ring: RwLock::new(ring),
            bell,
        }
    }

    /// The newest published revision.
    pub(crate) fn revision(&self) -> Revision {
        self.bell.borrow().revision
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.bell.borrow().closed
    }

    /// A listener to the bell.
    pub(crate) fn listen(&self) -> watch::Receiver<Bell> {
        self.bell.subscribe()
    }

    /// Makes committed events known. They must continue the ring: one event per revision, in order.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        let Some(newest) = events.last().map(Event::revision) else {
            return;
        };
        {
            let mut ring = self.ring.write();
            for event in events {
                ring.push(event);
            }
        }
        self.bell.send_modify(|bell| bell.revision = newest);
    }

    /// Tells all listeners that nothing more will come.
    pub(crate) fn close(&self) {
        self.bell.send_modify(|bell| bell.closed = true);
    }

    /// What happened under `prefix` after `after`: at most `limit` events.
    pub(crate) fn recent(&self, prefix: &str, after: Revision, limit: usize) -> Recent {
        let ring = self.ring.read();
        if after < ring.since {
            return Recent::Forgotten;
        }
        if after >= ring.newest {
            return Recent::Nothing;
        }
        let mut events = Vec::new();
        let start = ring
            .events
            .partition_point(|event| event.revision() <= after);
        for event in ring.events.range(start..) {
            if event.kv.key.starts_with(prefix) {
                events.push(Event::clone(event));
                if events.len() == limit {
                    return Recent::Events {
                        events,
                        revision: event.revision(),
                    };
                }
            }
        }
        Recent::Events {
            events,
            revision: ring.newest,
        }
    }
}

impl Ring {
    fn push(&mut self, event: Event) {
        debug_assert_eq!(
            event.revision(),
            self.newest.next(),
            "events continue the ring"
        );
        self.newest = event.revision();
        self.bytes += weight(&event);
        self.events.push_back(Arc::new(event));
        while self.events.len() > self.max_events || self.bytes > RING_BYTES {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= weight(&oldest);
            self.since = oldest.revision();
        }
    }
}

fn weight(event: &Event) -> usize {
    let pair = |kv: &KeyValue| kv.key.len() + kv.value.len();
    pair(&event.kv) + event.previous.as_ref().map_or(0, pair)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(revision: u64, bytes: usize) -> Event {
        let key = format!("key-{revision}");
        let value = Bytes::from(vec![0; bytes]);
        Event::creating(&key, value, None, Revision(revision)).unwrap()
    }

    fn revisions(recent: Recent) -> (Vec<u64>, u64) {
        match recent {
            Recent::Events { events, revision } => (
                events.iter().map(|event| event.revision().0).collect(),
                revision.0,
            ),
            other => panic!("no events: {other:?}"),
        }
    }

    #[test]
    fn the_ring_is_bounded_in_number() {
        let hub = Hub::with_ring(Revision(10), 3);
        hub.publish((11..=15).map(|revision| event(revision, 1)).collect());
        assert!(matches!(hub.recent("", Revision(11), 9), Recent::Forgotten));
        assert_eq!(
            revisions(hub.recent("", Revision(12), 9)),
            (vec![13, 14, 15], 15)
        );
        assert_eq!(
            revisions(hub.recent("", Revision(12), 2)),
            (vec![13, 14], 14)
        );
        assert_eq!(revisions(hub.recent("x", Revision(12), 9)), (vec![], 15));
        assert!(matches!(hub.recent("", Revision(15), 9), Recent::Nothing));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let hub = Hub::new(Revision::ZERO);
        for revision in 1..=5 {
            hub.publish(vec![event(revision, RING_BYTES / 3)]);
        }
        assert!(matches!(hub.recent("", Revision(2), 9), Recent::Forgotten));
        assert_eq!(revisions(hub.recent("", Revision(3), 9)), (vec![4, 5], 5));
        hub.publish(vec![event(6, RING_BYTES * 2)]);
        assert!(matches!(hub.recent("", Revision(5), 9), Recent::Forgotten));
        hub.publish(vec![event(7, 1)]);
        assert_eq!(revisions(hub.recent("", Revision(6), 9)), (vec![7], 7));
    }

    #[test]
    fn nothing_is_known_of_the_time_before_the_hub() {
        let hub = Hub::new(Revision(10));
        assert!(matches!(hub.recent("", Revision(9), 9), Recent::Forgotten));
        assert!(matches!(hub.recent("", Revision(10), 9), Recent::Nothing));
    }
}

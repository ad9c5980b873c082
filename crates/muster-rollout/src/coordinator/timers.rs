//! What is due when: one heap, in which entries that mean nothing any more are left to fall out.
//!
//! It knows times and keys, not what happens when one is due.

use std::{cmp::Reverse, collections::BinaryHeap};

use jiff::Timestamp;

use crate::HostIndex;

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A host's, set in that epoch.
    Host(HostIndex, u32),
    /// The quiet of a limit ends.
    Quiet(usize),
    /// A token's, by serial number, set in that epoch.
    Token(u32, u32),
    /// The run's own deadline.
    Run,
}

/// Below this, nobody minds what lies in the heap.
const SMALL: usize = 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Timer)>>,
    kept: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    /// The next timer that is due and means something.
    pub(super) fn due(&mut self, now: Timestamp, means: impl Fn(Timer) -> bool) -> Option<Timer> {
        while self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, timer))) = self.heap.pop()
                && means(timer)
            {
                return Some(timer);
            }
        }
        None
    }

    /// When something is due next. Entries without meaning are dropped on the way, all of them when they are many.
    pub(super) fn next(&mut self, means: impl Fn(Timer) -> bool) -> Option<Timestamp> {
        if self.heap.len() > 2 * self.kept + SMALL {
            self.heap.retain(|Reverse((_, timer))| means(*timer));
            self.kept = self.heap.len();
        }
        while let Some(Reverse((at, timer))) = self.heap.peek() {
            if means(*timer) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        crate::retry::after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn timers_are_due_in_order_and_those_without_meaning_are_silent() {
        let mut timers = Timers::default();
        timers.set(at(3), Timer::Run);
        timers.set(at(1), Timer::Quiet(1));
        timers.set(at(2), Timer::Quiet(2));
        let means = |timer| timer != Timer::Quiet(1);
        assert_eq!(timers.next(means), Some(at(2)));
        assert_eq!(timers.due(at(1), means), None);
        assert_eq!(timers.due(at(9), means), Some(Timer::Quiet(2)));
        assert_eq!(timers.due(at(9), means), Some(Timer::Run));
        assert_eq!(timers.due(at(9), means), None);
    }

    #[test]
    fn what_means_nothing_does_not_pile_up() {
        let mut timers = Timers::default();
        for epoch in 0..100_000u32 {
            timers.set(at(u64::from(epoch)), Timer::Token(0, epoch));
            timers.next(|timer| timer == Timer::Token(0, epoch));
        }
        assert!(timers.heap.len() <= SMALL + 3);
    }
}

//! The sliding window: who starts next under several limits at once, without ever looking through all that wait.
//!
//! Hosts under the same limits stand in one queue. A queue that cannot move is parked at the first limit that is full,
//! and looked at again when that one has room. It refuses to know what the places are for.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::{
    HostIndex,
    concurrency::{Cap, Pressure, Throttle},
};

/// The number of a limit of a window.
pub(super) type Place = usize;

/// Hosts that stand under the same limits.
#[derive(Clone, Debug)]
struct Class {
    limits: Vec<Place>,
    queue: VecDeque<(HostIndex, u32)>,
    listed: bool,
}

/// A queue that may be able to move, and the limit at which it was parked.
type Ready = (usize, Option<Place>);

#[derive(Clone, Debug)]
pub(super) struct Window {
    throttles: Vec<Throttle>,
    classes: Vec<Class>,
    by_limits: BTreeMap<Vec<Place>, usize>,
    ready: VecDeque<Ready>,
    parked: Vec<VecDeque<usize>>,
}

impl Window {
    pub(super) fn new(caps: impl IntoIterator<Item = Cap>) -> Self {
        let throttles: Vec<Throttle> = caps.into_iter().map(Throttle::new).collect();
        Self {
            parked: vec![VecDeque::new(); throttles.len()],
            throttles,
            classes: Vec::new(),
            by_limits: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    pub(super) fn throttles(&self) -> &[Throttle] {
        &self.throttles
    }

    /// Puts a host into the queue of those under the same limits, at its end or, if it was at work before, at its head.
    pub(super) fn enqueue(&mut self, limits: &[Place], host: HostIndex, epoch: u32, first: bool) {
        let index = self.class_of(limits);
        let class = &mut self.classes[index];
        if first {
            class.queue.push_front((host, epoch));
        } else {
            class.queue.push_back((host, epoch));
        }
        if !std::mem::replace(&mut class.listed, true) {
            self.ready.push_back((index, None));
        }
    }

    fn class_of(&mut self, limits: &[Place]) -> usize {
        if let Some(known) = self.by_limits.get(limits) {
            return *known;
        }
        self.classes.push(Class {
            limits: limits.to_vec(),
            queue: VecDeque::new(),
            listed: false,
        });
        self.by_limits
            .insert(limits.to_vec(), self.classes.len() - 1);
        self.classes.len() - 1
    }

    /// The next host that may start; it has its places. `waits` says whether an entry still means something.
    pub(super) fn next(
        &mut self,
        now: Timestamp,
        waits: impl Fn(HostIndex, u32) -> bool,
    ) -> Option<HostIndex> {
        while let Some((index, parked_at)) = self.ready.pop_front() {
            let class = &mut self.classes[index];
            while class
                .queue
                .front()
                .is_some_and(|(host, epoch)| !waits(*host, *epoch))
            {
                class.queue.pop_front();
            }
            let full = class
                .limits
                .iter()
                .copied()
                .find(|limit| !self.throttles[*limit].has_room(now));
            let started = match (class.queue.front().copied(), full) {
                (None, _) => {
                    class.listed = false;
                    None
                }
                (Some(_), Some(limit)) => {
                    self.parked[limit].push_back(index);
                    None
                }
                (Some((host, _)), None) => {
                    class.queue.pop_front();
                    class
                        .limits
                        .iter()
                        .for_each(|limit| self.throttles[*limit].take());
                    self.ready.push_back((index, None));
                    Some(host)
                }
            };
            // The queue that was let go may have left room for the next one that is parked at the same limit.
            if let Some(limit) = parked_at {
                self.stir(limit, now);
            }
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// Takes places without asking: of hosts that had them when the run was cut off.
    pub(super) fn take(&mut self, limits: &[Place]) {
        limits
            .iter()
            .for_each(|limit| self.throttles[*limit].take());
    }

    pub(super) fn give_back(&mut self, limits: &[Place], now: Timestamp) {
        for limit in limits {
            self.throttles[*limit].give_back();
            self.stir(*limit, now);
        }
    }

    /// Takes an answer of a limit's other side into account. `true` when that changed how many may start.
    pub(super) fn feel(&mut self, limit: Place, pressure: Pressure, now: Timestamp) -> bool {
        let Some(throttle) = self.throttles.get_mut(limit) else {
            return false;
        };
        let changed = throttle.feel(pressure, now);
        if changed {
            self.stir(limit, now);
        }
        changed
    }

    /// Lets one of the queues that are parked at a limit try again, if the limit has room.
    pub(super) fn stir(&mut self, limit: Place, now: Timestamp) {
        if self.throttles[limit].has_room(now)
            && let Some(index) = self.parked[limit].pop_front()
        {
            self.ready.push_back((index, Some(limit)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn drain(window: &mut Window) -> Vec<u32> {
        std::iter::from_fn(|| window.next(NOW, |_, _| true))
            .map(|host| host.0)
            .collect()
    }

    fn window(caps: &[u32]) -> Window {
        Window::new(caps.iter().map(|cap| Cap::Fixed(*cap)))
    }

    #[test]
    fn a_full_group_does_not_hold_up_the_others() {
        let mut window = window(&[10, 1, 1]);
        for host in 0..4 {
            window.enqueue(&[0, 1], HostIndex(host), 0, false);
        }
        for host in 4..8 {
            window.enqueue(&[0, 2], HostIndex(host), 0, false);
        }
        assert_eq!(drain(&mut window), [0, 4]);
        window.give_back(&[0, 2], NOW);
        assert_eq!(drain(&mut window), [5]);
        assert_eq!(drain(&mut window), [] as [u32; 0]);
    }

    #[test]
    fn every_place_that_is_given_back_is_taken_again_by_somebody() {
        let mut window = window(&[2, 1, 1, 1]);
        for group in 1..4 {
            for host in 0..3u32 {
                let host = HostIndex(u32::try_from(group).unwrap() * 10 + host);
                window.enqueue(&[0, group], host, 0, false);
            }
        }
        let mut at_work = VecDeque::from(drain(&mut window));
        let mut all = Vec::from_iter(at_work.clone());
        while let Some(host) = at_work.pop_front() {
            let group = usize::try_from(host / 10).unwrap();
            window.give_back(&[0, group], NOW);
            let next = drain(&mut window);
            all.extend(&next);
            at_work.extend(next);
            assert!(at_work.len() <= 2);
        }
        all.sort_unstable();
        assert_eq!(all, [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    }

    #[test]
    fn a_host_that_was_at_work_goes_first_and_entries_without_meaning_are_left_out() {
        let mut window = window(&[1]);
        for host in 0..3 {
            window.enqueue(&[0], HostIndex(host), 0, false);
        }
        window.enqueue(&[0], HostIndex(9), 7, true);
        assert_eq!(window.next(NOW, |_, _| true), Some(HostIndex(9)));
        window.give_back(&[0], NOW);
        let next = window.next(NOW, |host, _| host != HostIndex(0));
        assert_eq!(next, Some(HostIndex(1)));
    }

    #[test]
    fn quiet_time_lets_nobody_start_until_it_is_over() {
        let mut window = window(&[5]);
        window.enqueue(&[0], HostIndex(0), 0, false);
        let wish = Pressure::TooManyRequests {
            retry_after: Some(std::time::Duration::from_secs(5)),
        };
        assert!(window.feel(0, wish, NOW));
        assert_eq!(drain(&mut window), [] as [u32; 0]);
        let later = crate::retry::after(NOW, std::time::Duration::from_secs(5));
        window.stir(0, later);
        assert_eq!(window.next(later, |_, _| true), Some(HostIndex(0)));
    }
}

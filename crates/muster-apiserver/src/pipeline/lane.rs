//! Places for requests that are worked on at once, given out in turn: whoever waits, every user gets the next place
//! as often as any other, however many requests one of them sends. So a greedy user waits behind their own
//! requests, and others behind one of each.
//!
//! Refuses to know: what requests do, and which of them need a place.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How many places there are and how many may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Requests that are worked on at once.
    pub(super) places: usize,
    /// How many of these one user may have.
    pub(super) places_per_user: usize,
    /// Requests that may wait.
    pub(super) waiting: usize,
    /// How many of these may be one user's.
    pub(super) waiting_per_user: usize,
    /// How long they wait.
    pub(super) patience: Duration,
}

/// The places of one kind of requests.
#[derive(Debug)]
pub(super) struct Lane {
    size: Size,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    size: Size,
    taken: usize,
    waiting: usize,
    next_ticket: u64,
    users: HashMap<Arc<str>, Presence>,
    /// Users with waiting requests, the next one first.
    turn: VecDeque<Arc<str>>,
}

/// What one user has. There is none without places and waiting requests.
#[derive(Debug, Default)]
struct Presence {
    places: usize,
    queue: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    call: oneshot::Sender<()>,
}

/// There is no place, and none will be soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    user: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl Lane {
    pub(super) fn new(size: Size) -> Self {
        let state = State {
            size,
            taken: 0,
            waiting: 0,
            next_ticket: 0,
            users: HashMap::new(),
            turn: VecDeque::new(),
        };
        Self {
            size,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.state.lock().taken
    }

    /// A place for a request of `user`, at once or after waiting for one.
    pub(super) async fn enter(&self, user: &str) -> Result<Place, Full> {
        let user: Arc<str> = user.into();
        let mut waiting = match self.state.lock().arrive(&user)? {
            Arrival::Served => None,
            Arrival::Waits(number, called) => Some(Waiting {
                user: Arc::clone(&user),
                state: Arc::clone(&self.state),
                number,
                called,
                is_over: false,
            }),
        };
        if let Some(waiting) = &mut waiting {
            let called = tokio::time::timeout(self.size.patience, &mut waiting.called).await;
            if !matches!(called, Ok(Ok(()))) {
                return Err(Full);
            }
            waiting.is_over = true;
        }
        Ok(Place {
            user,
            state: Arc::clone(&self.state),
        })
    }
}

enum Arrival {
    Served,
    Waits(u64, oneshot::Receiver<()>),
}

impl State {
    fn arrive(&mut self, user: &Arc<str>) -> Result<Arrival, Full> {
        let size = self.size;
        let presence = self.users.entry(Arc::clone(user)).or_default();
        let may_have_one = presence.places < size.places_per_user && presence.queue.is_empty();
        // Others who wait are over their own share: else they would have the free place already.
        if may_have_one && self.taken < size.places {
            presence.places += 1;
            self.taken += 1;
            return Ok(Arrival::Served);
        }
        let queued = presence.queue.len();
        if queued >= size.waiting_per_user || !self.make_room(queued) {
            self.forget_if_gone(user);
            return Err(Full);
        }
        let (call, called) = oneshot::channel();
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let presence = self.users.entry(Arc::clone(user)).or_default();
        if presence.queue.is_empty() {
            self.turn.push_back(Arc::clone(user));
        }
        presence.queue.push_back(Ticket { number, call });
        Ok(Arrival::Waits(number, called))
    }

    /// Sees that one more may wait: where everything is full, the latest request of whoever has most waiting goes,
    /// unless the newcomer would have as many.
    fn make_room(&mut self, queued: usize) -> bool {
        if self.waiting < self.size.waiting {
            return true;
        }
        let longest = self
            .turn
            .iter()
            .max_by_key(|user| self.users.get(*user).map_or(0, |own| own.queue.len()))
            .cloned();
        let Some(presence) = longest.and_then(|user| self.users.get_mut(&user)) else {
            return false;
        };
        if presence.queue.len() <= queued + 1 {
            return false;
        }
        // Dropping the ticket tells whoever holds the other half.
        presence.queue.pop_back();
        self.waiting -= 1;
        true
    }

    /// Gives free places to those whose turn it is.
    fn give_out(&mut self) {
        let size = self.size;
        let mut over_their_share = 0;
        while self.taken < size.places && over_their_share < self.turn.len() {
            let Some(user) = self.turn.pop_front() else {
                return;
            };
            let Some(presence) = self.users.get_mut(&user) else {
                continue;
            };
            if presence.places >= size.places_per_user {
                over_their_share += 1;
                self.turn.push_back(user);
                continue;
            }
            over_their_share = 0;
            let ticket = presence.queue.pop_front();
            if ticket.is_some() {
                self.waiting -= 1;
            }
            if ticket.is_some_and(|ticket| ticket.call.send(()).is_ok()) {
                presence.places += 1;
                self.taken += 1;
            }
            if presence.queue.is_empty() {
                self.forget_if_gone(&user);
            } else {
                self.turn.push_back(user);
            }
        }
    }

    fn leave(&mut self, user: &Arc<str>) {
        self.taken -= 1;
        if let Some(presence) = self.users.get_mut(user) {
            presence.places -= 1;
        }
        self.forget_if_gone(user);
        self.give_out();
    }

    /// Takes a ticket back. Whether it was still waiting.
    fn withdraw(&mut self, user: &Arc<str>, number: u64) -> bool {
        let Some(presence) = self.users.get_mut(user) else {
            return false;
        };
        let before = presence.queue.len();
        presence.queue.retain(|ticket| ticket.number != number);
        let was_waiting = presence.queue.len() < before;
        if was_waiting {
            self.waiting -= 1;
            if presence.queue.is_empty() {
                self.turn.retain(|own| own != user);
            }
        }
        self.forget_if_gone(user);
        was_waiting
    }

    fn forget_if_gone(&mut self, user: &Arc<str>) {
        let is_gone = |own: &Presence| own.places == 0 && own.queue.is_empty();
        if self.users.get(user).is_some_and(is_gone) {
            self.users.remove(user);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.lock().leave(&self.user);
    }
}

/// A request that waits. When it is given up, it leaves the queue, and a place that it got in the same moment is
/// not lost.
struct Waiting {
    user: Arc<str>,
    state: Arc<Mutex<State>>,
    number: u64,
    called: oneshot::Receiver<()>,
    is_over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.state.lock();
        if !state.withdraw(&self.user, self.number) && self.called.try_recv().is_ok() {
            state.leave(&self.user);
        }
    }
}

#[cfg(test)]
mod tests;

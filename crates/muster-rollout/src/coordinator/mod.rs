//! The coordinator of one run: told what happened, it says what to do.
//!
//! A state machine without I/O. [`Rollout::handle`] takes one input and the time; [`Rollout::next_effect`] gives what is
//! to be done. No deed and no undo is asked for before its intent is durable. Whatever an input is about is found at
//! once: nothing here looks through all hosts, except once at the turns of a run (its begin, an interrupt, its end).
//!
//! Where to read: `forward` (a host's way into the cluster), `backward` (the way out), `tokens`, `settle` (what the run
//! comes to), `resume` (from records alone).

mod backward;
mod course;
mod effect;
mod forward;
mod halt;
mod host;
mod ledger;
mod resume;
mod settle;
mod status;
mod timers;
mod tokens;
mod window;

use std::collections::VecDeque;

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::Event as StageEvent;

pub use effect::{Effect, Grant, Input, Resume};
pub use resume::ReplayError;
pub use status::{HostStanding, HostStatus, LimitStatus, RunPhase, RunStatus};

use crate::{
    Event, EventKind, GivenToken, HostIndex, LimitKey, PlanError, Receipt, Record, Role,
    RolloutPlan, Stage, StageFailure, Verdict,
    concurrency::{Cap, Pressure},
    events::HostName,
    retry::after,
};
use course::{Course, Order, Tally};
use host::{Host, Posture};
use ledger::{Ledger, Wish};
use timers::{Timer, Timers};
use tokens::Tokens;
use window::{Place, Window};

/// What waits until the records before it are durable.
#[derive(Clone, Debug)]
enum Held {
    Start {
        host: HostIndex,
        epoch: u32,
        deadline: Timestamp,
        token: Option<TokenId>,
    },
    Undo {
        host: HostIndex,
        epoch: u32,
        deadline: Timestamp,
    },
    Mint {
        serial: u32,
        epoch: u32,
        deadline: Timestamp,
    },
    Usable {
        serial: u32,
    },
    Revoke {
        serial: u32,
        epoch: u32,
        deadline: Timestamp,
    },
    Close {
        host: HostIndex,
        end: EventKind,
    },
    Tell(EventKind),
    End(Verdict),
}

/// The coordinator of one run.
#[derive(Clone, Debug)]
pub struct Rollout {
    plan: RolloutPlan,
    now: Timestamp,
    hosts: Vec<Host>,
    forward: Window,
    backward: Window,
    timers: Timers,
    ledger: Ledger<Held>,
    tokens: Tokens,
    tally: Tally,
    order: Order,
    course: Course,
    /// Control-plane hosts that are taken back when all workers are.
    last_to_go: Vec<HostIndex>,
    interrupted: bool,
    /// Why no host starts any more.
    stopped_starting: Option<StageFailure>,
    /// Why the run did not come to what it was to come to.
    reason: Option<StageFailure>,
    run_deadline: Timestamp,
    effects: VecDeque<Effect>,
    incarnation: u32,
    sequence: u64,
    wake_at: Option<Timestamp>,
}

impl Rollout {
    /// A new run. `given` is a token that exists already; it is used while it is young enough. Effects are there to be
    /// taken at once.
    ///
    /// # Errors
    /// [`PlanError`] when no run can follow the plan.
    pub fn begin(
        plan: RolloutPlan,
        given: Option<GivenToken>,
        now: Timestamp,
    ) -> Result<Self, PlanError> {
        plan.check()?;
        let mut rollout = Self::new(plan, given, now);
        rollout.ledger.record(Record::Begun {
            run: rollout.plan.run.clone(),
            hosts: rollout.tally.hosts,
            fingerprint: rollout.plan.fingerprint(),
            at: now,
        });
        let hosts = rollout.tally.hosts;
        rollout.tell(EventKind::RunStarted { hosts });
        rollout.order = Order::of(&rollout.plan, (0..hosts).map(HostIndex));
        rollout.set_out();
        rollout.settle_down();
        Ok(rollout)
    }

    /// A run that records tell of, in the order in which they became durable. Its old tokens are revoked, as nobody knows
    /// them any more.
    ///
    /// # Errors
    /// [`ReplayError`] when they do not tell a run of this plan. Nothing must be done on their word then.
    pub fn resume(
        plan: RolloutPlan,
        given: Option<GivenToken>,
        records: impl IntoIterator<Item = Record>,
        how: Resume,
        now: Timestamp,
    ) -> Result<Self, ReplayError> {
        resume::resume(plan, given, records, how, now)
    }

    fn new(plan: RolloutPlan, given: Option<GivenToken>, now: Timestamp) -> Self {
        let caps = plan.limits.iter().map(|limit| limit.cap);
        // The last limit of both windows is the turn of control-plane hosts.
        let forward = Window::new(caps.clone().chain([Cap::Fixed(1)]));
        let undo = Cap::Fixed(plan.undo.parallelism.max(1));
        let backward = Window::new(
            [undo]
                .into_iter()
                .chain(caps.skip(1))
                .chain([Cap::Fixed(1)]),
        );
        let hosts = vec![Host::new(now); plan.hosts.len()];
        let run_deadline = after(now, plan.timeouts.run);
        let mut timers = Timers::default();
        timers.set(run_deadline, Timer::Run);
        Self {
            tokens: Tokens::new(&plan, given),
            tally: Tally {
                hosts: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
                ..Tally::default()
            },
            plan,
            now,
            hosts,
            forward,
            backward,
            timers,
            ledger: Ledger::new(),
            order: Order::default(),
            course: Course::Minting,
            last_to_go: Vec::new(),
            interrupted: false,
            stopped_starting: None,
            reason: None,
            run_deadline,
            effects: VecDeque::new(),
            incarnation: 0,
            sequence: 0,
            wake_at: None,
        }
    }

    /// Takes in what happened. Answers to what was given up, or to what was never asked, change nothing.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        if self.course == Course::Ended {
            return;
        }
        self.now = self.now.max(now);
        match input {
            Input::Recorded => {
                let held = self.ledger.written();
                self.release(held);
            }
            Input::RecordFailed { failure } => self.halt_without_journal(failure),
            Input::Ended {
                host,
                stage,
                attempt,
                result,
            } => self.on_ended(host, stage, attempt, result),
            Input::Undone {
                host,
                stage,
                attempt,
                result,
            } => self.on_undone(host, stage, attempt, result),
            Input::Minted {
                expected,
                attempt,
                result,
            } => self.on_minted(&expected, attempt, result),
            Input::Revoked {
                id,
                attempt,
                result,
            } => self.on_revoked(&id, attempt, result),
            Input::Progress { host, phase } => self.on_progress(host, phase),
            Input::Pressure { limit, pressure } => self.on_pressure(limit, pressure),
            Input::Interrupt => self.on_interrupt(),
            Input::LeaseLost { holder } => self.halt(StageFailure::lease_lost(holder.as_deref())),
            Input::Tick => {}
        }
        self.settle_down();
    }

    /// The next thing to do; `None` until the next input.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether the run is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.course == Course::Ended
    }

    /// Lets everything happen that can happen now.
    fn settle_down(&mut self) {
        self.fire_timers();
        while self.course != Course::Ended {
            if let Some(host) = self.next_to_start() {
                self.on_place(host);
            } else if let Some(host) = self.next_to_undo() {
                self.on_undo_place(host);
            } else if !self.advance() && !self.flush() {
                break;
            }
        }
        self.announce_wake();
    }

    fn next_to_start(&mut self) -> Option<HostIndex> {
        let hosts = &self.hosts;
        self.forward.next(self.now, |host, epoch| {
            hosts[host.as_usize()].epoch == epoch
        })
    }

    fn next_to_undo(&mut self) -> Option<HostIndex> {
        let hosts = &self.hosts;
        self.backward.next(self.now, |host, epoch| {
            hosts[host.as_usize()].epoch == epoch
        })
    }

    /// Hands records out, or what stood behind none. `true` if that may have changed anything.
    fn flush(&mut self) -> bool {
        match self.ledger.wish() {
            None => false,
            Some(Wish::Write(records)) => {
                self.effects.push_back(Effect::Record(records));
                false
            }
            Some(Wish::Release(held)) => {
                self.release(held);
                true
            }
        }
    }

    fn release(&mut self, held: Vec<Held>) {
        for held in held {
            match held {
                Held::Start {
                    host,
                    epoch,
                    deadline,
                    token,
                } => self.release_start(host, epoch, deadline, token),
                Held::Undo {
                    host,
                    epoch,
                    deadline,
                } => self.release_undo(host, epoch, deadline),
                Held::Mint {
                    serial,
                    epoch,
                    deadline,
                } => self.release_mint(serial, epoch, deadline),
                Held::Usable { serial } => self.on_usable(serial),
                Held::Revoke {
                    serial,
                    epoch,
                    deadline,
                } => self.release_revoke(serial, epoch, deadline),
                Held::Close { host, end } => {
                    self.hosts[host.as_usize()].told = true;
                    self.tell(end);
                }
                Held::Tell(kind) => self.tell(kind),
                Held::End(verdict) => self.end(verdict),
            }
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = {
            let (hosts, tokens) = (&self.hosts, &self.tokens);
            self.timers
                .due(self.now, |timer| means(hosts, tokens, timer))
        } {
            match timer {
                Timer::Host(host, _) => self.on_host_timer(host),
                Timer::Quiet(limit) => {
                    self.forward.stir(limit, self.now);
                    self.backward.stir(limit, self.now);
                }
                Timer::Token(serial, _) => self.on_token_timer(serial),
                Timer::Run => self.on_run_deadline(),
            }
        }
    }

    fn announce_wake(&mut self) {
        if self.course == Course::Ended {
            return;
        }
        let (hosts, tokens) = (&self.hosts, &self.tokens);
        let next = self.timers.next(|timer| means(hosts, tokens, timer));
        if let Some(at) = next
            && self.wake_at != Some(at)
        {
            self.wake_at = Some(at);
            self.effects.push_back(Effect::WakeAt(at));
        }
    }

    fn on_progress(&mut self, host: HostIndex, phase: String) {
        let Some(state) = self.hosts.get_mut(host.as_usize()) else {
            return;
        };
        if !matches!(state.posture, Posture::Running | Posture::UndoRunning) {
            return;
        }
        state.phase = Some(phase.as_str().into());
        let host = self.name(host);
        self.tell(EventKind::Progress { host, phase });
    }

    fn on_pressure(&mut self, limit: LimitKey, pressure: Pressure) {
        let place = Place::from(limit.0);
        let Some(known) = self.plan.limits.get(place) else {
            return;
        };
        let name = known.name.clone();
        let changed = self.forward.feel(place, pressure, self.now);
        self.backward.feel(place, pressure, self.now);
        if changed && let Some(throttle) = self.forward.throttles().get(place) {
            let quiet_until = throttle.quiet_until().filter(|until| *until > self.now);
            let at_once = throttle.size();
            if let Some(until) = quiet_until {
                self.timers.set(until, Timer::Quiet(place));
            }
            self.tell(EventKind::ConcurrencyChanged {
                limit: name,
                at_once,
                quiet_until,
            });
        }
    }

    /// Takes an event of a host's stage, by the saga's table, into the state and onto the record.
    fn note(
        &mut self,
        host: HostIndex,
        stage: Stage,
        event: StageEvent,
        failure: Option<StageFailure>,
        receipt: Option<Receipt>,
    ) {
        let state = &mut self.hosts[host.as_usize()];
        let first = !state.is_attempted();
        let Ok(attempt) = state.apply(stage, event) else {
            debug_assert!(false, "{stage} of {host:?} cannot take {event:?}");
            return;
        };
        self.tally.touched += u32::from(first);
        self.ledger.record(Record::Host {
            host,
            stage,
            event,
            attempt,
            at: self.now,
            failure: failure.map(Box::new),
            receipt: receipt.filter(|receipt| !receipt.is_null()).map(Box::new),
        });
    }

    fn tell(&mut self, kind: EventKind) {
        let event = Event {
            run: self.plan.run.clone(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            at: self.now,
            kind,
        };
        self.sequence += 1;
        self.effects.push_back(Effect::Tell(event));
    }

    fn name(&self, host: HostIndex) -> HostName {
        HostName {
            host,
            name: self.plan.hosts[host.as_usize()].name.clone(),
        }
    }

    fn is_control_plane(&self, host: HostIndex) -> bool {
        self.plan.hosts[host.as_usize()].role == Role::ControlPlane
    }

    /// The limit of which control-plane hosts have one place between them.
    fn turn(&self) -> Place {
        self.plan.limits.len()
    }

    /// The limits of a host apart from its turn.
    fn places(&self, host: HostIndex) -> Vec<Place> {
        let own = self.plan.hosts[host.as_usize()].limits.iter();
        let mut places: Vec<Place> = own.map(|key| Place::from(key.0)).collect();
        places.push(Place::from(LimitKey::API_SERVER.0));
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Whether a timer that was set some time ago still means something.
fn means(hosts: &[Host], tokens: &Tokens, timer: Timer) -> bool {
    match timer {
        Timer::Host(host, epoch) => hosts[host.as_usize()].epoch == epoch,
        Timer::Token(serial, epoch) => tokens.epoch(serial) == Some(epoch),
        Timer::Quiet(_) | Timer::Run => true,
    }
}

#[cfg(test)]
mod tests;

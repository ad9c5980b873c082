//! A host's way into the cluster: a place, then stage after stage, each recorded before it is begun.
//!
//! A host that waits for another attempt gives its place to others; one that hangs is given up and does the same. It
//! refuses to know what becomes of the run.

use jiff::Timestamp;
use muster_identity::TokenId;
use muster_saga::{Event, Status};

use super::{
    Held, Host, Rollout,
    host::{Parting, Posture},
    timers::Timer,
};
use crate::{
    Effect, EventKind, HostIndex, Receipt, Stage, StageFailure, chance, failure::ids, policy::Keep,
    retry::after,
};

impl Rollout {
    /// Puts a host into the queue for a place.
    pub(super) fn enqueue(&mut self, host: HostIndex, first: bool) {
        let mut places = self.places(host);
        if self.is_control_plane(host) && !self.hosts[host.as_usize()].has_turn {
            places.push(self.turn());
        }
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::Queued);
        let epoch = state.epoch;
        self.forward.enqueue(&places, host, epoch, first);
    }

    /// A host has its places.
    pub(super) fn on_place(&mut self, host: HostIndex) {
        let leads = self.is_control_plane(host);
        let now = self.now;
        let state = &mut self.hosts[host.as_usize()];
        state.has_places = true;
        state.has_turn |= leads;
        if state.started.is_none() {
            state.started = Some(now);
            state.stage_since = now;
            self.tally.at_work += 1;
            let host = self.name(host);
            self.tell(EventKind::ClusterNodeJoinStarted { host });
        }
        self.go_on(host);
    }

    /// Begins the first stage that is not done.
    fn go_on(&mut self, host: HostIndex) {
        let provision = self.plan.hosts[host.as_usize()].provision;
        let state = &self.hosts[host.as_usize()];
        let wanted = |stage: &Stage| {
            (*stage != Stage::Provision || provision) && state.status(*stage) != Status::Done
        };
        match Stage::ALL.into_iter().find(wanted) {
            Some(stage) => self.begin_stage(host, stage),
            None => self.close_joined(host),
        }
    }

    fn begin_stage(&mut self, host: HostIndex, stage: Stage) {
        let now = self.now;
        let state = &mut self.hosts[host.as_usize()];
        // The clock of a stage runs on over its attempts.
        if state.stage != stage {
            state.stage = stage;
            state.stage_since = now;
        }
        state.phase = None;
        // Whoever only waits for its Node is in nobody's way.
        if stage == Stage::Ready {
            self.give_places_back(host);
        }
        self.attempt(host);
    }

    /// Begins the present stage once more, if there is time, and a token for those that need one.
    fn attempt(&mut self, host: HostIndex) {
        let stage = self.hosts[host.as_usize()].stage;
        let deadline = self.patience(host);
        if deadline <= self.now {
            let failure = self.out_of_time(host);
            return self.close_failed(host, failure);
        }
        let token = if stage == Stage::Join {
            match self.token_for(host) {
                Ok(Some(token)) => Some(token),
                Ok(None) => return self.await_token(host, deadline),
                Err(failure) => return self.close_failed(host, failure),
            }
        } else {
            None
        };
        let time = self.plan.timeouts.of(stage).attempt;
        let deadline = deadline.min(after(self.now, time));
        self.hosts[host.as_usize()].turn(Posture::Recording);
        self.note(host, stage, Event::Intent, None, None);
        let epoch = self.hosts[host.as_usize()].epoch;
        self.timers.set(deadline, Timer::Host(host, epoch));
        self.ledger.hold(Held::Start {
            host,
            epoch,
            deadline,
            token,
        });
    }

    fn await_token(&mut self, host: HostIndex, deadline: Timestamp) {
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::AwaitingToken);
        let epoch = state.epoch;
        self.timers.set(deadline, Timer::Host(host, epoch));
        self.tokens.line_up(host, epoch);
    }

    /// A token is there, or will not be: a host that waits for one tries again.
    pub(super) fn on_token_news(&mut self, host: HostIndex, epoch: u32) {
        let state = &self.hosts[host.as_usize()];
        if state.epoch == epoch && state.posture == Posture::AwaitingToken {
            self.attempt(host);
        }
    }

    /// The intent is durable: the deed may begin, unless it is not wanted any more.
    pub(super) fn release_start(
        &mut self,
        host: HostIndex,
        epoch: u32,
        deadline: Timestamp,
        token: Option<TokenId>,
    ) {
        let state = &mut self.hosts[host.as_usize()];
        if state.epoch != epoch {
            return;
        }
        state.posture = Posture::Running;
        let (stage, attempt) = (state.stage, state.deeds(state.stage));
        let name = self.name(host);
        self.tell(EventKind::StageStarted {
            host: name,
            stage,
            attempt,
        });
        self.effects.push_back(Effect::Start {
            host,
            stage,
            attempt,
            deadline,
            token,
        });
    }

    pub(super) fn on_ended(
        &mut self,
        host: HostIndex,
        stage: Stage,
        attempt: u32,
        result: Result<Receipt, StageFailure>,
    ) {
        let Some(state) = self.hosts.get(host.as_usize()) else {
            return;
        };
        let asked = state.posture == Posture::Running
            && state.stage == stage
            && state.deeds(stage) == attempt;
        if !asked {
            return;
        }
        if result.as_ref().is_err_and(|failure| failure.token_refused) {
            self.tokens.condemn(self.hosts[host.as_usize()].token);
        }
        self.put_token_back(host);
        match result {
            Ok(receipt) => self.on_done(host, stage, receipt),
            Err(failure) => self.on_failed(host, failure),
        }
    }

    fn on_done(&mut self, host: HostIndex, stage: Stage, receipt: Receipt) {
        self.note(host, stage, Event::Done, None, Some(receipt.clone()));
        let state = &mut self.hosts[host.as_usize()];
        state.keep_receipt(stage, receipt);
        state.failure = None;
        let finishes = stage == Stage::Ready || (stage == Stage::Join && self.is_gentle());
        if self.interrupted && !finishes {
            return self.close_failed(host, StageFailure::interrupted());
        }
        self.go_on(host);
    }

    /// An attempt failed: another one later, or the end of the host's way.
    fn on_failed(&mut self, host: HostIndex, failure: StageFailure) {
        let state = &self.hosts[host.as_usize()];
        let (stage, attempt) = (state.stage, state.deeds(state.stage));
        self.note(host, stage, Event::Failed, Some(failure.clone()), None);
        if self.is_hopeless(host, &failure) {
            return self.close_failed(host, failure);
        }
        let question = [u64::from(host.0), stage as u64, u64::from(attempt)];
        let lot = chance::draw(self.plan.seed, &question);
        let patience = self.patience(host);
        let next = self
            .plan
            .backoff
            .next(attempt, &failure, patience, self.now, lot);
        self.hosts[host.as_usize()].failure = Some(Box::new(failure.clone()));
        match next {
            None => {
                let failure = self.out_of_time(host);
                self.close_failed(host, failure);
            }
            Some(_) if self.interrupted => self.close_failed(host, StageFailure::interrupted()),
            Some(until) => self.rest(host, until, failure),
        }
    }

    /// Whether another attempt would meet the same failure.
    fn is_hopeless(&mut self, host: HostIndex, failure: &StageFailure) -> bool {
        let state = &mut self.hosts[host.as_usize()];
        // Another token is worth one attempt; a second refusal has another cause.
        let refused_again = std::mem::replace(&mut state.refused, failure.token_refused);
        let new_token_helps = failure.token_refused && !refused_again;
        !failure.transient && !new_token_helps
    }

    fn rest(&mut self, host: HostIndex, until: Timestamp, failure: StageFailure) {
        self.give_places_back(host);
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::Resting);
        let (epoch, stage) = (state.epoch, state.stage);
        let attempt = state.deeds(stage);
        self.timers.set(until, Timer::Host(host, epoch));
        let host = self.name(host);
        self.tell(EventKind::RetryScheduled {
            host,
            stage,
            undo: false,
            attempt,
            until,
            failure,
        });
    }

    /// Something that was set for a host's present posture is due.
    pub(super) fn on_host_timer(&mut self, host: HostIndex) {
        let state = &self.hosts[host.as_usize()];
        let stage = state.stage;
        match state.posture {
            Posture::Running | Posture::Recording => {
                if state.posture == Posture::Running {
                    self.effects.push_back(Effect::Abandon { host, stage });
                }
                self.put_token_back(host);
                let what = format!("{stage} of {}", self.plan.hosts[host.as_usize()].name);
                let time = self.plan.timeouts.of(stage).attempt;
                let failure = StageFailure::attempt_timed_out(&what, time);
                self.on_failed(host, failure);
            }
            Posture::Resting if stage == Stage::Ready => self.attempt(host),
            Posture::Resting => {
                self.enqueue(host, true);
                let epoch = self.hosts[host.as_usize()].epoch;
                let patience = self.patience(host);
                self.timers.set(patience, Timer::Host(host, epoch));
            }
            Posture::Queued | Posture::AwaitingToken => {
                let failure = self.out_of_time(host);
                self.close_failed(host, failure);
            }
            Posture::UndoRunning | Posture::UndoRecording | Posture::UndoResting => {
                self.on_undo_timer(host);
            }
            Posture::Idle
            | Posture::Joined
            | Posture::Failed
            | Posture::UndoQueued
            | Posture::Undone
            | Posture::Stuck => {}
        }
    }

    /// Until when the host may be at its present stage.
    fn patience(&self, host: HostIndex) -> Timestamp {
        let state = &self.hosts[host.as_usize()];
        let by_stage = after(state.stage_since, self.plan.timeouts.of(state.stage).stage);
        by_stage
            .min(self.host_deadline(state))
            .min(self.run_deadline)
    }

    fn host_deadline(&self, state: &Host) -> Timestamp {
        after(state.started.unwrap_or(self.now), self.plan.timeouts.host)
    }

    /// Whose time ran, or would run, out first, with what went wrong last.
    fn out_of_time(&self, host: HostIndex) -> StageFailure {
        let state = &self.hosts[host.as_usize()];
        let times = &self.plan.timeouts;
        let (patience, last) = (self.patience(host), state.failure.as_deref());
        if patience == self.run_deadline {
            return StageFailure::out_of_time(ids::RUN_TIMED_OUT, "the run", times.run, last);
        }
        let name = &self.plan.hosts[host.as_usize()].name;
        if patience == self.host_deadline(state) {
            return StageFailure::out_of_time(ids::HOST_TIMED_OUT, name, times.host, last);
        }
        let what = format!("{} of {name}", state.stage);
        let time = times.of(state.stage).stage;
        StageFailure::out_of_time(ids::STAGE_TIMED_OUT, &what, time, last)
    }

    /// Whether hosts that are in the cluster already may stay when the run is interrupted.
    pub(super) fn is_gentle(&self) -> bool {
        self.plan.policy.keep != Keep::AllOrNothing
    }

    pub(super) fn give_places_back(&mut self, host: HostIndex) {
        let had = std::mem::take(&mut self.hosts[host.as_usize()].has_places);
        if had {
            let places = self.places(host);
            self.forward.give_back(&places, self.now);
        }
    }

    pub(super) fn give_turn_back(&mut self, host: HostIndex) {
        if std::mem::take(&mut self.hosts[host.as_usize()].has_turn) {
            let turn = self.turn();
            self.forward.give_back(&[turn], self.now);
        }
    }

    fn close_joined(&mut self, host: HostIndex) {
        self.hosts[host.as_usize()].turn(Posture::Joined);
        self.give_places_back(host);
        self.give_turn_back(host);
        self.tally.joined += 1;
        let started = self.hosts[host.as_usize()].started.unwrap_or(self.now);
        let seconds = self.now.duration_since(started).as_secs_f64();
        let name = self.name(host);
        self.close(
            host,
            EventKind::ClusterNodeJoinCompleted {
                host: name,
                seconds,
            },
        );
        if self.plan.policy.keeps_each() {
            self.take_back(host, Parting::Release);
        }
    }

    /// The end of a host's way forward. What was attempted is taken back at once.
    pub(super) fn close_failed(&mut self, host: HostIndex, failure: StageFailure) {
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::Failed);
        state.failure = Some(Box::new(failure.clone()));
        let (stage, attempted) = (state.stage, state.is_attempted());
        self.put_token_back(host);
        self.give_places_back(host);
        self.tally.failed += 1;
        self.order.on_failure();
        let name = self.name(host);
        self.close(
            host,
            EventKind::ClusterNodeJoinFailed {
                host: name,
                stage,
                failure,
            },
        );
        if attempted {
            // A control-plane host keeps its turn until it is gone: nobody joins etcd while somebody leaves.
            self.take_back(host, Parting::Whole);
        } else {
            self.give_turn_back(host);
        }
        if self.plan.policy.stops_after(self.tally.failed) {
            self.stop_starting(StageFailure::stopped_starting("too many hosts failed"));
        }
    }

    /// The one place where the end of a started host is told.
    fn close(&mut self, host: HostIndex, end: EventKind) {
        let state = &mut self.hosts[host.as_usize()];
        debug_assert!(!state.closed, "a host ends once");
        state.closed = true;
        self.tally.at_work -= 1;
        self.tally.open -= 1;
        self.ledger.hold(Held::Close { host, end });
    }
}

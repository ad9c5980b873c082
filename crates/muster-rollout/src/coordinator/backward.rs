//! A host's way out: what was attempted is taken back, last first, under limits and time-outs of its own.
//!
//! Interrupts do not stop it, only a halt does. It refuses to know why a host is taken back.

use jiff::Timestamp;
use muster_saga::{Event, Status};

use super::{
    Held, Place, Rollout,
    host::{Parting, Posture},
    timers::Timer,
};
use crate::{
    Effect, EventKind, HostIndex, LimitKey, Stage, StageFailure, chance, failure::ids, retry::after,
};

/// Told apart from the deed of the same stage when chance is asked.
const UNDO: u64 = 1 << 32;

impl Rollout {
    /// Sends a host on its way out.
    pub(super) fn take_back(&mut self, host: HostIndex, parting: Parting) {
        let state = &mut self.hosts[host.as_usize()];
        if parting == Parting::Whole && state.posture == Posture::Joined {
            self.tally.joined -= 1;
        }
        state.parting = parting;
        if parting == Parting::Release && state.next_undo(false).is_none() {
            return;
        }
        self.tally.undo_open += 1;
        if parting == Parting::Whole {
            let host = self.name(host);
            self.ledger
                .hold(Held::Tell(EventKind::UndoStarted { host }));
        }
        self.enqueue_undo(host, false);
    }

    fn enqueue_undo(&mut self, host: HostIndex, first: bool) {
        let places = self.undo_places(host);
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::UndoQueued);
        let epoch = state.epoch;
        self.backward.enqueue(&places, host, epoch, first);
    }

    /// The same limits as on the way in, where the first is the cap of undoing and control-plane hosts take turns.
    fn undo_places(&self, host: HostIndex) -> Vec<Place> {
        let mut places = self.places(host);
        debug_assert_eq!(places[0], Place::from(LimitKey::API_SERVER.0));
        if self.is_control_plane(host) {
            places.push(self.turn());
        }
        places
    }

    pub(super) fn on_undo_place(&mut self, host: HostIndex) {
        self.hosts[host.as_usize()].has_places = true;
        self.go_on_back(host);
    }

    fn give_undo_places_back(&mut self, host: HostIndex) {
        if std::mem::take(&mut self.hosts[host.as_usize()].has_places) {
            let places = self.undo_places(host);
            self.backward.give_back(&places, self.now);
        }
    }

    /// Takes the next stage back that is left.
    fn go_on_back(&mut self, host: HostIndex) {
        let now = self.now;
        let keep_machine = self.plan.undo.keep_machines;
        let state = &mut self.hosts[host.as_usize()];
        let Some(stage) = state.next_undo(keep_machine) else {
            return self.close_undone(host);
        };
        let again = state.stage == stage && state.status(stage) == Status::UndoFailed;
        if !again || state.posture != Posture::UndoQueued {
            state.stage_since = now;
        }
        state.stage = stage;
        state.phase = None;
        state.turn(Posture::UndoRecording);
        let time = self.plan.timeouts.undo;
        let patience = after(state.stage_since, time.stage);
        let deadline = patience.min(after(now, time.attempt));
        let epoch = state.epoch;
        self.note(host, stage, Event::UndoIntent, None, None);
        self.timers.set(deadline, Timer::Host(host, epoch));
        self.ledger.hold(Held::Undo {
            host,
            epoch,
            deadline,
        });
    }

    pub(super) fn release_undo(&mut self, host: HostIndex, epoch: u32, deadline: Timestamp) {
        let state = &mut self.hosts[host.as_usize()];
        if state.epoch != epoch {
            return;
        }
        state.posture = Posture::UndoRunning;
        let (stage, attempt) = (state.stage, state.undos(state.stage));
        self.effects.push_back(Effect::Undo {
            host,
            stage,
            attempt,
            deadline,
        });
    }

    pub(super) fn on_undone(
        &mut self,
        host: HostIndex,
        stage: Stage,
        attempt: u32,
        result: Result<(), StageFailure>,
    ) {
        let Some(state) = self.hosts.get(host.as_usize()) else {
            return;
        };
        let asked = state.posture == Posture::UndoRunning
            && state.stage == stage
            && state.undos(stage) == attempt;
        if !asked {
            return;
        }
        match result {
            Ok(()) => {
                self.note(host, stage, Event::Undone, None, None);
                self.go_on_back(host);
            }
            Err(failure) => self.on_undo_failed(host, failure),
        }
    }

    fn on_undo_failed(&mut self, host: HostIndex, failure: StageFailure) {
        let state = &self.hosts[host.as_usize()];
        let stage = state.stage;
        let attempt = state.undos(stage);
        self.note(host, stage, Event::UndoFailed, Some(failure.clone()), None);
        let time = self.plan.timeouts.undo.stage;
        let patience = after(self.hosts[host.as_usize()].stage_since, time);
        let question = [u64::from(host.0), stage as u64 | UNDO, u64::from(attempt)];
        let lot = chance::draw(self.plan.seed, &question);
        let next = self
            .plan
            .backoff
            .next(attempt, &failure, patience, self.now, lot);
        match next {
            Some(until) => self.rest_back(host, until, attempt, failure),
            None => {
                let failure = if failure.transient {
                    let what = format!("taking back {stage} of {}", self.name(host).name);
                    StageFailure::out_of_time(ids::STAGE_TIMED_OUT, &what, time, Some(&failure))
                } else {
                    failure
                };
                self.hosts[host.as_usize()].give_up(stage, failure);
                self.go_on_back(host);
            }
        }
    }

    fn rest_back(
        &mut self,
        host: HostIndex,
        until: Timestamp,
        attempt: u32,
        failure: StageFailure,
    ) {
        self.give_undo_places_back(host);
        let state = &mut self.hosts[host.as_usize()];
        state.turn(Posture::UndoResting);
        let (epoch, stage) = (state.epoch, state.stage);
        self.timers.set(until, Timer::Host(host, epoch));
        let host = self.name(host);
        self.tell(EventKind::RetryScheduled {
            host,
            stage,
            undo: true,
            attempt,
            until,
            failure,
        });
    }

    pub(super) fn on_undo_timer(&mut self, host: HostIndex) {
        let state = &self.hosts[host.as_usize()];
        let stage = state.stage;
        if state.posture == Posture::UndoResting {
            return self.enqueue_undo(host, true);
        }
        if state.posture == Posture::UndoRunning {
            self.effects.push_back(Effect::Abandon { host, stage });
        }
        let what = format!("taking back {stage} of {}", self.name(host).name);
        let time = self.plan.timeouts.undo.attempt;
        self.on_undo_failed(host, StageFailure::attempt_timed_out(&what, time));
    }

    fn close_undone(&mut self, host: HostIndex) {
        self.give_undo_places_back(host);
        self.give_turn_back(host);
        self.tally.undo_open -= 1;
        let name = self.name(host);
        let state = &mut self.hosts[host.as_usize()];
        if state.parting == Parting::Release {
            state.turn(Posture::Joined);
            return;
        }
        let end = if let Some(stage) = state.stuck_stage() {
            state.turn(Posture::Stuck);
            self.tally.stuck += 1;
            let failure = state.undo_failure.as_deref().cloned();
            EventKind::UndoFailed {
                host: name,
                stage,
                failure: failure.unwrap_or_else(StageFailure::interrupted),
            }
        } else {
            state.turn(Posture::Undone);
            self.tally.undone += 1;
            EventKind::UndoCompleted { host: name }
        };
        self.ledger.hold(Held::Tell(end));
    }
}

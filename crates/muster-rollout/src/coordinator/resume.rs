//! A run from its records alone: where every host and token stood, and on from there.
//!
//! What was in the middle is begun again, or taken back: nobody knows how far it got. Refuses to guess: records that do
//! not follow from one another are an error.

use jiff::Timestamp;
use muster_saga::{Event, Status};

use super::{
    Resume, Rollout,
    course::{Course, Order},
    host::{Host, Parting, Posture},
};
use crate::{
    Counts, Ending, EventKind, GivenToken, HostIndex, PlanError, Record, RolloutPlan, Stage,
    StageFailure, Verdict, policy::ControlPlane,
};

/// Why records do not tell a run of a plan. Nothing must be done on their word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no record: the run never began, so nothing was done. Begin it anew.
    #[error("the run has no records")]
    Empty,
    /// No run can follow the plan.
    #[error("the plan of the run cannot be followed")]
    Plan {
        /// Why.
        #[source]
        source: PlanError,
    },
    /// They are of another run or of other hosts: give the plan that the run was begun with.
    #[error("the records are of the run {run}, or were made for other hosts")]
    OtherPlan {
        /// The run that they are of.
        run: String,
    },
    /// A record contradicts those before it: the journal is damaged or mixed up.
    #[error("record {number} contradicts those before it")]
    Illegal {
        /// Which, from 0.
        number: usize,
    },
}

/// What the records say of the run as a whole.
#[derive(Default)]
struct Past {
    incarnation: u32,
    unwinding: Option<String>,
    verdict: Option<Verdict>,
}

pub(super) fn resume(
    plan: RolloutPlan,
    given: Option<GivenToken>,
    records: impl IntoIterator<Item = Record>,
    how: Resume,
    now: Timestamp,
) -> Result<Rollout, ReplayError> {
    plan.check()
        .map_err(|source| ReplayError::Plan { source })?;
    let mut rollout = Rollout::new(plan, given, now);
    let past = rollout.replay(records)?;
    rollout.incarnation = past.incarnation + 1;
    let over = past.verdict.filter(|verdict| is_over(verdict, how));
    if let Some(verdict) = over {
        rollout.stand_as_ended();
        rollout.end(verdict);
        return Ok(rollout);
    }
    rollout.ledger.record(Record::Resumed { how, at: now });
    let counts = rollout.counts_so_far();
    rollout.tell(EventKind::RunResumed { counts });
    match (how, past.unwinding) {
        (_, Some(reason)) => rollout.go_on_unwinding(reason),
        (Resume::Undo, None) => rollout.turn_back(),
        (Resume::GoOn, None) => rollout.go_on_forward(),
    }
    rollout.settle_down();
    Ok(rollout)
}

/// Whether there is nothing to do any more.
fn is_over(verdict: &Verdict, how: Resume) -> bool {
    let done = match how {
        Resume::GoOn => verdict.ending.is_final(),
        Resume::Undo => verdict.ending == Ending::Undone,
    };
    done && verdict.stuck.is_empty()
}

impl Rollout {
    fn replay(&mut self, records: impl IntoIterator<Item = Record>) -> Result<Past, ReplayError> {
        let mut records = records.into_iter().enumerate();
        let (_, first) = records.next().ok_or(ReplayError::Empty)?;
        self.check_begin(&first)?;
        let mut past = Past::default();
        for (number, record) in records {
            self.recall(record, &mut past)
                .ok_or(ReplayError::Illegal { number })?;
        }
        Ok(past)
    }

    fn check_begin(&self, record: &Record) -> Result<(), ReplayError> {
        let Record::Begun {
            run,
            hosts,
            fingerprint,
            ..
        } = record
        else {
            return Err(ReplayError::Illegal { number: 0 });
        };
        let same = *run == self.plan.run
            && *hosts == self.tally.hosts
            && *fingerprint == self.plan.fingerprint();
        let run = run.to_string();
        if same {
            Ok(())
        } else {
            Err(ReplayError::OtherPlan { run })
        }
    }

    /// Takes one record in; `None` when it does not follow.
    fn recall(&mut self, record: Record, past: &mut Past) -> Option<()> {
        match record {
            Record::Begun { .. } => return None,
            Record::Resumed { .. } => {
                past.incarnation += 1;
                past.verdict = None;
            }
            Record::Host {
                host,
                stage,
                event,
                attempt,
                failure,
                receipt,
                ..
            } => {
                let state = self.hosts.get_mut(host.as_usize())?;
                let known = state.apply(stage, event).ok()?;
                if known != attempt {
                    return None;
                }
                match event {
                    Event::Failed => state.failure = failure,
                    Event::Done => {
                        state.failure = None;
                        receipt
                            .into_iter()
                            .for_each(|receipt| state.keep_receipt(stage, *receipt));
                    }
                    _ => {}
                }
            }
            Record::Token {
                serial, id, event, ..
            } => {
                let now = self.now;
                return self.tokens.recall(serial, &id, event, now).then_some(());
            }
            Record::Unwinding { reason, .. } => past.unwinding = Some(reason),
            Record::Ended { verdict, .. } => past.verdict = Some(verdict),
        }
        Some(())
    }

    /// Where the hosts stood when the run was cut off.
    fn counts_so_far(&self) -> Counts {
        let keep_machines = self.plan.undo.keep_machines;
        let many = |of: &dyn Fn(&Host) -> bool| {
            u32::try_from(self.hosts.iter().filter(|host| of(host)).count()).unwrap_or(u32::MAX)
        };
        let back = |host: &Host| host.is_on_its_way_back();
        let joined = |host: &Host| host.status(Stage::Ready) == Status::Done && !back(host);
        Counts {
            hosts: self.tally.hosts,
            joined: many(&joined),
            failed: many(&|host| back(host) && host.status(Stage::Ready) != Status::Done),
            undone: many(&|host| back(host) && host.next_undo(keep_machines).is_none()),
            stuck: 0,
            untouched: many(&|host| !host.is_attempted()),
        }
    }

    /// Nothing is done any more: hosts stand where the records leave them.
    fn stand_as_ended(&mut self) {
        let counts = self.counts_so_far();
        (self.tally.joined, self.tally.failed) = (counts.joined, counts.failed);
        (self.tally.undone, self.tally.touched) = (counts.undone, counts.hosts - counts.untouched);
        for state in &mut self.hosts {
            if state.is_on_its_way_back() {
                state.turn(Posture::Undone);
            } else if state.status(Stage::Ready) == Status::Done {
                state.turn(Posture::Joined);
            }
        }
    }

    fn go_on_unwinding(&mut self, reason: String) {
        self.tell(EventKind::Unwinding {
            reason: reason.clone(),
        });
        self.reason = Some(StageFailure {
            message: reason,
            ..StageFailure::taken_back()
        });
        self.find_attempted();
        self.course = Course::Unwinding;
        self.take_all_back();
        self.revoke_all();
    }

    fn turn_back(&mut self) {
        let reason = StageFailure::taken_back();
        self.find_attempted();
        self.unwind(&reason.message);
        self.reason = Some(reason);
        self.revoke_all();
    }

    /// Finds out what there is to take back: hosts with something left stand as if they had joined.
    fn find_attempted(&mut self) {
        let keep_machines = self.plan.undo.keep_machines;
        for state in &mut self.hosts {
            if !state.is_attempted() {
                continue;
            }
            self.tally.touched += 1;
            self.tally.failed += u32::from(state.status(Stage::Ready) != Status::Done);
            if state.next_undo(keep_machines).is_none() {
                state.turn(Posture::Undone);
                self.tally.undone += 1;
            } else {
                state.turn(Posture::Joined);
                self.tally.joined += 1;
            }
        }
    }

    fn go_on_forward(&mut self) {
        let (mut begun, mut fresh) = (Vec::new(), Vec::new());
        let mut leader_failed = false;
        for host in (0..self.tally.hosts).map(HostIndex) {
            let state = &self.hosts[host.as_usize()];
            self.tally.touched += u32::from(state.is_attempted());
            if state.is_on_its_way_back() {
                leader_failed |= self.is_control_plane(host);
                self.go_on_out(host);
            } else if state.status(Stage::Ready) == Status::Done {
                self.stay(host);
            } else if state.is_attempted() {
                begun.push(host);
            } else {
                fresh.push(host);
            }
        }
        // Those that were at work go first: a half-joined control-plane host has the turn.
        begun.append(&mut fresh);
        self.order = Order::of(&self.plan, begun);
        self.revoke_all();
        self.set_out();
        if leader_failed && self.plan.policy.control_plane == ControlPlane::Before {
            let reason = "a control-plane host failed, and workers come after them";
            self.stop_starting(StageFailure::stopped_starting(reason));
        } else if self.plan.policy.stops_after(self.tally.failed) {
            self.stop_starting(StageFailure::stopped_starting("too many hosts failed"));
        }
    }

    /// A host that failed and was being taken back.
    fn go_on_out(&mut self, host: HostIndex) {
        let keep_machines = self.plan.undo.keep_machines;
        self.tally.failed += 1;
        let state = &mut self.hosts[host.as_usize()];
        if state.next_undo(keep_machines).is_none() {
            state.turn(Posture::Undone);
            self.tally.undone += 1;
            return;
        }
        state.turn(Posture::Failed);
        if self.is_control_plane(host) {
            self.hosts[host.as_usize()].has_turn = true;
            let turn = self.turn();
            self.forward.take(&[turn]);
        }
        self.take_back(host, Parting::Whole);
    }

    /// A host that joined.
    fn stay(&mut self, host: HostIndex) {
        self.hosts[host.as_usize()].turn(Posture::Joined);
        self.tally.joined += 1;
        if self.plan.policy.keeps_each() {
            self.take_back(host, Parting::Release);
        }
    }
}

//! How a run is held up: no more starts, a wish to end, or an end at once.
//!
//! It knows who has to be told, not what becomes of the run afterwards.

use super::{Posture, Rollout, course::Course};
use crate::{Effect, Ending, EventKind, HostIndex, Stage, StageFailure, Verdict, failure::ids};

impl Rollout {
    /// No host starts any more; those at work go on.
    pub(super) fn stop_starting(&mut self, reason: StageFailure) {
        if self.stopped_starting.is_some() {
            return;
        }
        self.tell(EventKind::StartingStopped {
            reason: reason.message.clone(),
        });
        self.stopped_starting = Some(reason);
        for host in self.indices() {
            let state = &mut self.hosts[host.as_usize()];
            if state.posture == Posture::Queued && state.started.is_none() {
                state.turn(Posture::Idle);
                self.tally.open -= 1;
            }
        }
    }

    fn indices(&self) -> impl Iterator<Item = HostIndex> + use<> {
        (0..self.tally.hosts).map(HostIndex)
    }

    /// The run's own time is over. Hosts at work have their timers at the same moment.
    pub(super) fn on_run_deadline(&mut self) {
        if matches!(self.course, Course::Minting | Course::Forward) {
            let times = self.plan.timeouts.run;
            let reason = StageFailure::out_of_time(ids::RUN_TIMED_OUT, "the run", times, None);
            self.stop_starting(reason);
        }
    }

    pub(super) fn on_interrupt(&mut self) {
        if std::mem::replace(&mut self.interrupted, true) {
            return self.halt(StageFailure::stopped());
        }
        if !matches!(self.course, Course::Minting | Course::Forward) {
            return;
        }
        self.stop_starting(StageFailure::interrupted());
        for host in self.indices() {
            let state = &self.hosts[host.as_usize()];
            let only_watches = state.posture == Posture::Running
                && state.stage == Stage::Ready
                && !self.is_gentle();
            if only_watches {
                self.abandon(host);
            }
            let between = matches!(
                self.hosts[host.as_usize()].posture,
                Posture::Queued | Posture::AwaitingToken | Posture::Recording | Posture::Resting
            );
            if only_watches || between {
                self.close_failed(host, StageFailure::interrupted());
            }
        }
    }

    fn abandon(&mut self, host: HostIndex) {
        let stage = self.hosts[host.as_usize()].stage;
        self.effects.push_back(Effect::Abandon { host, stage });
    }

    /// Everything stops here and now. What is known is recorded; nothing else is done, and the run can be taken up again.
    pub(super) fn halt(&mut self, reason: StageFailure) {
        let records = self.ledger.close();
        if !records.is_empty() {
            self.effects.push_back(Effect::Record(records));
        }
        self.halt_without_journal(reason);
    }

    /// The same when nothing can be recorded any more.
    pub(super) fn halt_without_journal(&mut self, reason: StageFailure) {
        self.ledger.close();
        for host in self.indices() {
            let state = &mut self.hosts[host.as_usize()];
            if matches!(state.posture, Posture::Running | Posture::UndoRunning) {
                self.abandon(host);
            }
            let state = &self.hosts[host.as_usize()];
            if state.started.is_some() && !state.told {
                let (stage, failure) = (state.stage, reason.clone());
                let host = self.name(host);
                self.tell(EventKind::ClusterNodeJoinFailed {
                    host,
                    stage,
                    failure,
                });
            }
        }
        self.end(Verdict {
            ending: Ending::Stopped,
            counts: self.counts(),
            reason: Some(reason),
            stuck: Vec::new(),
        });
    }
}

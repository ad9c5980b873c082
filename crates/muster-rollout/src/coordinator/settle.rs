//! What the run comes to: the next wave, the verdict of the policy, the hosts that go or are let go, the tokens, the end.
//!
//! The only place that decides about all hosts together.

use super::{
    Held, Rollout,
    course::Course,
    host::{Parting, Posture},
};
use crate::{
    Effect, Ending, EventKind, HostIndex, Record, Stage, StageFailure, Stuck, Verdict, failure::ids,
};
use muster_saga::Status;

impl Rollout {
    /// Begins with the first token, if joins need one that is not there.
    pub(super) fn set_out(&mut self) {
        let joins = |host: &super::Host| {
            host.status(Stage::Join) != Status::Done && !host.is_on_its_way_back()
        };
        if self.tokens.is_fit(self.now) || !self.hosts.iter().any(joins) {
            self.course = Course::Forward;
        } else {
            self.mint();
        }
    }

    /// Takes the run one turn further, if it is time. `false` when it is not.
    pub(super) fn advance(&mut self) -> bool {
        match self.course {
            Course::Forward if self.tally.open == 0 => {
                if !self.open_wave() {
                    self.conclude();
                }
                true
            }
            Course::Unwinding | Course::Settling if self.tally.undo_open == 0 => self.wind_up(),
            _ => false,
        }
    }

    fn open_wave(&mut self) -> bool {
        if self.order.is_exhausted() {
            return false;
        }
        if let Some(objection) = self.order.objection(&self.plan.policy) {
            self.stop_starting(StageFailure::stopped_starting(objection));
        }
        if self.stopped_starting.is_some() {
            return false;
        }
        let (hosts, wave) = self.order.open(&self.plan.policy);
        let number = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        if let Some(wave) = wave {
            self.tell(EventKind::WaveStarted {
                wave,
                hosts: number,
            });
        }
        self.tally.open += number;
        for host in hosts {
            self.enqueue(host, false);
        }
        true
    }

    /// The way forward is over: the policy says what stays.
    fn conclude(&mut self) {
        self.close_left_over();
        let keeps = self.plan.policy.keeps(self.tally.joined, self.tally.hosts);
        self.reason = self.reason_of_failure();
        if keeps {
            self.course = Course::Settling;
            self.let_all_go();
        } else {
            let reason = self.reason.clone();
            self.unwind(reason.as_ref().map_or("", |reason| &reason.message));
        }
        self.revoke_all();
    }

    /// Hosts that an earlier process began and this one did not get to are no part of the cluster.
    fn close_left_over(&mut self) {
        for host in (0..self.tally.hosts).map(HostIndex) {
            let state = &mut self.hosts[host.as_usize()];
            if state.posture == Posture::Idle && state.is_attempted() {
                state.turn(Posture::Failed);
                self.tally.failed += 1;
                self.take_back(host, Parting::Whole);
            }
        }
    }

    fn reason_of_failure(&self) -> Option<StageFailure> {
        if self.tally.joined == self.tally.hosts {
            return None;
        }
        let stopped = self.stopped_starting.as_ref();
        match stopped {
            Some(why) if why.id != ids::STOPPED_STARTING => stopped.cloned(),
            _ => {
                let (failed, hosts) = (self.tally.failed, self.tally.hosts);
                Some(StageFailure::hosts_failed(failed, hosts, stopped))
            }
        }
    }

    /// Hosts that stay give their Leases back.
    fn let_all_go(&mut self) {
        for host in (0..self.tally.hosts).map(HostIndex) {
            if self.hosts[host.as_usize()].posture == Posture::Joined {
                self.take_back(host, Parting::Release);
            }
        }
    }

    /// From here on everything goes back: workers first, then the control-plane hosts, last first and one by one.
    pub(super) fn unwind(&mut self, reason: &str) {
        self.course = Course::Unwinding;
        self.ledger.record(Record::Unwinding {
            reason: reason.to_owned(),
            at: self.now,
        });
        self.ledger.hold(Held::Tell(EventKind::Unwinding {
            reason: reason.to_owned(),
        }));
        self.take_all_back();
    }

    pub(super) fn take_all_back(&mut self) {
        for host in (0..self.tally.hosts).rev().map(HostIndex) {
            if self.hosts[host.as_usize()].posture != Posture::Joined {
                continue;
            }
            if self.is_control_plane(host) {
                self.last_to_go.push(host);
            } else {
                self.take_back(host, Parting::Whole);
            }
        }
    }

    /// No host is under way any more: what is left is done, then the end.
    fn wind_up(&mut self) -> bool {
        let last = std::mem::take(&mut self.last_to_go);
        if !last.is_empty() {
            last.into_iter()
                .for_each(|host| self.take_back(host, Parting::Whole));
            return true;
        }
        if !self.tokens.are_at_rest() {
            return false;
        }
        if self.tokens.are_left() {
            self.revoke_all();
            return true;
        }
        let verdict = self.verdict();
        self.course = Course::Closing;
        self.ledger.record(Record::Ended {
            verdict: verdict.clone(),
            at: self.now,
        });
        self.ledger.hold(Held::End(verdict));
        true
    }

    fn verdict(&self) -> Verdict {
        let counts = self.counts();
        let ending = if counts.stuck > 0 {
            Ending::Stuck
        } else if self.course == Course::Unwinding {
            Ending::Undone
        } else if counts.joined == counts.hosts {
            Ending::Joined
        } else {
            Ending::Kept
        };
        let hosts = (0..self.tally.hosts)
            .map(HostIndex)
            .filter_map(|host| self.stuck_host(host));
        let tokens = self.tokens.stuck().map(|(id, failure)| Stuck::Token {
            id: id.clone(),
            failure: failure.clone(),
            instructions: vec![format!(
                "kubectl --namespace kube-system delete secret {}",
                id.secret_name()
            )],
        });
        Verdict {
            ending,
            counts,
            reason: self.reason.clone(),
            stuck: hosts.chain(tokens).collect(),
        }
    }

    fn stuck_host(&self, host: HostIndex) -> Option<Stuck> {
        let state = &self.hosts[host.as_usize()];
        if state.posture != Posture::Stuck {
            return None;
        }
        let plan = &self.plan.hosts[host.as_usize()];
        let manual = self.plan.manuals.get(plan.manual as usize);
        let left = state.left_behind(self.plan.undo.keep_machines);
        let instructions = left.map(|stage| {
            let text = manual.map(|manual| manual.instruction(stage, &plan.name));
            text.filter(|text| !text.is_empty())
                .unwrap_or_else(|| format!("take back {stage} of {}", plan.name))
        });
        Some(Stuck::Host {
            name: plan.name.to_string(),
            stage: state.stuck_stage()?,
            failure: state.undo_failure.as_deref()?.clone(),
            instructions: instructions.collect(),
        })
    }

    pub(super) fn end(&mut self, verdict: Verdict) {
        self.tell(EventKind::RunEnded {
            verdict: verdict.clone(),
        });
        self.course = Course::Ended;
        self.effects.push_back(Effect::End(verdict));
    }
}

//! A driver by hand: journals at once, keeps what it is asked for, and answers when a test says so.

use std::time::Duration;

use jiff::Timestamp;
use muster_identity::TokenId;

use crate::{
    Cap, Effect, EventKind, GivenToken, Grant, HostIndex, HostPlan, Input, Receipt, Record, Resume,
    Role, Rollout, RolloutPlan, RunId, Stage, StageFailure, Verdict, retry::after,
};

/// A stage or an undo that was asked for and not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) host: u32,
    pub(super) stage: Stage,
    pub(super) attempt: u32,
    pub(super) token: Option<String>,
}

pub(super) struct Desk {
    pub(super) rollout: Rollout,
    pub(super) now: Timestamp,
    pub(super) starts: Vec<Asked>,
    pub(super) undos: Vec<Asked>,
    pub(super) mints: Vec<(TokenId, u32)>,
    pub(super) revokes: Vec<(TokenId, u32)>,
    pub(super) abandoned: Vec<(u32, Stage)>,
    pub(super) events: Vec<EventKind>,
    pub(super) records: Vec<Record>,
    pub(super) wake: Option<Timestamp>,
    pub(super) verdict: Option<Verdict>,
    /// How long a minted token lives.
    pub(super) life: Duration,
}

pub(super) fn plan(hosts: u32, at_once: u32) -> RolloutPlan {
    let host = |number| HostPlan {
        name: format!("w{number}").into(),
        role: Role::Worker,
        provision: false,
        limits: Vec::new(),
        manual: 0,
    };
    let mut plan = RolloutPlan::new(RunId("r".into()), 7, (0..hosts).map(host).collect());
    plan.limits[0].cap = Cap::Fixed(at_once);
    plan
}

pub(super) fn broken() -> StageFailure {
    StageFailure::terminal("broken", "it is broken").with_cure("mend it")
}

pub(super) fn unreachable() -> StageFailure {
    StageFailure::transient("unreachable", "it cannot be reached")
}

/// Ten in the morning of some day.
pub(super) const START: Timestamp = Timestamp::constant(1_776_333_600, 0);

impl Desk {
    pub(super) fn begin(plan: RolloutPlan) -> Self {
        Self::begin_with(plan, None)
    }

    pub(super) fn begin_with(plan: RolloutPlan, given: Option<GivenToken>) -> Self {
        Self::at(
            Rollout::begin(plan, given, START).unwrap(),
            START,
            Vec::new(),
        )
    }

    /// A run of which the token is there already.
    pub(super) fn under_way(plan: RolloutPlan) -> Self {
        let mut desk = Self::begin(plan);
        desk.mint();
        desk
    }

    /// Another process that has only the records.
    pub(super) fn resumed(self, how: Resume) -> Self {
        let plan = self.rollout.plan().clone();
        let rollout = Rollout::resume(plan, None, self.records.clone(), how, self.now).unwrap();
        Self::at(rollout, self.now, self.records)
    }

    fn at(rollout: Rollout, now: Timestamp, records: Vec<Record>) -> Self {
        let mut desk = Self {
            rollout,
            now,
            starts: Vec::new(),
            undos: Vec::new(),
            mints: Vec::new(),
            revokes: Vec::new(),
            abandoned: Vec::new(),
            events: Vec::new(),
            records,
            wake: None,
            verdict: None,
            life: Duration::from_secs(24 * 3600),
        };
        desk.drain();
        desk
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.rollout.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.rollout.next_effect() {
            match effect {
                Effect::Record(records) => {
                    self.records.extend(records);
                    self.rollout.handle(Input::Recorded, self.now);
                }
                Effect::Start {
                    host,
                    stage,
                    attempt,
                    token,
                    ..
                } => self.starts.push(Asked {
                    host: host.0,
                    stage,
                    attempt,
                    token: token.map(String::from),
                }),
                Effect::Undo {
                    host,
                    stage,
                    attempt,
                    ..
                } => self.undos.push(Asked {
                    host: host.0,
                    stage,
                    attempt,
                    token: None,
                }),
                Effect::Abandon { host, stage } => {
                    self.starts.retain(|asked| asked.host != host.0);
                    self.undos.retain(|asked| asked.host != host.0);
                    self.abandoned.push((host.0, stage));
                }
                Effect::Mint {
                    expected, attempt, ..
                } => self.mints.push((expected, attempt)),
                Effect::Revoke { id, attempt, .. } => self.revokes.push((id, attempt)),
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Tell(event) => self.events.push(event.kind),
                Effect::End(verdict) => self.verdict = Some(verdict),
            }
        }
    }

    /// Lets so many seconds pass, waking the coordinator whenever it wished to be woken.
    pub(super) fn wait(&mut self, seconds: u64) {
        let until = after(self.now, Duration::from_secs(seconds));
        while let Some(at) = self.wake.filter(|at| *at <= until) {
            self.wake = None;
            self.now = at;
            self.handle(Input::Tick);
        }
        self.now = until;
        self.handle(Input::Tick);
    }

    pub(super) fn mint(&mut self) {
        let (expected, attempt) = self.mints.remove(0);
        let grant = Grant {
            id: expected.clone(),
            expires: after(self.now, self.life),
        };
        self.handle(Input::Minted {
            expected,
            attempt,
            result: Ok(grant),
        });
    }

    pub(super) fn mint_fails(&mut self, failure: StageFailure) {
        let (expected, attempt) = self.mints.remove(0);
        self.handle(Input::Minted {
            expected,
            attempt,
            result: Err(failure),
        });
    }

    pub(super) fn revoke(&mut self, result: Result<(), StageFailure>) {
        let (id, attempt) = self.revokes.remove(0);
        self.handle(Input::Revoked {
            id,
            attempt,
            result,
        });
    }

    /// Answers what was asked of a host last.
    pub(super) fn answer(&mut self, host: u32, result: Result<(), StageFailure>) {
        let at = self
            .starts
            .iter()
            .position(|asked| asked.host == host)
            .unwrap();
        let asked = self.starts.remove(at);
        self.handle(Input::Ended {
            host: HostIndex(host),
            stage: asked.stage,
            attempt: asked.attempt,
            result: result.map(|()| Receipt::Null),
        });
    }

    pub(super) fn answer_undo(&mut self, host: u32, result: Result<(), StageFailure>) {
        let at = self
            .undos
            .iter()
            .position(|asked| asked.host == host)
            .unwrap();
        let asked = self.undos.remove(at);
        self.handle(Input::Undone {
            host: HostIndex(host),
            stage: asked.stage,
            attempt: asked.attempt,
            result,
        });
    }

    /// Takes a host through its stages up to and without `end`.
    pub(super) fn bring_to(&mut self, host: u32, end: Stage) {
        while self.stage_of(host) != Some(end) {
            self.answer(host, Ok(()));
        }
    }

    /// Takes a host through all its stages.
    pub(super) fn join(&mut self, host: u32) {
        while self.stage_of(host).is_some() {
            self.answer(host, Ok(()));
        }
    }

    /// Whatever is asked for succeeds, until nothing is asked for any more.
    pub(super) fn finish(&mut self) -> Verdict {
        self.finish_but(|_, _| None)
    }

    /// Whatever is asked for succeeds but for what `fails` says.
    pub(super) fn finish_but(
        &mut self,
        fails: impl Fn(u32, Stage) -> Option<StageFailure>,
    ) -> Verdict {
        while self.verdict.is_none() {
            if let Some(asked) = self.starts.first().cloned() {
                let result = fails(asked.host, asked.stage).map_or(Ok(()), Err);
                self.answer(asked.host, result);
            } else if let Some(asked) = self.undos.first().cloned() {
                self.answer_undo(asked.host, Ok(()));
            } else if !self.mints.is_empty() {
                self.mint();
            } else if !self.revokes.is_empty() {
                self.revoke(Ok(()));
            } else {
                self.wait(60);
            }
        }
        self.verdict.clone().unwrap()
    }

    pub(super) fn stage_of(&self, host: u32) -> Option<Stage> {
        let mut asked = self.starts.iter().filter(|asked| asked.host == host);
        asked.next().map(|asked| asked.stage)
    }

    pub(super) fn undo_of(&self, host: u32) -> Option<Stage> {
        let mut asked = self.undos.iter().filter(|asked| asked.host == host);
        asked.next().map(|asked| asked.stage)
    }

    /// The hosts that a stage is under way on, in order.
    pub(super) fn at_work(&self) -> Vec<u32> {
        let mut hosts: Vec<u32> = self.starts.iter().map(|asked| asked.host).collect();
        hosts.sort_unstable();
        hosts
    }

    /// The hosts whose join was told to have begun, in order.
    pub(super) fn started(&self) -> Vec<u32> {
        let host = |event: &EventKind| match event {
            EventKind::ClusterNodeJoinStarted { host } => Some(host.host.0),
            _ => None,
        };
        self.events.iter().filter_map(host).collect()
    }

    /// How a host's join was told to have failed.
    pub(super) fn failure_of(&self, wanted: u32) -> Option<(Stage, StageFailure)> {
        let failure = |event: &EventKind| match event {
            EventKind::ClusterNodeJoinFailed {
                host,
                stage,
                failure,
            } if host.host.0 == wanted => Some((*stage, failure.clone())),
            _ => None,
        };
        self.events.iter().find_map(failure)
    }

    /// The stages of a host whose undo was intended, in order.
    pub(super) fn undone_stages(&self, wanted: u32) -> Vec<Stage> {
        let stage = |record: &Record| match record {
            Record::Host {
                host, stage, event, ..
            } if host.0 == wanted && *event == muster_saga::Event::UndoIntent => Some(*stage),
            _ => None,
        };
        self.records.iter().filter_map(stage).collect()
    }
}

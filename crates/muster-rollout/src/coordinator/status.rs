//! Where a run stands, for a screen: read-only views that cost nothing to keep.

use std::sync::Arc;

use jiff::Timestamp;
use muster_identity::TokenId;
use serde::Serialize;

use super::{Rollout, course::Course, host::Posture};
use crate::{Counts, HostIndex, Role, RunId, Stage, StageFailure};

/// What the run as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPhase {
    /// A token is being made; no host is touched yet.
    Minting,
    /// Hosts join.
    Joining,
    /// Every attempted host is taken back.
    Unwinding,
    /// The hosts that stay are let go, tokens are revoked.
    Settling,
    /// It is over.
    Ended,
}

/// A limit at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitStatus {
    /// Its name.
    pub name: String,
    /// How many hosts at once.
    pub at_once: u32,
    /// How many hosts have a place.
    pub in_use: u32,
    /// Until when no host starts, because the other side asked for quiet.
    pub quiet_until: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// What it is doing.
    pub phase: RunPhase,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Hosts by what became of them so far.
    pub counts: Counts,
    /// Hosts that were started and have not ended.
    pub at_work: u32,
    /// Hosts that are being taken back, or wait for it.
    pub undoing: u32,
    /// The limits.
    pub limits: Vec<LimitStatus>,
    /// Tokens that may be alive.
    pub tokens: Vec<TokenId>,
}

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStanding {
    /// Not begun.
    Waiting,
    /// In a stage.
    AtWork,
    /// Waits before another attempt, for a place or for a token.
    Resting,
    /// In the cluster.
    Joined,
    /// Did not become ready.
    Failed,
    /// Is being taken back, or waits for it.
    Undoing,
    /// As it was before.
    Undone,
    /// Could not be taken back.
    Stuck,
}

/// Where a host stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus<'a> {
    /// Its place in the plan.
    pub host: HostIndex,
    /// Its name.
    pub name: &'a Arc<str>,
    /// What it becomes.
    pub role: Role,
    /// What it is doing.
    pub standing: HostStanding,
    /// Its stage, forward or back.
    pub stage: Stage,
    /// Which attempt of the stage.
    pub attempt: u32,
    /// What it said last.
    pub phase: Option<&'a str>,
    /// Since when it has been at work.
    pub started: Option<Timestamp>,
    /// What went wrong last.
    pub failure: Option<&'a StageFailure>,
}

impl Rollout {
    /// Where the run stands. Costs as much as the run has limits and tokens.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        let limits = self.plan.limits.iter().zip(self.forward.throttles());
        RunStatus {
            run: self.plan.run.clone(),
            phase: match self.course {
                Course::Minting => RunPhase::Minting,
                Course::Forward => RunPhase::Joining,
                Course::Unwinding => RunPhase::Unwinding,
                Course::Settling | Course::Closing => RunPhase::Settling,
                Course::Ended => RunPhase::Ended,
            },
            interrupted: self.interrupted,
            counts: self.counts(),
            at_work: self.tally.at_work,
            undoing: self.tally.undo_open,
            limits: limits
                .map(|(limit, throttle)| LimitStatus {
                    name: limit.name.clone(),
                    at_once: throttle.size(),
                    in_use: throttle.in_use(),
                    quiet_until: throttle.quiet_until(),
                })
                .collect(),
            tokens: self.tokens.alive().cloned().collect(),
        }
    }

    /// Where one host stands; `None` when the plan has no such host.
    #[must_use]
    pub fn host(&self, index: HostIndex) -> Option<HostStatus<'_>> {
        let plan = self.plan.hosts.get(index.as_usize())?;
        let host = self.hosts.get(index.as_usize())?;
        Some(HostStatus {
            host: index,
            name: &plan.name,
            role: plan.role,
            standing: standing(host.posture),
            stage: host.stage,
            attempt: host.attempts_of(host.stage),
            phase: host.phase.as_deref(),
            started: host.started,
            failure: host.failure.as_deref(),
        })
    }

    /// Where every host stands, in the order of the plan.
    pub fn hosts(&self) -> impl Iterator<Item = HostStatus<'_>> {
        (0..self.tally.hosts).filter_map(|index| self.host(HostIndex(index)))
    }

    /// What a stage of a host gave when it was done, also by an earlier process.
    #[must_use]
    pub fn receipt(&self, host: HostIndex, stage: Stage) -> Option<&crate::Receipt> {
        self.hosts.get(host.as_usize())?.receipt(stage)
    }

    /// The hosts whose Lease the run holds or may hold. A process that takes a run up again looks after them.
    pub fn locked_hosts(&self) -> impl Iterator<Item = HostIndex> {
        (0u32..)
            .zip(&self.hosts)
            .filter(|(_, host)| host.status(Stage::Lock).may_have_traces())
            .map(|(index, _)| HostIndex(index))
    }

    /// The plan that the run follows.
    #[must_use]
    pub fn plan(&self) -> &crate::RolloutPlan {
        &self.plan
    }

    /// How many hosts stand where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }
}

fn standing(posture: Posture) -> HostStanding {
    match posture {
        Posture::Idle => HostStanding::Waiting,
        Posture::Recording | Posture::Running => HostStanding::AtWork,
        Posture::Queued | Posture::Resting | Posture::AwaitingToken => HostStanding::Resting,
        Posture::Joined => HostStanding::Joined,
        Posture::Failed => HostStanding::Failed,
        Posture::UndoQueued
        | Posture::UndoRecording
        | Posture::UndoRunning
        | Posture::UndoResting => HostStanding::Undoing,
        Posture::Undone => HostStanding::Undone,
        Posture::Stuck => HostStanding::Stuck,
    }
}

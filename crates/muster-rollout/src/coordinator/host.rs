//! One host as the coordinator remembers it: the status of its stages by the saga's table, and what it is doing now.
//!
//! Kept small, as there may be a hundred thousand of them.

use jiff::Timestamp;
use muster_saga::{Event, IllegalTransition, Status, next};

use crate::{Receipt, Stage, StageFailure};

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posture {
    /// Nothing yet.
    Idle,
    /// Waits for a place.
    Queued,
    /// Waits for a token, with a place.
    AwaitingToken,
    /// The intent is on its way to the journal.
    Recording,
    /// A stage is under way.
    Running,
    /// Waits before another attempt, without a place.
    Resting,
    /// Ready.
    Joined,
    /// Not joined, and nothing (more) to take back.
    Failed,
    /// Waits for a place to be taken back.
    UndoQueued,
    /// The intent of an undo is on its way to the journal.
    UndoRecording,
    /// An undo is under way.
    UndoRunning,
    /// Waits before another attempt of an undo, without a place.
    UndoResting,
    /// Taken back.
    Undone,
    /// Could not be taken back.
    Stuck,
}

/// How much of a host is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// Everything that was attempted.
    Whole,
    /// The Lease only: the host stays in the cluster.
    Release,
}

/// What a deed gave, by stage.
type Receipts = Vec<(Stage, Receipt)>;

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    stages: [Status; 5],
    deeds: [u32; 5],
    undos: [u32; 5],
    pub(super) posture: Posture,
    /// The stage that the posture is about.
    pub(super) stage: Stage,
    pub(super) parting: Parting,
    /// Changes whenever the posture does: timers, places in queues and effects of an older epoch mean nothing.
    pub(super) epoch: u32,
    /// When it took its first place, in this process.
    pub(super) started: Option<Timestamp>,
    /// When the present stage, or its undo, was first begun in this process.
    pub(super) stage_since: Timestamp,
    /// Whether it has places of the limits of joining, and whether it has that of control-plane nodes.
    pub(super) has_places: bool,
    pub(super) has_turn: bool,
    /// Whether the way forward has ended, and whether that was told.
    pub(super) closed: bool,
    pub(super) told: bool,
    /// Whether its token was refused before.
    pub(super) refused: bool,
    /// Stages whose undo was given up in this process, as bits.
    given_up: u8,
    /// The token that its join uses, by serial number.
    pub(super) token: Option<u32>,
    /// What went wrong last.
    pub(super) failure: Option<Box<StageFailure>>,
    /// Why an undo was given up.
    pub(super) undo_failure: Option<Box<StageFailure>>,
    pub(super) phase: Option<Box<str>>,
    receipts: Option<Box<Receipts>>,
}

impl Host {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            stages: [Status::Pending; 5],
            deeds: [0; 5],
            undos: [0; 5],
            posture: Posture::Idle,
            stage: Stage::Lock,
            parting: Parting::Whole,
            epoch: 0,
            started: None,
            stage_since: now,
            has_places: false,
            has_turn: false,
            closed: false,
            told: false,
            refused: false,
            given_up: 0,
            token: None,
            failure: None,
            undo_failure: None,
            phase: None,
            receipts: None,
        }
    }

    pub(super) fn status(&self, stage: Stage) -> Status {
        self.stages[stage.position()]
    }

    /// Takes an event of a stage by the saga's table, and says which attempt it belongs to.
    pub(super) fn apply(&mut self, stage: Stage, event: Event) -> Result<u32, IllegalTransition> {
        let at = stage.position();
        self.stages[at] = next(self.stages[at], event)?;
        match event {
            Event::Intent => self.deeds[at] += 1,
            Event::UndoIntent => self.undos[at] += 1,
            _ => {}
        }
        Ok(match event {
            Event::Intent | Event::Done | Event::Failed => self.deeds[at],
            Event::UndoIntent | Event::Undone | Event::UndoFailed => self.undos[at],
        })
    }

    pub(super) fn deeds(&self, stage: Stage) -> u32 {
        self.deeds[stage.position()]
    }

    pub(super) fn undos(&self, stage: Stage) -> u32 {
        self.undos[stage.position()]
    }

    /// The attempts of the stage in the direction in which the host is going.
    pub(super) fn attempts_of(&self, stage: Stage) -> u32 {
        match self.posture {
            Posture::UndoQueued
            | Posture::UndoRecording
            | Posture::UndoRunning
            | Posture::UndoResting
            | Posture::Undone
            | Posture::Stuck => self.undos(stage),
            _ => self.deeds(stage),
        }
    }

    /// A new posture: whatever was set up for the old one is void.
    pub(super) fn turn(&mut self, posture: Posture) {
        self.posture = posture;
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(super) fn keep_receipt(&mut self, stage: Stage, receipt: Receipt) {
        if !receipt.is_null() {
            self.receipts.get_or_insert_default().push((stage, receipt));
        }
    }

    pub(super) fn receipt(&self, stage: Stage) -> Option<&Receipt> {
        let receipts = self.receipts.as_ref()?;
        let mut found = receipts.iter().rev().filter(|(of, _)| *of == stage);
        found.next().map(|(_, receipt)| receipt)
    }

    /// Whether anything was ever begun on it.
    pub(super) fn is_attempted(&self) -> bool {
        self.stages.iter().any(|status| *status != Status::Pending)
    }

    /// Whether any of its stages was begun to be taken back, other than giving back the Lease of a host that stays.
    pub(super) fn is_on_its_way_back(&self) -> bool {
        let back = |stage: Stage| {
            matches!(
                self.status(stage),
                Status::Undoing | Status::Undone | Status::UndoFailed
            )
        };
        let ready = self.status(Stage::Ready) == Status::Done;
        let only_released = |stage: Stage| ready && stage == Stage::Lock;
        Stage::ALL
            .into_iter()
            .any(|stage| back(stage) && !only_released(stage))
    }

    pub(super) fn give_up(&mut self, stage: Stage, failure: StageFailure) {
        self.given_up |= 1 << stage.position();
        // A Lease that nobody renews runs out by itself; it is nobody's reason to be stuck.
        if stage != Stage::Lock || self.undo_failure.is_none() {
            self.undo_failure = Some(Box::new(failure));
        }
    }

    pub(super) fn has_given_up(&self, stage: Stage) -> bool {
        self.given_up & (1 << stage.position()) != 0
    }

    /// The stage whose undo was given up and that a person must look after.
    pub(super) fn stuck_stage(&self) -> Option<Stage> {
        let given_up = |stage: &Stage| *stage != Stage::Lock && self.has_given_up(*stage);
        Stage::ALL.into_iter().rev().find(given_up)
    }

    /// The next stage to take back. What stands below a stage that could not be taken back stays, as that one may still
    /// need it; the Lease is given back in any case.
    pub(super) fn next_undo(&self, keep_machine: bool) -> Option<Stage> {
        let mut blocked = false;
        for stage in Stage::ALL.into_iter().rev() {
            let wanted = match self.parting {
                Parting::Whole => stage.has_undo(),
                Parting::Release => stage == Stage::Lock,
            };
            if !wanted || (keep_machine && stage == Stage::Provision) {
                continue;
            }
            if self.has_given_up(stage) {
                blocked |= stage != Stage::Lock;
                continue;
            }
            let left =
                self.status(stage).may_have_traces() || self.status(stage) == Status::UndoFailed;
            if left && (!blocked || stage == Stage::Lock) {
                return Some(stage);
            }
        }
        None
    }

    /// What is left for a person to take back, in the order in which that is to be done.
    pub(super) fn left_behind(&self, keep_machine: bool) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().rev().filter(move |stage| {
            stage.has_undo()
                && *stage != Stage::Lock
                && !(keep_machine && *stage == Stage::Provision)
                && !matches!(self.status(*stage), Status::Pending | Status::Undone)
        })
    }
}

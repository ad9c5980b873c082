//! Runs a saga one step at a time without touching anything: it says what to do, and is told how it went.
//!
//! The caller's loop is: take [`Driver::next`], do it, report it. The driver never asks for a deed whose intent the
//! caller has not confirmed as durable. How a deed went becomes durable together with the next intent, in one write:
//! a receipt that is lost with the power costs a repetition, which every deed must bear. It does not know clocks (the
//! time is an argument) nor what a step means.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Entry, FORMAT_VERSION, Failure, Header, Next, Outcome, Record, ReplayError, Residue, SagaState,
    Status, StepId, StepSpec, ready, replay,
};

/// What to do when a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Take everything back.
    Unwind,
    /// Leave everything as it is, for someone to look at; a later run may go on or unwind.
    Keep,
    /// Take back what this run has begun; what former runs did stays, and a later run may go on from there.
    Retreat,
}

/// How to take up a saga that a journal tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Go on in the direction it was going; steps that failed are tried again.
    GoOn,
    /// Take it back, for this reason.
    TakeBack {
        /// Why, for the journal.
        reason: String,
    },
}

/// What the caller must do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Look at what is there before the step, then report with [`Driver::on_observed`].
    Observe {
        /// The step.
        step: StepSpec,
    },
    /// Make these entries durable, all of them or none, then report with [`Driver::on_durable`]. If that cannot be
    /// done, stop: drop the driver and do nothing more.
    Append(Vec<Entry>),
    /// Do the step, then report with [`Driver::on_performed`].
    Perform {
        /// The step.
        step: StepSpec,
        /// What was there before its first attempt.
        prior: Value,
        /// 1 for the first attempt. Above 1 the step may have been done already, wholly or partly.
        attempt: u32,
    },
    /// Take the step back, then report with [`Driver::on_undone`].
    Undo {
        /// The step.
        step: StepSpec,
        /// What was there before its first attempt.
        prior: Value,
        /// What the deed gave; `None` when it failed or was cut off.
        receipt: Option<Value>,
    },
    /// Nothing more to do.
    Halt(Halt),
}

/// Why the driver has nothing more to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The saga has ended and the outcome is on record.
    Finished(Outcome),
    /// A step failed and everything was left as it is.
    Kept {
        /// The step.
        step: StepId,
        /// Why it failed.
        failure: Failure,
    },
    /// What this run began is taken back, and nothing else: a later run may go on.
    Retreated {
        /// What lies beyond the reach of that.
        left_behind: Vec<Residue>,
    },
}

/// A report that does not answer what was asked: a mistake of the caller. The driver is unchanged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The report does not fit what the driver asked for last.
    #[error("{report} was reported, but the driver had not asked for it")]
    NotAsked {
        /// The report.
        report: &'static str,
    },
    /// The entry that the driver made does not fit its own state. A bug.
    #[error("an entry does not follow from the state")]
    Inconsistent {
        /// The contradiction.
        #[source]
        source: ReplayError,
    },
}

#[derive(Clone, Debug)]
enum Posture {
    Idle,
    Observing(StepId),
    Recording(Record),
    Performing(StepId),
    Undoing(StepId),
}

/// A saga in progress.
#[derive(Clone, Debug)]
pub struct Driver {
    /// `None` until the header is durable; otherwise with what waits to be written.
    state: Option<SagaState>,
    /// Entries that the state has and the journal has not: only such as nothing rests on before the next intent.
    unwritten: Vec<Entry>,
    posture: Posture,
    on_failure: OnFailure,
    /// Why everything is to be taken back, as soon as what is known is in the state.
    turn_back: Option<String>,
    /// The number of this run's first entry.
    since: u64,
    /// This run has turned back, and what lies beyond the reach of that.
    retreated: Option<Vec<Residue>>,
    /// Failed steps that this run may begin again.
    retry: BTreeSet<StepId>,
}

impl Driver {
    /// A new saga. The first command is to make its header durable.
    #[must_use]
    pub fn begin(header: Header, on_failure: OnFailure) -> Self {
        Self {
            state: None,
            unwritten: Vec::new(),
            posture: Posture::Recording(Record::Header(header)),
            on_failure,
            turn_back: None,
            since: 0,
            retreated: None,
            retry: BTreeSet::new(),
        }
    }

    /// A saga that a journal tells of.
    ///
    /// # Errors
    /// [`ReplayError`] when the entries do not tell a saga.
    pub fn resume(
        entries: &[Entry],
        start: Start,
        on_failure: OnFailure,
    ) -> Result<Self, ReplayError> {
        let state = replay(entries)?;
        let mut driver = Self {
            state: None,
            unwritten: Vec::new(),
            posture: Posture::Idle,
            on_failure,
            turn_back: None,
            since: state.next_seq(),
            retreated: None,
            retry: BTreeSet::new(),
        };
        match start {
            Start::GoOn => {
                let steps = state.header().definition.steps().iter();
                driver.retry = steps
                    .map(|step| step.id.clone())
                    .filter(|id| state.status_of(id) == Status::Failed)
                    .collect();
            }
            Start::TakeBack { reason } => {
                if matches!(
                    state.status(),
                    crate::SagaStatus::Running
                        | crate::SagaStatus::Retreating
                        | crate::SagaStatus::Done
                        | crate::SagaStatus::Stuck
                ) {
                    driver.posture = Posture::Recording(Record::Unwind { reason });
                }
                driver.retry = with_failed_undo(&state);
            }
        }
        driver.state = Some(state);
        Ok(driver)
    }

    /// The saga so far, with what the next write will hold; `None` until the header is durable.
    #[must_use]
    pub fn state(&self) -> Option<&SagaState> {
        self.state.as_ref()
    }

    /// Asks for whatever waits to be written before the caller leaves the saga to a later run. `None` when everything
    /// that was reported is durable.
    #[must_use]
    pub fn remainder(&self) -> Option<Command> {
        (!self.unwritten.is_empty()).then(|| Command::Append(self.unwritten.clone()))
    }

    /// What to do next. Asking again without a report gives the same answer.
    pub fn next(&mut self, now: Timestamp) -> Command {
        loop {
            if matches!(self.posture, Posture::Idle)
                && let Some(halt) = self.decide()
            {
                return self.remainder().unwrap_or(Command::Halt(halt));
            }
            let Posture::Recording(record) = &self.posture else {
                return self.deed();
            };
            let entry = Entry {
                version: FORMAT_VERSION,
                seq: self.state.as_ref().map_or(0, SagaState::next_seq),
                at: now,
                record: record.clone(),
            };
            if !self.put_off(&entry) {
                return Command::Append(self.unwritten.iter().cloned().chain([entry]).collect());
            }
        }
    }

    /// What the posture asks of the caller, when it is no record.
    fn deed(&self) -> Command {
        match &self.posture {
            Posture::Idle | Posture::Recording(_) => Command::Halt(Halt::Finished(Outcome::Done)),
            Posture::Observing(id) => self.with_step(id, |step, _| Command::Observe { step }),
            Posture::Performing(id) => self.with_step(id, |step, state| Command::Perform {
                step,
                prior: state.prior.clone().unwrap_or(Value::Null),
                attempt: state.attempts,
            }),
            Posture::Undoing(id) => self.with_step(id, |step, state| Command::Undo {
                step,
                prior: state.prior.clone().unwrap_or(Value::Null),
                receipt: state.receipt.clone(),
            }),
        }
    }

    /// Keeps an entry that says how something went for the next write. `false` for one that must be durable first.
    fn put_off(&mut self, entry: &Entry) -> bool {
        let may_wait = matches!(
            entry.record,
            Record::Done { .. }
                | Record::Failed { .. }
                | Record::Unwind { .. }
                | Record::Retreat { .. }
                | Record::Turned {}
                | Record::Undone { .. }
                | Record::UndoFailed { .. }
        );
        let Some(state) = self.state.as_mut().filter(|_| may_wait) else {
            return false;
        };
        if state.apply(entry).is_err() {
            // Told as such when it is reported.
            return false;
        }
        self.unwritten.push(entry.clone());
        self.posture = Posture::Idle;
        true
    }

    /// The entries of the last [`Command::Append`] are durable.
    ///
    /// # Errors
    /// [`DriverError`] when no entries, or others, were asked for.
    pub fn on_durable(&mut self, entries: &[Entry]) -> Result<(), DriverError> {
        let other = || DriverError::NotAsked {
            report: "other entries",
        };
        let fresh = entries
            .strip_prefix(self.unwritten.as_slice())
            .ok_or_else(other)?;
        match (&self.posture, fresh) {
            (_, []) if !self.unwritten.is_empty() => {
                self.unwritten.clear();
                return Ok(());
            }
            (Posture::Recording(record), [entry]) if *record == entry.record => {
                self.take_in(entry)?;
            }
            _ => return Err(other()),
        }
        self.unwritten.clear();
        Ok(())
    }

    fn take_in(&mut self, entry: &Entry) -> Result<(), DriverError> {
        let inconsistent = |source| DriverError::Inconsistent { source };
        match &mut self.state {
            None => self.state = Some(SagaState::begin(entry).map_err(inconsistent)?),
            Some(state) => state.apply(entry).map_err(inconsistent)?,
        }
        self.posture = match &entry.record {
            Record::Intent { step, .. } => Posture::Performing(step.clone()),
            Record::UndoIntent { step } => Posture::Undoing(step.clone()),
            _ => Posture::Idle,
        };
        Ok(())
    }

    /// What was there before the step of the last [`Command::Observe`], or why that could not be seen.
    ///
    /// # Errors
    /// [`DriverError`] when no observation was asked for.
    pub fn on_observed(&mut self, result: Result<Value, Failure>) -> Result<(), DriverError> {
        let Posture::Observing(step) = &self.posture else {
            return Err(DriverError::NotAsked {
                report: "an observation",
            });
        };
        let step = step.clone();
        self.posture = match result {
            Ok(prior) => Posture::Recording(Record::Intent {
                step,
                attempt: 1,
                prior,
            }),
            // Nothing was touched, and nothing will be: from here the only way is back.
            Err(failure) => Posture::Recording(
                self.way_back(format!("{step} could not be prepared: {}", failure.message)),
            ),
        };
        Ok(())
    }

    /// How the step of the last [`Command::Perform`] went.
    ///
    /// # Errors
    /// [`DriverError`] when no deed was asked for.
    pub fn on_performed(&mut self, result: Result<Value, Failure>) -> Result<(), DriverError> {
        let Posture::Performing(step) = &self.posture else {
            return Err(DriverError::NotAsked { report: "a deed" });
        };
        let step = step.clone();
        self.posture = Posture::Recording(match result {
            Ok(receipt) => Record::Done { step, receipt },
            Err(failure) => Record::Failed { step, failure },
        });
        Ok(())
    }

    /// How the taking back of the last [`Command::Undo`] went, and what lies beyond its reach.
    ///
    /// # Errors
    /// [`DriverError`] when no undo was asked for.
    pub fn on_undone(&mut self, result: Result<Vec<Residue>, Failure>) -> Result<(), DriverError> {
        let Posture::Undoing(step) = &self.posture else {
            return Err(DriverError::NotAsked { report: "an undo" });
        };
        let step = step.clone();
        self.posture = Posture::Recording(match result {
            Ok(left_behind) => Record::Undone { step, left_behind },
            Err(failure) => Record::UndoFailed { step, failure },
        });
        Ok(())
    }

    /// Asks for the whole saga to be taken back as soon as nothing is in flight: what a signal does.
    ///
    /// # Errors
    /// [`DriverError`] while a report is due, or when the saga is already on its way back.
    pub fn unwind(&mut self, reason: impl Into<String>) -> Result<(), DriverError> {
        let running = self
            .state
            .as_ref()
            .is_some_and(|s| s.status() == crate::SagaStatus::Running);
        let between = matches!(
            &self.posture,
            Posture::Idle
                | Posture::Observing(_)
                | Posture::Recording(Record::Done { .. } | Record::Failed { .. })
        );
        if !running || !between {
            return Err(DriverError::NotAsked {
                report: "an unwinding",
            });
        }
        if matches!(self.posture, Posture::Observing(_)) {
            self.posture = Posture::Idle;
        }
        self.turn_back = Some(reason.into());
        Ok(())
    }

    fn with_step(
        &self,
        id: &StepId,
        make: impl FnOnce(StepSpec, &crate::state::StepState) -> Command,
    ) -> Command {
        let state = self.state.as_ref();
        let found = state.and_then(|s| Some((s.header().definition.step(id)?, s.step(id)?)));
        match found {
            Some((spec, step)) => make(spec.clone(), step),
            // Postures are only made from steps that the state has.
            None => Command::Halt(Halt::Finished(Outcome::Stuck {
                left_behind: Vec::new(),
            })),
        }
    }

    /// Takes up the next posture, or says that there is none.
    fn decide(&mut self) -> Option<Halt> {
        if let Some(reason) = self.turn_back.take() {
            self.posture = Posture::Recording(self.way_back(reason));
            return None;
        }
        if let Some(left_behind) = &self.retreated {
            return Some(Halt::Retreated {
                left_behind: left_behind.clone(),
            });
        }
        if let Some(id) = self.take_retry() {
            self.posture = self.begin_again(id);
            return None;
        }
        let state = self.state.as_ref()?;
        self.posture = match ready(state, &BTreeSet::new()) {
            Next::Finished(outcome) => return Some(Halt::Finished(outcome)),
            Next::Finish(outcome) => Posture::Recording(Record::Finished { outcome }),
            Next::Perform(steps) => self.first_of(steps)?,
            Next::Undo(steps) => {
                let step = steps.into_iter().next()?;
                Posture::Recording(Record::UndoIntent { step })
            }
            Next::Decide { failed } => match (self.on_failure, state.first_failure()) {
                (OnFailure::Keep, Some((step, failure))) => {
                    return Some(Halt::Kept {
                        step: step.clone(),
                        failure: failure.clone(),
                    });
                }
                (_, failure) => Posture::Recording(self.way_back(failure.map_or_else(
                    || format!("{failed:?} failed"),
                    |(id, f)| format!("{id} failed: {}", f.message),
                ))),
            },
            Next::Turn => {
                // A retreat that a former run began, and that was cut off, is no end of this one.
                if state.retreats_to() == Some(self.since) {
                    self.retreated = Some(beyond_reach(state));
                }
                Posture::Recording(Record::Turned {})
            }
            // Nothing is ever in flight between two commands of this driver.
            Next::Wait => return None,
        };
        None
    }

    /// The record that turns this saga back: what this run began, or all of it.
    fn way_back(&self, reason: String) -> Record {
        let since = self.since;
        if self.on_failure == OnFailure::Retreat && since > 0 {
            Record::Retreat { reason, since }
        } else {
            Record::Unwind { reason }
        }
    }

    fn first_of(&self, steps: Vec<StepId>) -> Option<Posture> {
        let step = steps.into_iter().next()?;
        let state = self.state.as_ref()?.step(&step)?;
        Some(match &state.prior {
            Some(_) => self.begin_again(step),
            None => Posture::Observing(step),
        })
    }

    /// A step whose first intent is on record keeps the observation of that first time.
    fn begin_again(&self, step: StepId) -> Posture {
        let known = self.state.as_ref().and_then(|s| s.step(&step));
        if known.is_some_and(|s| matches!(s.status, Status::UndoFailed)) {
            return Posture::Recording(Record::UndoIntent { step });
        }
        Posture::Recording(Record::Intent {
            attempt: known.map_or(1, |s| s.attempts.saturating_add(1)),
            prior: known.and_then(|s| s.prior.clone()).unwrap_or(Value::Null),
            step,
        })
    }

    /// The next step to try again: a failed deed while running; while unwinding, a failed undo, latest begun first,
    /// and only when nothing above it is left.
    fn take_retry(&mut self) -> Option<StepId> {
        let state = self.state.as_ref()?;
        let definition = &state.header().definition;
        let wanted = match state.status() {
            crate::SagaStatus::Running => Status::Failed,
            crate::SagaStatus::Unwinding => Status::UndoFailed,
            _ => return None,
        };
        let id = self
            .retry
            .iter()
            .filter(|id| state.status_of(id) == wanted)
            .filter(|id| {
                wanted == Status::Failed
                    || definition.dependants(id).all(|above| {
                        matches!(state.status_of(&above.id), Status::Pending | Status::Undone)
                    })
            })
            .max_by_key(|id| state.step(id).and_then(|step| step.begun))
            .cloned()?;
        self.retry.remove(&id);
        Some(id)
    }
}

/// What lies beyond the reach of what a retreat has taken back.
fn beyond_reach(state: &SagaState) -> Vec<Residue> {
    let steps = state.header().definition.steps().iter();
    steps
        .filter(|step| state.is_to_be_taken_back(&step.id))
        .filter_map(|step| state.step(&step.id))
        .flat_map(|step| step.left_behind.iter().cloned())
        .collect()
}

fn with_failed_undo(state: &SagaState) -> BTreeSet<StepId> {
    let steps = state.header().definition.steps().iter();
    steps
        .map(|step| step.id.clone())
        .filter(|id| state.status_of(id) == Status::UndoFailed)
        .collect()
}

#[cfg(test)]
mod tests;

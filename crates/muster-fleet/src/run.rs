//! Carries out a saga: asks the driver, does what it says on host or cluster, makes records durable, tells events.
//!
//! No decision is taken here about what comes next; that is the driver's. A record that cannot be made durable ends
//! the run at once.

mod cluster_steps;
mod component_health;
mod control_plane;
mod control_plane_files;
mod marks;
mod membership;
mod secrets;
mod turn;

pub(crate) use cluster_steps::kubelet_was_begun;
pub(crate) use control_plane::Plane;
pub(crate) use membership::Farewell;
#[cfg(any(test, feature = "testing"))]
pub(crate) use {control_plane_files::CONFIGURATION, membership::ETCD_PODS};

use std::time::Instant;

use jiff::Timestamp;
use muster_host::{Host, Prior};
use muster_plan::{Actor, Part, Phase, Process, SecretBag, Step, StepContent};
use muster_saga::{
    Command, Driver, DriverError, Entry, Failure, Halt, Journal as _, Outcome, Record, Residue,
    StepSpec,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::journal::SagaJournal;
use crate::preflight::{completed, millis};
use crate::{Cluster, Event, EventSink, JoinError};

/// The id of a failure that somebody asked for.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Everything that a saga is carried out with.
pub(crate) struct Run<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) cluster: &'a dyn Cluster,
    pub(crate) events: &'a EventSink,
    pub(crate) cancel: CancellationToken,
    pub(crate) entropy: fn(&mut [u8]),
    /// A failure is left as it is, and so is a request to stop.
    pub(crate) keep: bool,
    pub(crate) node_name: String,
    pub(crate) secrets: SecretBag,
    /// What only a control-plane node needs.
    pub(crate) plane: Plane,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) halt: Halt,
    /// The failure that made it turn back, if one did in this run.
    pub(crate) failure: Option<(String, Failure)>,
    /// Somebody asked to stop.
    pub(crate) interrupted: bool,
    /// The step that is left for a later call, as only some phases were asked for.
    pub(crate) left_at: Option<Phase>,
}

impl Ended {
    /// What stays after everything was taken back, by name.
    ///
    /// # Errors
    /// [`JoinError::UndoIncomplete`] when something could not be taken back.
    pub(crate) fn taken_back(self) -> Result<Vec<Residue>, JoinError> {
        match self.halt {
            Halt::Finished(Outcome::Stuck { left_behind }) => Err(JoinError::UndoIncomplete {
                left_behind,
                cause: None,
            }),
            Halt::Finished(outcome) => Ok(outcome.left_behind().to_vec()),
            Halt::Retreated { left_behind } => Ok(left_behind),
            Halt::Kept { .. } => Ok(Vec::new()),
        }
    }
}

fn journal_error(source: muster_saga::JournalError) -> JoinError {
    JoinError::Journal { source }
}

fn driver_error(error: DriverError) -> JoinError {
    // The driver refuses only what contradicts its own journal.
    let source = muster_saga::JournalError::Store {
        source: Box::new(error),
    };
    JoinError::Journal { source }
}

impl Run<'_> {
    pub(crate) async fn run(
        &mut self,
        driver: &mut Driver,
        journal: &SagaJournal,
    ) -> Result<Ended, JoinError> {
        self.run_within(driver, journal, None).await
    }

    /// As [`Run::run`], but stops before the first step that is in none of `parts`. Nothing is recorded of that step: a
    /// later call finds it as after a power cut.
    pub(crate) async fn run_within(
        &mut self,
        driver: &mut Driver,
        journal: &SagaJournal,
        parts: Option<&[Part]>,
    ) -> Result<Ended, JoinError> {
        let mut failure = None;
        let mut interrupted = false;
        let mut phase = PhaseClock::default();
        loop {
            let stop = self.cancel.is_cancelled() && !self.keep;
            if stop && driver.unwind("somebody asked to stop").is_ok() {
                interrupted = true;
            }
            match driver.next(Timestamp::now()) {
                Command::Halt(halt) => {
                    phase.close(self.events);
                    return Ok(Ended {
                        halt,
                        failure,
                        interrupted,
                        left_at: None,
                    });
                }
                Command::Append(entries) => self.write(driver, journal, &entries).await?,
                Command::Observe { step } => {
                    if let Some(left) = outside(&step, parts)? {
                        if let Some(Command::Append(entries)) = driver.remainder() {
                            self.write(driver, journal, &entries).await?;
                        }
                        phase.close(self.events);
                        let halt = Halt::Kept {
                            step: step.id.clone(),
                            failure: interruption(),
                        };
                        return Ok(Ended {
                            halt,
                            failure,
                            interrupted,
                            left_at: Some(left),
                        });
                    }
                    let seen = self.observe(driver, &step).await;
                    if let Err(why) = &seen {
                        failure = Some((step.id.to_string(), why.clone()));
                    }
                    driver.on_observed(seen).map_err(driver_error)?;
                }
                Command::Perform {
                    step,
                    prior,
                    attempt,
                } => {
                    let result = self
                        .perform(driver, &step, &prior, attempt, &mut phase)
                        .await;
                    if let Err(why) = &result {
                        phase.fail();
                        interrupted |= why.id == INTERRUPTED;
                        failure = Some((step.id.to_string(), why.clone()));
                    }
                    driver.on_performed(result).map_err(driver_error)?;
                }
                Command::Undo { step, prior, .. } => {
                    let result = self.undo(driver, &step, &prior).await;
                    driver.on_undone(result).map_err(driver_error)?;
                }
            }
        }
    }

    /// Brings a saga to its end on record only: what it did is no longer there to be taken back.
    pub(crate) async fn write_off(
        &self,
        driver: &mut Driver,
        journal: &SagaJournal,
    ) -> Result<(), JoinError> {
        loop {
            match driver.next(Timestamp::now()) {
                Command::Append(entries) => self.write(driver, journal, &entries).await?,
                Command::Undo { .. } => driver.on_undone(Ok(Vec::new())).map_err(driver_error)?,
                _ => return Ok(()),
            }
        }
    }

    async fn write(
        &self,
        driver: &mut Driver,
        journal: &SagaJournal,
        entries: &[Entry],
    ) -> Result<(), JoinError> {
        journal.append(entries).await.map_err(journal_error)?;
        driver.on_durable(entries).map_err(driver_error)?;
        for entry in entries {
            self.tell_record(entry);
        }
        Ok(())
    }

    fn tell_record(&self, entry: &Entry) {
        match &entry.record {
            Record::Unwind { reason } | Record::Retreat { reason, .. } => {
                self.events.tell(Event::Undoing {
                    node_name: self.node_name.clone(),
                    reason: reason.clone(),
                })
            }
            Record::Finished {
                outcome: Outcome::Undone { left_behind },
            } => {
                self.events.tell(Event::Undone {
                    left_behind: left_behind.clone(),
                });
            }
            _ => {}
        }
    }

    async fn observe(&self, driver: &Driver, spec: &StepSpec) -> Result<Value, Failure> {
        let content = content(spec)?;
        match content.step.actor() {
            Actor::Host => {
                let prior = self
                    .host
                    .observe(&content.step)
                    .await
                    .map_err(|e| e.to_failure())?;
                to_value(&prior)
            }
            Actor::Cluster => self.observe_cluster(driver, &content.step).await,
        }
    }

    async fn perform(
        &mut self,
        driver: &Driver,
        spec: &StepSpec,
        prior: &Value,
        attempt: u32,
        phase: &mut PhaseClock,
    ) -> Result<Value, Failure> {
        let StepContent {
            phase: of_step,
            step,
        } = content(spec)?;
        phase.enter(of_step, self.events);
        self.events.tell(Event::StepStarted {
            step: spec.id.to_string(),
            phase: of_step,
            description: spec.description.clone(),
            attempt,
        });
        let started = Instant::now();
        let cancel = self.cancel.clone();
        let deed = async {
            match step.actor() {
                Actor::Host => {
                    self.perform_on_host(driver, spec, &step, prior, attempt)
                        .await
                }
                Actor::Cluster => self.perform_on_cluster(driver, &step).await,
            }
        };
        // Only waiting may be cut short: a deed on the machine is over in a moment.
        let result = if is_wait(&step) {
            tokio::select! {
                result = deed => result,
                () = cancel.cancelled() => Err(interruption()),
            }
        } else {
            deed.await
        };
        let id = spec.id.to_string();
        self.events.tell(match &result {
            Ok(_) => Event::StepDone {
                step: id,
                elapsed_ms: millis(started),
            },
            Err(failure) => Event::StepFailed {
                step: id,
                failure: failure.clone(),
            },
        });
        result
    }

    async fn perform_on_host(
        &mut self,
        driver: &Driver,
        spec: &StepSpec,
        step: &Step,
        prior: &Value,
        attempt: u32,
    ) -> Result<Value, Failure> {
        if let Step::WriteSecret { secret, .. } = step {
            self.supply(driver, *secret, attempt).await?;
        }
        let prior = from_value(prior)?;
        if let Step::WriteMade { secret, .. } = step {
            if self.stands(driver, *secret, &prior).await? {
                return Ok(Value::Null);
            }
            self.supply(driver, *secret, attempt).await?;
        }
        let id = spec.id.as_str();
        let done = self.host.perform(id, step, &prior, &self.secrets).await;
        done.map_err(|error| error.to_failure())
    }

    async fn undo(
        &self,
        driver: &Driver,
        spec: &StepSpec,
        prior: &Value,
    ) -> Result<Vec<Residue>, Failure> {
        let StepContent { step, .. } = content(spec)?;
        let result = match step.actor() {
            Actor::Host if let Some(data) = self.data_of_one_who_stays(driver, &step) => {
                Ok(vec![data])
            }
            Actor::Host => {
                let prior = from_value(prior)?;
                let undone = self.host.undo(spec.id.as_str(), &step, &prior).await;
                undone.map_err(|error| error.to_failure())
            }
            Actor::Cluster => self.undo_on_cluster(driver, &step, prior).await,
        };
        let id = spec.id.to_string();
        match &result {
            // To people, only what changed something.
            Ok(_) if !step.leaves_traces() => {}
            Ok(_) => self.events.tell(Event::StepUndone {
                step: id,
                description: spec.undo.clone(),
            }),
            Err(failure) => self.events.tell(Event::UndoFailed {
                step: id,
                failure: failure.clone(),
            }),
        }
        result
    }
}

fn content(spec: &StepSpec) -> Result<StepContent, Failure> {
    StepContent::of(spec).map_err(|error| Failure {
        id: "plan-unusable".into(),
        message: error.to_string(),
        remedy: Some("Use the version of muster that began this join.".into()),
    })
}

/// The step's phase, when it is in none of the parts that were asked for.
fn outside(spec: &StepSpec, parts: Option<&[Part]>) -> Result<Option<Phase>, JoinError> {
    let Some(parts) = parts else {
        return Ok(None);
    };
    let phase = StepContent::of(spec)
        .map_err(|source| JoinError::Plan { source })?
        .phase;
    let within = parts.iter().any(|part| part.holds(spec.id.as_str(), phase));
    Ok((!within).then_some(phase))
}

fn is_wait(step: &Step) -> bool {
    matches!(
        step,
        Step::AwaitKubelet { .. }
            | Step::AwaitNode { .. }
            | Step::RequestCertificate { .. }
            | Step::TakeTurn { .. }
            | Step::AwaitEtcd { .. }
            | Step::AddEtcdLearner { .. }
            | Step::PromoteEtcdMember { .. }
            | Step::AwaitComponents { .. }
    )
}

pub(crate) fn interruption() -> Failure {
    Failure {
        id: INTERRUPTED.into(),
        message: "somebody asked to stop".into(),
        remedy: None,
    }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| damaged(&error))
}

fn from_value(value: &Value) -> Result<Prior, Failure> {
    serde_json::from_value(value.clone()).map_err(|error| damaged(&error))
}

fn damaged(error: &serde_json::Error) -> Failure {
    Failure {
        id: "journal-damaged".into(),
        message: format!("what was there before a step cannot be read or written: {error}"),
        remedy: None,
    }
}

/// The process that runs the node's kubelet, as the saga's steps say.
pub(crate) fn kubelet_process(driver: &Driver) -> Option<Process> {
    let definition = &driver.state()?.header().definition;
    definition
        .steps()
        .iter()
        .find_map(|spec| match StepContent::of(spec).ok()?.step {
            Step::AwaitKubelet { process, .. } => Some(process),
            _ => None,
        })
}

/// Tells when phases begin and end.
#[derive(Default)]
struct PhaseClock {
    running: Option<(Phase, Instant)>,
}

impl PhaseClock {
    fn enter(&mut self, phase: Phase, events: &EventSink) {
        if self.running.is_some_and(|(running, _)| running == phase) {
            return;
        }
        self.close(events);
        events.tell(Event::PhaseStarted { phase });
        self.running = Some((phase, Instant::now()));
    }

    fn close(&mut self, events: &EventSink) {
        if let Some((phase, started)) = self.running.take() {
            events.tell(completed(phase, started));
        }
    }

    fn fail(&mut self) {
        self.running = None;
    }
}

//! The loop that carries a coordinator's effects out: one place where a run's state changes, everything else around it
//! in tasks that answer.
//!
//! It decides nothing about hosts. What it owes the coordinator: no effect before the record it stands behind, one deed
//! per host at a time, and an answer to everything it was asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{BootstrapToken, TokenId};
use muster_rollout::{
    Effect, Grant, HostIndex, Input, LimitKey, Pressure, Rollout, Stage, StageFailure, Verdict,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::bus::Bus;
use super::fault;
use super::report::RunReport;
use super::store::{RunJournal, StoreFailure};
use super::token::{Cluster, Mint, Order};
use super::worker::{Say, Task, Worker};

/// How long a command on a host may still run after nobody waits for it: then it has been killed there.
const LAST_BREATH: Duration = Duration::from_secs(6);

/// How often it is left how far the run is.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// What asks a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C, or whatever means the same.
    Interrupt,
}

/// The last deed on a host.
struct Deed {
    handle: JoinHandle<()>,
    /// When nobody waited for it any more.
    abandoned: Option<Instant>,
}

/// A run on its way.
pub(crate) struct Driver {
    pub(crate) rollout: Rollout,
    pub(crate) worker: Arc<Worker>,
    pub(crate) journal: RunJournal,
    /// The number of the next record.
    pub(crate) next_record: u64,
    pub(crate) mint: Mint,
    pub(crate) cluster: Cluster,
    pub(crate) entropy: fn(&mut [u8]),
    pub(crate) description: String,
    pub(crate) bus: Bus,
    pub(crate) stops: mpsc::UnboundedReceiver<Stop>,
    pub(crate) pressures: mpsc::UnboundedReceiver<Pressure>,
    /// The fleet's name, and when the run began.
    pub(crate) about: (String, Timestamp),
    /// Where it is left how far the run is.
    pub(crate) dir: PathBuf,
}

/// What the loop itself keeps.
struct Course {
    inputs: mpsc::UnboundedSender<Input>,
    deeds: HashMap<u32, Deed>,
    /// Secrets of tokens by their ids, for as long as this process lives.
    drawn: HashMap<TokenId, BootstrapToken>,
    wake: Option<Timestamp>,
    next_record: u64,
    /// When it is left again how far the run is.
    next_status: Instant,
}

impl Driver {
    /// Carries the run out to its end, or until it stops.
    pub(crate) async fn run(mut self) -> (Verdict, Rollout, Bus) {
        let (inputs, mut answers) = mpsc::unbounded_channel();
        let mut course = Course {
            inputs,
            deeds: HashMap::new(),
            drawn: HashMap::new(),
            wake: None,
            next_record: self.next_record,
            next_status: Instant::now(),
        };
        let mut lost = self.worker.leases.lost();
        let mut stops_open = true;
        loop {
            while let Some(effect) = self.rollout.next_effect() {
                if let Some(verdict) = self.carry_out(&mut course, effect).await {
                    for deed in course.deeds.into_values() {
                        deed.handle.abort();
                    }
                    return (verdict, self.rollout, self.bus);
                }
            }
            let wake = instant_of(course.wake);
            self.leave_status(&mut course);
            let input = tokio::select! {
                biased;
                stop = self.stops.recv(), if stops_open => match stop {
                    Some(Stop::Interrupt) => Input::Interrupt,
                    None => {
                        stops_open = false;
                        continue;
                    }
                },
                Some(input) = answers.recv() => input,
                Some(pressure) = self.pressures.recv() => Input::Pressure {
                    limit: LimitKey::API_SERVER,
                    pressure,
                },
                Ok(()) = lost.changed() => {
                    let lease = lost.borrow_and_update().clone();
                    tracing::warn!(lease, "a lease was lost");
                    Input::LeaseLost { holder: None }
                }
                () = sleep_until(wake) => {
                    course.wake = None;
                    Input::Tick
                }
            };
            self.rollout.handle(input, Timestamp::now());
            // What came in together is taken in together.
            while let Ok(input) = answers.try_recv() {
                self.rollout.handle(input, Timestamp::now());
            }
        }
    }

    /// For `muster fleet status` from elsewhere: seldom enough to cost little.
    fn leave_status(&self, course: &mut Course) {
        let now = Instant::now();
        if now < course.next_status {
            return;
        }
        let (fleet, began) = &self.about;
        RunReport::of(&self.rollout, fleet, *began, None).leave(&self.dir);
        let cost = now.elapsed();
        course.next_status = now + STATUS_PAUSE.max(cost * 50);
    }

    async fn carry_out(&mut self, course: &mut Course, effect: Effect) -> Option<Verdict> {
        match effect {
            Effect::Record(records) => self.record(course, records).await,
            Effect::Start {
                host,
                stage,
                attempt,
                deadline,
                token,
            } => {
                let task = self.task(host, stage, attempt, deadline, token);
                self.start(course, task);
            }
            Effect::Undo {
                host,
                stage,
                attempt,
                deadline,
            } => {
                let task = self.task(host, stage, attempt, deadline, None);
                self.undo(course, task);
            }
            Effect::Abandon { host, stage } => self.abandon(course, host, stage),
            Effect::Mint {
                expected,
                attempt,
                lifetime,
                deadline,
            } => self.mint(course, expected, attempt, lifetime, deadline),
            Effect::Revoke {
                id,
                attempt,
                deadline,
            } => self.revoke(course, id, attempt, deadline),
            Effect::WakeAt(at) => course.wake = Some(at),
            Effect::Tell(event) => self.bus.tell(event),
            Effect::End(verdict) => return Some(verdict),
        }
        None
    }

    /// The loop waits for the disk: what comes in meanwhile is taken in together, and becomes one write.
    async fn record(&self, course: &mut Course, records: Vec<muster_rollout::Record>) {
        let run = &self.rollout.plan().run;
        let written = self.journal.append(run, course.next_record, &records).await;
        let input = match written {
            Ok(next) => {
                course.next_record = next;
                Input::Recorded
            }
            Err(error) => Input::RecordFailed {
                failure: journal_failure(&error),
            },
        };
        let _ = course.inputs.send(input);
    }

    fn task(
        &self,
        index: HostIndex,
        stage: Stage,
        attempt: u32,
        deadline: Timestamp,
        token: Option<TokenId>,
    ) -> Task {
        Task {
            index,
            stage,
            attempt,
            limit: until(deadline),
            token,
            made: self.rollout.receipt(index, Stage::Provision).cloned(),
            seen: self.rollout.receipt(index, Stage::Prepare).cloned(),
        }
    }

    fn start(&self, course: &mut Course, task: Task) {
        let (worker, inputs) = (Arc::clone(&self.worker), course.inputs.clone());
        let say = say(&inputs, task.index);
        let (host, stage, attempt) = (task.index, task.stage, task.attempt);
        let before = course.deeds.remove(&host.0);
        let handle = tokio::spawn(async move {
            wait_for(before).await;
            let result = worker.perform(task, say).await;
            if let Err(failure) = &result {
                tell_pressure(failure, &inputs);
            }
            let _ = inputs.send(Input::Ended {
                host,
                stage,
                attempt,
                result,
            });
        });
        course.deeds.insert(host.0, Deed::new(handle));
    }

    fn undo(&self, course: &mut Course, task: Task) {
        let (worker, inputs) = (Arc::clone(&self.worker), course.inputs.clone());
        let say = say(&inputs, task.index);
        let (host, stage, attempt) = (task.index, task.stage, task.attempt);
        let before = course.deeds.remove(&host.0);
        let handle = tokio::spawn(async move {
            wait_for(before).await;
            let result = worker.undo(task, say).await;
            let _ = inputs.send(Input::Undone {
                host,
                stage,
                attempt,
                result,
            });
        });
        course.deeds.insert(host.0, Deed::new(handle));
    }

    fn abandon(&self, course: &mut Course, host: HostIndex, stage: Stage) {
        if let Some(deed) = course.deeds.get_mut(&host.0) {
            deed.handle.abort();
            // Only on the host itself something may still go on.
            if !matches!(stage, Stage::Lock | Stage::Ready) {
                deed.abandoned = Some(Instant::now());
                self.worker.connections.forget(host.0);
            }
        }
    }

    fn mint(
        &self,
        course: &mut Course,
        expected: TokenId,
        attempt: u32,
        lifetime: Duration,
        deadline: Timestamp,
    ) {
        let drawn = match course.drawn.get(&expected) {
            Some(token) => Ok(token.clone()),
            None => super::token::draw(&expected, self.entropy),
        };
        let token = match drawn {
            Ok(token) => token,
            Err(failure) => {
                let result = Err(failure);
                let _ = course.inputs.send(Input::Minted {
                    expected,
                    attempt,
                    result,
                });
                return;
            }
        };
        course.drawn.insert(expected.clone(), token.clone());
        let order = Order {
            token,
            ttl: SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX),
            description: self.description.clone(),
        };
        let (mint, cluster, worker) = (
            self.mint.clone(),
            self.cluster.clone(),
            Arc::clone(&self.worker),
        );
        let inputs = course.inputs.clone();
        tokio::spawn(async move {
            let made = within(deadline, "minting a token", mint.make(&order, &cluster)).await;
            let result = made.map(|admission| {
                let grant = Grant {
                    id: admission.token.id().clone(),
                    expires: admission.expires,
                };
                worker
                    .admissions
                    .lock()
                    .insert(grant.id.clone(), Arc::new(admission));
                grant
            });
            let _ = inputs.send(Input::Minted {
                expected,
                attempt,
                result,
            });
        });
    }

    fn revoke(&self, course: &mut Course, id: TokenId, attempt: u32, deadline: Timestamp) {
        self.worker.admissions.lock().remove(&id);
        course.drawn.remove(&id);
        let (mint, inputs) = (self.mint.clone(), course.inputs.clone());
        tokio::spawn(async move {
            let result = within(deadline, "revoking a token", mint.revoke(&id)).await;
            let _ = inputs.send(Input::Revoked {
                id,
                attempt,
                result,
            });
        });
    }
}

impl Deed {
    const fn new(handle: JoinHandle<()>) -> Self {
        Self {
            handle,
            abandoned: None,
        }
    }
}

/// Nothing is begun on a host while something else may still go on there.
async fn wait_for(deed: Option<Deed>) {
    let Some(deed) = deed else {
        return;
    };
    let _ = deed.handle.await;
    if let Some(abandoned) = deed.abandoned {
        sleep_until(abandoned + LAST_BREATH).await;
    }
}

fn say(inputs: &mpsc::UnboundedSender<Input>, host: HostIndex) -> Say {
    let inputs = inputs.clone();
    Arc::new(move |phase| {
        let _ = inputs.send(Input::Progress { host, phase });
    })
}

/// A host that was turned away tells how much the API server bears.
fn tell_pressure(failure: &StageFailure, inputs: &mpsc::UnboundedSender<Input>) {
    if let Some(retry_after) = fault::crowded(failure) {
        let _ = inputs.send(Input::Pressure {
            limit: LimitKey::API_SERVER,
            pressure: Pressure::TooManyRequests { retry_after },
        });
    }
}

async fn within<T>(
    deadline: Timestamp,
    what: &str,
    work: impl Future<Output = Result<T, StageFailure>>,
) -> Result<T, StageFailure> {
    match tokio::time::timeout(until(deadline), work).await {
        Ok(result) => result,
        Err(_) => Err(StageFailure::transient(
            muster_rollout::failure_ids::ATTEMPT_TIMED_OUT,
            format!("{what} had no answer in its time"),
        )),
    }
}

fn journal_failure(error: &StoreFailure) -> StageFailure {
    StageFailure::terminal("journal-unwritable", fault::chain(error))
        .with_cure("see that the state directory can be written and has room, then resume")
}

fn until(deadline: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()
}

fn instant_of(at: Option<Timestamp>) -> Instant {
    /// Without a wish: some time, after which nothing happens.
    const IDLE: Duration = Duration::from_secs(3600);
    Instant::now() + at.map_or(IDLE, until).min(IDLE)
}

//! The join of one machine: take up what was left, look at machine and cluster side by side, then carry out the saga.

mod standing;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use muster_handshake::ExistingNode;
use muster_host::Host;
use muster_kubeadm::shared_certs::CertificateKey;
use muster_plan::{
    ClusterAnswers, Facts, Finding, JoinRequest, Part, Phase, Plan, SecretBag, SecretName, Step,
    StepContent, findings_with_cluster, plan,
};
use muster_saga::{Driver, Halt, Header, OnFailure, Outcome, SagaId, Start, Status, StepId};
use tokio_util::sync::CancellationToken;

use crate::cluster::{ApiCluster, Cluster, Credential, NodeCredentials};
use crate::error::Aftermath;
use crate::events::PlannedEvent;
use crate::journal::Told;
use crate::preflight::{completed, millis, preflight};
use crate::run::{Ended, Plane, Run, kubelet_was_begun};
use crate::state_dir::StateDir;
use crate::{Event, EventSink, JoinError, Journal, reset};

use standing::Standing;

/// The kind of saga that a join is, in the journal.
pub(crate) const KIND: &str = "join";
/// How long a cluster may still add to what already stops a join.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How a machine is to be joined.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// What is asked for.
    pub request: JoinRequest,
    /// What lets it in. Never journalled.
    pub credential: Credential,
    /// Only say what would be done, after everything was looked at for real.
    pub dry_run: bool,
    /// Leave a failed join as it is instead of taking it back.
    pub keep_on_failure: bool,
    /// Asks to stop: everything is taken back, then the join ends with `interrupted`.
    pub cancel: CancellationToken,
    /// Fills keys; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
    /// Opens the certificates that control-plane nodes share. Never journalled.
    pub certificate_key: Option<CertificateKey>,
}

/// A join that ended well.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// The node's name.
    pub node_name: String,
    /// The API server.
    pub server: String,
    /// It was a node before this call.
    pub already: bool,
    /// What would be done, if that was all that was asked for.
    pub planned: Option<Plan>,
}

/// Joins this machine: with the journal below the host's root, against a real cluster.
///
/// # Errors
/// [`JoinError`]; also told as [`Event::Failed`].
pub async fn join(
    options: &JoinOptions,
    host: Arc<dyn Host>,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    let cluster = ApiCluster::new(options.credential.clone());
    let result = join_here(options, &*host, &cluster, events).await;
    if let Err(error) = &result {
        tell_failure(error, events);
    }
    result
}

pub(crate) fn tell_failure(error: &JoinError, events: &EventSink) {
    events.tell(Event::Failed {
        id: error.id().to_owned(),
        message: error.message(),
        remedy: error.remedy(),
        exit_code: error.exit_code(),
    });
}

pub(crate) async fn join_here(
    options: &JoinOptions,
    host: &dyn Host,
    cluster: &dyn Cluster,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    // A rehearsal leaves no trace, not even an empty journal.
    if options.dry_run && !StateDir::exists(host.root()) {
        return Join::new(options, host, cluster, events).rehearse().await;
    }
    let state = StateDir::open(host.root())?;
    let result = join_with(options, host, cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    let joined = result?;
    settled?;
    Ok(joined)
}

/// Joins a host, with a given journal and cluster.
///
/// # Errors
/// [`JoinError`].
pub async fn join_with(
    options: &JoinOptions,
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    let join = Join::new(options, host, cluster, events);
    if !options.dry_run {
        reset::finish_unfinished(host, cluster, journal, events).await?;
    }
    let standing = join.standing(journal).await?;
    if options.dry_run {
        return match standing {
            Standing::Already(told) => {
                // Also here a rehearsal cannot succeed with a wrong token.
                join.introduce(ExistingNode::TakeOver).await?;
                join.already(&told).await
            }
            _ => join.rehearse().await,
        };
    }
    match join.clear_the_way(journal, standing).await? {
        Standing::Already(told) => join.already(&told).await,
        Standing::Unfinished(told) => join.resume(journal, told).await,
        _ => join.afresh(journal).await,
    }
}

/// Carries out some parts of a join, and leaves the rest to a later call: the journal says where to go on, whatever
/// endpoint that call names. A call that begins a join must begin with its first phase. One that fails takes back what
/// it did itself.
///
/// # Errors
/// [`JoinError`]; also told as [`Event::Failed`].
pub async fn join_phases(
    options: &JoinOptions,
    parts: &[Part],
    host: Arc<dyn Host>,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    let cluster = ApiCluster::new(options.credential.clone());
    let result = phases_here(options, parts, &*host, &cluster, events).await;
    if let Err(error) = &result {
        tell_failure(error, events);
    }
    result
}

/// Whether this machine's journal tells of a join that was not taken back.
///
/// # Errors
/// [`JoinError`] when it cannot be read.
pub async fn is_join_begun(host: &dyn Host) -> Result<bool, JoinError> {
    if !StateDir::exists(host.root()) {
        return Ok(false);
    }
    let told = StateDir::open(host.root())?.journal().tell().await;
    let told = told
        .map_err(|source| JoinError::Journal { source })?
        .map_err(|source| JoinError::JournalDamaged { source })?;
    let mut joins = told
        .iter()
        .filter(|told| told.state.header().kind == KIND && !told.is_over());
    Ok(joins.next().is_some())
}

async fn phases_here(
    options: &JoinOptions,
    parts: &[Part],
    host: &dyn Host,
    cluster: &dyn Cluster,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    let state = StateDir::open(host.root())?;
    let result = parts_with(options, parts, host, cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    let joined = result?;
    settled?;
    Ok(joined)
}

async fn parts_with(
    options: &JoinOptions,
    parts: &[Part],
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<Joined, JoinError> {
    let mut join = Join::new(options, host, cluster, events);
    join.parts = Some(parts);
    let standing = join.standing(journal).await?;
    match join.clear_the_way(journal, standing).await? {
        Standing::Already(told) => join.already(&told).await,
        Standing::Unfinished(told) => join.resume(journal, told).await,
        _ => join.afresh(journal).await,
    }
}

/// One join with everything it works with.
struct Join<'a> {
    /// Only these, if only some were asked for.
    parts: Option<&'a [Part]>,
    options: &'a JoinOptions,
    host: &'a dyn Host,
    cluster: &'a dyn Cluster,
    events: &'a EventSink,
    started: Instant,
}

impl<'a> Join<'a> {
    fn new(
        options: &'a JoinOptions,
        host: &'a dyn Host,
        cluster: &'a dyn Cluster,
        events: &'a EventSink,
    ) -> Self {
        Self {
            parts: None,
            options,
            host,
            cluster,
            events,
            started: Instant::now(),
        }
    }

    fn node_name(&self) -> String {
        self.options.request.node_name.to_string()
    }

    fn on_failure(&self) -> OnFailure {
        if self.options.keep_on_failure {
            OnFailure::Keep
        } else if self.parts.is_some() {
            OnFailure::Retreat
        } else {
            OnFailure::Unwind
        }
    }

    fn run(&self) -> Run<'a> {
        Run {
            host: self.host,
            cluster: self.cluster,
            events: self.events,
            cancel: self.options.cancel.clone(),
            entropy: self.options.entropy,
            keep: self.options.keep_on_failure,
            node_name: self.node_name(),
            secrets: SecretBag::new(),
            plane: Plane::new(self.options.certificate_key.clone()),
        }
    }

    async fn introduce(&self, existing: ExistingNode) -> Result<ClusterAnswers, JoinError> {
        let started = Instant::now();
        self.events.tell(Event::PhaseStarted {
            phase: Phase::Discovery,
        });
        let tell = |progress| self.events.tell_progress(progress);
        let node = &self.options.request.node_name;
        let introduction = self.cluster.introduce(node, existing, &tell);
        let answers = tokio::select! {
            answers = introduction => answers.map_err(JoinError::Handshake)?,
            () = self.options.cancel.cancelled() => {
                return Err(JoinError::Interrupted {
                    aftermath: Aftermath::Undone { left_behind: Vec::new() },
                });
            }
        };
        self.events.tell(completed(Phase::Discovery, started));
        Ok(answers)
    }

    /// What both say, asked at once. A machine that cannot join does not wait for a cluster that does not answer: its
    /// faults would be told minutes late.
    async fn machine_and_cluster(&self) -> Result<(Facts, ClusterAnswers), JoinError> {
        let mut looking = pin!(preflight(self.host, &self.options.request, self.events));
        let mut introduction = pin!(self.introduce(ExistingNode::Refuse));
        let (facts, findings) = tokio::select! {
            looked = &mut looking => looked?,
            answers = &mut introduction => {
                let answers = answers?;
                return Ok((looking.await?.0, answers));
            }
        };
        if !findings.iter().any(Finding::is_fatal) {
            return Ok((facts, introduction.await?));
        }
        match tokio::time::timeout(LAST_WORD, introduction).await {
            Ok(answers) => Ok((facts, answers?)),
            Err(_) => Err(JoinError::Preflight { findings }),
        }
    }

    /// Machine and cluster side by side; both must be well. A wrong credential ends it at once, whatever the machine
    /// is still being asked; findings are events as they come.
    async fn look(&self) -> Result<(Facts, ClusterAnswers, Plan), JoinError> {
        let request = &self.options.request;
        let (facts, answers) = self.machine_and_cluster().await?;
        let plan = plan(&facts, request, &answers).map_err(|source| JoinError::Plan { source })?;
        let found = match request.control_plane {
            None => findings_with_cluster(&facts, request, &answers),
            Some(_) => plan.findings.clone(),
        };
        for finding in found {
            self.events.tell(Event::Finding { finding });
        }
        if plan.fatal().next().is_some() {
            return Err(JoinError::Preflight {
                findings: plan.findings,
            });
        }
        Ok((facts, answers, plan))
    }

    /// Everything but the deeds.
    async fn rehearse(&self) -> Result<Joined, JoinError> {
        let (_, answers, plan) = self.look().await?;
        let steps = plan.steps.iter().map(|planned| PlannedEvent {
            step: planned.id.clone(),
            phase: planned.phase,
            description: planned.step.description(),
            undo: planned.step.undo(),
        });
        self.events.tell(Event::Planned {
            steps: steps.collect(),
            page: plan.render(),
        });
        Ok(Joined {
            node_name: self.node_name(),
            server: answers.server,
            already: false,
            planned: Some(plan),
        })
    }

    async fn afresh(&self, journal: &Journal) -> Result<Joined, JoinError> {
        let (_, _, plan) = self.look().await?;
        let started = Timestamp::now();
        let id = SagaId::new(format!("{KIND}-{}", started.strftime("%Y%m%dT%H%M%S.%6f")));
        let header = Header {
            kind: KIND.to_owned(),
            id: id.clone(),
            started,
            parameters: serde_json::json!(plan.parameters),
            definition: plan
                .definition()
                .map_err(|source| JoinError::Plan { source })?,
        };
        let mut driver = Driver::begin(header, self.on_failure());
        let ended = self
            .run()
            .run_within(&mut driver, &journal.of(id), self.parts)
            .await?;
        self.conclude(ended).await
    }

    async fn resume(&self, journal: &Journal, told: Told) -> Result<Joined, JoinError> {
        let mut driver = Driver::resume(&told.entries, Start::GoOn, self.on_failure())
            .map_err(|source| JoinError::JournalDamaged { source })?;
        let steps = told.state.header().definition.steps().iter();
        let done = steps
            .filter(|s| told.state.status_of(&s.id) == Status::Done)
            .count();
        self.events.tell(Event::Resuming {
            node_name: self.node_name(),
            endpoint: self.options.request.endpoint.to_string(),
            steps_done: done,
        });
        let certificate = StepId::new("request-certificate");
        let definition = &told.state.header().definition;
        // Labels that only an administrator may set need the one who let us in.
        let marks = definition.steps().iter().any(|spec| {
            let admin = |step: &Step| {
                matches!(step, Step::MarkNode { admin_labels, .. } if !admin_labels.is_empty())
            };
            StepContent::of(spec).is_ok_and(|content| admin(&content.step))
                && told.state.status_of(&spec.id) != Status::Done
        });
        let asks = definition.steps().iter().any(|spec| spec.id == certificate)
            && told.state.status_of(&certificate) != Status::Done;
        // Shared certificates that are not on disk yet are fetched again, as whoever let us in.
        let shares = definition.steps().iter().any(|spec| {
            let shared = |step: &Step| {
                matches!(
                    step,
                    Step::WriteMade {
                        secret: SecretName::Shared(_),
                        ..
                    }
                ) || matches!(step, Step::PrepareControlPlane { fetch: true, .. })
            };
            StepContent::of(spec).is_ok_and(|content| shared(&content.step))
                && told.state.status_of(&spec.id) != Status::Done
        });
        if asks || marks || shares {
            // The Ready node of our name can only be another machine, unless our kubelet has already run.
            let begun = kubelet_was_begun(&driver);
            let existing = if begun {
                ExistingNode::TakeOver
            } else {
                ExistingNode::Refuse
            };
            self.introduce(existing).await?;
        }
        let ended = self
            .run()
            .run_within(&mut driver, &journal.of(told.id), self.parts)
            .await?;
        self.conclude(ended).await
    }

    async fn conclude(&self, ended: Ended) -> Result<Joined, JoinError> {
        let Ended {
            halt,
            failure,
            interrupted,
            left_at,
        } = ended;
        if left_at.is_some() {
            // Well so far; the rest is another call's.
            return Ok(Joined {
                node_name: self.node_name(),
                server: self.options.request.endpoint.url(),
                already: false,
                planned: None,
            });
        }
        let aftermath = match halt {
            Halt::Finished(Outcome::Done) => return self.joined(false).await,
            Halt::Finished(Outcome::Stuck { left_behind }) => {
                let cause = failure.map(|(_, failure)| failure);
                return Err(JoinError::UndoIncomplete { left_behind, cause });
            }
            Halt::Finished(Outcome::Undone { left_behind }) => {
                self.host.forget_backups().await.map_err(JoinError::Host)?;
                Aftermath::Undone { left_behind }
            }
            Halt::Retreated { left_behind } => Aftermath::Undone { left_behind },
            Halt::Kept { .. } => Aftermath::Kept,
        };
        match failure {
            Some((step, failure)) if !interrupted => Err(JoinError::Step {
                step,
                failure,
                aftermath,
            }),
            _ => Err(JoinError::Interrupted { aftermath }),
        }
    }

    async fn joined(&self, already: bool) -> Result<Joined, JoinError> {
        let credentials = NodeCredentials::read(self.host)
            .await
            .map_err(JoinError::Host)?;
        let server = credentials.map_or_else(
            || self.options.request.endpoint.url(),
            |credentials| credentials.server,
        );
        self.events.tell(Event::Joined {
            node_name: self.node_name(),
            server: server.clone(),
            already,
            elapsed_ms: millis(self.started),
        });
        Ok(Joined {
            node_name: self.node_name(),
            server,
            already,
            planned: None,
        })
    }
}

#[cfg(test)]
mod tests;

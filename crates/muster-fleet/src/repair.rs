//! What `muster preflight --fix` does and takes back: a saga of its own kind beside the joins.

use std::sync::Arc;

use jiff::Timestamp;
use muster_host::Host;
use muster_plan::{JoinRequest, PlannedStep, RepairFiles, SecretBag, repairs};
use muster_saga::{Driver, Halt, Header, OnFailure, Outcome, Residue, SagaId, SagaStatus, Start};
use tokio_util::sync::CancellationToken;

use crate::cluster::{ApiCluster, Cluster};
use crate::error::Aftermath;
use crate::join::tell_failure;
use crate::journal::Told;
use crate::preflight::subject;
use crate::reset::definition;
use crate::run::{Plane, Run};
use crate::state_dir::StateDir;
use crate::{EventSink, JoinError, Journal};

/// The kind of saga that a repair is, in the journal.
pub(crate) const KIND: &str = "repair";

/// The steps that would mend this machine. Changes nothing.
///
/// # Errors
/// [`JoinError::Host`] when the machine cannot be looked at.
pub async fn plan_repairs(
    request: &JoinRequest,
    host: &dyn Host,
) -> Result<Vec<PlannedStep>, JoinError> {
    let subject = subject(request);
    let facts = host.gather_for(&subject).await.map_err(JoinError::Host)?;
    let mut texts = Vec::new();
    for path in RepairFiles::PATHS {
        let content = host.read(path).await.map_err(JoinError::Host)?;
        let text = content.and_then(|content| String::from_utf8(content.expose().clone()).ok());
        texts.push(text);
    }
    let [fstab, modules_conf, sysctl_conf] = [0, 1, 2].map(|at| texts.get(at).cloned().flatten());
    let files = RepairFiles {
        fstab,
        modules_conf,
        sysctl_conf,
    };
    Ok(repairs(&facts, request, &files))
}

/// Mends this machine with these steps; one that fails takes everything back.
///
/// # Errors
/// [`JoinError`]; also told as [`crate::Event::Failed`].
pub async fn repair(
    steps: &[PlannedStep],
    host: Arc<dyn Host>,
    events: &EventSink,
) -> Result<(), JoinError> {
    let cluster = ApiCluster::of_node(None);
    let state = StateDir::open(host.root())?;
    let result = repair_with(steps, &*host, &cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    if let Err(error) = &result {
        tell_failure(error, events);
    }
    result?;
    settled
}

/// Takes back every repair on this machine, and names what is left. `None` when there is none.
///
/// # Errors
/// [`JoinError`]; also told as [`crate::Event::Failed`].
pub async fn undo_repairs(
    host: Arc<dyn Host>,
    events: &EventSink,
) -> Result<Option<Vec<Residue>>, JoinError> {
    if !StateDir::exists(host.root()) {
        return Ok(None);
    }
    let cluster = ApiCluster::of_node(None);
    let state = StateDir::open(host.root())?;
    let result = undo_repairs_with(&*host, &cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    if let Err(error) = &result {
        tell_failure(error, events);
    }
    let left = result?;
    settled?;
    Ok(left)
}

fn run<'a>(host: &'a dyn Host, cluster: &'a dyn Cluster, events: &'a EventSink) -> Run<'a> {
    Run {
        host,
        cluster,
        events,
        // It is over in a moment, and takes itself back when it fails.
        cancel: CancellationToken::new(),
        entropy: |_| {},
        keep: false,
        node_name: String::new(),
        secrets: SecretBag::new(),
        plane: Plane::default(),
    }
}

/// Mends a host, with a given journal. A repair that was cut off is taken back first.
///
/// # Errors
/// [`JoinError`].
pub async fn repair_with(
    steps: &[PlannedStep],
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<(), JoinError> {
    for told in live(journal).await? {
        if told.state.status() != SagaStatus::Done {
            take_back(host, cluster, journal, events, told).await?;
        }
    }
    let started = Timestamp::now();
    let stamp = started.strftime("%Y%m%dT%H%M%S.%9f");
    let id = SagaId::new(format!("{KIND}-{stamp}"));
    let header = Header {
        kind: KIND.to_owned(),
        id: id.clone(),
        started,
        parameters: serde_json::Value::Null,
        definition: definition(&named(steps, &stamp.to_string()))?,
    };
    let mut driver = Driver::begin(header, OnFailure::Unwind);
    let mut run = run(host, cluster, events);
    let ended = run.run(&mut driver, &journal.of(id)).await?;
    match ended.halt {
        Halt::Finished(Outcome::Done) => Ok(()),
        Halt::Finished(Outcome::Stuck { left_behind }) => Err(JoinError::UndoIncomplete {
            left_behind,
            cause: ended.failure.map(|(_, failure)| failure),
        }),
        Halt::Finished(Outcome::Undone { left_behind }) | Halt::Retreated { left_behind } => {
            Err(match ended.failure {
                Some((step, failure)) => JoinError::Step {
                    step,
                    failure,
                    aftermath: Aftermath::Undone { left_behind },
                },
                None => JoinError::Interrupted {
                    aftermath: Aftermath::Undone { left_behind },
                },
            })
        }
        Halt::Kept { step, failure } => Err(JoinError::Step {
            step: step.to_string(),
            failure,
            aftermath: Aftermath::Kept,
        }),
    }
}

/// Backups are named after steps: two repairs of one machine must not share them.
fn named(steps: &[PlannedStep], stamp: &str) -> Vec<PlannedStep> {
    let name = |id: &String| format!("{id}-{stamp}");
    steps
        .iter()
        .map(|step| PlannedStep {
            id: name(&step.id),
            after: step.after.iter().map(name).collect(),
            ..step.clone()
        })
        .collect()
}

/// Takes back every repair, the latest first.
///
/// # Errors
/// [`JoinError`].
pub async fn undo_repairs_with(
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<Option<Vec<Residue>>, JoinError> {
    let live = live(journal).await?;
    if live.is_empty() {
        return Ok(None);
    }
    let mut left = Vec::new();
    for told in live.into_iter().rev() {
        left.extend(take_back(host, cluster, journal, events, told).await?);
    }
    host.forget_backups().await.map_err(JoinError::Host)?;
    Ok(Some(left))
}

async fn live(journal: &Journal) -> Result<Vec<Told>, JoinError> {
    let told = journal
        .tell()
        .await
        .map_err(|source| JoinError::Journal { source })?;
    let told = told.map_err(|source| JoinError::JournalDamaged { source })?;
    let ours = told
        .into_iter()
        .filter(|told| told.state.header().kind == KIND);
    Ok(ours.filter(|told| !told.is_over()).collect())
}

async fn take_back(
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
    told: Told,
) -> Result<Vec<Residue>, JoinError> {
    let start = Start::TakeBack {
        reason: "the repair is taken back".into(),
    };
    let mut driver = Driver::resume(&told.entries, start, OnFailure::Unwind)
        .map_err(|source| JoinError::JournalDamaged { source })?;
    let mut run = run(host, cluster, events);
    let ended = run.run(&mut driver, &journal.of(told.id)).await?;
    ended.taken_back()
}

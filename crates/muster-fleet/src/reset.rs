//! Taking a machine out of its cluster: the journal backwards; without a journal only what is provably ours.

use std::path::PathBuf;
use std::sync::Arc;

use muster_host::{Host, Prior};
use muster_plan::{
    Parameters, Process, ResetPlan, SecretBag, SecretName, Step, StepContent, UNIT_MARK, paths,
    reset_without_journal,
};
use muster_saga::{Driver, Halt, OnFailure, Outcome, Residue, SagaStatus, Start};
use tokio_util::sync::CancellationToken;

use crate::cluster::{ApiCluster, Cluster};
use crate::join::tell_failure;
use crate::journal::Told;
use crate::run::Run;
use crate::state_dir::StateDir;
use crate::{EventSink, JoinError, Journal};

/// How a machine is to be reset.
#[derive(Clone, Debug, Default)]
pub struct ResetOptions {
    /// An administrator's kubeconfig, for what a node may not do itself: deleting its Node object.
    pub admin_kubeconfig: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// How a reset ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetOutcome {
    /// There was nothing of ours.
    Nothing {
        /// What looks like a joined node, but is not provably ours.
        left_behind: Vec<Residue>,
    },
    /// The machine is as it was before the join.
    Clean {
        /// What lies beyond the machine's reach, such as the Node object.
        left_behind: Vec<Residue>,
    },
    /// What would be taken back, in that order.
    Planned {
        /// One line each.
        undo: Vec<String>,
    },
}

impl ResetOutcome {
    /// What is left, empty when nothing is.
    #[must_use]
    pub fn left_behind(&self) -> &[Residue] {
        match self {
            Self::Nothing { left_behind } | Self::Clean { left_behind } => left_behind,
            Self::Planned { .. } => &[],
        }
    }
}

/// Resets this machine.
///
/// # Errors
/// [`JoinError`], above all [`JoinError::UndoIncomplete`]; also told as [`crate::Event::Failed`].
pub async fn reset(
    options: &ResetOptions,
    host: Arc<dyn Host>,
    events: &EventSink,
) -> Result<ResetOutcome, JoinError> {
    let cluster = ApiCluster::of_node(options.admin_kubeconfig.clone());
    let result = reset_here(options, &*host, &cluster, events).await;
    if let Err(error) = &result {
        tell_failure(error, events);
    }
    result
}

pub(crate) async fn reset_here(
    options: &ResetOptions,
    host: &dyn Host,
    cluster: &dyn Cluster,
    events: &EventSink,
) -> Result<ResetOutcome, JoinError> {
    if !StateDir::exists(host.root()) {
        return without_journal(options, host).await;
    }
    let state = StateDir::open(host.root())?;
    let result = reset_with(options, host, cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    let outcome = result?;
    settled?;
    Ok(outcome)
}

/// Resets a host, with a given journal and cluster.
///
/// # Errors
/// [`JoinError`].
pub async fn reset_with(
    options: &ResetOptions,
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<ResetOutcome, JoinError> {
    let told = journal
        .tell()
        .await
        .map_err(|source| JoinError::Journal { source })?;
    let told = told.map_err(|source| JoinError::JournalDamaged { source })?;
    let live: Vec<Told> = told
        .into_iter()
        .filter(|told| told.state.status() != SagaStatus::Undone)
        .collect();
    if live.is_empty() || is_anothers_node(host, &live).await? {
        return without_journal(options, host).await;
    }
    if options.dry_run {
        return Ok(ResetOutcome::Planned {
            undo: live.iter().rev().flat_map(lines).collect(),
        });
    }
    let mut left_behind = Vec::new();
    // The latest first, as it may stand on the earlier ones.
    for told in live.into_iter().rev() {
        left_behind.extend(take_back(host, cluster, journal, events, told).await?);
    }
    host.forget_backups().await.map_err(JoinError::Host)?;
    Ok(ResetOutcome::Clean { left_behind })
}

/// Whether another tool has joined this machine since: a kubelet keeps every certificate that it ever had, so where
/// there is one in use but not the one that our join wrote, the files at the journal's paths are no longer ours.
async fn is_anothers_node(host: &dyn Host, live: &[Told]) -> Result<bool, JoinError> {
    let Some(told) = live.last() else {
        return Ok(false);
    };
    if told.state.status() != SagaStatus::Done {
        return Ok(false);
    }
    let ours = told.state.header().definition.steps().iter();
    let ours = ours.filter_map(|spec| match StepContent::of(spec).ok()?.step {
        Step::WriteSecret {
            path,
            secret: SecretName::KubeletClient,
        } => Some(path),
        _ => None,
    });
    for path in ours {
        if host.read(&path).await.map_err(JoinError::Host)?.is_some() {
            return Ok(false);
        }
    }
    let current = host.read(paths::KUBELET_CLIENT_CURRENT).await;
    Ok(current.map_err(JoinError::Host)?.is_some())
}

/// The undo of every step that may have left traces, the latest first.
fn lines(told: &Told) -> Vec<String> {
    let mut steps: Vec<_> = told
        .state
        .header()
        .definition
        .steps()
        .iter()
        .filter_map(|spec| {
            let begun = told.state.step(&spec.id)?.begun?;
            (told.state.status_of(&spec.id).may_have_traces()).then_some((begun, spec.undo.clone()))
        })
        .collect();
    steps.sort_by_key(|(begun, _)| std::cmp::Reverse(*begun));
    steps.into_iter().map(|(_, undo)| undo).collect()
}

async fn take_back(
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
    told: Told,
) -> Result<Vec<Residue>, JoinError> {
    let parameters: Option<Parameters> =
        serde_json::from_value(told.state.header().parameters.clone()).ok();
    let mut run = Run {
        host,
        cluster,
        events,
        // Nothing stops a reset half-way but the end of the process; the journal goes on from there.
        cancel: CancellationToken::new(),
        entropy: |_| {},
        keep: false,
        node_name: parameters.map_or_else(String::new, |parameters| parameters.node_name),
        secrets: SecretBag::new(),
    };
    let start = Start::TakeBack {
        reason: "reset".into(),
    };
    let mut driver = Driver::resume(&told.entries, start, OnFailure::Unwind)
        .map_err(|source| JoinError::JournalDamaged { source })?;
    let ended = run.run(&mut driver, &journal.of(told.id)).await?;
    match ended.halt {
        Halt::Finished(Outcome::Stuck { left_behind }) => Err(JoinError::UndoIncomplete {
            left_behind,
            cause: None,
        }),
        Halt::Finished(outcome) => Ok(outcome.left_behind().to_vec()),
        Halt::Kept { .. } => Ok(Vec::new()),
    }
}

async fn without_journal(
    options: &ResetOptions,
    host: &dyn Host,
) -> Result<ResetOutcome, JoinError> {
    let facts = host.gather().await.map_err(JoinError::Host)?;
    let unit = format!("{}/{}", paths::UNIT_DIR, paths::MUSTER_KUBELET_UNIT);
    let text = host.read(&unit).await.map_err(JoinError::Host)?;
    let our_unit = text.is_some_and(|text| text.expose().starts_with(UNIT_MARK.as_bytes()));
    let process = Process::Supervised {
        pidfile: paths::KUBELET_PID.into(),
        log: paths::KUBELET_LOG.into(),
    };
    let our_process = host
        .health(&process)
        .await
        .map_err(JoinError::Host)?
        .running;
    let ResetPlan {
        take_back,
        left_behind,
    } = reset_without_journal(&facts, host.root(), our_unit, our_process);
    if options.dry_run {
        return Ok(ResetOutcome::Planned {
            undo: take_back.iter().map(Step::undo).collect(),
        });
    }
    if take_back.is_empty() {
        return Ok(ResetOutcome::Nothing { left_behind });
    }
    for step in &take_back {
        let prior = nothing_before(step);
        host.undo("reset", step, &prior)
            .await
            .map_err(JoinError::Host)?;
    }
    Ok(ResetOutcome::Clean { left_behind })
}

/// As if nothing had been there before the step: what its mark proves.
fn nothing_before(step: &Step) -> Prior {
    match step {
        Step::SpawnSupervised { .. } => Prior::Process { running: false },
        Step::StartService { .. } | Step::EnableService { .. } => Prior::Service {
            active: false,
            enabled: false,
        },
        _ => Prior::Absent,
    }
}

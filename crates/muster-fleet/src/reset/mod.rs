//! Taking a machine out of its cluster: the journal backwards; without a journal only what its content proves.
//!
//! What is removed for good is a saga of its own (`reset`), recorded before the deed: one that is cut off goes on where
//! it stopped. Whatever stays is named with how to remove it.

mod etcd;
mod foreign;
mod member;

pub use member::{Membership, remove_etcd_member};

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use muster_host::{Host, Prior};
use muster_plan::{
    Parameters, Process, ResetWishes, SecretBag, SecretName, Step, StepContent, UNIT_MARK,
    optional_purges, paths, reset_without_journal,
};
use muster_saga::{
    Definition, Driver, Halt, Header, OnFailure, Residue, SagaId, SagaStatus, Start,
};
use tokio_util::sync::CancellationToken;

use crate::cluster::{ApiCluster, Cluster};
use crate::error::Aftermath;
use crate::join::{KIND as JOIN, tell_failure};
use crate::journal::Told;
use crate::run::{Farewell, Plane, Run};
use crate::state_dir::StateDir;
use crate::{EventSink, JoinError, Journal};

/// The kind of saga that removes things for good.
pub(crate) const KIND: &str = "reset";

/// How a machine is to be reset.
#[derive(Clone, Debug, Default)]
pub struct ResetOptions {
    /// An administrator's kubeconfig, for what a node may not do itself: deleting its Node object.
    pub admin_kubeconfig: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What goes beyond what the journal tells.
    pub wishes: ResetWishes,
    /// Leave the etcd member that runs here in its cluster, and its data where it is.
    pub keep_etcd_member: bool,
}

/// How a reset ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetOutcome {
    /// There was nothing to take back.
    Nothing {
        /// What lies beyond the machine's reach.
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
        /// What would stay.
        left_behind: Vec<Residue>,
    },
}

impl ResetOutcome {
    /// What is left, empty when nothing is.
    #[must_use]
    pub fn left_behind(&self) -> &[Residue] {
        match self {
            Self::Nothing { left_behind }
            | Self::Clean { left_behind }
            | Self::Planned { left_behind, .. } => left_behind,
        }
    }
}

/// Resets this machine.
///
/// # Errors
/// [`JoinError`], above all [`JoinError::UndoIncomplete`] when something stays on the machine; also told as
/// [`crate::Event::Failed`].
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
    // Looking leaves no trace, not even an empty journal.
    if !StateDir::exists(host.root()) && (options.dry_run || nothing_to_do(options, host).await?) {
        let reset = Reset::new(options, host, cluster, events);
        return reset.plan(&[]).await;
    }
    let state = StateDir::open(host.root())?;
    let result = reset_with(options, host, cluster, &state.journal(), events).await;
    let settled = state.settle().await;
    let outcome = result?;
    settled?;
    Ok(outcome)
}

async fn nothing_to_do(options: &ResetOptions, host: &dyn Host) -> Result<bool, JoinError> {
    let proof = foreign::look(host, options, false).await?;
    let ours = marks(host).await?;
    let further = optional_purges(&options.wishes);
    Ok(proof.plan.steps.is_empty() && ours.is_empty() && further.is_empty())
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
    let reset = Reset::new(options, host, cluster, events);
    let live = live(journal).await?;
    if options.dry_run {
        return reset.plan(&live).await;
    }
    let mut left_behind = reset.finish(journal).await?;
    let mut did = !left_behind.is_empty();
    let (joins, others): (Vec<Told>, Vec<Told>) = live
        .into_iter()
        .filter(|told| kind(told) != KIND)
        .partition(|told| kind(told) == JOIN);
    let anothers = is_anothers_node(host, &joins).await?;
    // The latest first, as it may stand on the earlier ones. What another tool has removed and made anew is no longer
    // ours: its content proves what it is, as where there is no journal.
    let (joins, gone) = if anothers {
        (Vec::new(), joins)
    } else {
        (joins, Vec::new())
    };
    for told in gone {
        reset.write_off(journal, told).await?;
    }
    let journalled = !joins.is_empty();
    for told in joins.into_iter().rev().chain(others.into_iter().rev()) {
        did = true;
        left_behind.extend(reset.take_back(journal, told).await?);
    }
    if !journalled {
        let parting = reset.part_from_etcd().await?;
        let marked = reset.take_back_marked().await?;
        let (removed, left) = reset.remove_foreign(journal, parting).await?;
        did |= marked || removed;
        left_behind.extend(left);
    }
    let further = optional_purges(&options.wishes);
    if !further.is_empty() {
        did = true;
        left_behind.extend(reset.remove_for_good(journal, further).await?);
    }
    host.forget_backups().await.map_err(JoinError::Host)?;
    reset.conclude(did, left_behind)
}

/// Finishes resets that were cut off: nothing else may begin before.
///
/// # Errors
/// [`JoinError`].
pub(crate) async fn finish_unfinished(
    host: &dyn Host,
    cluster: &dyn Cluster,
    journal: &Journal,
    events: &EventSink,
) -> Result<(), JoinError> {
    let options = ResetOptions::default();
    let reset = Reset::new(&options, host, cluster, events);
    reset.finish(journal).await.map(drop)
}

fn kind(told: &Told) -> &str {
    &told.state.header().kind
}

/// The sagas that have something left to take back or to finish, the oldest first.
async fn live(journal: &Journal) -> Result<Vec<Told>, JoinError> {
    let told = journal
        .tell()
        .await
        .map_err(|source| JoinError::Journal { source })?;
    let told = told.map_err(|source| JoinError::JournalDamaged { source })?;
    Ok(told.into_iter().filter(|told| !told.is_over()).collect())
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

/// Steps whose effect carries our mark, to be undone as if nothing had been there before.
async fn marks(host: &dyn Host) -> Result<Vec<Step>, JoinError> {
    let unit = format!("{}/{}", paths::UNIT_DIR, paths::MUSTER_KUBELET_UNIT);
    let text = host.read(&unit).await.map_err(JoinError::Host)?;
    let our_unit = text.is_some_and(|text| text.expose().starts_with(UNIT_MARK.as_bytes()));
    let process = Process::Supervised {
        pidfile: paths::KUBELET_PID.into(),
        log: paths::KUBELET_LOG.into(),
    };
    let health = host.health(&process).await.map_err(JoinError::Host)?;
    Ok(reset_without_journal(our_unit, health.running).take_back)
}

/// What lies in the cluster is out of the machine's reach; everything else makes it unclean.
fn is_of_machine(residue: &Residue) -> bool {
    !residue.what.ends_with(" in the cluster")
}

/// One reset with everything it works with.
struct Reset<'a> {
    options: &'a ResetOptions,
    host: &'a dyn Host,
    cluster: &'a dyn Cluster,
    events: &'a EventSink,
}

impl<'a> Reset<'a> {
    fn new(
        options: &'a ResetOptions,
        host: &'a dyn Host,
        cluster: &'a dyn Cluster,
        events: &'a EventSink,
    ) -> Self {
        Self {
            options,
            host,
            cluster,
            events,
        }
    }

    fn run(&self, node_name: String) -> Run<'a> {
        Run {
            host: self.host,
            cluster: self.cluster,
            events: self.events,
            // Nothing stops a reset half-way but the end of the process; the journal goes on from there.
            cancel: CancellationToken::new(),
            entropy: |_| {},
            keep: false,
            node_name,
            secrets: SecretBag::new(),
            plane: Plane::leaving(if self.options.keep_etcd_member {
                Farewell::Stays
            } else {
                Farewell::EvenLast
            }),
        }
    }

    /// What would be done.
    async fn plan(&self, live: &[Told]) -> Result<ResetOutcome, JoinError> {
        let joins: Vec<Told> = live
            .iter()
            .filter(|told| kind(told) == JOIN)
            .cloned()
            .collect();
        let anothers = is_anothers_node(self.host, &joins).await?;
        let ours = live.iter().filter(|told| kind(told) != JOIN || !anothers);
        let mut undo: Vec<String> = ours.rev().flat_map(lines).collect();
        let mut left_behind = Vec::new();
        if anothers || joins.is_empty() {
            undo.extend(marks(self.host).await?.iter().map(Step::undo));
            let found = foreign::look(self.host, self.options, true).await?;
            if let Some(member) = found.member.filter(|_| !self.options.keep_etcd_member) {
                undo.push(format!(
                    "remove etcd member {} from its cluster, if the others can go on",
                    member.name
                ));
            }
            undo.extend(found.plan.steps.iter().map(|step| step.step.description()));
            left_behind = found.plan.left_behind;
        }
        for further in optional_purges(&self.options.wishes) {
            if let Step::Purge { what } = &further.step {
                let things = self.host.preview(what).await.map_err(JoinError::Host)?;
                undo.extend(things.iter().map(|thing| format!("remove {thing}")));
            }
        }
        if undo.is_empty() && !self.options.dry_run {
            return self.conclude(false, left_behind);
        }
        Ok(ResetOutcome::Planned { undo, left_behind })
    }

    /// Ends a join on record whose files another tool has removed.
    async fn write_off(&self, journal: &Journal, told: Told) -> Result<(), JoinError> {
        let start = Start::TakeBack {
            reason: "another tool has joined this machine since".into(),
        };
        let mut driver = Driver::resume(&told.entries, start, OnFailure::Unwind)
            .map_err(|source| JoinError::JournalDamaged { source })?;
        let run = self.run(String::new());
        run.write_off(&mut driver, &journal.of(told.id)).await
    }

    async fn take_back(&self, journal: &Journal, told: Told) -> Result<Vec<Residue>, JoinError> {
        let parameters: Option<Parameters> =
            serde_json::from_value(told.state.header().parameters.clone()).ok();
        let node_name = parameters.map_or_else(String::new, |parameters| parameters.node_name);
        let start = Start::TakeBack {
            reason: "reset".into(),
        };
        let mut driver = Driver::resume(&told.entries, start, OnFailure::Unwind)
            .map_err(|source| JoinError::JournalDamaged { source })?;
        let mut run = self.run(node_name);
        let ended = run.run(&mut driver, &journal.of(told.id)).await?;
        ended.taken_back()
    }

    /// Takes back what carries our mark, and says whether there was anything.
    async fn take_back_marked(&self) -> Result<bool, JoinError> {
        let steps = marks(self.host).await?;
        for step in &steps {
            let undone = self.host.undo("reset", step, &nothing_before(step)).await;
            undone.map_err(JoinError::Host)?;
        }
        Ok(!steps.is_empty())
    }

    /// Goes on with resets that were cut off, and names what they left.
    async fn finish(&self, journal: &Journal) -> Result<Vec<Residue>, JoinError> {
        let mut left_behind = Vec::new();
        for told in live(journal).await? {
            if kind(&told) == KIND {
                let driver = Driver::resume(&told.entries, Start::GoOn, OnFailure::Keep)
                    .map_err(|source| JoinError::JournalDamaged { source })?;
                left_behind.extend(self.drive(journal, driver, told.id).await?);
            }
        }
        Ok(left_behind)
    }

    /// Removes things for good, as a saga whose record stands before each deed.
    async fn remove_for_good(
        &self,
        journal: &Journal,
        steps: Vec<muster_plan::PlannedStep>,
    ) -> Result<Vec<Residue>, JoinError> {
        let started = Timestamp::now();
        let id = SagaId::new(format!("{KIND}-{}", started.strftime("%Y%m%dT%H%M%S.%9f")));
        let header = Header {
            kind: KIND.to_owned(),
            id: id.clone(),
            started,
            parameters: serde_json::Value::Null,
            definition: definition(&steps)?,
        };
        self.drive(journal, Driver::begin(header, OnFailure::Keep), id)
            .await
    }

    async fn drive(
        &self,
        journal: &Journal,
        mut driver: Driver,
        id: SagaId,
    ) -> Result<Vec<Residue>, JoinError> {
        let mut run = self.run(String::new());
        run.keep = true;
        let ended = run.run(&mut driver, &journal.of(id)).await?;
        if let Halt::Kept { step, failure } = ended.halt {
            return Err(JoinError::Step {
                step: step.to_string(),
                failure,
                aftermath: Aftermath::Kept,
            });
        }
        Ok(driver.state().map(left_by).unwrap_or_default())
    }

    /// Clean, or a numbered list of what is left.
    fn conclude(&self, did: bool, left_behind: Vec<Residue>) -> Result<ResetOutcome, JoinError> {
        if left_behind.iter().any(is_of_machine) {
            return Err(JoinError::UndoIncomplete {
                left_behind,
                cause: None,
            });
        }
        Ok(if did {
            ResetOutcome::Clean { left_behind }
        } else {
            ResetOutcome::Nothing { left_behind }
        })
    }
}

/// The steps as a saga's definition.
pub(crate) fn definition(steps: &[muster_plan::PlannedStep]) -> Result<Definition, JoinError> {
    let definition = muster_plan::definition_of(steps);
    definition.map_err(|source| JoinError::Plan { source })
}

/// What the steps of a finished reset could not remove, from their receipts.
fn left_by(state: &muster_saga::SagaState) -> Vec<Residue> {
    let steps = state.header().definition.steps().iter();
    let receipts = steps.filter_map(|spec| state.step(&spec.id)?.receipt.clone());
    let read = |receipt| serde_json::from_value::<Vec<Residue>>(receipt).unwrap_or_default();
    receipts.flat_map(read).collect()
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

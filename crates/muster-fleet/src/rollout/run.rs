//! The run of a fleet from its beginning, or from its journal, to its end.
//!
//! Here a run's parts are put together: the way to the cluster, Leases, journal, coordinator, listeners.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_identity::BootstrapToken;
use muster_rollout::fleet_file::Fleet;
use muster_rollout::{
    Ending, GivenToken, HostIndex, Input, Pressure, Record, Resume, Rollout, RunId, Verdict,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::access::{self, Access, Kubeconfiged, Measured};
use super::bus::{Bus, Lapse, Sink};
use super::driver::{Driver, Stop};
use super::error::RolloutError;
use super::fault;
use super::lease::{LeaseError, Leases, Taken};
use super::machines::{Connections, Machines, Provisioner};
use super::method::Binaries;
use super::nodes::Nodes;
use super::plan::{plan_of, run_id};
use super::reach::Secrets;
use super::report::RunReport;
use super::sinks::NodeEvents;
use super::store::{About, FleetDir, RunJournal, Source};
use super::worker::{Worker, host_lease};

/// A token that the user made. It is used while it is young enough, and not revoked.
#[derive(Clone, Debug)]
pub struct GivenCredential {
    /// The token.
    pub token: BootstrapToken,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, if that is known.
    pub expires: Option<Timestamp>,
}

/// What a run works with.
pub struct RunOptions {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// The cluster by a kubeconfig; without one, the fleet's control-plane host is asked.
    pub kubeconfig: Option<Kubeconfiged>,
    /// Opens machines.
    pub machines: Arc<dyn Machines>,
    /// Makes machines.
    pub provisioner: Arc<dyn Provisioner>,
    /// Finds secrets.
    pub secrets: Secrets,
    /// Our own program, for hosts that get it.
    pub program: PathBuf,
    /// Who listens.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Whether Events are written on the Nodes.
    pub node_events: bool,
    /// Wishes to stop: the first is safe, the second at once.
    pub stops: mpsc::UnboundedReceiver<Stop>,
    /// A token that exists already; without one, or once it is too old, tokens are made.
    pub given: Option<GivenCredential>,
    /// Fills tokens; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In one word, with what is left to do.
    pub verdict: Verdict,
    /// Every host.
    pub report: RunReport,
    /// Listeners that missed something.
    pub lapses: Vec<Lapse>,
    /// Things to know.
    pub notes: Vec<String>,
}

/// The name of a fleet's Lease.
fn fleet_lease(fleet: &str) -> String {
    format!("muster-fleet-{fleet}")
}

/// Begins a run over the whole fleet.
///
/// # Errors
/// [`RolloutError`]; then no host was touched.
pub async fn begin(
    options: RunOptions,
    dir: &FleetDir,
    source: Source,
) -> Result<Outcome, RolloutError> {
    refuse_unfinished(&dir.journal()).await?;
    let access = open_access(&options).await?;
    begin_by(access, options, dir, source).await
}

pub(crate) async fn begin_by(
    access: Access,
    options: RunOptions,
    dir: &FleetDir,
    source: Source,
) -> Result<Outcome, RolloutError> {
    let journal = dir.journal();
    refuse_unfinished(&journal).await?;
    let now = Timestamp::now();
    let run = run_id(now, options.entropy);
    let mut seed = [0; 8];
    (options.entropy)(&mut seed);
    let plan = plan_of(&options.fleet, run, u64::from_le_bytes(seed));
    plan.check().map_err(RolloutError::Plan)?;
    let about = About::new(&options.fleet.name, now, source, plan);
    let before = prepare(access, &about).await?;
    journal.begin(&about).await.map_err(RolloutError::Store)?;
    let given = given_token(&options);
    let rollout = Rollout::begin(about.plan.clone(), given, now).map_err(RolloutError::Plan)?;
    carry_out(options, dir, about, before, rollout, 0).await
}

/// Takes a run up again: the one that is named, or the last.
///
/// # Errors
/// [`RolloutError`]; then no host was touched.
pub async fn resume(
    options: RunOptions,
    dir: &FleetDir,
    run: &RunId,
    how: Resume,
) -> Result<Outcome, RolloutError> {
    let access = open_access(&options).await?;
    resume_by(access, options, dir, run, how).await
}

pub(crate) async fn resume_by(
    access: Access,
    options: RunOptions,
    dir: &FleetDir,
    run: &RunId,
    how: Resume,
) -> Result<Outcome, RolloutError> {
    let journal = dir.journal();
    let about = journal.about(run).await.map_err(RolloutError::Store)?;
    let records = journal.records(run).await.map_err(RolloutError::Store)?;
    let next = records.len() as u64;
    let before = prepare(access, &about).await?;
    let now = Timestamp::now();
    let given = given_token(&options);
    let plan = about.plan.clone();
    let rollout = if records.is_empty() {
        // It was cut off before it did anything.
        let mut rollout = Rollout::begin(plan, given, now).map_err(RolloutError::Plan)?;
        if how == Resume::Undo {
            rollout.handle(Input::Interrupt, now);
        }
        rollout
    } else {
        Rollout::resume(plan, given, records, how, now).map_err(RolloutError::Replay)?
    };
    // What the run holds is looked after from here on; another's Lease ends the run before it does anything.
    let locked: Vec<HostIndex> = rollout.locked_hosts().collect();
    for host in locked {
        let Some(name) = about.plan.hosts.get(host.as_usize()).map(|host| &host.name) else {
            continue;
        };
        if let Err(error @ LeaseError::Held { .. }) = before.leases.take(&host_lease(name)).await {
            return Err(RolloutError::Locked {
                holder: error.to_string(),
            });
        }
    }
    carry_out(options, dir, about, before, rollout, next).await
}

/// The run that `resume` and `undo` mean when none is named.
///
/// # Errors
/// [`RolloutError::NoRun`], or the journal cannot be read.
pub async fn last_run(journal: &RunJournal) -> Result<RunId, RolloutError> {
    let runs = journal.runs().await.map_err(RolloutError::Store)?;
    runs.into_iter().next_back().ok_or(RolloutError::NoRun)
}

/// The run of this name, or the last one.
///
/// # Errors
/// [`RolloutError::NoRun`], [`RolloutError::UnknownRun`], or the journal cannot be read.
pub async fn find_run(journal: &RunJournal, named: Option<&str>) -> Result<RunId, RolloutError> {
    let Some(name) = named else {
        return last_run(journal).await;
    };
    let runs = journal.runs().await.map_err(RolloutError::Store)?;
    let known = runs.iter().map(|run| run.0.clone()).collect();
    let found = runs.into_iter().find(|run| run.0 == name);
    found.ok_or(RolloutError::UnknownRun {
        run: name.to_owned(),
        known,
    })
}

/// Where a run stands by its journal.
///
/// # Errors
/// [`RolloutError::Store`].
pub async fn report(journal: &RunJournal, run: &RunId) -> Result<RunReport, RolloutError> {
    let about = journal.about(run).await.map_err(RolloutError::Store)?;
    let records = journal.records(run).await.map_err(RolloutError::Store)?;
    Ok(RunReport::from_records(
        &about.plan,
        &about.fleet,
        about.began,
        &records,
    ))
}

/// A run that was cut off is finished first: its hosts may be half-way.
async fn refuse_unfinished(journal: &RunJournal) -> Result<(), RolloutError> {
    let Ok(run) = last_run(journal).await else {
        return Ok(());
    };
    let records = journal.records(&run).await.map_err(RolloutError::Store)?;
    let over = match records.last() {
        // Nothing was done, or it was said how it ended.
        None => true,
        Some(Record::Ended { verdict, .. }) => verdict.ending != Ending::Stopped,
        Some(_) => false,
    };
    if over {
        Ok(())
    } else {
        Err(RolloutError::Unfinished {
            run: run.to_string(),
        })
    }
}

async fn open_access(options: &RunOptions) -> Result<Access, RolloutError> {
    let kubeconfig = options.kubeconfig.clone();
    let opened = access::open(
        &options.fleet,
        kubeconfig,
        &*options.machines,
        &*options.secrets,
    )
    .await;
    opened.map_err(RolloutError::Access)
}

fn given_token(options: &RunOptions) -> Option<GivenToken> {
    options.given.as_ref().map(|given| GivenToken {
        id: given.token.id().clone(),
        created: given.created,
        expires: given.expires,
    })
}

/// What stands before the first effect.
struct Before {
    access: Access,
    leases: Leases,
    notes: Vec<String>,
}

/// An API server that is away or crowded for a moment does not end a run before it begins.
async fn take_patiently(leases: &Leases, lease: &str) -> Result<Taken, LeaseError> {
    const TRIES: u32 = 6;
    let mut tries = 0;
    loop {
        tries += 1;
        match leases.take(lease).await {
            Err(LeaseError::Api { source, .. })
                if tries < TRIES && fault::of_api("", &source).transient =>
            {
                let pause = Duration::from_millis(200) * tries;
                sleep(source.retry_after().unwrap_or_default().max(pause)).await;
            }
            taken => return taken,
        }
    }
}

async fn prepare(access: Access, about: &About) -> Result<Before, RolloutError> {
    let holder = format!("fleet {} run {}", about.fleet, about.plan.run);
    let leases = Leases::new(Arc::clone(&access.api), holder);
    let notes = match take_patiently(&leases, &fleet_lease(&about.fleet)).await {
        Ok(Taken::Free) => Vec::new(),
        Ok(Taken::Adopted { from, renewed }) => {
            let since = renewed.map_or_else(|| "never".to_owned(), |at| at.to_string());
            vec![format!(
                "the Lease of {from} had expired (renewed {since}) and was taken over"
            )]
        }
        Err(LeaseError::Held { holder, .. }) => return Err(RolloutError::Locked { holder }),
        Err(LeaseError::Api { source, .. }) => {
            let failure = fault::of_api("take the fleet's Lease", &source);
            return Err(RolloutError::Access(failure));
        }
    };
    Ok(Before {
        access,
        leases,
        notes,
    })
}

async fn carry_out(
    options: RunOptions,
    dir: &FleetDir,
    about: About,
    before: Before,
    rollout: Rollout,
    next_record: u64,
) -> Result<Outcome, RolloutError> {
    let Before {
        access,
        leases,
        notes,
    } = before;
    let (pressures, felt) = mpsc::unbounded_channel::<Pressure>();
    let api: Arc<dyn access::Api> = Arc::new(Measured {
        api: Arc::clone(&access.api),
        pressures,
    });
    let mut admissions = HashMap::new();
    if let Some(given) = options.given {
        let id = given.token.id().clone();
        let admission = access
            .cluster
            .admit(given.token, given.expires.unwrap_or(Timestamp::MAX));
        admissions.insert(id, Arc::new(admission.map_err(RolloutError::Access)?));
    }
    let mut sinks = options.sinks;
    if options.node_events {
        sinks.push(Box::new(NodeEvents(Arc::clone(&access.api))));
    }
    let nodes = Nodes::new(Arc::clone(&api));
    let worker = Arc::new(Worker {
        run: about.plan.run.to_string(),
        fleet: options.fleet,
        api,
        nodes: nodes.clone(),
        leases: leases.clone(),
        connections: Connections::new(options.machines),
        provisioner: options.provisioner,
        binaries: Binaries::new(options.program),
        admissions: parking_lot::Mutex::new(admissions),
        unreached: parking_lot::Mutex::default(),
    });
    let driver = Driver {
        rollout,
        worker,
        journal: dir.journal(),
        next_record,
        mint: access.mint,
        cluster: access.cluster,
        entropy: options.entropy,
        description: format!("muster fleet {} run {}", about.fleet, about.plan.run),
        bus: Bus::new(sinks),
        stops: options.stops,
        pressures: felt,
        about: (about.fleet.clone(), about.began),
        dir: dir.path().to_owned(),
    };
    let keeping = tokio::spawn({
        let leases = leases.clone();
        async move { leases.keep().await }
    });
    let following = tokio::spawn(async move { nodes.follow().await });
    let (verdict, rollout, bus) = driver.run().await;
    keeping.abort();
    following.abort();
    // A run that can be taken up again keeps its Lease until that expires.
    if verdict.ending != Ending::Stopped
        && let Err(error) = leases.give_up(&fleet_lease(&about.fleet)).await
    {
        tracing::debug!(%error, "the fleet's Lease was not given back");
    }
    let report = RunReport::of(&rollout, &about.fleet, about.began, Some(verdict.clone()));
    report.leave(dir.path());
    Ok(Outcome {
        verdict,
        report,
        lapses: bus.close().await,
        notes,
    })
}

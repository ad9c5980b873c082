//! Where a run stands, or how it ended, for people and programs: from the coordinator while it runs, from records alone
//! afterwards.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use muster_rollout::{
    Counts, HostStanding, Record, Rollout, RolloutPlan, RunId, Stage, StageFailure, Verdict,
};
use muster_saga::Status;
use serde::{Deserialize, Serialize};

/// The file in the state directory that says how far a run is.
const FILE: &str = "status.json";

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands: `waiting`, `at-work`, `resting`, `joined`, `failed`, `undoing`, `undone`, `stuck`.
    pub standing: String,
    /// In which stage, while it is at work or where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What it says that it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<StageFailure>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Which.
    pub run: RunId,
    /// The fleet's name.
    pub fleet: String,
    /// When it began.
    pub began: Timestamp,
    /// When this was said.
    pub at: Timestamp,
    /// Whether a process works on it.
    pub running: bool,
    /// How many hosts stand where.
    pub counts: Counts,
    /// How it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Every host.
    pub hosts: Vec<HostReport>,
}

impl RunReport {
    /// While a run is on its way, or right after.
    #[must_use]
    pub fn of(rollout: &Rollout, fleet: &str, began: Timestamp, verdict: Option<Verdict>) -> Self {
        let hosts = rollout.hosts().map(|host| {
            let under_way = matches!(
                host.standing,
                HostStanding::AtWork | HostStanding::Resting | HostStanding::Undoing
            );
            let failure = host.failure.cloned();
            HostReport {
                name: Arc::clone(host.name),
                standing: word(host.standing).to_owned(),
                stage: (under_way || failure.is_some()).then_some(host.stage),
                phase: host.phase.filter(|_| under_way).map(str::to_owned),
                failure,
            }
        });
        Self {
            run: rollout.plan().run.clone(),
            fleet: fleet.to_owned(),
            began,
            at: Timestamp::now(),
            running: verdict.is_none(),
            counts: rollout.counts(),
            hosts: hosts.collect(),
            verdict,
        }
    }

    /// From records alone.
    #[must_use]
    pub fn from_records(
        plan: &RolloutPlan,
        fleet: &str,
        began: Timestamp,
        records: &[Record],
    ) -> Self {
        let mut past = vec![Past::default(); plan.hosts.len()];
        let mut verdict = None;
        let mut at = began;
        for record in records {
            match record {
                Record::Host {
                    host,
                    stage,
                    event,
                    failure,
                    at: then,
                    ..
                } => {
                    at = *then;
                    if let Some(past) = past.get_mut(host.as_usize()) {
                        past.learn(*stage, *event, failure.as_deref());
                    }
                }
                Record::Ended {
                    verdict: told,
                    at: then,
                } => {
                    at = *then;
                    verdict = Some(told.clone());
                }
                Record::Resumed { at: then, .. } => {
                    at = *then;
                    verdict = None;
                }
                _ => {}
            }
        }
        let hosts: Vec<HostReport> = plan
            .hosts
            .iter()
            .zip(&past)
            .map(|(host, past)| past.report(Arc::clone(&host.name)))
            .collect();
        Self {
            run: plan.run.clone(),
            fleet: fleet.to_owned(),
            began,
            at,
            running: false,
            counts: verdict
                .as_ref()
                .map_or_else(|| count(&hosts), |verdict| verdict.counts),
            hosts,
            verdict,
        }
    }

    /// Leaves it for `muster fleet status` while the run goes on.
    pub(crate) fn leave(&self, dir: &Path) {
        let path = dir.join(FILE);
        let new = dir.join(format!("{FILE}.new"));
        let Ok(text) = serde_json::to_vec(self) else {
            return;
        };
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            tracing::debug!(%error, "the status cannot be left");
        }
    }

    /// What a run left that is on its way in another process.
    #[must_use]
    pub fn left_in(dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

fn count(hosts: &[HostReport]) -> Counts {
    let of = |word: &str| {
        let count = hosts.iter().filter(|host| host.standing == word).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    Counts {
        hosts: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        joined: of("joined"),
        failed: u32::try_from(hosts.iter().filter(|host| host.failure.is_some()).count())
            .unwrap_or(u32::MAX),
        undone: of("undone"),
        stuck: of("stuck"),
        untouched: of("waiting"),
    }
}

fn word(standing: HostStanding) -> &'static str {
    match standing {
        HostStanding::Waiting => "waiting",
        HostStanding::AtWork => "at-work",
        HostStanding::Resting => "resting",
        HostStanding::Joined => "joined",
        HostStanding::Failed => "failed",
        HostStanding::Undoing => "undoing",
        HostStanding::Undone => "undone",
        HostStanding::Stuck => "stuck",
    }
}

/// What the records say of one host.
#[derive(Clone, Default)]
struct Past {
    stages: [Option<Status>; Stage::ALL.len()],
    last: Option<Stage>,
    failure: Option<StageFailure>,
}

impl Past {
    fn learn(&mut self, stage: Stage, event: muster_saga::Event, failure: Option<&StageFailure>) {
        let status = &mut self.stages[place(stage)];
        *status = muster_saga::next(status.unwrap_or(Status::Pending), event)
            .ok()
            .or(*status);
        self.last = Some(stage);
        match event {
            muster_saga::Event::Failed | muster_saga::Event::UndoFailed => {
                self.failure = failure.cloned()
            }
            muster_saga::Event::Done => self.failure = None,
            _ => {}
        }
    }

    fn status(&self, stage: Stage) -> Status {
        self.stages[place(stage)].unwrap_or(Status::Pending)
    }

    fn standing(&self) -> &'static str {
        let any = |wanted: Status| Stage::ALL.iter().any(|stage| self.status(*stage) == wanted);
        let join = self.status(Stage::Join);
        if any(Status::UndoFailed) {
            "stuck"
        } else if join == Status::Done && self.status(Stage::Ready) == Status::Done {
            "joined"
        } else if any(Status::Undoing) || any(Status::Undone) {
            let left = Stage::ALL
                .iter()
                .any(|stage| stage.has_undo() && self.status(*stage).may_have_traces());
            if left { "undoing" } else { "undone" }
        } else if any(Status::Failed) {
            "failed"
        } else if self.last.is_some() {
            "at-work"
        } else {
            "waiting"
        }
    }

    fn report(&self, name: Arc<str>) -> HostReport {
        let standing = self.standing();
        HostReport {
            name,
            standing: standing.to_owned(),
            stage: self
                .last
                .filter(|_| standing != "joined" && standing != "undone"),
            phase: None,
            failure: self.failure.clone(),
        }
    }
}

fn place(stage: Stage) -> usize {
    Stage::ALL
        .iter()
        .position(|known| *known == stage)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::{HostIndex, HostPlan};
    use muster_saga::Event;

    fn plan() -> RolloutPlan {
        let host = |name: &str| HostPlan {
            name: name.into(),
            role: muster_rollout::Role::Worker,
            provision: false,
            limits: vec![],
            manual: 0,
        };
        RolloutPlan::new(
            RunId("r".into()),
            1,
            vec![host("a"), host("b"), host("c"), host("d")],
        )
    }

    fn record(host: u32, stage: Stage, event: Event) -> Record {
        let failure =
            (event == Event::Failed).then(|| Box::new(StageFailure::terminal("x", "why")));
        Record::Host {
            host: HostIndex(host),
            stage,
            event,
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            failure,
            receipt: None,
        }
    }

    #[test]
    fn records_say_where_every_host_stands() {
        let mut records = Vec::new();
        for stage in [Stage::Lock, Stage::Prepare, Stage::Join, Stage::Ready] {
            records.extend([
                record(0, stage, Event::Intent),
                record(0, stage, Event::Done),
            ]);
        }
        records.extend([
            record(0, Stage::Lock, Event::UndoIntent),
            record(0, Stage::Lock, Event::Undone),
        ]);
        records.extend([
            record(1, Stage::Lock, Event::Intent),
            record(1, Stage::Lock, Event::Failed),
        ]);
        records.extend([
            record(1, Stage::Lock, Event::UndoIntent),
            record(1, Stage::Lock, Event::Undone),
        ]);
        records.push(record(2, Stage::Lock, Event::Intent));
        let report = RunReport::from_records(&plan(), "f", Timestamp::UNIX_EPOCH, &records);
        let standings: Vec<&str> = report
            .hosts
            .iter()
            .map(|host| host.standing.as_str())
            .collect();
        assert_eq!(standings, ["joined", "undone", "at-work", "waiting"]);
        assert_eq!(report.hosts[1].failure.as_ref().unwrap().id, "x");
        assert_eq!(report.counts.joined, 1);
        assert_eq!(report.counts.untouched, 1);
    }

    #[test]
    fn what_is_left_in_the_directory_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RunReport::left_in(dir.path()).is_none());
        let report = RunReport::from_records(&plan(), "f", Timestamp::UNIX_EPOCH, &[]);
        report.leave(dir.path());
        assert_eq!(RunReport::left_in(dir.path()), Some(report));
    }
}

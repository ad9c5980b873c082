//! A fleet's own directory: a lock, and the journal of its runs in a key space.
//!
//! Keys are `/run/<run>/about/<part>` and `/run/<run>/record/<number>`, each created once and never changed; what is
//! written together is there as a whole or not at all. It holds no secret and refuses to know what records mean.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use muster_rollout::{Record, RecordError, RolloutPlan, RunId, decode, encode};
use muster_storage::{SqliteStore, Store, StoreError};
use serde::{Deserialize, Serialize};

const RUNS: &str = "/run/";
const JOURNAL: &str = "journal.db";
const LOCK: &str = "lock";
/// Records in one write: well below what one value may hold.
const RECORDS_AT_ONCE: usize = 2048;
/// Bytes of one part of what is known about a run.
const PART: usize = 1024 * 1024;
/// Finished runs that are remembered.
const REMEMBERED: usize = 20;
/// The version of [`About`] that is written, and the newest that is read.
const VERSION: u32 = 1;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The directory cannot be made or used. Name another one.
    #[error("cannot use {}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process works on this fleet. Wait until it has ended.
    #[error("another muster works on this fleet ({} is locked)", .path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// The journal cannot be written or read. See that there is room, then resume.
    #[error("the journal cannot be used")]
    Journal {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// What stands in it is not ours, newer or damaged.
    #[error("the journal of the run cannot be read")]
    Record {
        /// Why.
        #[source]
        source: RecordError,
    },
    /// What stands about the run is damaged or newer.
    #[error("what stands about the run {run} cannot be read: {reason}")]
    About {
        /// The run.
        run: String,
        /// Why.
        reason: String,
    },
}

/// What must be known of a run to take it up again, beside its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The version of this shape.
    pub version: u32,
    /// The fleet's name.
    pub fleet: String,
    /// When it began.
    pub began: Timestamp,
    /// The fleet as it was read. It names secrets and holds none.
    pub source: Source,
    /// What the coordinator was given.
    pub plan: RolloutPlan,
}

/// Where a fleet comes from: what was read, so that the same fleet can be had again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// The file that was named, for people.
    pub path: String,
    /// The fleet's name, unless the fleet file says another.
    pub name: String,
    /// The directory that relative paths in it start at.
    pub base: String,
    /// The text of the fleet file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet_file: Option<String>,
    /// The text of the inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<String>,
    /// The hosts and groups of the inventory that were meant; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limit: Vec<String>,
}

impl About {
    /// What is written for a run that begins.
    #[must_use]
    pub fn new(fleet: &str, began: Timestamp, source: Source, plan: RolloutPlan) -> Self {
        Self {
            version: VERSION,
            fleet: fleet.to_owned(),
            began,
            source,
            plan,
        }
    }
}

/// A fleet's directory, locked by this process.
pub struct FleetDir {
    path: PathBuf,
    store: Arc<dyn Store>,
    _lock: File,
}

impl FleetDir {
    /// Makes the directory if need be, closed to others, locks it and opens the journal.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn open(path: &Path) -> Result<Self, StoreFailure> {
        let directory = |source| StoreFailure::Directory {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(directory)?;
        let locked = |path: PathBuf| StoreFailure::Locked { path };
        let lock = crate::state_dir::hold(&path.join(LOCK)).map_err(|error| match error {
            crate::JoinError::StateDir { path, source, .. } => {
                StoreFailure::Directory { path, source }
            }
            _ => locked(path.join(LOCK)),
        })?;
        let store = SqliteStore::open(path.join(JOURNAL)).map_err(|source| match source {
            StoreError::InUse { .. } => locked(path.join(JOURNAL)),
            source => StoreFailure::Journal { source },
        })?;
        Ok(Self {
            path: path.to_owned(),
            store: Arc::new(store),
            _lock: lock,
        })
    }

    /// Whether a fleet has a journal there, without touching anything.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join(JOURNAL).exists()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal in it.
    #[must_use]
    pub fn journal(&self) -> RunJournal {
        RunJournal(Arc::clone(&self.store))
    }

    /// Closes the journal in order.
    ///
    /// # Errors
    /// [`StoreFailure::Journal`].
    pub async fn close(self) -> Result<(), StoreFailure> {
        self.store.close().await.map_err(journal)
    }
}

/// The runs of one fleet.
#[derive(Clone)]
pub struct RunJournal(Arc<dyn Store>);

fn journal(source: StoreError) -> StoreFailure {
    StoreFailure::Journal { source }
}

fn about_prefix(run: &RunId) -> String {
    format!("{RUNS}{run}/about/")
}

fn record_prefix(run: &RunId) -> String {
    format!("{RUNS}{run}/record/")
}

impl RunJournal {
    /// A journal in this key space.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// The runs that are told of, the oldest first.
    ///
    /// # Errors
    /// [`StoreFailure::Journal`].
    pub async fn runs(&self) -> Result<Vec<RunId>, StoreFailure> {
        let mut runs: Vec<RunId> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            // Only the first key of each run: the rest may be a million records.
            let page = self
                .0
                .list(RUNS, None, after.as_deref(), 1)
                .await
                .map_err(journal)?;
            let Some(pair) = page.items.first() else {
                return Ok(runs);
            };
            let name = pair.key[RUNS.len()..].split('/').next().unwrap_or_default();
            // `~` comes after everything that a key of a run has.
            after = Some(format!("{RUNS}{name}/~"));
            runs.push(RunId(name.to_owned()));
        }
    }

    /// Writes down what a run is about, before its first record; forgets the oldest runs of many.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub async fn begin(&self, about: &About) -> Result<(), StoreFailure> {
        let run = &about.plan.run;
        let bytes = serde_json::to_vec(about).map_err(|error| StoreFailure::About {
            run: run.to_string(),
            reason: error.to_string(),
        })?;
        for (number, part) in bytes.chunks(PART).enumerate() {
            let key = format!("{}{number:06}", about_prefix(run));
            let part = Bytes::copy_from_slice(part);
            self.0.create(&key, part).await.map_err(journal)?;
        }
        let runs = self.runs().await?;
        let many = runs.len().saturating_sub(REMEMBERED);
        for run in &runs[..many] {
            self.forget(run).await?;
        }
        Ok(())
    }

    async fn forget(&self, run: &RunId) -> Result<(), StoreFailure> {
        let prefix = format!("{RUNS}{run}/");
        let page = self.0.list(&prefix, None, None, 0).await.map_err(journal)?;
        for pair in page.items.into_iter().rev() {
            self.0
                .delete(&pair.key, pair.modified)
                .await
                .map_err(journal)?;
        }
        Ok(())
    }

    /// What a run is about.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub async fn about(&self, run: &RunId) -> Result<About, StoreFailure> {
        let page = self
            .0
            .list(&about_prefix(run), None, None, 0)
            .await
            .map_err(journal)?;
        let bytes: Vec<u8> = page
            .items
            .iter()
            .flat_map(|pair| pair.value.iter().copied())
            .collect();
        let damaged = |reason: String| StoreFailure::About {
            run: run.to_string(),
            reason,
        };
        let about: About =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if about.version > VERSION {
            return Err(damaged(format!(
                "its format {} is newer than {VERSION}",
                about.version
            )));
        }
        Ok(about)
    }

    /// Makes records durable, in their order; `next` is the number of the first of all records that are written yet.
    ///
    /// # Errors
    /// [`StoreFailure`]; then some of them may be there, the first ones first.
    pub async fn append(
        &self,
        run: &RunId,
        next: u64,
        records: &[Record],
    ) -> Result<u64, StoreFailure> {
        let mut number = next;
        for part in records.chunks(RECORDS_AT_ONCE) {
            let bytes = encode(part).map_err(|source| StoreFailure::Record { source })?;
            let key = format!("{}{number:012}", record_prefix(run));
            self.0
                .create(&key, Bytes::from(bytes))
                .await
                .map_err(journal)?;
            number += part.len() as u64;
        }
        Ok(number)
    }

    /// The records of a run in their order.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub async fn records(&self, run: &RunId) -> Result<Vec<Record>, StoreFailure> {
        let page = self
            .0
            .list(&record_prefix(run), None, None, 0)
            .await
            .map_err(journal)?;
        let mut records = Vec::new();
        for pair in page.items {
            records.extend(decode(&pair.value).map_err(|source| StoreFailure::Record { source })?);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_storage::MemoryStore;
    use std::os::unix::fs::PermissionsExt as _;

    fn about(run: &str) -> About {
        let source = Source {
            path: "fleet.yaml".into(),
            base: "/".into(),
            fleet_file: Some("kind: FleetConfiguration".into()),
            ..Source::default()
        };
        let plan = RolloutPlan::new(RunId(run.into()), 1, Vec::new());
        About::new("f", Timestamp::UNIX_EPOCH, source, plan)
    }

    fn record(reason: &str) -> Record {
        Record::Unwinding {
            reason: reason.into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_run_comes_back_as_it_was_written_and_others_beside_it() {
        let journal = RunJournal::new(Arc::new(MemoryStore::new()));
        for run in ["20260101-a", "20260102-b"] {
            journal.begin(&about(run)).await.unwrap();
        }
        let run = RunId("20260102-b".into());
        let many: Vec<Record> = (0..5000).map(|n| record(&n.to_string())).collect();
        let next = journal.append(&run, 0, &many).await.unwrap();
        journal.append(&run, next, &[record("last")]).await.unwrap();
        assert_eq!(journal.runs().await.unwrap().len(), 2);
        assert_eq!(journal.about(&run).await.unwrap(), about("20260102-b"));
        let read = journal.records(&run).await.unwrap();
        assert_eq!(read.len(), 5001);
        assert_eq!(read[4999], record("4999"));
        assert_eq!(read[5000], record("last"));
        assert!(
            journal.append(&run, 0, &[record("again")]).await.is_err(),
            "nothing is written over"
        );
    }

    #[tokio::test]
    async fn the_oldest_of_many_runs_are_forgotten() {
        let journal = RunJournal::new(Arc::new(MemoryStore::new()));
        for number in 0..REMEMBERED + 3 {
            journal
                .begin(&about(&format!("r{number:03}")))
                .await
                .unwrap();
        }
        let runs = journal.runs().await.unwrap();
        assert_eq!(runs.len(), REMEMBERED);
        assert_eq!(runs[0].0, "r003");
    }

    #[tokio::test]
    async fn the_directory_is_closed_to_others_and_has_one_coordinator() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleets/a");
        let fleet = FleetDir::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        assert!(matches!(
            FleetDir::open(&path),
            Err(StoreFailure::Locked { .. })
        ));
        fleet.close().await.unwrap();
        FleetDir::open(&path).unwrap();
    }
}

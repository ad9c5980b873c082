//! The reading side: a few connections, lent out to blocking threads.
//!
//! Every read happens at a *published* revision, inside one snapshot, so that no reader ever sees a
//! write before its watchers can and before it is known to be durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::Semaphore;

use super::file::ExclusiveUse;
use super::log::Log;
use super::schema;
use crate::hub::Hub;
use crate::{Revision, StoreError, WatchBatch, watch};

/// How many reads run at once.
const CONNECTIONS: u32 = 4;

/// The pool of reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    hub: Arc<Hub>,
    compacted: AtomicU64,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
    /// Weak, so that a watch that outlives its store does not keep the file.
    exclusive: Weak<ExclusiveUse>,
}

/// A connection and, dropped after it, the right to have one.
#[derive(Debug)]
struct Reader {
    connection: Connection,
    _exclusive: Arc<ExclusiveUse>,
}

impl Readers {
    pub(super) fn new(
        path: &Path,
        exclusive: &Arc<ExclusiveUse>,
        hub: Arc<Hub>,
        compacted: Revision,
    ) -> Self {
        Self {
            path: path.to_owned(),
            hub,
            compacted: AtomicU64::new(compacted.0),
            permits: Arc::new(Semaphore::new(CONNECTIONS as usize)),
            idle: Mutex::default(),
            exclusive: Arc::downgrade(exclusive),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Told by the writer as soon as the compaction is durable, before anything is deleted.
    pub(super) fn set_compacted(&self, revision: Revision) {
        self.compacted.store(revision.0, Ordering::Release);
    }

    pub(super) fn compacted(&self) -> Revision {
        Revision(self.compacted.load(Ordering::Acquire))
    }

    /// Whether the state at a revision, and what came after it, can be told.
    pub(super) fn check_readable(&self, revision: Revision) -> Result<(), StoreError> {
        let (oldest, current) = (self.compacted(), self.hub.revision());
        if revision < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        if revision > current {
            return Err(StoreError::FutureRevision { current });
        }
        Ok(())
    }

    /// Reads at the newest published revision.
    pub(super) async fn read_now<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl Fn(&Log<'_>, Revision) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let hub = Arc::clone(&self.hub);
        self.with_reader(move |reader| {
            loop {
                // A compaction may overtake us between the two lines; then there is a newer "now".
                match reader.at(hub.revision(), &query) {
                    Err(StoreError::Compacted { .. }) => {}
                    other => return other,
                }
            }
        })
        .await
    }

    /// Reads at a revision of the caller's choice.
    pub(super) async fn read_at<T: Send + 'static>(
        self: &Arc<Self>,
        revision: Revision,
        query: impl Fn(&Log<'_>, Revision) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.check_readable(revision)?;
        self.with_reader(move |reader| reader.at(revision, &query))
            .await
    }

    async fn with_reader<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let mut reader = pool.lend()?;
            let answer = work(&mut reader);
            pool.take_back(reader);
            drop(permit);
            answer
        });
        match done.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going down.
            Err(_) => Err(StoreError::Closed),
        }
    }

    fn lend(&self) -> Result<Reader, StoreError> {
        let idle = self.idle.lock().pop();
        if let Some(reader) = idle {
            return Ok(reader);
        }
        let exclusive = self.exclusive.upgrade().ok_or(StoreError::Closed)?;
        let connection = schema::open_reader(&self.path)?;
        Ok(Reader {
            connection,
            _exclusive: exclusive,
        })
    }

    fn take_back(&self, reader: Reader) {
        let mut idle = self.idle.lock();
        if !self.permits.is_closed() {
            idle.push(reader);
        }
    }

    /// Lends no more, and closes what is not lent.
    pub(super) fn shut(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }

    /// Waits for the reads that run, then shuts.
    pub(super) async fn close(&self) {
        // An error means that someone else has closed the pool already.
        let _all = self.permits.acquire_many(CONNECTIONS).await;
        self.shut();
    }
}

impl Reader {
    fn at<T>(
        &mut self,
        revision: Revision,
        query: impl Fn(&Log<'_>, Revision) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let snapshot = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(StoreError::database("begin a read"))?;
        let log = Log::new(&snapshot);
        // Asked within the snapshot: it decides what this read can still see.
        let oldest = log.compacted()?;
        if revision < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        query(&log, revision)
    }
}

#[async_trait]
impl watch::Log for Readers {
    async fn read(
        self: Arc<Self>,
        prefix: &str,
        after: Revision,
        limit: usize,
    ) -> Result<WatchBatch, StoreError> {
        let prefix = prefix.to_owned();
        let until = self.hub.revision();
        self.read_at(after, move |log, after| {
            log.events(&prefix, after, until, limit)
        })
        .await
    }
}

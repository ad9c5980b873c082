//! The store that lasts: one SQLite file, one writing thread, a few reading connections.
//!
//! This module is the port's face; the parts behind it know one thing each: [`file`] who may touch the
//! file, [`schema`] what a fresh connection and a fresh file look like, [`log`] the queries, [`writer`]
//! the order of writes, [`sweep`] forgetting, [`readers`] the order of reads.

mod file;
mod log;
mod readers;
mod schema;
mod sweep;
mod writer;

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::hub::Hub;
use crate::key::{check_key, check_value};
use crate::{KeyValue, Page, Revision, Store, StoreError, Watch};
use readers::Readers;
use writer::{Change, Request, Writer};

/// How many writes may wait before callers do.
const QUEUE: usize = 1024;

/// A [`Store`] in an SQLite file. Its calls must be made within a tokio runtime.
pub struct SqliteStore {
    hub: Arc<Hub>,
    readers: Arc<Readers>,
    /// Taken when the store is dropped.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    closing: AtomicBool,
}

impl SqliteStore {
    /// Opens the store at `path`, creating the file (mode 0600) and its folders (mode 0700) if they
    /// are not there. Blocks for a few milliseconds, or for as long as recovery after a crash takes.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is open already, [`StoreError::Exposed`], [`StoreError::Foreign`] or
    /// [`StoreError::NewerSchema`] if the file is not fit, or the failure of the disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), Hub::new)
    }

    /// As [`open`](Self::open), with a ring of its own size.
    #[cfg(test)]
    pub(crate) fn open_with_ring(path: &Path, events: usize) -> Result<Self, StoreError> {
        Self::open_with(path, |current| Hub::with_ring(current, events))
    }

    fn open_with(path: &Path, hub: impl FnOnce(Revision) -> Hub) -> Result<Self, StoreError> {
        let exclusive = Arc::new(file::claim(path)?);
        let (connection, state) = schema::open_writer(path)?;
        let hub = Arc::new(hub(state.current));
        let readers = Arc::new(Readers::new(
            path,
            &exclusive,
            Arc::clone(&hub),
            state.compacted,
        ));
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = Writer::new(
            connection,
            exclusive,
            state.current,
            Arc::clone(&hub),
            Arc::clone(&readers),
            requests,
        );
        let writer = std::thread::Builder::new()
            .name("muster-storage".to_owned())
            .spawn(move || writer.run())
            .map_err(StoreError::io("start the writer of", path))?;
        Ok(Self {
            hub,
            readers,
            queue: Some(queue),
            writer: Some(writer),
            closing: AtomicBool::new(false),
        })
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Acquire) || self.hub.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// Puts a request into the writer's queue and waits for the answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        queue
            .send(request(answer))
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn write(&self, key: &str, change: Change) -> Result<Revision, StoreError> {
        check_key(key)?;
        self.check_open()?;
        let key = key.to_owned();
        self.ask(|answer| Request::Write {
            key,
            change,
            answer,
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, key: &str, value: Bytes) -> Result<Revision, StoreError> {
        check_value(&value)?;
        self.write(key, Change::Create { value }).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, StoreError> {
        check_value(&value)?;
        self.write(key, Change::Update { value, expected }).await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StoreError> {
        self.write(key, Change::Delete { expected }).await
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), StoreError> {
        check_key(key)?;
        self.check_open()?;
        let key = key.to_owned();
        self.readers
            .read_now(move |log, now| Ok((log.alive(&key, now)?, now)))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.check_open()?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let page = move |log: &log::Log<'_>, at| log.page(&prefix, at, after.as_deref(), limit);
        match at {
            Some(at) => self.readers.read_at(at, page).await,
            None => self.readers.read_now(page).await,
        }
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.check_open()?;
        self.readers.check_readable(after)?;
        let log = Arc::<Readers>::clone(&self.readers);
        Ok(Watch::new(Arc::clone(&self.hub), log, prefix, after))
    }

    async fn compact(&self, up_to: Revision) -> Result<(), StoreError> {
        self.check_open()?;
        self.ask(|answer| Request::Compact { up_to, answer }).await
    }

    fn current_revision(&self) -> Revision {
        self.hub.revision()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closing.store(true, Ordering::Release);
        // Readers first: then the writer's connection is the last, and SQLite folds the log file away.
        self.readers.close().await;
        match self.ask(|answer| Request::Close { answer }).await {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }
}

/// Answers what still waits, then lets go of the file: blocks for about one commit.
impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.shut();
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store panicked");
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.readers.path())
            .field("revision", &self.hub.revision())
            .finish_non_exhaustive()
    }
}

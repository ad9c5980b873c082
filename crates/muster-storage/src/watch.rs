//! A watch: the writes under a prefix, in order, without gaps or repeats, from any revision that has
//! not been compacted. It reads the hub's ring while it keeps up and the store's log when it does not,
//! so that a slow watch holds no memory and delays no writer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use tokio::sync::watch;

use crate::hub::{Bell, Hub, Recent};
use crate::{Event, Revision, StoreError};

/// The most events in one batch.
const BATCH_EVENTS: usize = 512;

/// What a watch gives at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The events, in the order of their revisions. Empty if other keys were written: then the batch
    /// only tells progress.
    pub events: Vec<Event>,
    /// Everything under the prefix up to this revision has now been seen.
    pub revision: Revision,
}

/// The durable order of writes, for watches that are older than the ring.
#[async_trait]
pub(crate) trait Log: Send + Sync + 'static {
    /// At most `limit` events under `prefix` after `after`, and the revision up to which that is all.
    async fn read(
        self: Arc<Self>,
        prefix: &str,
        after: Revision,
        limit: usize,
    ) -> Result<WatchBatch, StoreError>;
}

/// A running watch, made by [`Store::watch`](crate::Store::watch). Dropping it ends it.
pub struct Watch {
    hub: Arc<Hub>,
    log: Arc<dyn Log>,
    bell: watch::Receiver<Bell>,
    prefix: String,
    position: Revision,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(hub: Arc<Hub>, log: Arc<dyn Log>, prefix: &str, after: Revision) -> Self {
        let bell = hub.listen();
        Self {
            hub,
            log,
            bell,
            prefix: prefix.to_owned(),
            position: after,
            ended: false,
        }
    }

    /// The revision up to which everything has been given out.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.position
    }

    /// The next batch, waiting for one. Each commit leads to a batch, even if none of its keys lie
    /// under the prefix (the batch is then empty and tells progress); commits that pile up are told
    /// together. Dropping the future loses nothing.
    ///
    /// `None` when the store has closed, or after an error. An error is
    /// [`StoreError::Compacted`] if the watch fell behind a compaction (list anew), or the failure of
    /// the disk.
    pub async fn next(&mut self) -> Option<Result<WatchBatch, StoreError>> {
        while !self.ended {
            // Marked as seen before looking, so that a commit in between rings again.
            let closed = self.bell.borrow_and_update().closed;
            let batch = match self.hub.recent(&self.prefix, self.position, BATCH_EVENTS) {
                Recent::Events { events, revision } => Ok(WatchBatch { events, revision }),
                Recent::Forgotten => {
                    Arc::clone(&self.log)
                        .read(&self.prefix, self.position, BATCH_EVENTS)
                        .await
                }
                Recent::Nothing if closed => break,
                Recent::Nothing => {
                    if self.bell.changed().await.is_err() {
                        break;
                    }
                    continue;
                }
            };
            match &batch {
                Ok(batch) => self.position = batch.revision,
                Err(StoreError::Closed) => break,
                Err(_) => self.ended = true,
            }
            return Some(batch);
        }
        self.ended = true;
        None
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchBatch, StoreError>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let batch = watch.next().await?;
            Some((batch, watch))
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("prefix", &self.prefix)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

//! The writing thread: the one place where writes get their order.
//!
//! It takes all requests that wait, decides each against the state that the ones before it leave,
//! commits them with one sync of the disk, publishes, and only then answers. While a commit waits for
//! the disk the next group gathers, so that throughput grows with load and latency does not suffer
//! without it. A refused request costs its neighbours nothing; a failed commit fails all of its group.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::file::ExclusiveUse;
use super::log::Log;
use super::readers::Readers;
use super::sweep::Sweep;
use crate::hub::Hub;
use crate::{Event, KeyValue, Revision, StoreError};

/// The most writes in one commit.
const GROUP: usize = 512;

/// The most bytes of values in one commit, give or take one value.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Where an answer goes. That nobody waits for it any more is no concern of the writer.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Request {
    Write {
        key: String,
        change: Change,
        answer: Answer<Revision>,
    },
    Compact {
        up_to: Revision,
        answer: Answer<()>,
    },
    Close {
        answer: Answer<()>,
    },
}

/// A write, not yet decided.
#[derive(Debug)]
pub(super) enum Change {
    Create { value: Bytes },
    Update { value: Bytes, expected: Revision },
    Delete { expected: Revision },
}

impl Change {
    fn decide(
        &self,
        key: &str,
        current: Option<KeyValue>,
        revision: Revision,
    ) -> Result<Event, StoreError> {
        match self {
            Self::Create { value } => Event::creating(key, value.clone(), current, revision),
            Self::Update { value, expected } => {
                Event::updating(key, value.clone(), *expected, current, revision)
            }
            Self::Delete { expected } => Event::deleting(key, *expected, current, revision),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Create { value } | Self::Update { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// A write that waits for its group.
struct Waiting {
    key: String,
    change: Change,
    answer: Answer<Revision>,
}

/// The state of the writing thread.
pub(super) struct Writer {
    requests: mpsc::Receiver<Request>,
    hub: Arc<Hub>,
    readers: Arc<Readers>,
    current: Revision,
    /// A compaction under way, and who waits for it.
    sweep: Option<(Sweep, Answer<()>)>,
    closing: Vec<Answer<()>>,
    connection: Connection,
    /// Dropped after the connection.
    exclusive: Arc<ExclusiveUse>,
}

impl Writer {
    pub(super) const fn new(
        connection: Connection,
        exclusive: Arc<ExclusiveUse>,
        current: Revision,
        hub: Arc<Hub>,
        readers: Arc<Readers>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let closing = Vec::new();
        Self {
            requests,
            hub,
            readers,
            current,
            sweep: None,
            closing,
            connection,
            exclusive,
        }
    }

    /// Works until the queue is closed and empty, or the database no longer obeys.
    pub(super) fn run(mut self) {
        let _ends_watches = EndsWatches(Arc::clone(&self.hub));
        while let Some(request) = self.next_request() {
            let mut next = request;
            // One round: a group of writes, or one other request; then a slice of sweeping.
            while let Some(request) = next.take() {
                next = self.serve(request);
            }
            self.sweep_on();
            if !self.connection.is_autocommit() {
                tracing::error!("a transaction could be neither committed nor undone: giving up");
                break;
            }
        }
        self.finish();
    }

    /// Waits for work. `Some(None)` means: there is none, except to go on sweeping.
    #[expect(
        clippy::option_option,
        reason = "no request yet and no request ever are two answers"
    )]
    fn next_request(&mut self) -> Option<Option<Request>> {
        if self.sweep.is_none() {
            return self.requests.blocking_recv().map(Some);
        }
        match self.requests.try_recv() {
            Ok(request) => Some(Some(request)),
            Err(_) => Some(None),
        }
    }

    /// Serves a request, with all the writes that wait behind a write. Gives back the request that
    /// ended the group.
    fn serve(&mut self, request: Request) -> Option<Request> {
        match request {
            Request::Write {
                key,
                change,
                answer,
            } => {
                let (group, next) = self.gather(Waiting {
                    key,
                    change,
                    answer,
                });
                self.commit_and_answer(group);
                return next;
            }
            Request::Compact { up_to, answer } => self.compact(up_to, answer),
            Request::Close { answer } => {
                self.requests.close();
                self.closing.push(answer);
            }
        }
        None
    }

    fn gather(&mut self, first: Waiting) -> (Vec<Waiting>, Option<Request>) {
        let mut bytes = first.change.bytes();
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES {
            match self.requests.try_recv() {
                Ok(Request::Write {
                    key,
                    change,
                    answer,
                }) => {
                    bytes += change.bytes();
                    group.push(Waiting {
                        key,
                        change,
                        answer,
                    });
                }
                Ok(other) => return (group, Some(other)),
                Err(_) => break,
            }
        }
        (group, None)
    }

    fn commit_and_answer(&mut self, group: Vec<Waiting>) {
        match self.commit(&group) {
            Ok((events, answers)) => {
                self.current = events.last().map_or(self.current, Event::revision);
                self.hub.publish(events);
                for (waiting, answer) in group.into_iter().zip(answers) {
                    let _ = waiting.answer.send(answer);
                }
            }
            // Refusals too: they may have been decided against a neighbour that is now undone.
            Err(error) => {
                tracing::error!(%error, writes = group.len(), "a group of writes failed");
                for waiting in group {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Decides and commits a group. On an error nothing of it remains.
    #[expect(
        clippy::type_complexity,
        reason = "the pair is taken apart at the only call"
    )]
    fn commit(
        &mut self,
        group: &[Waiting],
    ) -> Result<(Vec<Event>, Vec<Result<Revision, StoreError>>), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::database("begin a write"))?;
        let log = Log::new(&transaction);
        let mut revision = self.current;
        let (mut events, mut answers) = (Vec::new(), Vec::with_capacity(group.len()));
        for Waiting { key, change, .. } in group {
            let current = log.alive(key, revision)?;
            answers.push(match change.decide(key, current, revision.next()) {
                Ok(event) => {
                    log.append(&event)?;
                    revision = event.revision();
                    events.push(event);
                    Ok(revision)
                }
                Err(refusal) => Err(refusal),
            });
        }
        if !events.is_empty() {
            transaction
                .commit()
                .map_err(StoreError::database("commit"))?;
        }
        Ok((events, answers))
    }

    fn compact(&mut self, up_to: Revision, answer: Answer<()>) {
        if up_to > self.current {
            let _ = answer.send(Err(StoreError::FutureRevision {
                current: self.current,
            }));
            return;
        }
        // A second compaction takes over the sweep of the first, to whom it is as good as done: what
        // it asked to forget can no longer be read.
        if let Some((_, waiting)) = self.sweep.take() {
            let _ = waiting.send(Ok(()));
        }
        let up_to = up_to.max(self.readers.compacted());
        match Sweep::begin(&mut self.connection, up_to, self.current) {
            Ok(sweep) => {
                self.readers.set_compacted(up_to);
                self.sweep = Some((sweep, answer));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    fn sweep_on(&mut self) {
        let Some((mut sweep, answer)) = self.sweep.take() else {
            return;
        };
        match sweep.step(&mut self.connection) {
            Ok(true) => {
                let _ = answer.send(Ok(()));
            }
            Ok(false) => self.sweep = Some((sweep, answer)),
            // What is left over is swept by the next compaction.
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    fn finish(self) {
        let Self {
            mut requests,
            hub,
            connection,
            exclusive,
            sweep,
            closing,
            ..
        } = self;
        // After giving up there may be requests left. Their answers go with them: "closed".
        requests.close();
        drop((requests, sweep));
        let closed = connection.close().map_err(|(_, error)| error);
        drop(exclusive);
        hub.close();
        if let Err(error) = &closed {
            tracing::error!(%error, "the database did not close");
        }
        let closed = closed.map_err(StoreError::database("close the database"));
        for answer in closing {
            let _ = answer.send(closed.clone());
        }
    }
}

/// However the thread ends, nobody must wait for events that cannot come.
struct EndsWatches(Arc<Hub>);

impl Drop for EndsWatches {
    fn drop(&mut self) {
        self.0.close();
    }
}

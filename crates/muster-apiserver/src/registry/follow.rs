//! Watching: the changes after a resource version as frames for one client, without gaps or repeats, with
//! the transitions that selectors make, bookmarks and an end.
//!
//! Refuses to know: how frames are written, and what a slow client does to the connection: it loses its
//! place in the cache, the stream ends, and the client watches again.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::future::{self, Either};
use muster_identity::Entropy;
use muster_machinery::status::Status;
use muster_storage::{Revision, StoreError};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Call, ListOptions, Refusal, Registry,
    changes::{Arrival, History, Source},
    list_options::WatchStart,
    select::Selection,
    storage_failure,
};
use crate::{
    custom::CustomVersion,
    entropy::system_entropy,
    watch::{Change, Delivery, Snapshot, StoredObject, TooOld, WatchCache},
};

/// How often a quiet watch gets a bookmark.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch gets one more, so that its client goes on from near the present.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// How long a watch lasts when the client does not say: between this and twice this.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);
/// How many changes are looked at without looking at the clock.
const READY_AT_ONCE: usize = 128;
/// The longest life of a watch.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// One thing that a watching client is told.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Something about an object.
    Object {
        /// What.
        telling: Telling,
        /// The object as it is told.
        object: Arc<StoredObject>,
        /// The change that this is about, where others may be told of it too.
        delivery: Option<Arc<Delivery>>,
    },
    /// Everything up to this revision has been told.
    Bookmark {
        /// That revision.
        revision: u64,
        /// Whether the initial objects end here.
        initial_end: bool,
    },
    /// The watch ends for this reason.
    Error(Refusal),
}

/// What is told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// The object is new to the selection.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or left the selection.
    Deleted,
}

/// One client's watch.
pub(crate) struct Follower {
    cache: Arc<WatchCache>,
    selection: Selection,
    namespace: Option<String>,
    initial: std::vec::IntoIter<Arc<StoredObject>>,
    initial_end: Option<u64>,
    source: Source,
    /// Nothing at or before this revision is told.
    after: u64,
    bookmarks: bool,
    ends_at: Instant,
    timer: Pin<Box<Sleep>>,
    stop: CancellationToken,
    /// The server stops: what is there is told, and nothing more.
    is_stopping: bool,
    ended: bool,
}

impl Registry {
    /// Begins a watch.
    pub(crate) async fn follow(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
    ) -> Result<Follower, Refusal> {
        let cache = self.resource_cache(call);
        let mut selection = Selection::new(
            &options.labels,
            &options.fields,
            call.served,
            cache.selectable(),
        )
        .served_as(call.custom);
        if !call.name().is_empty() {
            selection.restrict_to(call.name());
        }
        let namespace = call.namespace();
        let interest = selection.interest();
        let (snapshot, source, after) = match options.watch_start()? {
            WatchStart::State(version) => {
                match version {
                    None => self.catch_up().await?,
                    Some(revision) => self.reach(revision).await?,
                }
                let published = self.cache.revision();
                let (snapshot, live) = cache.subscribe_from_now(namespace, interest, published);
                let after = snapshot.revision;
                (Some(snapshot), Source::Cache(live), after)
            }
            WatchStart::Now => {
                self.catch_up().await?;
                let published = self.cache.revision();
                let (snapshot, live) = cache.subscribe_from_now(namespace, interest, published);
                (None, Source::Cache(live), snapshot.revision)
            }
            WatchStart::After(revision) => {
                let source = match cache.subscribe_after(revision, namespace, interest.clone()) {
                    Ok(live) => Source::Cache(live),
                    Err(TooOld) => {
                        let watch = self.watch_store(call, revision)?;
                        let prefix = call.resource.storage_prefix();
                        let history = History::new(watch, prefix, cache, namespace, interest);
                        Source::History(Box::new(history))
                    }
                };
                (None, source, revision)
            }
        };
        Ok(self.follower(call, options, selection, snapshot, source, after))
    }

    fn follower(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
        selection: Selection,
        snapshot: Option<Snapshot>,
        source: Source,
        after: u64,
    ) -> Follower {
        let now = Instant::now();
        let ends_at = now + life(options.timeout_seconds);
        let marks_end = options.bookmarks && snapshot.is_some();
        Follower {
            cache: Arc::clone(&self.cache),
            selection,
            namespace: call.namespace().map(str::to_owned),
            initial: snapshot
                .map(|snapshot| snapshot.objects)
                .unwrap_or_default()
                .into_iter(),
            initial_end: marks_end.then_some(after),
            source,
            after,
            bookmarks: options.bookmarks,
            ends_at,
            timer: Box::pin(tokio::time::sleep_until(next_tick(now, ends_at))),
            stop: call
                .custom
                .map_or_else(|| self.stop.clone(), CustomVersion::gone),
            is_stopping: false,
            ended: false,
        }
    }

    fn watch_store(
        &self,
        call: &Call<'_>,
        revision: u64,
    ) -> Result<muster_storage::Watch, Refusal> {
        let prefix = match call.namespace() {
            Some(namespace) => format!("{}{namespace}/", call.resource.storage_prefix()),
            None => call.resource.storage_prefix(),
        };
        self.store
            .watch(&prefix, Revision(revision))
            .map_err(|error| match error {
                StoreError::Compacted { oldest } => {
                    Status::too_old_resource_version(revision, oldest.0).into()
                }
                error => storage_failure(&error),
            })
    }
}

/// When to look up from waiting for changes: for a bookmark, or for the end.
fn next_tick(now: Instant, ends_at: Instant) -> Instant {
    let regular = now + BOOKMARK_EVERY;
    match ends_at.checked_sub(BOOKMARK_BEFORE_END) {
        Some(last) if last > now => regular.min(last),
        _ => regular.min(ends_at),
    }
}

fn life(asked: Option<i64>) -> Duration {
    match asked.map(u64::try_from) {
        Some(Err(_)) => Duration::ZERO,
        Some(Ok(seconds)) if seconds > 0 => Duration::from_secs(seconds).min(MAX_LIFE),
        _ => {
            // Spread, so that the watches of many clients do not end together.
            let mut byte = [0_u8; 1];
            system_entropy().fill(&mut byte);
            DEFAULT_LIFE + DEFAULT_LIFE * u32::from(byte[0]) / 256
        }
    }
}

impl Follower {
    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        while !self.ended {
            if let Some(frame) = self.next_initial() {
                return Some(frame);
            }
            let step = self.wait().await;
            if let Some(frame) = self.take(step) {
                return Some(frame);
            }
        }
        None
    }

    /// The next frame, if there is one without waiting.
    pub(crate) fn next_ready(&mut self) -> Option<Frame> {
        if self.ended {
            return None;
        }
        let initial = self.next_initial();
        initial.or_else(|| {
            // Not for ever: an unending stream of changes must not outlive its time.
            for _ in 0..READY_AT_ONCE {
                let frame = self
                    .source
                    .next_ready()
                    .map(|change| self.frame_of(change))?;
                if frame.is_some() {
                    return frame;
                }
            }
            None
        })
    }

    fn next_initial(&mut self) -> Option<Frame> {
        let selection = &self.selection;
        if let Some(object) = self.initial.find(|object| selection.matches(object)) {
            return Some(Frame::Object {
                telling: Telling::Added,
                object,
                delivery: None,
            });
        }
        let revision = self.initial_end.take()?;
        Some(Frame::Bookmark {
            revision,
            initial_end: true,
        })
    }

    async fn wait(&mut self) -> Step {
        if self.is_stopping {
            return self.source.next_ready().map_or(Step::End, Step::Change);
        }
        let stopped = std::pin::pin!(self.stop.cancelled());
        let change = std::pin::pin!(self.source.next());
        // In this order, so that an unending stream of changes cannot outlive its time.
        match future::select(stopped, future::select(self.timer.as_mut(), change)).await {
            Either::Left(_) => Step::Stop,
            Either::Right((Either::Left(_), _)) => Step::Tick,
            Either::Right((Either::Right((arrival, _)), _)) => match arrival {
                Arrival::Change(delivery) => Step::Change(delivery),
                Arrival::Failed(refusal) => Step::Failed(refusal),
                Arrival::Closed => Step::Lost,
            },
        }
    }

    fn take(&mut self, step: Step) -> Option<Frame> {
        match step {
            Step::Change(delivery) => self.frame_of(delivery),
            Step::Tick => {
                let now = Instant::now();
                self.ended = now >= self.ends_at;
                self.timer.as_mut().reset(next_tick(now, self.ends_at));
                self.bookmark()
            }
            Step::Stop => {
                self.is_stopping = true;
                None
            }
            Step::End => {
                self.ended = true;
                self.bookmark()
            }
            Step::Failed(refusal) => {
                self.ended = true;
                Some(Frame::Error(refusal))
            }
            Step::Lost => {
                self.ended = true;
                None
            }
        }
    }

    /// Tells how far the client has been told everything, unless changes wait.
    fn bookmark(&mut self) -> Option<Frame> {
        let published = self.cache.revision();
        let revision = self.source.told(published)?;
        // A watch may have been asked for from a future that is not here yet, and changes are told a moment before
        // they are published: a bookmark must never lead back.
        if !self.bookmarks || revision < self.after {
            return None;
        }
        self.after = revision;
        Some(Frame::Bookmark {
            revision,
            initial_end: false,
        })
    }

    /// What a change means for this selection.
    fn frame_of(&mut self, delivery: Arc<Delivery>) -> Option<Frame> {
        let event = delivery.event();
        let elsewhere = |own: &str| event.object.namespace() != Some(own);
        if event.revision() <= self.after {
            return None;
        }
        self.after = event.revision();
        if self.namespace.as_deref().is_some_and(elsewhere) {
            return None;
        }
        let was = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(previous));
        let is = event.change != Change::Deleted && self.selection.matches(&event.object);
        let (telling, object) = match (was, is) {
            (false, false) => return None,
            (false, true) => (Telling::Added, Arc::clone(&event.object)),
            (true, true) => (Telling::Modified, Arc::clone(&event.object)),
            (true, false) if event.change == Change::Deleted => {
                (Telling::Deleted, Arc::clone(&event.object))
            }
            (true, false) => (Telling::Deleted, delivery.left()?),
        };
        Some(Frame::Object {
            telling,
            object,
            delivery: Some(delivery),
        })
    }
}

/// What woke a follower.
enum Step {
    /// Something changed.
    Change(Arc<Delivery>),
    /// It is time for a bookmark or for the end.
    Tick,
    /// The server stops.
    Stop,
    /// The server stops, and everything that was there has been told.
    End,
    /// The history broke off.
    Failed(Refusal),
    /// The watcher was too slow, or the cache begins anew.
    Lost,
}

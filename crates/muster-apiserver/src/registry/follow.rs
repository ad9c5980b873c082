//! Watching: the changes after a resource version as frames for one client, without gaps or repeats, with
//! the transitions that selectors make, bookmarks and an end.
//!
//! Refuses to know: how frames are written, and what a slow client does to the connection: it loses its
//! place in the cache, the stream ends, and the client watches again.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use futures::future::{self, Either};
use muster_identity::Entropy;
use muster_machinery::status::Status;
use muster_storage::{Event, EventKind, Revision, StoreError, Watch};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Call, ListOptions, Refusal, Registry, at_revision, parse_version, select::Selection,
    storage_failure,
};
use crate::{
    entropy::system_entropy,
    watch::{
        CacheEvent, Change, Snapshot, StoredObject, Subscription, TooOld, WatchCache, split_key,
    },
};

/// How often a quiet watch gets a bookmark.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client does not say: between this and twice this.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);
/// The longest life of a watch.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// One thing that a watching client is told.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The object is new to the selection.
    Added(Arc<StoredObject>),
    /// The object changed.
    Modified(Arc<StoredObject>),
    /// The object is gone, or left the selection.
    Deleted(Arc<StoredObject>),
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

/// Where changes come from.
enum Source {
    /// The cache, live.
    Cache(Subscription),
    /// The store's history, for revisions that the cache no longer has.
    History {
        watch: Watch,
        events: VecDeque<Event>,
    },
}

/// One client's watch.
pub(crate) struct Follower {
    cache: Arc<WatchCache>,
    selection: Selection,
    path: String,
    namespace: Option<String>,
    initial: std::vec::IntoIter<Arc<StoredObject>>,
    initial_end: Option<u64>,
    source: Source,
    bookmarks: bool,
    ends_at: Instant,
    timer: Pin<Box<Sleep>>,
    stop: CancellationToken,
    ended: bool,
}

/// How a watch begins.
enum Start {
    /// With the present objects.
    State { mark_end: bool },
    /// With what changes after this revision.
    After(u64),
    /// With what changes from now on.
    Now,
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
        );
        if !call.name().is_empty() {
            selection.restrict_to(call.name());
        }
        let start = self.start_of(options).await?;
        let namespace = call.namespace();
        let interest = selection.interest();
        let (snapshot, source, initial_end) = match start {
            Start::State { mark_end } => {
                let published = self.cache.revision();
                let (snapshot, live) = cache.subscribe_from_now(namespace, interest, published);
                let end = mark_end.then_some(snapshot.revision);
                (Some(snapshot), Source::Cache(live), end)
            }
            Start::Now => {
                let published = self.cache.revision();
                let (_, live) = cache.subscribe_from_now(namespace, interest, published);
                (None, Source::Cache(live), None)
            }
            Start::After(revision) => {
                let source = match cache.subscribe_after(revision, namespace, interest) {
                    Ok(live) => Source::Cache(live),
                    Err(TooOld) => self.history_after(call, revision)?,
                };
                (None, source, None)
            }
        };
        Ok(self.follower(call, options, selection, snapshot, source, initial_end))
    }

    fn follower(
        &self,
        call: &Call<'_>,
        options: &ListOptions,
        selection: Selection,
        snapshot: Option<Snapshot>,
        source: Source,
        initial_end: Option<u64>,
    ) -> Follower {
        let prefix = call.resource.storage_prefix();
        let now = Instant::now();
        let ends_at = now + life(options.timeout_seconds);
        Follower {
            cache: Arc::clone(&self.cache),
            selection,
            path: prefix,
            namespace: call.namespace().map(str::to_owned),
            initial: snapshot
                .map(|snapshot| snapshot.objects)
                .unwrap_or_default()
                .into_iter(),
            initial_end,
            source,
            bookmarks: options.bookmarks,
            ends_at,
            timer: Box::pin(tokio::time::sleep_until(ends_at.min(now + BOOKMARK_EVERY))),
            stop: self.stop.clone(),
            ended: false,
        }
    }

    async fn start_of(&self, options: &ListOptions) -> Result<Start, Refusal> {
        let version = match options.resource_version.as_str() {
            "" => None,
            text => Some(parse_version(text)?),
        };
        if options.initial_events.is_some() && options.version_match != "NotOlderThan" {
            return Err(refuse(
                "resourceVersionMatch: Required value: resourceVersionMatch must be set to NotOlderThan when sendInitialEvents is set",
            ));
        }
        if options.initial_events.is_none() && !options.version_match.is_empty() {
            return Err(refuse(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        match (options.initial_events, version) {
            (Some(true), version) => {
                self.reach_for_state(version).await?;
                Ok(Start::State {
                    mark_end: options.bookmarks,
                })
            }
            (Some(false), None | Some(0)) => {
                self.catch_up().await?;
                Ok(Start::Now)
            }
            (None, None | Some(0)) => {
                self.reach_for_state(version).await?;
                Ok(Start::State { mark_end: false })
            }
            (_, Some(revision)) => {
                self.reach(revision).await?;
                Ok(Start::After(revision))
            }
        }
    }

    async fn reach_for_state(&self, version: Option<u64>) -> Result<(), Refusal> {
        match version {
            None => self.catch_up().await,
            Some(revision) => self.reach(revision).await,
        }
    }

    fn history_after(&self, call: &Call<'_>, revision: u64) -> Result<Source, Refusal> {
        let prefix = match call.namespace() {
            Some(namespace) => format!("{}{namespace}/", call.resource.storage_prefix()),
            None => call.resource.storage_prefix(),
        };
        match self.store.watch(&prefix, Revision(revision)) {
            Ok(watch) => Ok(Source::History {
                watch,
                events: VecDeque::new(),
            }),
            Err(StoreError::Compacted { oldest }) => {
                Err(Status::too_old_resource_version(revision, oldest.0).into())
            }
            Err(error) => Err(storage_failure(&error)),
        }
    }
}

fn refuse(why: &str) -> Refusal {
    Status::bad_request(format!("ListOptions.meta.k8s.io \"\" is invalid: {why}")).into()
}

fn life(asked: Option<u64>) -> Duration {
    match asked {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds).min(MAX_LIFE),
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
            if let Some(object) = self.initial.next() {
                if self.selection.matches(&object) {
                    return Some(Frame::Added(object));
                }
                continue;
            }
            if let Some(revision) = self.initial_end.take() {
                return Some(Frame::Bookmark {
                    revision,
                    initial_end: true,
                });
            }
            let stop = self.stop.clone();
            let step = {
                let stopped = std::pin::pin!(stop.cancelled());
                let change = std::pin::pin!(self.source.next(&self.path));
                // In this order, so that an unending stream of changes cannot outlive its time.
                match future::select(stopped, future::select(self.timer.as_mut(), change)).await {
                    Either::Left(_) => Step::Stop,
                    Either::Right((Either::Left(_), _)) => Step::Tick,
                    Either::Right((Either::Right((change, _)), _)) => change,
                }
            };
            if let Some(frame) = self.take(step) {
                return Some(frame);
            }
        }
        None
    }

    fn take(&mut self, step: Step) -> Option<Frame> {
        match step {
            Step::Stop => {
                self.ended = true;
                None
            }
            Step::Change(event) => self.frame_of(&event),
            Step::Failed(refusal) => {
                self.ended = true;
                Some(Frame::Error(refusal))
            }
            Step::Tick => self.tick(),
        }
    }

    fn tick(&mut self) -> Option<Frame> {
        let now = Instant::now();
        self.ended = now >= self.ends_at;
        self.timer
            .as_mut()
            .reset(self.ends_at.min(now + BOOKMARK_EVERY));
        let revision = self.source.told(self.cache.revision())?;
        self.bookmarks.then_some(Frame::Bookmark {
            revision,
            initial_end: false,
        })
    }

    /// What a change means for this selection.
    fn frame_of(&self, event: &CacheEvent) -> Option<Frame> {
        if self
            .namespace
            .as_deref()
            .is_some_and(|own| event.object.namespace() != Some(own))
        {
            return None;
        }
        let was = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(previous));
        let is = event.change != Change::Deleted && self.selection.matches(&event.object);
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Frame::Added(Arc::clone(&event.object))),
            (true, true) => Some(Frame::Modified(Arc::clone(&event.object))),
            (true, false) if event.change == Change::Deleted => {
                Some(Frame::Deleted(Arc::clone(&event.object)))
            }
            (true, false) => {
                let previous = event.previous.as_ref()?;
                match at_revision(previous, event.revision()) {
                    Ok(left) => Some(Frame::Deleted(Arc::new(left))),
                    Err(refusal) => Some(Frame::Error(refusal)),
                }
            }
        }
    }
}

/// What woke a follower.
enum Step {
    /// The server stops, or the watcher was too slow.
    Stop,
    /// Something changed.
    Change(Arc<CacheEvent>),
    /// The history broke off.
    Failed(Refusal),
    /// It is time for a bookmark or for the end.
    Tick,
}

impl Source {
    async fn next(&mut self, path: &str) -> Step {
        match self {
            Self::Cache(subscription) => {
                if let Some(event) = subscription.backlog.pop_front() {
                    return Step::Change(event);
                }
                subscription
                    .live
                    .recv()
                    .await
                    .map_or(Step::Stop, Step::Change)
            }
            Self::History { watch, events } => loop {
                if let Some(event) = events.pop_front() {
                    if let Some(event) = from_store(&event, path) {
                        return Step::Change(Arc::new(event));
                    }
                    continue;
                }
                match watch.next().await {
                    None => return Step::Stop,
                    Some(Ok(batch)) => events.extend(batch.events),
                    Some(Err(StoreError::Compacted { oldest })) => {
                        let status = Status::too_old_resource_version(watch.revision().0, oldest.0);
                        return Step::Failed(status.into());
                    }
                    Some(Err(error)) => return Step::Failed(storage_failure(&error)),
                }
            },
        }
    }

    /// The revision up to which the client has been told everything, `None` while changes wait.
    /// `published` was read before this call: what came later cannot be lost.
    fn told(&self, published: u64) -> Option<u64> {
        match self {
            Self::Cache(subscription) => (subscription.backlog.is_empty()
                && subscription.live.is_empty())
            .then_some(published),
            Self::History { watch, events } => events.is_empty().then(|| watch.revision().0),
        }
    }
}

fn from_store(event: &Event, path: &str) -> Option<CacheEvent> {
    let key: Arc<str> = event
        .kv
        .key
        .strip_prefix(path)
        .or_else(|| split_key(&event.kv.key).map(|(_, key)| key))?
        .into();
    let object = StoredObject::new(Arc::clone(&key), event.kv.modified.0, &event.kv.value);
    let previous = event
        .previous
        .as_ref()
        .map(|previous| Arc::new(StoredObject::new(key, previous.modified.0, &previous.value)));
    let change = match (event.kind, &previous) {
        (EventKind::Delete, _) => Change::Deleted,
        (EventKind::Put, Some(_)) => Change::Modified,
        (EventKind::Put, None) => Change::Added,
    };
    Some(CacheEvent {
        change,
        object: Arc::new(object),
        previous,
    })
}

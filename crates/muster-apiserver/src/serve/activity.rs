//! What goes on on one connection: how many answers are under way, and since when there is none. A connection
//! that nobody uses takes a place that others could have.
//!
//! Refuses to know: what requests ask for. An answer is under way until its last byte is handed over.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::wire::ResponseBody;

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    under_way: usize,
    seen_any: bool,
    quiet_since: Instant,
}

impl Activity {
    /// A connection that has just been made.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            under_way: 0,
            seen_any: false,
            quiet_since: Instant::now(),
        })))
    }

    /// A request has come; its answer is under way for as long as the result lives.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.0.lock();
        state.under_way += 1;
        state.seen_any = true;
        drop(state);
        UnderWay(Arc::clone(self))
    }

    /// Returns when nothing has been going on for too long: `first` until the first request, `idle` afterwards.
    pub(super) async fn too_quiet(&self, first: Duration, idle: Duration) {
        loop {
            let now = Instant::now();
            let until = {
                let state = self.0.lock();
                let patience = if state.seen_any { idle } else { first };
                if state.under_way > 0 {
                    now + idle
                } else {
                    state.quiet_since + patience
                }
            };
            if until <= now {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// One answer that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.under_way -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A body that counts as under way until it has been sent or given up.
pub(super) struct CountedBody {
    body: ResponseBody,
    _under_way: UnderWay,
}

impl CountedBody {
    pub(super) fn new(body: ResponseBody, under_way: UnderWay) -> Self {
        Self {
            body,
            _under_way: under_way,
        }
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(90);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_asks_is_given_up_sooner() {
        let began = Instant::now();
        Activity::new().too_quiet(FIRST, IDLE).await;
        assert_eq!(began.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_answer_under_way_is_never_too_quiet() {
        let activity = Activity::new();
        let watch = activity.begin();
        let quiet = activity.too_quiet(FIRST, IDLE);
        let mut quiet = std::pin::pin!(quiet);
        let waited = tokio::time::timeout(Duration::from_secs(10_000), quiet.as_mut()).await;
        assert!(waited.is_err());
        drop(watch);
        let ended = Instant::now();
        quiet.await;
        assert_eq!(ended.elapsed(), IDLE);
    }
}

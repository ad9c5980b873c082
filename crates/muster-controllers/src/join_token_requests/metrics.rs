//! What the operator counts, and how that is written for Prometheus (text format 0.0.4).
//!
//! It refuses to know who asks.

use super::request::Request;
use super::status::{EXPIRED, READY};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// Upper limits of the histogram, in milliseconds.
const BUCKETS: [u64; 12] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000,
];

/// Counters.
#[derive(Default)]
pub(crate) struct Metrics {
    minted: AtomicU64,
    removed: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    is_leader: AtomicBool,
    /// Requests without a token, and since when: uid → then.
    waiting: Mutex<HashMap<String, Instant>>,
    latency: Mutex<Latency>,
}

#[derive(Default)]
struct Latency {
    counts: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

/// What is true now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) debts: usize,
    pub(crate) clusters: usize,
    pub(crate) answering: usize,
}

impl Metrics {
    pub(crate) fn minted(&self) {
        self.minted.fetch_add(1, Relaxed);
    }

    pub(crate) fn removed(&self) {
        self.removed.fetch_add(1, Relaxed);
    }

    pub(crate) fn reconciled(&self, is_done: bool) {
        let counter = if is_done { &self.done } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_leader(&self, is_leader: bool) {
        self.is_leader.store(is_leader, Relaxed);
    }

    /// Whether this operator leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.is_leader.load(Relaxed)
    }

    /// A request was seen; its wait begins if it has no token.
    pub(crate) fn seen(&self, request: &Request) {
        if request.status.token_id.is_none() && !request.deleting {
            let mut waiting = self.waiting.lock();
            waiting
                .entry(request.uid.clone())
                .or_insert_with(Instant::now);
        }
    }

    /// A request is gone.
    pub(crate) fn gone(&self, uid: &str) {
        self.waiting.lock().remove(uid);
    }

    /// A request has its Secret.
    pub(crate) fn delivered(&self, uid: &str) {
        let Some(since) = self.waiting.lock().remove(uid) else {
            return;
        };
        let took = since.elapsed();
        let mut latency = self.latency.lock();
        latency.count += 1;
        latency.seconds += took.as_secs_f64();
        for (limit, count) in BUCKETS.iter().zip(latency.counts.iter_mut()) {
            *count += u64::from(took.as_millis() <= u128::from(*limit));
        }
    }

    /// Everything, as text.
    pub(crate) fn render(&self, requests: &[Arc<Request>], now: Standing) -> String {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, rows: &[(&str, u64)]| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let (mut ready, mut expired) = (0, 0);
        for request in requests {
            let is = |type_| {
                let condition = request.status.condition(type_);
                condition.is_some_and(|condition| condition.status == "True")
            };
            ready += usize::from(is(READY));
            expired += usize::from(is(EXPIRED));
        }
        let pending = requests.len().saturating_sub(ready + expired);
        one(
            "muster_operator_requests",
            "gauge",
            "Join token requests by state.",
            &[
                ("{state=\"ready\"}", count(ready)),
                ("{state=\"expired\"}", count(expired)),
                ("{state=\"pending\"}", count(pending)),
            ],
        );
        one(
            "muster_operator_clusters",
            "gauge",
            "Target clusters by whether they answer.",
            &[
                ("{answers=\"true\"}", count(now.answering)),
                (
                    "{answers=\"false\"}",
                    count(now.clusters.saturating_sub(now.answering)),
                ),
            ],
        );
        one(
            "muster_operator_debts",
            "gauge",
            "Tokens that have to be removed from clusters which do not answer.",
            &[("", count(now.debts))],
        );
        one(
            "muster_operator_leader",
            "gauge",
            "Whether this operator leads.",
            &[("", u64::from(self.is_leader()))],
        );
        one(
            "muster_operator_tokens_minted_total",
            "counter",
            "Tokens made in target clusters.",
            &[("", self.minted.load(Relaxed))],
        );
        one(
            "muster_operator_tokens_removed_total",
            "counter",
            "Tokens removed from target clusters.",
            &[("", self.removed.load(Relaxed))],
        );
        one(
            "muster_operator_reconciles_total",
            "counter",
            "Looks at a request or a debt, by how they ended.",
            &[
                ("{result=\"done\"}", self.done.load(Relaxed)),
                ("{result=\"failed\"}", self.failed.load(Relaxed)),
            ],
        );
        self.latency.lock().render(&mut text);
        text
    }
}

impl Latency {
    fn render(&self, text: &mut String) {
        let name = "muster_operator_request_duration_seconds";
        let _ = write!(
            text,
            "# HELP {name} From seeing a request to its Secret.\n# TYPE {name} histogram\n"
        );
        for (limit, count) in BUCKETS.iter().zip(self.counts) {
            let (whole, part) = (limit / 1000, limit % 1000);
            let _ = writeln!(text, "{name}_bucket{{le=\"{whole}.{part:03}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(text, "{name}_sum {}", self.seconds);
        let _ = writeln!(text, "{name}_count {}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buckets_count_what_is_not_slower() {
        let metrics = Metrics::default();
        for (uid, wait) in [("a", 20), ("b", 700)] {
            metrics
                .waiting
                .lock()
                .insert(uid.to_owned(), Instant::now());
            tokio::time::advance(std::time::Duration::from_millis(wait)).await;
            metrics.delivered(uid);
        }
        metrics.delivered("never seen");
        let text = metrics.render(&[], Standing::default());
        for line in [
            "_bucket{le=\"0.010\"} 0",
            "_bucket{le=\"0.025\"} 1",
            "_bucket{le=\"1.000\"} 2",
            "_bucket{le=\"+Inf\"} 2",
            "_count 2",
            "muster_operator_requests{state=\"ready\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

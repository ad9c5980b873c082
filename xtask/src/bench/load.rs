//! Load: many requests side by side or at a fixed rate, and how long each took.
//!
//! Refuses to know: what the requests are about.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    report::{Better, Figure, percentile},
    target::Connection,
};

/// How long requests took, in milliseconds and in order, and how long all of them took together.
pub(super) struct Timing {
    sorted: Vec<f64>,
    total: Duration,
    /// How many requests were not answered as they should have been.
    pub(super) failed: usize,
}

impl Timing {
    pub(super) fn new(mut millis: Vec<f64>, total: Duration) -> Self {
        millis.sort_by(f64::total_cmp);
        Self {
            sorted: millis,
            total,
            failed: 0,
        }
    }

    pub(super) fn at(&self, share: f64) -> f64 {
        percentile(&self.sorted, share)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    pub(super) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.total.as_secs_f64()
    }

    /// Throughput and latencies under a name.
    pub(super) fn figures(&self, name: &str) -> Vec<Figure> {
        vec![
            Figure::new(
                &format!("{name}, per second"),
                self.per_second(),
                "/s",
                Better::More,
            ),
            Figure::new(&format!("{name}, p50"), self.at(0.5), "ms", Better::Less),
            Figure::new(&format!("{name}, p99"), self.at(0.99), "ms", Better::Less),
        ]
    }
}

/// Milliseconds since `begin`.
pub(super) fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

/// Does `count` requests, `at_once` at the same time, spread over the connections.
pub(super) async fn closed_loop<F>(
    connections: &[Connection],
    count: usize,
    at_once: usize,
    request: impl Fn(Connection, usize) -> F + Send + Sync + 'static,
) -> Result<Timing>
where
    F: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let request = Arc::new(request);
    let begin = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let connection = connections[worker % connections.len()].clone();
            let (next, request) = (Arc::clone(&next), Arc::clone(&request));
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(count / at_once + 1);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(took);
                    }
                    let sent = Instant::now();
                    request(connection.clone(), number).await?;
                    took.push(millis(sent));
                }
            })
        })
        .collect();
    let mut all = Vec::with_capacity(count);
    for worker in workers {
        all.extend(worker.await.context("a worker broke")??);
    }
    Ok(Timing::new(all, begin.elapsed()))
}

/// Lets every one of `count` clients do a request once in `period`, evenly spread, for `duration`. Latency counts
/// from when a request was due, so that a server that is late does not look quick. A request that fails is counted, and the client goes on.
pub(super) async fn open_loop<F>(
    connections: &[Connection],
    count: usize,
    period: Duration,
    duration: Duration,
    request: impl Fn(Connection, usize) -> F + Send + Sync + 'static,
) -> Result<Timing>
where
    F: Future<Output = Result<()>> + Send,
{
    let request = Arc::new(request);
    let begin = tokio::time::Instant::now();
    let clients: Vec<_> = (0..count)
        .map(|client| {
            let connection = connections[client % connections.len()].clone();
            let request = Arc::clone(&request);
            let share = f64::from(u32::try_from(client).unwrap_or(0))
                / f64::from(u32::try_from(count).unwrap_or(1));
            let mut due = begin + period.mul_f64(share);
            tokio::spawn(async move {
                let (mut took, mut failed) = (Vec::new(), 0);
                while due < begin + duration {
                    tokio::time::sleep_until(due).await;
                    match request(connection.clone(), client).await {
                        Ok(()) => took.push(due.elapsed().as_secs_f64() * 1e3),
                        Err(_) => failed += 1,
                    }
                    due += period;
                }
                (took, failed)
            })
        })
        .collect();
    let (mut all, mut failed) = (Vec::new(), 0);
    for client in clients {
        let (took, lost) = client.await.context("a client broke")?;
        all.extend(took);
        failed += lost;
    }
    Ok(Timing {
        failed,
        ..Timing::new(all, begin.elapsed())
    })
}

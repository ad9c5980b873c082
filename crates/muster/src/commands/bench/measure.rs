//! Samples of durations and their percentiles.

use std::time::Duration;

/// The times of all joins.
#[derive(Debug, Default)]
pub(super) struct Samples {
    protocol: Vec<Duration>,
    whole: Vec<Duration>,
}

impl Samples {
    /// Adds one join.
    pub(super) fn add(&mut self, protocol: Duration, whole: Duration) {
        self.protocol.push(protocol);
        self.whole.push(whole);
    }

    /// Discovery to certificate, at a percentile (nearest rank).
    pub(super) fn protocol(&self, percent: usize) -> Duration {
        percentile(&self.protocol, percent)
    }

    /// The whole join, at a percentile (nearest rank).
    pub(super) fn whole(&self, percent: usize) -> Duration {
        percentile(&self.whole, percent)
    }
}

fn percentile(samples: &[Duration], percent: usize) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Vec<Duration> = (1..=10).map(Duration::from_millis).collect();
        assert_eq!(percentile(&samples, 50), Duration::from_millis(5));
        assert_eq!(percentile(&samples, 99), Duration::from_millis(10));
        assert_eq!(percentile(&samples[..1], 50), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}

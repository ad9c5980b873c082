//! When to try again: full jitter inside one deadline, and never before the other side wishes.
//!
//! Refuses to know which failures are transient; they say so themselves.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{chance::Chance, failure::StageFailure};

/// How long to wait before another attempt: a random time between nothing and `base` · 2ⁿ⁻¹, which `cap` bounds (full
/// jitter). What `Retry-After` asks for comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// When the attempt after number `attempt` (1 for the first) may begin; `None` when the failure is terminal or that
    /// would be `deadline` or later. `lot` is a random number.
    #[must_use]
    pub fn next(
        &self,
        attempt: u32,
        failure: &StageFailure,
        deadline: Timestamp,
        now: Timestamp,
        lot: u64,
    ) -> Option<Timestamp> {
        if !failure.transient && !failure.token_refused {
            return None;
        }
        let bound = self
            .base
            .saturating_mul(1 << attempt.saturating_sub(1).min(20));
        let bound = u64::try_from(bound.min(self.cap).as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(Chance::new(lot).below(bound.saturating_add(1)));
        let wait = failure
            .retry_after
            .unwrap_or_default()
            .saturating_add(jitter);
        Some(after(now, wait)).filter(|at| *at < deadline)
    }
}

/// A time after another; the end of time when there is no such time.
pub(crate) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: u64) -> Timestamp {
        after(START, Duration::from_secs(seconds))
    }

    fn busy() -> StageFailure {
        StageFailure::transient("busy", "busy")
    }

    #[test]
    fn waits_fill_the_whole_range_and_the_range_doubles_up_to_its_cap() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(4),
        };
        for (attempt, bound) in [(1, 1), (2, 2), (3, 4), (4, 4), (60, 4)] {
            let waits = (0..1000).map(|lot| backoff.next(attempt, &busy(), at(99), START, lot));
            let (least, most) = waits.fold((at(99), START), |(least, most), wait| {
                let wait = wait.unwrap();
                (least.min(wait), most.max(wait))
            });
            assert!(most <= at(bound), "attempt {attempt}: {most}");
            assert!(most.as_millisecond() > at(bound).as_millisecond() * 9 / 10);
            assert!(least.as_millisecond() < at(bound).as_millisecond() / 10);
        }
    }

    #[test]
    fn retry_after_comes_before_the_jitter() {
        let failure = StageFailure {
            retry_after: Some(Duration::from_secs(20)),
            ..busy()
        };
        for lot in 0..100 {
            let next = Backoff::default()
                .next(1, &failure, at(99), START, lot)
                .unwrap();
            assert!((at(20)..=at(21)).contains(&next));
        }
    }

    #[test]
    fn a_terminal_failure_and_one_without_time_left_are_not_tried_again() {
        let backoff = Backoff::default();
        let terminal = StageFailure::terminal("no", "no");
        assert_eq!(backoff.next(1, &terminal, at(99), START, 1), None);
        let late = StageFailure {
            retry_after: Some(Duration::from_secs(99)),
            ..busy()
        };
        assert_eq!(backoff.next(1, &late, at(99), START, 1), None);
    }
}

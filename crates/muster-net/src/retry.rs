//! The one retry policy: what is tried again, how often, and how long in between.
//!
//! Decides from an outcome and a random number; it neither sleeps nor sends.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use muster_handshake::ErrorClass;

use crate::error::ApiError;

/// When a request is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Limit of everything together: attempts and pauses.
    pub deadline: Duration,
    /// Limit of one attempt; a connection that let an attempt run into it is given up.
    pub attempt: Duration,
    /// Pause before the second attempt; doubles each time, with jitter.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// Rides out the restart of an API server: 30 s in all, 10 s an attempt, pauses from 100 ms to 3 s.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(3),
        }
    }
}

impl RetryPolicy {
    /// Exactly one attempt, within `limit`.
    pub const fn once(limit: Duration) -> Self {
        Self {
            deadline: limit,
            attempt: limit,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
        }
    }

    /// How long to wait before attempt number `next` (2, 3, …) after `error`, or `None` to give up
    /// because nothing would change, because the request must not be repeated, or because the
    /// deadline would pass. `chance` is from 0 to 1.
    pub fn pause(
        &self,
        error: &ApiError,
        repeatable: bool,
        next: u32,
        elapsed: Duration,
        chance: f64,
    ) -> Option<Duration> {
        if self.first_pause.is_zero() || !may_repeat(error, repeatable) {
            return None;
        }
        let doublings = next.saturating_sub(2).min(16);
        let whole = (self.first_pause * (1 << doublings)).min(self.longest_pause);
        // Half of it fixed, half of it by chance: a crowd that was turned away comes back spread out.
        let pause = whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        let pause = match error.retry_after() {
            // Any number of seconds may stand there, also one that no sum can hold.
            Some(asked) => asked
                .max(pause)
                .saturating_add(pause.mul_f64(chance.clamp(0.0, 1.0))),
            None => pause,
        };
        (elapsed.saturating_add(pause) < self.deadline).then_some(pause)
    }
}

fn may_repeat(error: &ApiError, repeatable: bool) -> bool {
    match error {
        // The server says that it did nothing.
        ApiError::Status(status) if matches!(status.code, 429 | 503) => true,
        ApiError::Status(status) => {
            repeatable && muster_handshake::error::is_transient_status(status.code)
        }
        ApiError::Transport { error, unsent } => {
            error.class() == ErrorClass::Transient && (*unsent || repeatable)
        }
        ApiError::Decode { .. } | ApiError::Tls(_) => false,
    }
}

/// A random number from 0 to 1, good enough for jitter and for nothing secret.
pub fn chance() -> f64 {
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    // 53 bits are what an f64 holds exactly.
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use muster_handshake::HandshakeError;

    use super::*;
    use crate::error::StatusError;

    fn status(code: u16, retry_after: Option<u64>) -> ApiError {
        ApiError::Status(Box::new(StatusError {
            code,
            reason: String::new(),
            message: String::new(),
            details: None,
            retry_after: retry_after.map(Duration::from_secs),
        }))
    }

    fn lost(unsent: bool) -> ApiError {
        let error = HandshakeError::ConnectionLost {
            endpoint: "e:1".into(),
            reason: String::new(),
        };
        ApiError::Transport { error, unsent }
    }

    #[test]
    fn only_what_can_change_is_repeated_and_a_deed_only_when_it_was_not_done() {
        let policy = RetryPolicy::default();
        let again = |error: &ApiError, repeatable| {
            policy
                .pause(error, repeatable, 2, Duration::ZERO, 0.5)
                .is_some()
        };
        assert!(again(&status(429, None), false));
        assert!(again(&status(503, None), false));
        assert!(again(&status(500, None), true));
        assert!(!again(&status(500, None), false));
        assert!(!again(&status(404, None), true));
        assert!(!again(&status(409, None), true));
        assert!(again(&lost(true), false));
        assert!(!again(&lost(false), false));
        assert!(again(&lost(false), true));
    }

    #[test]
    fn pauses_grow_to_the_longest_and_end_at_the_deadline() {
        let policy = RetryPolicy::default();
        let pause = |next, elapsed| policy.pause(&status(503, None), true, next, elapsed, 1.0);
        assert_eq!(pause(2, Duration::ZERO), Some(Duration::from_millis(100)));
        assert_eq!(pause(4, Duration::ZERO), Some(Duration::from_millis(400)));
        assert_eq!(pause(40, Duration::ZERO), Some(Duration::from_secs(3)));
        assert_eq!(pause(2, Duration::from_millis(29_950)), None);
    }

    #[test]
    fn what_the_server_asks_for_is_a_lower_bound() {
        let policy = RetryPolicy::default();
        let pause = policy
            .pause(&status(429, Some(2)), true, 2, Duration::ZERO, 1.0)
            .unwrap();
        assert!(pause >= Duration::from_secs(2));
        assert_eq!(
            policy.pause(&status(429, Some(60)), true, 2, Duration::ZERO, 1.0),
            None
        );
        for asked in [u64::MAX, u64::MAX - 1] {
            let endless = status(503, Some(asked));
            let elapsed = Duration::from_secs(1);
            assert_eq!(policy.pause(&endless, true, 2, elapsed, 1.0), None);
        }
    }

    #[test]
    fn one_attempt_means_one_attempt() {
        let once = RetryPolicy::once(Duration::from_secs(5));
        assert_eq!(
            once.pause(&status(503, None), true, 2, Duration::ZERO, 0.0),
            None
        );
    }

    #[test]
    fn chances_lie_between_0_and_1_and_differ() {
        let drawn: Vec<f64> = (0..8).map(|_| chance()).collect();
        assert!(drawn.iter().all(|c| (0.0..1.0).contains(c)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
    }
}

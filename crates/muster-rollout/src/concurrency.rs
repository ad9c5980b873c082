//! How many at once: a fixed cap, or one that finds its own size from how the other side answers (AIMD: up by one for
//! every cap's worth of good answers, down by half at a bad one).
//!
//! One throttle knows one limit. It refuses to know who waits for it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::retry::after;

/// How many hosts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cap {
    /// Always as many.
    Fixed(u32),
    /// As many as the other side bears.
    Auto(Auto),
}

impl Default for Cap {
    /// Three, as many as a small API server takes without a word.
    fn default() -> Self {
        Self::Fixed(3)
    }
}

impl Cap {
    /// Whether any host may start under it.
    #[must_use]
    pub fn lets_start(self) -> bool {
        match self {
            Self::Fixed(cap) => cap > 0,
            Self::Auto(auto) => auto.least > 0 && auto.least <= auto.most,
        }
    }
}

/// The bounds of a cap that finds its own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auto {
    /// Where it begins.
    pub start: u32,
    /// Never fewer.
    pub least: u32,
    /// Never more.
    pub most: u32,
    /// An answer that takes longer than this is a slow one.
    pub fine: Duration,
    /// How long after a cut the next one waits: what was started before the cut still answers slowly.
    pub calm: Duration,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            start: 3,
            least: 1,
            most: 256,
            fine: Duration::from_millis(500),
            calm: Duration::from_secs(5),
        }
    }
}

/// What an answer says about how much the other side bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Pressure {
    /// HTTP 429, or a refusal that means the same.
    TooManyRequests {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// Something took too long, or ended in a time-out or a 5xx.
    Slow,
    /// An answer.
    Fine {
        /// How long it took.
        latency: Duration,
    },
}

/// One limit at work: how many may hold a place, how many do, and whether the other side asked for quiet.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    cap: Cap,
    /// The size now; with a fraction, as it grows by parts.
    size: f64,
    in_use: u32,
    quiet_until: Option<Timestamp>,
    calm_until: Option<Timestamp>,
}

impl Throttle {
    pub(crate) fn new(cap: Cap) -> Self {
        let size = match cap {
            Cap::Fixed(size) => size,
            Cap::Auto(auto) => auto.start.clamp(auto.least.min(auto.most), auto.most),
        };
        Self {
            cap,
            size: f64::from(size),
            in_use: 0,
            quiet_until: None,
            calm_until: None,
        }
    }

    /// The size now.
    pub(crate) fn size(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and the most, which is a u32; the fraction does not count"
        )]
        let size = self.size as u32;
        size
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Until when the other side wants no newcomers.
    pub(crate) fn quiet_until(&self) -> Option<Timestamp> {
        self.quiet_until
    }

    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        self.in_use < self.size() && self.quiet_until.is_none_or(|until| until <= now)
    }

    pub(crate) fn take(&mut self) {
        self.in_use += 1;
    }

    pub(crate) fn give_back(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Takes an answer into account. `true` when the size or the quiet changed.
    pub(crate) fn feel(&mut self, pressure: Pressure, now: Timestamp) -> bool {
        let before = (self.size(), self.quiet_until);
        if let Pressure::TooManyRequests {
            retry_after: Some(wait),
        } = pressure
        {
            let until = after(now, wait);
            self.quiet_until = Some(self.quiet_until.map_or(until, |known| known.max(until)));
        }
        if let Cap::Auto(auto) = self.cap {
            match pressure {
                Pressure::Fine { latency } if latency <= auto.fine => self.grow(auto),
                _ => self.shrink(auto, now),
            }
        }
        before != (self.size(), self.quiet_until)
    }

    /// Only a size that is used proves that it is borne.
    fn grow(&mut self, auto: Auto) {
        if self.in_use + 1 >= self.size() {
            self.size = (self.size + 1.0 / self.size).min(f64::from(auto.most));
        }
    }

    fn shrink(&mut self, auto: Auto, now: Timestamp) {
        if self.calm_until.is_some_and(|until| now < until) {
            return;
        }
        self.size = (self.size / 2.0).max(f64::from(auto.least));
        self.calm_until = Some(after(now, auto.calm));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn auto(start: u32) -> Throttle {
        Throttle::new(Cap::Auto(Auto {
            start,
            most: 20,
            ..Auto::default()
        }))
    }

    const FINE: Pressure = Pressure::Fine {
        latency: Duration::from_millis(20),
    };

    #[test]
    fn it_grows_by_one_for_a_cap_of_good_answers_and_only_when_it_is_used() {
        let mut throttle = auto(4);
        for _ in 0..100 {
            throttle.feel(FINE, at(0));
        }
        assert_eq!(throttle.size(), 4, "nobody used it");
        (0..4).for_each(|_| throttle.take());
        for _ in 0..5 {
            throttle.feel(FINE, at(0));
        }
        assert_eq!(throttle.size(), 5);
        (0..20).for_each(|_| throttle.take());
        for _ in 0..1000 {
            throttle.feel(FINE, at(0));
        }
        assert_eq!(throttle.size(), 20, "never above the most");
    }

    #[test]
    fn it_halves_at_a_bad_answer_once_in_a_while_and_not_below_the_least() {
        let mut throttle = auto(16);
        for _ in 0..10 {
            throttle.feel(Pressure::Slow, at(0));
        }
        assert_eq!(throttle.size(), 8, "ten bad answers of one moment are one");
        for moment in 1..10 {
            throttle.feel(Pressure::Slow, at(moment * 5));
        }
        assert_eq!(throttle.size(), 1);
        assert!(throttle.has_room(at(99)));
        let slow = Pressure::Fine {
            latency: Duration::from_secs(2),
        };
        let mut throttle = auto(16);
        throttle.feel(slow, at(0));
        assert_eq!(throttle.size(), 8, "a slow answer is a bad one");
    }

    #[test]
    fn retry_after_is_quiet_time_for_fixed_caps_too() {
        let mut throttle = Throttle::new(Cap::Fixed(3));
        let asked = |seconds| Pressure::TooManyRequests {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert!(throttle.feel(asked(30), at(0)));
        assert!(!throttle.feel(asked(5), at(1)), "the longer wish counts");
        assert!(!throttle.has_room(at(29)));
        assert!(throttle.has_room(at(30)));
        assert_eq!(throttle.size(), 3, "a fixed cap stays");
    }

    #[test]
    fn places_are_as_many_as_the_cap() {
        let mut throttle = Throttle::new(Cap::Fixed(2));
        throttle.take();
        assert!(throttle.has_room(at(0)));
        throttle.take();
        assert!(!throttle.has_room(at(0)));
        throttle.give_back();
        assert!(throttle.has_room(at(0)));
    }
}

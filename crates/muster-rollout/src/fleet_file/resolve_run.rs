//! What is written about the run, counted out: policy and waves, caps, time-outs, tokens.
//!
//! It refuses to know the hosts; their number is enough.

use super::resolve::Resolution;
use super::run::{Concurrency, Keep, Limit, Policy, Timeouts, TokenLife};
use super::words::{Amount, Cap, OnFailure, Span};
use crate::document::At;
use std::time::Duration;

/// How many hosts at once if nothing is said.
const LIMIT: u32 = 3;
/// How many are undone at once if nothing is said.
const UNDO_LIMIT: u32 = 10;

impl Resolution<'_> {
    pub(super) fn policy(&mut self, count: u32) -> Policy {
        let written = &self.file.policy;
        let amount = written.keep_at_least.map(|amount| amount.value);
        let choice = written.on_failure.map(|choice| choice.value);
        let position = written
            .on_failure
            .map(|choice| choice.position)
            .or_else(|| written.keep_at_least.map(|amount| amount.position))
            .unwrap_or_default();
        let keep = match (choice, amount) {
            (Some(OnFailure::KeepAtLeast) | None, Some(amount)) => {
                if matches!(amount, Amount::Count(least) if count > 0 && least > count) {
                    self.faults.push(
                        position,
                        "policy.keepAtLeast",
                        format!("it can never be met: there are {count} hosts"),
                        "write a smaller number, or a share such as 80%",
                    );
                }
                Keep::AtLeast(amount.of(count))
            }
            (Some(OnFailure::KeepAtLeast), None) => {
                self.faults.push(
                    position,
                    "policy.onFailure",
                    "nothing says how many are enough",
                    "add keepAtLeast: 80%",
                );
                Keep::AllOrNothing
            }
            (Some(OnFailure::KeepSuccesses | OnFailure::AllOrNothing), Some(_)) => {
                self.faults.push(
                    position,
                    "policy.onFailure",
                    "it contradicts keepAtLeast",
                    "take one of them out",
                );
                Keep::AllOrNothing
            }
            (Some(OnFailure::KeepSuccesses), None) => Keep::Successes,
            (Some(OnFailure::AllOrNothing) | None, None) => Keep::AllOrNothing,
        };
        Policy {
            keep,
            max_failures: written.max_failures.map(|amount| amount.of(count).max(1)),
            waves: self.waves(count),
            wave_failures: written.wave_failures.unwrap_or_default(),
        }
    }

    fn waves(&mut self, count: u32) -> Vec<u32> {
        let written = &self.file.policy;
        let waves = written.waves.as_ref().map(|waves| waves.value.as_slice());
        if waves.is_some_and(<[Amount]>::is_empty) {
            let position = written.waves.as_ref().map(|waves| waves.position);
            self.faults.push(
                position.unwrap_or_default(),
                "policy.waves",
                "there is no wave in it",
                "write sizes such as [10%, 50%], or take it out",
            );
        }
        let mut sizes = written
            .canary
            .into_iter()
            .chain(waves.unwrap_or_default().iter().copied());
        let last = waves.and_then(<[Amount]>::last).copied();
        let mut left = count;
        let mut waves = Vec::new();
        while left > 0 {
            let next = sizes.next().or(last).map_or(left, |size| size.of(count));
            let size = next.clamp(1, left);
            waves.push(size);
            left -= size;
        }
        waves
    }

    pub(super) fn concurrency(&mut self, count: u32) -> Concurrency {
        let written = &self.file.concurrency;
        let (ours, theirs) = (written.limit, self.file.k8s.kubeadm.join_parallelism);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            self.faults.push(
                theirs.position,
                "k8s.kubeadm.join_parallelism",
                "it says another number than concurrency.limit, and means the same",
                "take one of them out",
            );
        }
        let limit = match ours.or(theirs).map(|cap| cap.value) {
            Some(Cap::Auto) => Limit::Auto,
            Some(Cap::Count(cap)) => Limit::Fixed(cap.min(count).max(1)),
            None => Limit::Fixed(LIMIT.min(count).max(1)),
        };
        Concurrency {
            limit,
            undo: written.undo.map_or(UNDO_LIMIT, |cap| cap.0),
            per_jump_host: written.per_jump_host.map(|cap| cap.0),
        }
    }

    pub(super) fn timeouts(&mut self) -> Timeouts {
        let written = &self.file.timeouts;
        let run = written.run.map(|span| span.0);
        Timeouts {
            connect: self.span(written.connect, "timeouts.connect", 30),
            stage: self.span(written.stage, "timeouts.stage", 600),
            run: run.filter(|span| !span.is_zero()),
            ready: self.span(written.ready, "timeouts.ready", 300),
            undo: self.span(written.undo, "timeouts.undo", 300),
        }
    }

    pub(super) fn token(&mut self) -> TokenLife {
        let written = &self.file.token;
        let ttl = self.span(written.ttl, "token.ttl", 3600);
        let margin = match written.margin {
            Some(margin) => margin.value.0,
            None => Duration::from_secs(300).min(ttl / 4),
        };
        if margin >= ttl {
            let position = written.margin.or(written.ttl).map(|span| span.position);
            self.faults.push(
                position.unwrap_or_default(),
                "token.margin",
                "a token would be too old as soon as it is minted",
                "write a margin that is shorter than the ttl",
            );
        }
        TokenLife { ttl, margin }
    }

    fn span(&mut self, written: Option<At<Span>>, field: &str, default: u64) -> Duration {
        let Some(span) = written else {
            return Duration::from_secs(default);
        };
        if span.value.0.is_zero() {
            self.faults.push(
                span.position,
                field,
                "nothing can be done in no time",
                "write a span such as 30s or 5m",
            );
        }
        span.value.0
    }
}

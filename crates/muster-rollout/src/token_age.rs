//! When a token is young enough for a join, and when another one is due.
//!
//! It knows ages only: no token, no id, no cluster.

use std::time::Duration;

use jiff::Timestamp;
use muster_identity::TokenId;
use serde::{Deserialize, Serialize};

use crate::retry::after;

/// How old a token may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPolicy {
    /// How long a token that the run mints shall live.
    pub lifetime: Duration,
    /// How much of its life must be left when a join that uses it ends in the last moment.
    pub margin: Duration,
    /// A token that the run is given is used up to this age, and not a moment longer.
    pub reuse_up_to: Duration,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3600),
            margin: Duration::from_secs(300),
            reuse_up_to: Duration::from_secs(20 * 3600),
        }
    }
}

/// A token that exists already. The run uses it while it is fit, and does not revoke what it did not make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenToken {
    /// Its id.
    pub id: TokenId,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends; `None` if that is not known (kubeadm's tokens live 24 h) or never.
    pub expires: Option<Timestamp>,
}

impl TokenPolicy {
    /// Until when a join may begin with a token of the run. The margin and the time-out of a whole join must fit into
    /// what is left then; of a token that is too short for that the first half serves.
    #[must_use]
    pub fn minted_until(&self, minted: Timestamp, expires: Timestamp, join: Duration) -> Timestamp {
        let needed = self.margin.saturating_add(join);
        let life = Duration::try_from(expires.duration_since(minted)).unwrap_or_default();
        let usable = life.saturating_sub(needed).max(life / 2);
        after(minted, usable)
    }

    /// Until when a join may begin with a token that was given. Its age counts and, where it is known, its end.
    #[must_use]
    pub fn given_until(&self, token: &GivenToken, join: Duration) -> Timestamp {
        let by_age = after(token.created, self.reuse_up_to);
        let needed = self.margin.saturating_add(join);
        let by_end = token.expires.map_or(Timestamp::MAX, |expires| {
            let needed =
                jiff::SignedDuration::try_from(needed).unwrap_or(jiff::SignedDuration::MAX);
            expires.checked_sub(needed).unwrap_or(Timestamp::MIN)
        });
        by_age.min(by_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: Duration = Duration::from_secs(480);

    fn at(seconds: u64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn given(expires: Option<Timestamp>) -> GivenToken {
        GivenToken {
            id: TokenId::parse("abcdef").unwrap(),
            created: at(0),
            expires,
        }
    }

    #[test]
    fn a_given_token_is_used_up_to_twenty_hours_and_not_a_second_longer() {
        let until = TokenPolicy::default().given_until(&given(None), JOIN);
        for (age, fit) in [
            (2 * 3600, true),
            (20 * 3600, true),
            (20 * 3600 + 1, false),
            (23 * 3600, false),
        ] {
            assert_eq!(at(age) <= until, fit, "{age} s");
        }
    }

    #[test]
    fn a_given_token_that_ends_sooner_is_left_margin_and_join_before_its_end() {
        let until = TokenPolicy::default().given_until(&given(Some(at(3600))), JOIN);
        assert_eq!(until, at(3600 - 300 - 480));
    }

    #[test]
    fn a_minted_token_leaves_room_for_a_whole_join_and_the_margin() {
        let policy = TokenPolicy::default();
        assert_eq!(policy.minted_until(at(0), at(3600), JOIN), at(3600 - 780));
    }

    #[test]
    fn a_token_too_short_for_the_rule_serves_for_half_its_life() {
        let policy = TokenPolicy::default();
        assert_eq!(policy.minted_until(at(0), at(600), JOIN), at(300));
        assert_eq!(policy.minted_until(at(10), at(5), JOIN), at(10));
    }
}

//! Why etcd did not do what was asked: who could not be reached, who refused, and why a removal is not even tried.

use std::time::Duration;

use crate::tls::TlsError;

/// Why etcd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No address of any member is known.
    #[error("no address of an etcd member is known")]
    NoEndpoint,
    /// Certificates or key cannot be used: look at the files below pki/etcd.
    #[error("the certificates for etcd cannot be used")]
    Tls(#[source] TlsError),
    /// No member answered. Each is named with its reason: mend one of them.
    #[error("no etcd member answers: {}", unanswered(.members))]
    Unreachable {
        /// URL and reason of each.
        members: Vec<(String, String)>,
    },
    /// A member refused for good.
    #[error("etcd refused to {call}: {message}")]
    Refused {
        /// What was asked for.
        call: &'static str,
        /// Its reason, as far as known.
        refusal: Refusal,
        /// Its words.
        message: String,
    },
    /// It did not come about in time; the last obstacle is named.
    #[error("etcd did not {call} within {limit:?}: {last}")]
    TimedOut {
        /// What was asked for.
        call: &'static str,
        /// How long was waited.
        limit: Duration,
        /// What was in the way at last.
        last: String,
    },
    /// The member's removal would leave too few living ones to decide anything. Bring the dead ones back first.
    #[error(
        "without {name} only {healthy} of {needed} needed etcd members would be left{}", dead_ones(.dead)
    )]
    WouldLoseQuorum {
        /// The member that was to be removed.
        name: String,
        /// Voters that would be left and answer.
        healthy: usize,
        /// Voters that would be needed.
        needed: usize,
        /// Those that do not answer.
        dead: Vec<String>,
    },
    /// The member is not, or no longer, one of the cluster.
    #[error("etcd has no member {member}")]
    NoMember {
        /// Its id or URL.
        member: String,
    },
}

/// A reason that etcd gives, by its words (`go.etcd.io/etcd/api/v3/v3rpc/rpctypes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A member with this peer URL is there already.
    PeerUrlExists,
    /// Too few members have started for another change.
    NotEnoughStarted,
    /// Not all voters are connected; passes by itself.
    Unhealthy,
    /// The learner has not caught up yet; passes by itself.
    LearnerNotReady,
    /// It has a vote already.
    NotALearner,
    /// There is no such member.
    MemberNotFound,
    /// Another learner has to be promoted or removed first; passes when that join ends.
    TooManyLearners,
    /// There is no leader at the moment, or it changed; passes by itself.
    Leader,
    /// Anything else.
    Other,
}

const WORDS: [(&str, Refusal); 11] = [
    ("Peer URLs already exists", Refusal::PeerUrlExists),
    ("member ID already exist", Refusal::PeerUrlExists),
    ("not enough started members", Refusal::NotEnoughStarted),
    ("unhealthy cluster", Refusal::Unhealthy),
    ("in sync with leader", Refusal::LearnerNotReady),
    ("can only promote a learner member", Refusal::NotALearner),
    ("member not found", Refusal::MemberNotFound),
    ("too many learner members", Refusal::TooManyLearners),
    ("leader changed", Refusal::Leader),
    ("no leader", Refusal::Leader),
    ("request timed out", Refusal::Leader),
];

impl Refusal {
    /// Reads etcd's words.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let known = WORDS.iter().find(|(words, _)| message.contains(words));
        known.map_or(Self::Other, |(_, refusal)| *refusal)
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Unhealthy | Self::LearnerNotReady | Self::TooManyLearners | Self::Leader
        )
    }
}

fn unanswered(members: &[(String, String)]) -> String {
    let each: Vec<String> = members
        .iter()
        .map(|(url, reason)| format!("{url}: {reason}"))
        .collect();
    each.join("; ")
}

fn dead_ones(dead: &[String]) -> String {
    if dead.is_empty() {
        String::new()
    } else {
        format!("; these do not answer: {}", dead.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_words_are_understood() {
        for (message, refusal) in [
            (
                "etcdserver: Peer URLs already exists",
                Refusal::PeerUrlExists,
            ),
            (
                "etcdserver: can only promote a learner member which is in sync with leader",
                Refusal::LearnerNotReady,
            ),
            (
                "etcdserver: can only promote a learner member",
                Refusal::NotALearner,
            ),
            (
                "etcdserver: re-configuration failed due to not enough started members",
                Refusal::NotEnoughStarted,
            ),
            (
                "etcdserver: request timed out, possibly due to previous leader failure",
                Refusal::Leader,
            ),
            ("etcdserver: permission denied", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(message), refusal, "{message}");
        }
        assert!(Refusal::TooManyLearners.passes() && !Refusal::Other.passes());
    }

    #[test]
    fn the_dead_are_named() {
        let error = EtcdError::WouldLoseQuorum {
            name: "n3".into(),
            healthy: 1,
            needed: 2,
            dead: vec!["n2".into()],
        };
        assert_eq!(
            error.to_string(),
            "without n3 only 1 of 2 needed etcd members would be left; these do not answer: n2"
        );
    }
}

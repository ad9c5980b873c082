//! How a run ended, in counts and in things to do.
//!
//! "Could not take back" is an end with instructions, never a silence.

use muster_identity::TokenId;
use serde::{Deserialize, Serialize};

use crate::{Stage, StageFailure};

/// The end of a run in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every host joined.
    Joined,
    /// Some did not join, and the policy lets the others stay.
    Kept,
    /// Every attempted host is as it was before.
    Undone,
    /// Something could not be taken back: see [`Verdict::stuck`].
    Stuck,
    /// Stopped at once; the run can be taken up again.
    Stopped,
}

impl Ending {
    /// Whether the run is over for good; others can be taken up again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Joined | Self::Kept | Self::Undone)
    }
}

/// How many hosts stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All hosts of the run.
    pub hosts: u32,
    /// Those that are in the cluster.
    pub joined: u32,
    /// Those that were started and did not become ready, whatever became of them afterwards.
    pub failed: u32,
    /// Those that were taken back.
    pub undone: u32,
    /// Those that could not be taken back.
    pub stuck: u32,
    /// Those that were never attempted.
    pub untouched: u32,
}

/// What could not be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Stuck {
    /// A stage of a host.
    Host {
        /// The host's name.
        name: String,
        /// The stage.
        stage: Stage,
        /// Why.
        failure: StageFailure,
        /// What to do by hand, in this order.
        instructions: Vec<String>,
    },
    /// A token that may still be alive.
    Token {
        /// Its id.
        id: TokenId,
        /// Why.
        failure: StageFailure,
        /// What to do by hand, in this order.
        instructions: Vec<String>,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// In one word.
    pub ending: Ending,
    /// In numbers.
    pub counts: Counts,
    /// Why it is not [`Ending::Joined`], such as `2/8 hosts failed to join`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StageFailure>,
    /// What is left to be done by a person. A run with an entry here has not ended well, whatever its ending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<Stuck>,
}

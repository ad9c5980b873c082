//! How a saga ends, and what it says of things it could not take back.
//!
//! "Could not undo" is an outcome with instructions, not a panic; this file only holds the words.

use serde::{Deserialize, Serialize};

/// An error of a deed or an undo, as it is journalled and shown. It must not hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable kebab-case id of the kind of error.
    pub id: String,
    /// What happened.
    pub message: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Something that a saga leaves behind although it was asked to take everything back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residue {
    /// The thing: a path, a unit, an object.
    pub what: String,
    /// Why it is still there.
    pub why: String,
    /// How a person removes it.
    pub remedy: String,
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step is done.
    Done,
    /// Everything that was changed is as before; what lies outside the saga's reach is named.
    Undone {
        /// Things beyond the saga's reach, each with instructions.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<Residue>,
    },
    /// Some steps could not be taken back.
    Stuck {
        /// What is left, each with instructions; never empty.
        left_behind: Vec<Residue>,
    },
}

impl Outcome {
    /// What is left behind, empty when nothing is.
    #[must_use]
    pub fn left_behind(&self) -> &[Residue] {
        match self {
            Self::Done => &[],
            Self::Undone { left_behind } | Self::Stuck { left_behind } => left_behind,
        }
    }
}

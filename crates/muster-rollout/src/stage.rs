//! The stages of one host, in their order, and what each leaves to be taken back.
//!
//! It knows the stages as such and refuses to know what is done in them.

use serde::{Deserialize, Serialize};

/// One stage of a host's way into the cluster. Each is recorded before it is begun; attempted means that it is undone
/// when the host is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The machine is made. Only hosts with [`crate::HostPlan::provision`] have it. Undo: the machine is destroyed.
    Provision,
    /// The host's Lease is taken, so that no two runs work on it. Undo: the Lease is given back. It is given back at the
    /// end of every run, also of hosts that stay.
    Lock,
    /// The host is reached and looked at, the binary is brought. Undo: what was brought goes.
    Prepare,
    /// The join on the host, with a token. Undo: reset there, and the Node object is deleted.
    Join,
    /// The Node of that name is ready. Nothing is done, so there is nothing to undo.
    Ready,
}

impl Stage {
    /// All stages, first to last.
    pub const ALL: [Self; 5] = [
        Self::Provision,
        Self::Lock,
        Self::Prepare,
        Self::Join,
        Self::Ready,
    ];

    /// Whether the stage changes anything that must be taken back.
    #[must_use]
    pub fn has_undo(self) -> bool {
        self != Self::Ready
    }

    /// The place among [`Stage::ALL`].
    #[must_use]
    pub(crate) fn position(self) -> usize {
        self as usize
    }

    /// The name that is shown and journalled.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Lock => "lock",
            Self::Prepare => "prepare",
            Self::Join => "join",
            Self::Ready => "ready",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

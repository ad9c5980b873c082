//! What goes in and out of the coordinator.
//!
//! Plain values: the driver carries effects out and brings inputs back. Nothing here is a secret.

use std::time::Duration;

use jiff::Timestamp;
use muster_identity::TokenId;
use serde::{Deserialize, Serialize};

use crate::{Event, HostIndex, LimitKey, Pressure, Receipt, Record, Stage, StageFailure, Verdict};

/// In which direction a run is taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// On in the direction in which it was going. What failed and was not yet being taken back is tried again.
    GoOn,
    /// Back, whatever it had come to.
    Undo,
}

/// Something for the driver to do. Effects are carried out in the order in which they are given; none but
/// [`Effect::Record`] needs to be finished before the next is taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make these records durable, in this order, then answer [`Input::Recorded`]. There is never more than one
    /// unanswered, except for the last one of a run that ends in [`crate::Ending::Stopped`], which needs no answer. If it
    /// cannot be done, answer [`Input::RecordFailed`].
    Record(Vec<Record>),
    /// Begin a stage, then answer [`Input::Ended`]. It may have been begun before, by an earlier attempt or process, and
    /// got anywhere; doing it again must come to the same. A host has at most one deed or undo at a time.
    Start {
        /// The host.
        host: HostIndex,
        /// The stage.
        stage: Stage,
        /// Which attempt, from 1, over all processes of the run.
        attempt: u32,
        /// When the coordinator gives it up.
        deadline: Timestamp,
        /// The token to use, for [`Stage::Join`].
        token: Option<TokenId>,
    },
    /// Take a stage back, however far it got, then answer [`Input::Undone`]. Nothing to take back is success. A deed
    /// there that has been given up and still goes on must be waited for, or be answered with a transient failure.
    Undo {
        /// The host.
        host: HostIndex,
        /// The stage.
        stage: Stage,
        /// Which attempt, from 1, over all processes of the run.
        attempt: u32,
        /// When the coordinator gives it up.
        deadline: Timestamp,
    },
    /// Nobody waits any more for the deed or undo that is under way on the host: end it as well as can be. An answer
    /// that comes nevertheless is not looked at.
    Abandon {
        /// The host.
        host: HostIndex,
        /// The stage that was under way.
        stage: Stage,
    },
    /// Make a token with this id, then answer [`Input::Minted`]. An earlier attempt may have made it already: the driver
    /// keeps the secret half as long as it lives, so that asking again comes to the same token.
    Mint {
        /// The id; on record already, so that a token that is made and never heard of is revoked nevertheless.
        expected: TokenId,
        /// Which attempt, from 1.
        attempt: u32,
        /// How long it shall live.
        lifetime: Duration,
        /// When the coordinator gives it up.
        deadline: Timestamp,
    },
    /// Delete a token of the run, then answer [`Input::Revoked`]. One that does not exist is success.
    Revoke {
        /// The id.
        id: TokenId,
        /// Which attempt, from 1.
        attempt: u32,
        /// When the coordinator gives it up.
        deadline: Timestamp,
    },
    /// Give [`Input::Tick`] at this time. Replaces what was asked for before.
    WakeAt(Timestamp),
    /// Tell whoever watches.
    Tell(Event),
    /// The run is over; always last. No input changes anything any more.
    End(Verdict),
}

/// A token that was minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id: the expected one, unless whatever mints cannot be told (then a crash in that moment leaves it behind).
    pub id: TokenId,
    /// When it ends.
    pub expires: Timestamp,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The records of the last [`Effect::Record`] are durable.
    Recorded,
    /// They are not, and will not be: the run stops at once.
    RecordFailed {
        /// Why.
        failure: StageFailure,
    },
    /// A stage ended.
    Ended {
        /// The host.
        host: HostIndex,
        /// The stage.
        stage: Stage,
        /// The attempt that it answers.
        attempt: u32,
        /// How.
        result: Result<Receipt, StageFailure>,
    },
    /// An undo ended.
    Undone {
        /// The host.
        host: HostIndex,
        /// The stage.
        stage: Stage,
        /// The attempt that it answers.
        attempt: u32,
        /// How.
        result: Result<(), StageFailure>,
    },
    /// Minting ended.
    Minted {
        /// The id that was asked for.
        expected: TokenId,
        /// The attempt that it answers.
        attempt: u32,
        /// How.
        result: Result<Grant, StageFailure>,
    },
    /// Revoking ended.
    Revoked {
        /// The id.
        id: TokenId,
        /// The attempt that it answers.
        attempt: u32,
        /// How.
        result: Result<(), StageFailure>,
    },
    /// A host says what it is doing.
    Progress {
        /// The host.
        host: HostIndex,
        /// In words.
        phase: String,
    },
    /// How the other side of a limit answers.
    Pressure {
        /// The limit.
        limit: LimitKey,
        /// What its answer says.
        pressure: Pressure,
    },
    /// The user wants it to end. Once: no host starts any more, those at work reach a safe point, then policy decides.
    /// Twice: everything stops at once, and the run can be taken up again.
    Interrupt,
    /// Somebody else has, or may have, the run's Lease: everything stops at once.
    LeaseLost {
        /// Who, if that is known.
        holder: Option<String>,
    },
    /// Time has passed; see [`Effect::WakeAt`].
    Tick,
}

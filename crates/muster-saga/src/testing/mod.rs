//! Three proofs that every saga must pass, over any world in which its steps can really be done.
//!
//! A world may be simulated or a temporary directory; the proofs only drive it, cut its power, and compare
//! snapshots. They panic with the place of the first difference, as a test should.

mod proofs;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use serde_json::Value;

use crate::{Definition, Failure, Residue, StepSpec};

pub use proofs::{crash_anywhere_then_resumes, fails_anywhere_then_clean, repeats_change_nothing};

/// How a deed in a test world can end early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// With an error that the saga hears of.
    Failed(Failure),
    /// With the power: nobody hears of anything, and the saga must be resumed from its journal.
    PowerLost,
}

/// Where a saga can be run from scratch, as often as a proof needs.
pub trait World {
    /// What is compared. It must hold everything the saga may change, and nothing it may leave on purpose.
    type Snapshot: PartialEq + Debug;

    /// The saga's steps.
    fn definition(&self) -> Definition;

    /// Looks at what is there before a step.
    ///
    /// # Errors
    /// As the real host's.
    fn observe(&mut self, step: &StepSpec) -> Result<Value, Interruption>;

    /// Does a step.
    ///
    /// # Errors
    /// As the real host's, or the power was lost.
    fn perform(&mut self, step: &StepSpec, prior: &Value) -> Result<Value, Interruption>;

    /// Takes a step back.
    ///
    /// # Errors
    /// As the real host's, or the power was lost.
    fn undo(
        &mut self,
        step: &StepSpec,
        prior: &Value,
        receipt: Option<&Value>,
    ) -> Result<Vec<Residue>, Interruption>;

    /// Everything the saga may change.
    fn snapshot(&self) -> Self::Snapshot;

    /// How many elementary operations (a write, a rename, a start) were made so far; 0 where they are not counted.
    fn operations(&self) -> u64 {
        0
    }

    /// Cuts the power before elementary operation number `at`; `None` brings the machine back up.
    fn lose_power_at(&mut self, at: Option<u64>) {
        let _ = at;
    }
}

//! Do, undo, remember: a saga is a set of steps, each with an undo, and a journal in which every change is
//! written before it is made.
//!
//! This crate decides what may run next and what the journal must say; it refuses to know what a step does,
//! where the journal is kept, what time it is, or how anything is executed.
//!
//! The way of one step: `observe` (what was there before) → intent recorded with that observation → deed →
//! receipt recorded. Because the observation is durable before the deed, a step that was cut off half-way can be
//! repeated or undone without guessing.

mod definition;
mod driver;
mod journal;
mod outcome;
mod record;
mod schedule;
mod state;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use definition::{Definition, DefinitionError, StepId, StepSpec};
pub use driver::{Command, Driver, DriverError, Halt, OnFailure, Start};
pub use journal::{Journal, JournalError};
pub use outcome::{Failure, Outcome, Residue};
pub use record::{
    Entry, FORMAT_VERSION, Header, MAX_ENTRY_BYTES, Record, RecordError, SagaId, decode, encode,
};
pub use schedule::{Next, ready};
pub use state::{ReplayError, SagaState, StepState, replay};
pub use status::{Event, IllegalTransition, SagaEvent, SagaStatus, Status, next, next_saga};

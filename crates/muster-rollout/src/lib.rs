//! Which host of a fleet joins when, and what becomes of the others: the fleet file and the coordinator of one run.
//!
//! Pure decisions: time and chance are arguments, what happens comes in as inputs, what to do goes out as effects. It
//! refuses to know how a host is reached, what a join does on it, and where the journal is kept.

mod document;
pub mod fleet_file;
pub mod range;

pub use document::{At, Fault, FileError, Position};
pub use fleet_file::{Fleet, FleetConfiguration, HostSettings, HostSpec};

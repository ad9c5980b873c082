//! Which host of a fleet joins when, and what becomes of the others: the fleet file and the coordinator of one run.
//!
//! Pure decisions: time and chance are arguments, what happens comes in as inputs, what to do goes out as effects. It
//! refuses to know how a host is reached, what a join does on it, and where the journal is kept.

mod chance;
mod concurrency;
mod coordinator;
mod document;
mod events;
mod failure;
pub mod fleet_file;
pub mod inventory;
mod plan;
mod policy;
pub mod range;
mod record;
mod retry;
#[cfg(any(test, feature = "testing"))]
pub mod simulation;
mod stage;
mod token_age;
mod verdict;

pub use concurrency::{Auto, Cap, Pressure};
pub use coordinator::{
    Effect, Grant, HostStanding, HostStatus, Input, LimitStatus, ReplayError, Resume, Rollout,
    RunPhase, RunStatus,
};
pub use document::{At, Fault, FileError, Position};
pub use events::{Event, EventKind, HostName};
pub use failure::{StageFailure, ids as failure_ids};
pub use fleet_file::{Fleet, FleetConfiguration, HostSettings, HostSpec};
pub use inventory::Inventory;
pub use plan::{
    HostIndex, HostPlan, Limit, LimitKey, LimitKind, Manual, PlanError, Role, RolloutPlan, RunId,
    StageTime, Timeouts, UndoPlan,
};
pub use policy::{ControlPlane, Keep, Policy, Share, Waves};
pub use record::{MAX_WRITE_BYTES, RECORD_VERSION, Receipt, Record, RecordError, decode, encode};
pub use retry::Backoff;
pub use stage::Stage;
pub use token_age::{GivenToken, TokenPolicy};
pub use verdict::{Counts, Ending, Stuck, Verdict};

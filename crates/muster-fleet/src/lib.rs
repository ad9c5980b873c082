//! Runs sagas over hosts: the join of one machine, and its reset, with a durable journal and one stream of events.
//!
//! What to do is decided by `muster-plan`, what may run next by `muster-saga`, how by `muster-host` and `muster-net`;
//! this crate brings them together and refuses to know terminals, arguments and exit paths.

mod cluster;
mod error;
mod events;
mod join;
mod journal;
mod preflight;
mod repair;
mod reset;
pub mod rollout;
mod run;
mod state_dir;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use cluster::{
    Administrator, ApiCluster, Certified, Cluster, ClusterFailure, ControlPlane, Credential,
    Deletion, EtcdAccess, Etcds, Marks, NodeCredentials, NodeSight, Tell, Way,
};
pub use error::{Aftermath, JoinError, exit_code};
pub use events::{Event, EventSink};
pub use join::{JoinOptions, Joined, is_join_begun, join, join_phases, join_with};
pub use journal::{Journal, Told};
pub use preflight::{PreflightOptions, examine, preflight, preflight_control_plane, pull_images};
pub use repair::{plan_repairs, repair, repair_with, undo_repairs, undo_repairs_with};
pub use reset::{Membership, ResetOptions, ResetOutcome, remove_etcd_member, reset, reset_with};
pub use state_dir::StateDir;

//! Hands: gathers the facts of a machine, and performs, repeats and takes back one step at a time.
//!
//! A host knows nothing of policy: which step, and why, is decided elsewhere. Every step can be done twice and undone
//! twice; an undo brings back exactly what was there. The elementary operations (one file move, one service command)
//! sit behind small ports, so that the simulated host runs the same algorithms with the power cut anywhere.

mod disk;
mod error;
mod gather;
mod host;
mod kernel;
mod local;
mod pods;
mod prior;
mod process;
mod services;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
mod steps;
pub mod supervise;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::HostError;
pub use host::{Host, ProcessHealth, Receipt, Subject};
pub use kernel::Swap;
pub use local::{LocalHost, LocalPrograms};
pub use prior::Prior;

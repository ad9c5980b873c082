//! What every host must do, as a suite that each implementation runs: effects, repetition, undo, refusals.
//!
//! Also the bridge from a host to the three saga proofs. The suite sees a host only through its port and through a
//! way to look at its file tree.

#![expect(
    clippy::panic,
    reason = "a conformance suite fails the test that runs it"
)]

mod conformance;
mod proofs;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Host;

pub use conformance::conformance;
pub use proofs::HostWorld;

/// A fresh machine to test, and a way to look at it.
pub trait Bench {
    /// The machine.
    fn host(&self) -> Arc<dyn Host>;

    /// Every path of the node with its kind, mode and content, without the directory of the journal.
    fn tree(&self) -> BTreeMap<String, String>;

    /// Puts a file there before the test begins.
    fn put_file(&self, path: &str, mode: u32, content: &[u8]);
}

//! A revisioned key space behind one port, [`Store`]: read, list at a revision, compare-and-set,
//! watch without gaps, compact. Two stores implement it: [`MemoryStore`] and [`SqliteStore`].
//!
//! Keys are strings, values are bytes. This crate refuses to know what they mean: no Kubernetes,
//! no JSON, no time, no leases. [`design`] says why it is built this way.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod design;

mod error;
mod event;
mod hub;
mod key;
mod key_value;
mod memory;
mod sqlite;
mod store;
mod watch;

#[cfg(test)]
mod model_tests;

pub use error::StoreError;
pub use event::{Event, EventKind};
pub use key_value::{KeyValue, Page, Revision};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub use store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Store};
pub use watch::{Watch, WatchBatch};

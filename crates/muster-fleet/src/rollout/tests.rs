//! Runs against machines and a cluster in memory, over a real journal.

mod cuts;
mod story;
pub(crate) mod world;

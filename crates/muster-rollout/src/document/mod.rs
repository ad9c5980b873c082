//! Texts that people write, read so that whatever is wrong is said with its place, its name and its cure.
//!
//! It refuses to know what the texts are about.

mod de;
mod fault;
mod nearest;
mod position;
mod tree;

pub use fault::{Fault, FileError};
pub use position::{At, Position};

pub(crate) use de::read_as;
pub(crate) use fault::{Faults, with_cure};
pub(crate) use nearest::{listed, nearest};
pub(crate) use tree::{Content, Node, parse};

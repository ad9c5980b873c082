//! The node's side: the built-in kubelet.
//!
//! It registers this machine as a Node, keeps its Lease, status and certificate fresh, and reports
//! the container runtime. It refuses to know how the machine joined: it starts from the files that
//! a join leaves behind.

pub mod certificate;
pub mod configuration;
pub mod cri;
mod health;
pub mod kubelet;
pub mod machine;
pub mod node;
pub mod options;
pub mod registration;

pub use kubelet::KubeletError;
pub use options::{KubeletOptions, RuntimeChoice};

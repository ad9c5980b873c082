//! The node's side against a real container runtime, and against an API server that takes its time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod containerd;
mod waiting;

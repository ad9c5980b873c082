//! The node's side against a real container runtime.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod containerd;

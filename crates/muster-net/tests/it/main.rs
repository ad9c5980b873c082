//! The wires against real sockets: a small TLS server on loopback, with certificates of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod discovery;
mod enrolment;
mod etcd;
mod introduction;
mod server;
mod world;

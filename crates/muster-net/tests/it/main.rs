//! The wires against real sockets: a small TLS server on loopback, with certificates of its own.

mod client;
mod discovery;
mod enrolment;
mod server;
mod world;

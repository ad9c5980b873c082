//! The program as its users run it: real processes, real kubectl, real TLS. One binary for all stories.
#![expect(missing_docs, clippy::unwrap_used, reason = "tests")]

mod bench;
mod everyday;
mod harness;
mod joining;
mod crashes;
mod playground;
mod refusals;
mod secrets;
mod tokens;

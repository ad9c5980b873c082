//! The API server as its clients see it, over the in-process service and over TLS, on the memory store.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as it should be"
)]

mod applying;
mod applying_parts;
mod certificates;
mod deleting;
mod following;
mod formats;
mod harness;
mod kinds;
mod listing;
mod network;
mod openapi;
mod rights;
mod system;
mod watching;
mod writing;

//! The API server as its clients see it, over the in-process service and over TLS, on the memory store.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as it should be"
)]

mod applying;
mod applying_parts;
mod auditing;
mod certificates;
mod custom;
mod deleting;
mod dial;
mod following;
mod formats;
mod front_door;
mod harness;
mod hostile;
mod kinds;
mod listing;
mod network;
mod openapi;
mod policies;
mod quotas;
mod rights;
mod system;
mod watching;
mod webhook_server;
mod webhooks;
mod writing;

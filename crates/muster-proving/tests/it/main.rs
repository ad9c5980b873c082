//! Stories across crates: an API server on a real store, all controllers, clients in this process and
//! over TLS. What one crate can prove alone is proved there.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a story fails where something is not as it should be"
)]

mod accounts;
mod certificates;
mod corpora;
mod garbage;
mod informers;
mod isolation;
mod namespaces;
mod nodes;
mod restarts;
mod serving;
mod tokens;

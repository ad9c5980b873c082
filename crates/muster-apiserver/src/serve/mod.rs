//! Connections: listeners, TLS, HTTP on them, and the way in for callers in this process.
//!
//! Refuses to know: what requests ask for.

mod activity;
mod connection;
mod listener;
mod local;
mod tls;

pub(crate) use listener::{bind, serve};
pub use local::LocalService;
pub(crate) use tls::ServingTls;
pub use tls::TlsError;

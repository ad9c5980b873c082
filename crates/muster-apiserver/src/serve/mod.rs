//! Connections: listeners, TLS, HTTP on them, and the way in for callers in this process.
//!
//! Refuses to know: what requests ask for.

mod connection;
mod listener;
mod local;
mod tls;

pub(crate) use listener::{bind, serve};
pub use local::LocalService;
pub use tls::TlsError;
pub(crate) use tls::{ServingCertificate, server_config};

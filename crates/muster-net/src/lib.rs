//! Wires: TLS from a pin, the HTTP client of an API server, and the drivers of the handshake.
//!
//! Sockets, clocks and chance live here; decisions about trust and certificates do not, they are
//! `muster-handshake`'s. This crate refuses to know resource kinds, and files beside kubeconfigs and
//! what they name.

mod channel;
pub mod client;
pub mod connect;
pub mod discovery_file;
pub mod error;
pub mod etcd;
pub mod join;
pub mod kubeconfig;
pub mod post;
pub mod proxy;
mod public;
pub mod request;
pub mod retry;
mod server;
pub mod tls;
pub mod watch;

pub use client::ApiClient;
pub use connect::{DialLimits, dial};
pub use discovery_file::{Introduction, introduction, introduction_from_file};
pub use error::{ApiError, StatusError};
pub use etcd::{EtcdClient, EtcdError};
pub use join::{
    Discovered, Tell, bootstrap, discover, discover_as, discover_within, enrol, survey,
    worker_profile,
};
pub use kubeconfig::{
    ClientConfigError, client_from_file, client_from_kubeconfig, client_from_resolved,
};
pub use post::{PostError, PostTarget};
pub use public::SYSTEM_BUNDLES;
pub use request::{ApiRequest, ApiResponse, Identity};
pub use retry::RetryPolicy;
pub use tls::{TlsError, provider};
pub use watch::{Watch, WatchEvent};

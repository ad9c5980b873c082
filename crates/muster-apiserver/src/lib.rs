//! The embedded Kubernetes API server: listeners and TLS, the request pipeline, the registry of every
//! built-in resource over `muster-storage`, the watch cache and the system endpoints.
//!
//! Refuses to know: how nodes are joined, what controllers decide, where the process runs.
//!
//! A request travels downward through this list.

mod serve;

mod pipeline;

pub mod authn;
pub mod authz;

mod route;

mod system;

pub mod reviews;

mod custom;
mod registry;

mod admission;

pub mod audit;

mod watch;

mod background;
pub mod bootstrap;
mod entropy;
mod notes;
mod request;
mod server;
mod wire;

pub use request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb};
pub use serve::LocalService;
pub use serve::TlsError;
pub use server::{ApiServer, Config, Limits, RunningServer, StartError};
pub use wire::ResponseBody;

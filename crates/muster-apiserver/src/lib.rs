//! The embedded Kubernetes API server: listeners and TLS, the request pipeline, the registry of every
//! built-in resource over `muster-storage`, the watch cache and the system endpoints.
//!
//! Refuses to know: how nodes are joined, what controllers decide, where the process runs.

pub mod admission;
pub mod authn;
pub mod authz;
pub mod bootstrap;
mod entropy;
mod request;
pub mod reviews;

pub use request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb};

//! The cluster's API as a run uses it: one port, over a connection of our own or through `kubectl` on a control-plane
//! host that is reached as the other hosts are.
//!
//! It carries JSON and knows no kinds. What a refusal means is decided where the request was made.

mod direct;
mod kubectl;
mod measured;
#[cfg(test)]
pub(crate) mod memory;
mod open;

use async_trait::async_trait;
use futures::stream::BoxStream;
use muster_net::{ApiError, WatchEvent};
use serde_json::Value;

pub(crate) use direct::Direct;
pub(crate) use kubectl::Kubectl;
pub(crate) use measured::Measured;
pub use open::Kubeconfiged;
pub(crate) use open::{Access, open};

/// A watch: events until the server ends it.
pub(crate) type Events = BoxStream<'static, Result<WatchEvent, ApiError>>;

/// An API server, by whatever way it is reached. Paths begin with `/`.
#[async_trait]
pub(crate) trait Api: Send + Sync + 'static {
    /// GET.
    async fn get(&self, path: &str) -> Result<Value, ApiError>;
    /// GET of something that is no object, as it is.
    async fn text(&self, path: &str) -> Result<Vec<u8>, ApiError>;
    /// POST to a collection.
    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError>;
    /// PUT; with a `resourceVersion` in it only onto that version.
    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError>;
    /// A JSON merge patch (RFC 7396).
    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError>;
    /// DELETE.
    async fn delete(&self, path: &str) -> Result<(), ApiError>;
    /// A watch; `path` has `watch=true` in its query.
    async fn watch(&self, path: &str) -> Result<Events, ApiError>;
}

/// DELETE of something that may be gone already.
pub(crate) async fn delete_if_there(api: &dyn Api, path: &str) -> Result<(), ApiError> {
    match api.delete(path).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

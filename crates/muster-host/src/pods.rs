//! The port to a container runtime's pods, as far as taking a node back needs it.
//!
//! Only pods that a kubelet made are seen. Nothing is started here.

use async_trait::async_trait;

/// A container runtime's pods. Errors are words for people.
#[async_trait]
pub(crate) trait Pods: Send + Sync + 'static {
    /// The ids of the pod sandboxes that a kubelet made.
    async fn list(&self, endpoint: &str) -> Result<Vec<String>, String>;
    /// Stops and removes a pod with its containers; one that is gone already is no error.
    async fn remove(&self, endpoint: &str, id: &str) -> Result<(), String>;
}

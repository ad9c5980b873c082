//! The port to a running kernel: modules, settings, swap, interfaces, and the packet filter, as far as steps need them.
//!
//! Each call is one elementary operation that a person can repeat by hand.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::HostError;

/// A swap device in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Swap {
    /// The device or file.
    pub device: String,
    /// Its priority; negative when the kernel chose it.
    pub priority: i32,
}

/// A running kernel.
#[async_trait]
pub(crate) trait Kernel: Send + Sync + 'static {
    /// Whether a module is loaded or built in.
    fn has_module(&self, name: &str) -> bool;
    /// Loads a module; one that is loaded stays.
    async fn load_module(&self, name: &str) -> Result<(), HostError>;
    /// Unloads a module; fails while it is in use.
    async fn unload_module(&self, name: &str) -> Result<(), HostError>;
    /// A setting's value; `None` where the kernel does not know it (yet).
    fn setting(&self, key: &str) -> Result<Option<String>, HostError>;
    /// Gives a setting a value.
    fn set(&self, key: &str, value: &str) -> Result<(), HostError>;
    /// The swap in use.
    fn swaps(&self) -> Result<Vec<Swap>, HostError>;
    /// Stops using a swap device.
    async fn swap_off(&self, device: &str) -> Result<(), HostError>;
    /// Uses a swap device.
    async fn swap_on(&self, swap: &Swap) -> Result<(), HostError>;
    /// The names of all network interfaces.
    fn links(&self) -> Vec<String>;
    /// Removes an interface.
    async fn remove_link(&self, name: &str) -> Result<(), HostError>;
    /// What the packet filter has of kube-proxy and network plugins, one word for each: chains, tables, virtual
    /// servers.
    async fn filters(&self) -> Result<Vec<String>, HostError>;
    /// Removes all that; what was not there is no error.
    async fn clear_filters(&self) -> Result<(), HostError>;
}

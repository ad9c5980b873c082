//! The simulated kernel: each change is one counted operation.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Inside, KernelState};
use crate::HostError;
use crate::kernel::{Kernel, Swap};

/// The simulated kernel.
pub(crate) struct SimKernel(pub(super) Arc<Inside>);

impl SimKernel {
    fn change<T>(&self, change: impl FnOnce(&mut KernelState) -> T) -> Result<T, HostError> {
        self.0.operation().map_err(|_| HostError::PowerLost)?;
        Ok(change(&mut self.0.world.lock().kernel))
    }

    fn look<T>(&self, look: impl FnOnce(&KernelState) -> T) -> T {
        look(&self.0.world.lock().kernel)
    }
}

#[async_trait]
impl Kernel for SimKernel {
    fn has_module(&self, name: &str) -> bool {
        self.look(|kernel| kernel.modules.contains(name))
    }

    async fn load_module(&self, name: &str) -> Result<(), HostError> {
        if self.has_module(name) {
            return Ok(());
        }
        self.change(|kernel| {
            kernel.modules.insert(name.to_owned());
            // Its settings come and go with it.
            if name == "br_netfilter" {
                for family in ["iptables", "ip6tables"] {
                    let key = format!("net/bridge/bridge-nf-call-{family}");
                    kernel.settings.insert(key, "0".into());
                }
            }
        })
    }

    async fn unload_module(&self, name: &str) -> Result<(), HostError> {
        if !self.has_module(name) {
            return Ok(());
        }
        self.change(|kernel| {
            kernel.modules.remove(name);
            if name == "br_netfilter" {
                kernel
                    .settings
                    .retain(|key, _| !key.starts_with("net/bridge/"));
            }
        })
    }

    fn setting(&self, key: &str) -> Result<Option<String>, HostError> {
        Ok(self.look(|kernel| kernel.settings.get(key).cloned()))
    }

    fn set(&self, key: &str, value: &str) -> Result<(), HostError> {
        self.change(|kernel| kernel.settings.insert(key.to_owned(), value.to_owned()))
            .map(drop)
    }

    fn swaps(&self) -> Result<Vec<Swap>, HostError> {
        Ok(self.look(|kernel| kernel.swaps.iter().cloned().collect()))
    }

    async fn swap_off(&self, device: &str) -> Result<(), HostError> {
        self.change(|kernel| kernel.swaps.retain(|swap| swap.device != device))
    }

    async fn swap_on(&self, swap: &Swap) -> Result<(), HostError> {
        self.change(|kernel| kernel.swaps.insert(swap.clone()))
            .map(drop)
    }

    fn links(&self) -> Vec<String> {
        self.look(|kernel| kernel.links.iter().cloned().collect())
    }

    async fn remove_link(&self, name: &str) -> Result<(), HostError> {
        self.change(|kernel| kernel.links.remove(name)).map(drop)
    }

    async fn filters(&self) -> Result<Vec<String>, HostError> {
        Ok(self.look(|kernel| kernel.filters.iter().cloned().collect()))
    }

    async fn clear_filters(&self) -> Result<(), HostError> {
        if self.look(|kernel| kernel.filters.is_empty()) {
            return Ok(());
        }
        self.change(|kernel| kernel.filters.clear())
    }
}

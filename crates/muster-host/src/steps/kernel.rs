//! Modules, kernel settings and swap: what is mended before a join, and how it comes back.

use muster_saga::Residue;

use super::Machine;
use crate::disk::Disk;
use crate::kernel::Swap;
use crate::process::Processes;
use crate::services::Services;
use crate::{HostError, Prior};

impl<D: Disk, S: Services, P: Processes> Machine<D, S, P> {
    pub(super) fn observe_setting(&self, key: &str) -> Result<Prior, HostError> {
        let value = self.kernel.setting(key)?;
        Ok(Prior::Setting { value })
    }

    pub(super) async fn swap_off(&self) -> Result<(), HostError> {
        for swap in self.kernel.swaps()? {
            self.kernel.swap_off(&swap.device).await?;
        }
        Ok(())
    }

    pub(super) async fn swap_on(&self, before: &[Swap]) -> Result<Vec<Residue>, HostError> {
        let now = self.kernel.swaps()?;
        let missing = before
            .iter()
            .filter(|swap| !now.iter().any(|there| there.device == swap.device));
        for swap in missing {
            self.kernel.swap_on(swap).await?;
        }
        Ok(Vec::new())
    }

    pub(super) async fn unload(&self, name: &str) -> Result<Vec<Residue>, HostError> {
        match self.kernel.unload_module(name).await {
            Ok(()) => Ok(Vec::new()),
            Err(HostError::PowerLost) => Err(HostError::PowerLost),
            // Somebody has come to need it: it does no harm, and is gone after the next boot.
            Err(error) => Ok(vec![Residue {
                what: format!("kernel module {name}"),
                why: error.to_failure().message,
                remedy: format!("modprobe -r {name}"),
            }]),
        }
    }

    pub(super) fn restore_setting(&self, key: &str, value: Option<&str>) -> Result<(), HostError> {
        // A setting that was not there belongs to a module that goes, or does not exist any more.
        let Some(value) = value else { return Ok(()) };
        match self.kernel.setting(key)? {
            Some(now) if now != value => self.kernel.set(key, value),
            _ => Ok(()),
        }
    }
}

//! The port to a service manager: systemd, OpenRC, or none.
//!
//! Each call is one command that a person can repeat by hand.

use async_trait::async_trait;
use muster_plan::UnitFact;

use crate::HostError;

/// A service manager.
#[async_trait]
pub(crate) trait Services: Send + Sync + 'static {
    /// What is known of a unit.
    async fn state(&self, unit: &str) -> Result<UnitFact, HostError>;
    /// What is known of several, in their order.
    async fn states(&self, units: &[&str]) -> Result<Vec<UnitFact>, HostError> {
        let mut facts = Vec::new();
        for unit in units {
            facts.push(self.state(unit).await?);
        }
        Ok(facts)
    }
    /// How often it was started again by itself since somebody started it; 0 where nobody counts.
    async fn restarts(&self, unit: &str) -> Result<u32, HostError>;
    /// Both at once: whether it runs, and how often it was started again.
    async fn vitals(&self, unit: &str) -> Result<(bool, u32), HostError> {
        Ok((self.state(unit).await?.active, self.restarts(unit).await?))
    }
    /// Starts it; one that runs stays as it is.
    async fn start(&self, unit: &str) -> Result<(), HostError>;
    /// Stops it; one that does not run stays as it is.
    async fn stop(&self, unit: &str) -> Result<(), HostError>;
    /// Lets it start with the machine, or no longer.
    async fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), HostError>;
    /// Reads unit files again.
    async fn reload(&self) -> Result<(), HostError>;
    /// The end of its log, as far as it can be had.
    async fn log_tail(&self, unit: &str) -> String;
}

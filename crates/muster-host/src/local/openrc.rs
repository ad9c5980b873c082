//! OpenRC, through `rc-service` and `rc-update`.

use async_trait::async_trait;
use muster_plan::UnitFact;

use super::LocalPrograms;
use super::commands::{ask, run};
use crate::HostError;
use crate::services::Services;

/// OpenRC, through its own commands.
pub(crate) struct OpenRc {
    programs: LocalPrograms,
}

impl OpenRc {
    pub(crate) fn new(programs: LocalPrograms) -> Self {
        Self { programs }
    }
}

#[async_trait]
impl Services for OpenRc {
    async fn state(&self, unit: &str) -> Result<UnitFact, HostError> {
        let exists = ask(&self.programs.rc_service, &["--exists", unit])
            .await?
            .success;
        if !exists {
            return Ok(UnitFact::default());
        }
        let active = ask(&self.programs.rc_service, &[unit, "status"])
            .await?
            .success;
        let levels = run(&self.programs.rc_update, &["show"]).await?;
        Ok(UnitFact {
            exists,
            active,
            enabled: is_listed(&levels, unit),
        })
    }

    async fn restarts(&self, _unit: &str) -> Result<u32, HostError> {
        Ok(0)
    }

    async fn start(&self, unit: &str) -> Result<(), HostError> {
        run(&self.programs.rc_service, &["--ifstopped", unit, "start"])
            .await
            .map(drop)
    }

    async fn stop(&self, unit: &str) -> Result<(), HostError> {
        if !self.state(unit).await?.exists {
            return Ok(());
        }
        let stopped = run(&self.programs.rc_service, &["--ifstarted", unit, "stop"]).await;
        match stopped {
            // Its process ended without OpenRC noticing: there is nothing to stop, and the state is put right.
            Err(HostError::Command { output, .. }) if output.contains("none killed") => {
                run(&self.programs.rc_service, &[unit, "zap"])
                    .await
                    .map(drop)
            }
            result => result.map(drop),
        }
    }

    async fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), HostError> {
        let state = self.state(unit).await?;
        if state.enabled == enabled || (!state.exists && !enabled) {
            return Ok(());
        }
        let verb = if enabled { "add" } else { "del" };
        run(&self.programs.rc_update, &[verb, unit, "default"])
            .await
            .map(drop)
    }

    async fn reload(&self) -> Result<(), HostError> {
        Ok(())
    }

    async fn log_tail(&self, _unit: &str) -> String {
        String::new()
    }
}

/// `rc-update show` prints `  name | runlevel runlevel`.
fn is_listed(text: &str, unit: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once('|'))
        .any(|(name, levels)| name.trim() == unit && !levels.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_listed;

    #[test]
    fn a_service_is_enabled_when_it_stands_in_a_runlevel() {
        let text = "             kubelet | default\n              sshd |\n";
        assert!(is_listed(text, "kubelet"));
        assert!(!is_listed(text, "sshd"));
        assert!(!is_listed(text, "kube"));
    }
}

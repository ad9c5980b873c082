//! systemd, through `systemctl`.

use async_trait::async_trait;
use muster_plan::UnitFact;

use super::LocalPrograms;
use super::commands::{ask, run, tail};
use crate::HostError;
use crate::services::Services;

/// systemd, through its own command.
pub(crate) struct Systemd {
    programs: LocalPrograms,
}

impl Systemd {
    pub(crate) fn new(programs: LocalPrograms) -> Self {
        Self { programs }
    }
}

#[async_trait]
impl Services for Systemd {
    async fn state(&self, unit: &str) -> Result<UnitFact, HostError> {
        let args = [
            "show",
            "--property=LoadState,ActiveState,UnitFileState",
            "--",
            unit,
        ];
        Ok(read_state(&run(&self.programs.systemctl, &args).await?))
    }

    async fn states(&self, units: &[&str]) -> Result<Vec<UnitFact>, HostError> {
        let mut args = vec![
            "show",
            "--property=LoadState,ActiveState,UnitFileState",
            "--",
        ];
        args.extend(units);
        let text = run(&self.programs.systemctl, &args).await?;
        // One block for each, in the order in which they were named.
        Ok(read_states(&text, units.len()))
    }

    async fn restarts(&self, unit: &str) -> Result<u32, HostError> {
        let args = ["show", "--property=NRestarts", "--", unit];
        Ok(read_restarts(&run(&self.programs.systemctl, &args).await?))
    }

    async fn vitals(&self, unit: &str) -> Result<(bool, u32), HostError> {
        let args = ["show", "--property=ActiveState,NRestarts", "--", unit];
        let text = run(&self.programs.systemctl, &args).await?;
        Ok((read_state(&text).active, read_restarts(&text)))
    }

    async fn start(&self, unit: &str) -> Result<(), HostError> {
        run(&self.programs.systemctl, &["start", "--", unit])
            .await
            .map(drop)
    }

    async fn stop(&self, unit: &str) -> Result<(), HostError> {
        let stopped = run(&self.programs.systemctl, &["stop", "--", unit]).await;
        match stopped {
            // A unit that is not there does not run. It is asked for only now: each question costs a process.
            Err(_) if !self.state(unit).await?.exists => Ok(()),
            other => other.map(drop),
        }
    }

    async fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), HostError> {
        let verb = if enabled { "enable" } else { "disable" };
        let done = run(&self.programs.systemctl, &[verb, "--", unit]).await;
        match done {
            // Asked for only now, as in `stop`.
            Err(_) if !enabled && !self.state(unit).await?.exists => Ok(()),
            other => other.map(drop),
        }
    }

    async fn reload(&self) -> Result<(), HostError> {
        run(&self.programs.systemctl, &["daemon-reload"])
            .await
            .map(drop)
    }

    async fn log_tail(&self, unit: &str) -> String {
        let args = [
            "--unit",
            unit,
            "--lines",
            "20",
            "--no-pager",
            "--output",
            "cat",
        ];
        let said = ask(&self.programs.journalctl, &args).await;
        said.map_or_else(
            |_| String::new(),
            |said| tail(said.stdout.trim(), 4096).to_owned(),
        )
    }
}

/// systemd counts automatic restarts since 235; older ones leave the line out.
fn read_restarts(text: &str) -> u32 {
    let mut counts = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NRestarts="));
    counts
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

/// Reads `KEY=value` lines. Static and generated units start when something wants them: nothing to enable.
fn read_state(text: &str) -> UnitFact {
    let value = |key: &str| {
        let of_key =
            |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim().to_owned());
        text.lines().find_map(of_key).unwrap_or_default()
    };
    let enabled = [
        "enabled",
        "enabled-runtime",
        "static",
        "generated",
        "alias",
        "indirect",
    ];
    UnitFact {
        exists: value("LoadState") == "loaded",
        enabled: enabled.contains(&value("UnitFileState").as_str()),
        active: ["active", "activating", "reloading"].contains(&value("ActiveState").as_str()),
    }
}

/// Blocks of lines, with an empty line between them.
fn read_states(text: &str, units: usize) -> Vec<UnitFact> {
    let mut facts: Vec<UnitFact> = text.split("\n\n").map(read_state).collect();
    facts.resize(units, UnitFact::default());
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_systemctl_are_understood() {
        let state = read_state("LoadState=loaded\nActiveState=activating\nUnitFileState=enabled\n");
        assert_eq!(
            state,
            UnitFact {
                exists: true,
                enabled: true,
                active: true
            }
        );
        let state = read_state("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
        assert_eq!(state, UnitFact::default());
        assert_eq!(read_state("nonsense"), UnitFact::default());
        let two = "LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n";
        let [first, second] = read_states(two, 2)[..] else {
            panic!("two units");
        };
        assert!(first.exists && first.enabled && !first.active);
        assert_eq!(second, UnitFact::default());
        assert_eq!(read_states("", 1), [UnitFact::default()]);
        assert_eq!(read_restarts("NRestarts=4\n"), 4);
        assert_eq!(read_restarts("ActiveState=active\nNRestarts=2\n"), 2);
        assert_eq!(read_restarts(""), 0);
    }
}

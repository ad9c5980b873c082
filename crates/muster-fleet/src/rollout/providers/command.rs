//! Machines by commands of the user's: a line for the shell that makes one, and one that unmakes it.
//!
//! It refuses to know what they do; the last line `address=…` of the first says where the machine is.

use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{CommandSettings, HostSpec};
use muster_ssh::Command;

use super::{Providers, Tell, filled, with_size};
use crate::rollout::machines::Made;

fn shell(host: &HostSpec, line: &str, settings: &CommandSettings) -> Command {
    let line = filled(host, line, settings.size);
    with_size(Command::new(["/bin/sh", "-c", &line]), host, settings.size)
}

pub(super) async fn create(
    providers: &Providers,
    host: &HostSpec,
    settings: &CommandSettings,
    tell: Tell<'_>,
) -> Result<Made, StageFailure> {
    tell("running the command that makes it");
    let command = shell(host, &settings.create, settings);
    let output = providers
        .must(command, "make the machine")
        .await
        .map_err(|failure| {
            failure.with_cure("run provider.command.create by hand, and mend it in the fleet file")
        })?;
    Ok(Made {
        address: address(&output.stdout),
    })
}

pub(super) async fn destroy(
    providers: &Providers,
    host: &HostSpec,
    settings: &CommandSettings,
) -> Result<(), StageFailure> {
    let command = shell(host, &settings.destroy, settings);
    let done = providers.must(command, "unmake the machine").await;
    done.map(drop).map_err(|failure| {
        failure.with_cure(
            "run provider.command.destroy by hand; it must also succeed when nothing is there",
        )
    })
}

fn address(output: &str) -> Option<String> {
    let last = output.lines().rev().find(|line| !line.trim().is_empty())?;
    let address = last.trim().strip_prefix("address=")?.trim();
    let fits =
        !address.is_empty() && !address.starts_with('-') && !address.contains(char::is_whitespace);
    fits.then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_line_that_says_so_is_an_address() {
        assert_eq!(
            address("making\naddress=10.0.0.7\n\n").as_deref(),
            Some("10.0.0.7")
        );
        assert_eq!(address("address=10.0.0.7\ndone\n"), None);
        assert_eq!(address("address=-oProxyCommand=x"), None);
        assert_eq!(address(""), None);
    }
}

//! Taking one host out of its cluster, on the host: what its method calls a reset.
//!
//! It refuses to know the Node and the pods that ran there.

use std::path::PathBuf;

use muster_rollout::StageFailure;
use muster_rollout::fleet_file::HostSpec;

use super::machines::Machines;
use super::method::{Binaries, Site};

/// Resets a host by the method that joined it. `program` is our own binary; it is brought along and taken away again
/// unless it was there before.
///
/// # Errors
/// When the host cannot be reached, or is not reset.
pub async fn take_out(
    machines: &dyn Machines,
    host: &HostSpec,
    program: PathBuf,
) -> Result<(), StageFailure> {
    let machine = machines.open(host, None).await?;
    let site = Site {
        run: format!("remove-{}", std::process::id()),
        host: host.clone(),
        machine,
        binaries: Binaries::new(program),
    };
    let reset = site.reset().await;
    let taken_away = site.unprepare().await;
    site.machine.close().await;
    reset.and(taken_away)
}

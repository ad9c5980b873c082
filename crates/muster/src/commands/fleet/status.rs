//! `muster fleet status`: how far the last run is, or how it ended. It looks at the state directory only.

use super::{ending, failure, source};
use crate::args::fleet::Status;
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use muster_fleet::rollout::{self, FleetDir, RolloutError, RunReport, StoreFailure};

pub(super) async fn run(status: &Status, printer: Printer) -> Result<(), Failure> {
    let path = source::found_state_dir(&status.state, &status.which, printer)?;
    let report = match FleetDir::open(&path) {
        Ok(dir) => {
            let journal = dir.journal();
            let run = rollout::find_run(&journal, status.run.as_deref()).await;
            let run = run.map_err(|error| failure(&error))?;
            let report = rollout::report(&journal, &run).await;
            let closed = dir.close().await;
            closed.map_err(|error| failure(&RolloutError::Store(error)))?;
            report.map_err(|error| failure(&error))?
        }
        // The process that works on it leaves its state there.
        Err(StoreFailure::Locked { path: lock }) => {
            let locked = || failure(&RolloutError::Store(StoreFailure::Locked { path: lock }));
            RunReport::left_in(&path).ok_or_else(locked)?
        }
        Err(error) => return Err(failure(&RolloutError::Store(error))),
    };
    match printer.output() {
        Output::Text => printer.text(ending::report(&report).trim_start()),
        Output::Json | Output::Yaml => printer.json(&report),
    }
    Ok(())
}

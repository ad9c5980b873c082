//! The run of a fleet: carries out what the coordinator of `muster-rollout` decides, over machines, a cluster and a journal.
//!
//! Where to read: `run` (how the parts come together), `driver` (the loop), `worker` (one stage of one host), `method`
//! (what is run on hosts), `token`, `lease`, `nodes`, `access` (the cluster), `bus` and `sinks` (who listens), `store`
//! (the journal), `report` (where a run stands).

mod access;
mod bus;
mod checks;
mod driver;
mod error;
mod facts;
mod fault;
mod lease;
mod machines;
mod method;
mod nodes;
mod plan;
mod providers;
mod reach;
mod report;
mod run;
#[cfg(test)]
mod scripted;
mod sinks;
mod store;
mod take_out;
#[cfg(test)]
mod tests;
mod token;
mod worker;

pub use access::Kubeconfiged;
pub use bus::{Lapse, Sink};
pub use driver::Stop;
pub use error::{ENDS, RolloutError, exit_code};
pub use facts::{Facts, HostFacts, SavedPlan, look};
pub use machines::{Machines, Made, NoProvisioner, Provisioner, Tell};
pub use method::{Deed, deeds};
pub use plan::{plan_of, run_id};
pub use providers::Providers;
pub use reach::{Reach, Secrets};
pub use report::{HostReport, RunReport};
pub use run::{GivenCredential, Outcome, RunOptions, begin, find_run, last_run, report, resume};
pub use sinks::{Spans, Webhook};
pub use store::{About, FleetDir, RunJournal, Source, StoreFailure};
pub use take_out::take_out;
pub(crate) use worker::host_lease;

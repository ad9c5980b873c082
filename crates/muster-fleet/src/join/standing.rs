//! How a machine stands before a join: fresh, half-way, already a node; and how the way is cleared.

use muster_plan::{Parameters, Step, StepContent};
use muster_saga::{Driver, Halt, OnFailure, Outcome, SagaStatus, Start};

use super::{Join, KIND};
use crate::cluster::NodeCredentials;
use crate::journal::Told;
use crate::{JoinError, Joined, Journal};

/// How a machine stands.
pub(super) enum Standing {
    /// Nothing of ours is on it.
    Fresh,
    /// A join with the same parameters was cut off, or was kept after a failure.
    Unfinished(Told),
    /// It is the node that is asked for.
    Already(Told),
    /// Something must be taken back first.
    ToTakeBack {
        /// What.
        told: Told,
        /// Why.
        reason: String,
    },
}

impl Join<'_> {
    /// Looks at the journal without changing anything.
    pub(super) async fn standing(&self, journal: &Journal) -> Result<Standing, JoinError> {
        let told = journal
            .tell()
            .await
            .map_err(|source| JoinError::Journal { source })?;
        let told = told.map_err(|source| JoinError::JournalDamaged { source })?;
        // At most one join is not over: another begins only after the former one is. A repair stands beside it.
        let live = told
            .into_iter()
            .rfind(|told| told.state.header().kind == KIND && !told.is_over());
        let Some(told) = live else {
            return Ok(Standing::Fresh);
        };
        let former: Option<Parameters> =
            serde_json::from_value(told.state.header().parameters.clone()).ok();
        let same = former.as_ref().is_some_and(|former| {
            // A later part may know the cluster by what an earlier one has written.
            let endpoint = self.options.request.endpoint.to_string();
            (self.parts.is_some() || former.endpoint == endpoint)
                && former.node_name == self.options.request.node_name.as_str()
        });
        Ok(match told.state.status() {
            SagaStatus::Done if !same => {
                let (node_name, endpoint) = former.map_or_else(Default::default, |former| {
                    (former.node_name, former.endpoint)
                });
                return Err(JoinError::AlreadyJoinedElsewhere {
                    node_name,
                    endpoint,
                });
            }
            SagaStatus::Done if self.is_still_a_node().await? => Standing::Already(told),
            SagaStatus::Done => Standing::ToTakeBack {
                told,
                reason: "the cluster no longer accepts this node's credentials".into(),
            },
            SagaStatus::Running | SagaStatus::Retreating if same => Standing::Unfinished(told),
            // A part alone could not make again what would go with the parts before it.
            SagaStatus::Running | SagaStatus::Retreating
                if self.parts.is_some()
                    && let Some(former) = former =>
            {
                return Err(JoinError::BegunByAnotherName {
                    node_name: former.node_name,
                });
            }
            SagaStatus::Running | SagaStatus::Retreating => Standing::ToTakeBack {
                told,
                reason: "an unfinished join asked for something else".into(),
            },
            _ => Standing::ToTakeBack {
                told,
                reason: "an earlier join was not taken back to its end".into(),
            },
        })
    }

    /// Whether the cluster still knows this node. A cluster that cannot be asked gets the benefit of the doubt.
    async fn is_still_a_node(&self) -> Result<bool, JoinError> {
        let credentials = NodeCredentials::read(self.host)
            .await
            .map_err(JoinError::Host)?;
        let Some(credentials) = credentials else {
            return Ok(false);
        };
        Ok(self.cluster.admits(&credentials).await.unwrap_or(true))
    }

    /// Takes back what stands in the way, and drops the stories of what is no more.
    pub(super) async fn clear_the_way(
        &self,
        journal: &Journal,
        standing: Standing,
    ) -> Result<Standing, JoinError> {
        let standing = match standing {
            Standing::ToTakeBack { told, reason } => {
                self.take_back(journal, told, reason).await?;
                Standing::Fresh
            }
            other => other,
        };
        if matches!(standing, Standing::Fresh) {
            let told = journal
                .tell()
                .await
                .map_err(|source| JoinError::Journal { source })?;
            for over in told.map_err(|source| JoinError::JournalDamaged { source })? {
                if over.is_over() {
                    let forgotten = journal.forget(&over).await;
                    forgotten.map_err(|source| JoinError::Journal { source })?;
                }
            }
        }
        Ok(standing)
    }

    async fn take_back(
        &self,
        journal: &Journal,
        told: Told,
        reason: String,
    ) -> Result<(), JoinError> {
        let start = Start::TakeBack { reason };
        let mut driver = Driver::resume(&told.entries, start, OnFailure::Unwind)
            .map_err(|source| JoinError::JournalDamaged { source })?;
        let ended = self.run().run(&mut driver, &journal.of(told.id)).await?;
        match ended.halt {
            Halt::Finished(Outcome::Undone { .. }) => {
                self.host.forget_backups().await.map_err(JoinError::Host)
            }
            Halt::Finished(Outcome::Stuck { left_behind }) => Err(JoinError::UndoIncomplete {
                left_behind,
                cause: None,
            }),
            // Taking back ends in one of the two.
            Halt::Finished(Outcome::Done) | Halt::Kept { .. } | Halt::Retreated { .. } => Ok(()),
        }
    }

    /// Says that it is a node, and starts its kubelet again if that does not run: a process that we supervise does
    /// not survive a reboot.
    pub(super) async fn already(&self, told: &Told) -> Result<Joined, JoinError> {
        if !self.options.dry_run {
            for spec in told.state.header().definition.steps() {
                let content = StepContent::of(spec);
                let step = content.map_err(|source| JoinError::Plan { source })?.step;
                let starts = matches!(
                    step,
                    Step::SpawnSupervised { .. } | Step::StartService { .. }
                );
                if !starts {
                    continue;
                }
                let prior = self.host.observe(&step).await.map_err(JoinError::Host)?;
                let run = self.run();
                let performed = self
                    .host
                    .perform(spec.id.as_str(), &step, &prior, &run.secrets)
                    .await;
                performed.map_err(JoinError::Host)?;
            }
        }
        self.joined(true).await
    }
}

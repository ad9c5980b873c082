//! The plan of a join: findings and steps, and the page that `--dry-run` prints.
//!
//! Pure: the same facts, request and answers give the same plan, to the byte.

use muster_saga::{Definition, DefinitionError, StepId, StepSpec};
use serde::{Deserialize, Serialize};

use crate::phases::{self, Ingredients};
use crate::{
    ClusterAnswers, Facts, Finding, JoinRequest, KubeletConfigError, Parameters, Phase, Step,
    checks, kubelet_config,
};

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its name in the plan and the journal.
    pub id: String,
    /// The phase that people see it in.
    pub phase: Phase,
    /// The steps it stands on.
    pub after: Vec<String>,
    /// What it does.
    pub step: Step,
}

/// What the journal keeps of a step besides its name and words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepContent {
    /// The phase.
    pub phase: Phase,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

impl StepContent {
    /// Reads the content of a journalled step.
    ///
    /// # Errors
    /// [`PlanError::UnknownStep`] when another version of this program wrote a step that this one does not know.
    pub fn of(spec: &StepSpec) -> Result<Self, PlanError> {
        serde_json::from_value(spec.content.clone()).map_err(|source| PlanError::UnknownStep {
            id: spec.id.to_string(),
            source,
        })
    }
}

/// A plan: what was found, and what is to be done in which order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is asked for, as the journal remembers it.
    pub parameters: Parameters,
    /// What the checks found.
    pub findings: Vec<Finding>,
    /// What is to be done.
    pub steps: Vec<PlannedStep>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The cluster's kubelet configuration is unusable: an administrator must mend it.
    #[error("the cluster's kubelet configuration cannot be used")]
    KubeletConfig {
        /// What is wrong.
        #[source]
        source: KubeletConfigError,
    },
    /// The steps do not fit together. A bug.
    #[error("the steps of the plan do not fit together")]
    Definition {
        /// How.
        #[source]
        source: DefinitionError,
    },
    /// A journal holds a step of another version: use that version to undo it.
    #[error("step {id} of the journal is not known to this version")]
    UnknownStep {
        /// The step.
        id: String,
        /// What the reader says.
        #[source]
        source: serde_json::Error,
    },
}

/// Makes the plan of a worker's join.
///
/// # Errors
/// [`PlanError`] when the cluster's answers cannot be used.
pub fn plan(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Result<Plan, PlanError> {
    let mut findings = checks::preflight(facts, request);
    findings.extend(checks::preflight_with_cluster(facts, request, answers));
    let kubelet_config = kubelet_config(answers.kubelet_config.as_deref(), request, facts)
        .map_err(|source| PlanError::KubeletConfig { source })?;
    let steps = phases::join(&Ingredients {
        facts,
        request,
        answers,
        kubelet: request.choose_kubelet(facts),
        kubelet_config,
    })?;
    Ok(Plan {
        parameters: request.parameters(facts),
        findings,
        steps,
    })
}

impl Plan {
    /// The saga's definition: every step with its words.
    ///
    /// # Errors
    /// [`PlanError::Definition`] when steps do not fit together.
    pub fn definition(&self) -> Result<Definition, PlanError> {
        let steps = self.steps.iter().map(|planned| {
            let content = StepContent {
                phase: planned.phase,
                step: planned.step.clone(),
            };
            StepSpec {
                id: StepId::new(planned.id.clone()),
                after: planned.after.iter().map(StepId::new).collect(),
                description: planned.step.description(),
                undo: planned.step.undo(),
                content: serde_json::json!(content),
            }
        });
        Definition::new(steps.collect()).map_err(|source| PlanError::Definition { source })
    }

    /// The findings that stop the join.
    pub fn fatal(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_fatal())
    }

    /// The page for people: phases, steps, and how each is taken back.
    #[must_use]
    pub fn render(&self) -> String {
        use std::fmt::Write as _;
        let mut page = String::new();
        let Parameters {
            endpoint,
            node_name,
            root,
            ..
        } = &self.parameters;
        // Writing into a String cannot fail.
        let _ = writeln!(page, "Would join {node_name} to {endpoint} (root {root}):");
        let mut phase = None;
        for (number, planned) in self.steps.iter().enumerate() {
            if phase.replace(planned.phase) != Some(planned.phase) {
                let _ = writeln!(page, "\n[{}]", planned.phase);
            }
            let _ = writeln!(page, "  {:>2}. {}", number + 1, planned.step.description());
            let _ = writeln!(page, "      undo: {}", planned.step.undo());
        }
        page
    }
}

#[cfg(test)]
mod tests;

//! The plan of a join: findings and steps, and the page that `--dry-run` prints.
//!
//! Pure: the same facts, request and answers give the same plan, to the byte.

use muster_saga::{Definition, DefinitionError, StepId, StepSpec};
use serde::{Deserialize, Serialize};

use crate::cluster_dns::assumptions;
use muster_kubeadm::patches::PatchesError;

use crate::control_plane::{self, ControlPlaneError};
use crate::phases::{self, Ingredients, Plane};
use crate::{
    ClusterAnswers, Facts, Finding, JoinRequest, KubeletConfigError, Parameters, Phase, Step,
    checks, kubelet_config, node_ip,
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
    /// The cluster takes no further control-plane node as it is.
    #[error("no control-plane node can be made of this cluster")]
    ControlPlane {
        /// Why.
        #[source]
        source: ControlPlaneError,
    },
    /// A patch of a static pod cannot be applied: correct the file that is named.
    #[error("a patch cannot be applied")]
    Patches {
        /// Which and why.
        #[source]
        source: Box<PatchesError>,
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

/// Everything that is found out only once the cluster has answered: its checks, and what had to be assumed.
#[must_use]
pub fn findings_with_cluster(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Vec<Finding> {
    let mut findings = checks::preflight_with_cluster(facts, request, answers);
    findings.extend(checks::seen_on_the_way(facts, request, answers));
    let ours = node_ip::check(facts, request, answers).into_iter();
    let ours = ours.chain(assumptions(request, answers));
    let ours = ours.chain(unknown_flags(facts, request));
    findings.extend(ours.map(|finding| request.ignore.apply(finding)));
    findings
}

/// The kubelet's flags that the built-in one takes.
pub(crate) const BUILT_IN_FLAGS: &[&str] = &[
    "hostname-override",
    "node-ip",
    "node-labels",
    "register-with-taints",
];

fn unknown_flags(facts: &Facts, request: &JoinRequest) -> Option<Finding> {
    let unknown: Vec<String> = request
        .extra_args
        .iter()
        .filter(|(name, _)| !BUILT_IN_FLAGS.contains(&name.as_str()))
        .map(|(name, _)| format!("--{name}"))
        .collect();
    if unknown.is_empty() || !request.choose_kubelet(facts).is_built_in() {
        return None;
    }
    let message = format!("the built-in kubelet does not know {}", unknown.join(", "));
    let remedy = "They are written down and have no effect until another kubelet reads them.";
    Some(Finding::warning("KubeletArgs", message, remedy))
}

/// Makes the plan of a join.
///
/// # Errors
/// [`PlanError`] when the cluster's answers cannot be used.
pub fn plan(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
) -> Result<Plan, PlanError> {
    let plane = plane(facts, request, answers)?;
    let mut findings = preflight(facts, request, answers, plane.as_ref());
    // A control-plane node's kubelet asks the API server beside it, and gets its taints with its labels.
    let (of_plane, own);
    let (request, answers) = match &plane {
        None => (request, answers),
        Some(plane) => {
            of_plane = JoinRequest {
                taints: Vec::new(),
                ..request.clone()
            };
            own = ClusterAnswers {
                server: plane.blueprint.node.url(),
                tls_server_name: None,
                ..answers.clone()
            };
            (&of_plane, &own)
        }
    };
    findings.extend(findings_with_cluster(facts, request, answers));
    let kubelet_config = kubelet_config(answers, request, facts)
        .map_err(|source| PlanError::KubeletConfig { source })?;
    let steps = phases::join(&Ingredients {
        facts,
        request,
        answers,
        kubelet: request.choose_kubelet(facts),
        kubelet_config,
        plane,
    })?;
    Ok(Plan {
        parameters: request.parameters(facts),
        findings,
        steps,
    })
}

/// What makes the node a control-plane node, if it is to be one.
fn plane<'a>(
    facts: &Facts,
    request: &'a JoinRequest,
    answers: &ClusterAnswers,
) -> Result<Option<Plane<'a>>, PlanError> {
    let Some(asked) = &request.control_plane else {
        return Ok(None);
    };
    let blueprint = control_plane::blueprint(facts, request, asked, answers)
        .map_err(|source| PlanError::ControlPlane { source })?;
    let key = blueprint.cluster.certificate_path("ca.key");
    let external_ca = !asked.has_certificate_key && !facts.files.contains_key(&key);
    Ok(Some(Plane {
        request: asked,
        patches: &request.patches,
        blueprint,
        external_ca,
    }))
}

fn preflight(
    facts: &Facts,
    request: &JoinRequest,
    answers: &ClusterAnswers,
    plane: Option<&Plane<'_>>,
) -> Vec<Finding> {
    let Some(plane) = plane else {
        return checks::preflight(facts, request);
    };
    let node = &plane.blueprint.node;
    let downloads = plane.request.has_certificate_key;
    let checked = checks::ControlPlane::new(
        node.advertise_address.to_string(),
        node.bind_port,
        answers,
        downloads,
    );
    let mut findings = checks::preflight_control_plane(facts, request, &checked, Some(answers));
    let own = control_plane::findings(facts, plane.request, &plane.blueprint);
    findings.extend(own.into_iter().map(|finding| request.ignore.apply(finding)));
    findings
}

/// A saga's definition from steps: every one with its words.
///
/// # Errors
/// [`PlanError::Definition`] when steps do not fit together.
pub fn definition_of(steps: &[PlannedStep]) -> Result<Definition, PlanError> {
    let steps = steps.iter().map(|planned| {
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

impl Plan {
    /// The saga's definition: every step with its words.
    ///
    /// # Errors
    /// [`PlanError::Definition`] when steps do not fit together.
    pub fn definition(&self) -> Result<Definition, PlanError> {
        definition_of(&self.steps)
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

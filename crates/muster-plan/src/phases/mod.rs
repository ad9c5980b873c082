//! The phases of a worker's join and the steps each contributes, in the order of travel.
//!
//! Preflight and discovery change nothing and so have no steps; they are named here because people see them.

mod kubelet_start;
mod tls_bootstrap;
mod wait;

use serde::{Deserialize, Serialize};

use crate::{ClusterAnswers, Facts, JoinRequest, Kubelet, PlanError, PlannedStep, Step};

/// A phase, as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The checks.
    Preflight,
    /// Finding out which cluster answers, and whether to trust it.
    Discovery,
    /// Getting the node's certificate.
    TlsBootstrap,
    /// The node's files and the kubelet itself.
    KubeletStart,
    /// The kubelet's health.
    KubeletWait,
    /// The Node object.
    NodeWait,
    /// Taking a join back.
    Reset,
}

impl Phase {
    /// The name in events and plans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Discovery => "discovery",
            Self::TlsBootstrap => "tls-bootstrap",
            Self::KubeletStart => "kubelet-start",
            Self::KubeletWait => "kubelet-wait",
            Self::NodeWait => "node-wait",
            Self::Reset => "reset",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What the phases make their steps from.
pub(crate) struct Ingredients<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) request: &'a JoinRequest,
    pub(crate) answers: &'a ClusterAnswers,
    pub(crate) kubelet: Kubelet,
    pub(crate) kubelet_config: String,
}

/// Collects steps in order.
#[derive(Default)]
pub(crate) struct Steps(pub(crate) Vec<PlannedStep>);

impl Steps {
    fn add(&mut self, phase: Phase, id: &str, after: &[&str], step: Step) {
        let after = after.iter().map(|id| (*id).to_owned()).collect();
        self.0.push(PlannedStep {
            id: id.to_owned(),
            phase,
            after,
            step,
        });
    }
}

/// All steps of a worker's join.
pub(crate) fn join(ingredients: &Ingredients<'_>) -> Result<Vec<PlannedStep>, PlanError> {
    let mut steps = Steps::default();
    tls_bootstrap::contribute(ingredients, &mut steps);
    kubelet_start::contribute(ingredients, &mut steps);
    wait::contribute(ingredients, &mut steps);
    Ok(steps.0)
}

//! The phases of a join and the steps each contributes, in the order of travel.
//!
//! Preflight and discovery change nothing and so have no steps; they are named here because people see them.

mod control_plane;
mod kubelet_start;
mod part;
mod tls_bootstrap;
mod wait;

use serde::{Deserialize, Serialize};

use crate::{ClusterAnswers, Facts, JoinRequest, Kubelet, PlanError, PlannedStep, Step};

pub(crate) use control_plane::Plane;
pub use control_plane::TURN;
pub use part::Part;

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
    /// A control-plane node's certificates and kubeconfigs.
    ControlPlanePrepare,
    /// A control-plane node's place among the etcds.
    EtcdJoin,
    /// A control-plane node's static pods.
    ControlPlane,
    /// A control-plane node's labels and taints.
    MarkControlPlane,
    /// A control-plane node's health.
    WaitControlPlane,
    /// Taking a join back.
    Reset,
    /// Mending what the checks found.
    Repair,
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
            Self::ControlPlanePrepare => "control-plane-prepare",
            Self::EtcdJoin => "etcd-join",
            Self::ControlPlane => "control-plane",
            Self::MarkControlPlane => "mark-control-plane",
            Self::WaitControlPlane => "wait-control-plane",
            Self::Reset => "reset",
            Self::Repair => "repair",
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
    pub(crate) plane: Option<Plane<'a>>,
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

impl Steps {
    /// The directories that a control-plane node's preparation writes into belong to it, so that it can be carried out
    /// alone.
    fn prepare_directories(&mut self) {
        let first = ["claim-etcd-data", "make-kubernetes-dir", "make-pki-dir"];
        let is_dir = |step: &PlannedStep| first.contains(&step.id.as_str());
        let (dirs, mut others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(is_dir);
        let at = others
            .iter()
            .position(|step| step.id == "prepare-control-plane")
            .map_or(0, |at| at + 1);
        let dirs = dirs.into_iter().map(|dir| PlannedStep {
            phase: Phase::ControlPlanePrepare,
            ..dir
        });
        others.splice(at..at, dirs);
        self.0 = others;
    }

    /// Brings the steps into the order in which they are carried out: each time the first that stands on nothing
    /// undone. Steps that stand on each other in a circle stay at the end; the definition refuses them.
    fn sort_by_travel(&mut self) {
        let mut waiting = std::mem::take(&mut self.0);
        while let Some(at) = waiting.iter().position(|step| {
            let done = |id: &String| self.0.iter().any(|done| done.id == *id);
            step.after.iter().all(done)
        }) {
            self.0.push(waiting.remove(at));
        }
        self.0.append(&mut waiting);
    }
}

/// All steps of a join.
pub(crate) fn join(ingredients: &Ingredients<'_>) -> Result<Vec<PlannedStep>, PlanError> {
    let mut steps = Steps::default();
    // What is wrong with the shared certificates is found out before anybody asks for a certificate.
    if let Some(plane) = &ingredients.plane {
        plane.prepare(&mut steps);
    }
    tls_bootstrap::contribute(ingredients, &mut steps);
    kubelet_start::contribute(ingredients, &mut steps);
    wait::contribute(ingredients, &mut steps);
    kubelet_start::enable(ingredients, &mut steps);
    if let Some(plane) = &ingredients.plane {
        control_plane::adapt_workers(&mut steps);
        steps.prepare_directories();
        plane.raise(ingredients, &mut steps)?;
        steps.sort_by_travel();
    }
    steps.leave_out(&ingredients.request.left_out);
    Ok(steps.0)
}

//! Parts of a join, for whoever wants to carry out or leave out some of them: phases, and what kubeadm names within one.
//!
//! It knows steps by their phase and name, and not what they do.

use super::{Phase, Steps};
use crate::{PlannedStep, Step};

/// A part of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole phase.
    Phase(Phase),
    /// Of a control-plane node's preparation: what it shares with the others, and its directories.
    SharedCertificates,
    /// Of a control-plane node's preparation: its own certificates.
    OwnCertificates,
    /// Of a control-plane node's preparation: its kubeconfigs.
    Kubeconfigs,
}

impl Part {
    /// Whether a step of this name and phase belongs to it.
    #[must_use]
    pub fn holds(self, id: &str, phase: Phase) -> bool {
        let own = id.starts_with("key-") || id.starts_with("certificate-");
        let conf = id.starts_with("conf-");
        let prepares = phase == Phase::ControlPlanePrepare;
        match self {
            Self::Phase(all) => phase == all,
            Self::SharedCertificates => prepares && !own && !conf,
            Self::OwnCertificates => prepares && own,
            Self::Kubeconfigs => prepares && conf,
        }
    }
}

/// What a join cannot do without, whatever is left out: the record of what a control plane is made of, directories, and
/// the kubelet's start at the next boot as long as it is started now.
fn stays(step: &PlannedStep, starts_kubelet: bool) -> bool {
    match &step.step {
        Step::MakeDir { .. } | Step::PrepareControlPlane { .. } => true,
        Step::EnableService { .. } => starts_kubelet,
        _ => false,
    }
}

impl Steps {
    /// Takes parts out. What stood on a step that goes stands on what that step stood on.
    pub(super) fn leave_out(&mut self, parts: &[Part]) {
        let starts_kubelet = !parts.contains(&Part::Phase(Phase::KubeletStart));
        let goes = |step: &PlannedStep| {
            parts.iter().any(|part| part.holds(&step.id, step.phase))
                && !stays(step, starts_kubelet)
        };
        while let Some(at) = self.0.iter().position(goes) {
            let gone = self.0.remove(at);
            for step in &mut self.0 {
                if !step.after.contains(&gone.id) {
                    continue;
                }
                step.after.retain(|id| *id != gone.id);
                for id in &gone.after {
                    if !step.after.contains(id) {
                        step.after.push(id.clone());
                    }
                }
            }
        }
    }
}

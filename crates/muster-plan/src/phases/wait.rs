//! Phases kubelet-wait and node-wait: a join has succeeded when the cluster says so, not when files are written.

use super::{Ingredients, Phase, Steps};
use crate::kubelet_config::healthz_port;
use crate::step::Process;
use crate::{Kubelet, Step, Wait, paths};

pub(super) fn contribute(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let request = ingredients.request;
    let process = match &ingredients.kubelet {
        Kubelet::System { unit } => Process::Service { unit: unit.clone() },
        Kubelet::BuiltInUnit => Process::Service {
            unit: paths::MUSTER_KUBELET_UNIT.into(),
        },
        Kubelet::BuiltInSupervised => Process::Supervised {
            pidfile: paths::KUBELET_PID.into(),
            log: paths::KUBELET_LOG.into(),
        },
    };
    steps.add(
        Phase::KubeletWait,
        "await-kubelet",
        &["start-kubelet"],
        Step::AwaitKubelet {
            healthz_port: healthz_port(&ingredients.kubelet_config),
            process,
            seconds: request.kubelet_seconds,
        },
    );
    if request.wait != Wait::None {
        steps.add(
            Phase::NodeWait,
            "await-node",
            &["await-kubelet"],
            Step::AwaitNode {
                node_name: request.node_name.to_string(),
                until: request.wait,
                seconds: request.wait_seconds,
            },
        );
    }
}

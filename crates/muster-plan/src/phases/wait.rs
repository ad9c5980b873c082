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
    let marked = !request.admin_labels.is_empty() || !request.annotations.is_empty();
    if marked {
        // There must be a Node before anything can be put on it.
        steps.add(
            Phase::NodeWait,
            "await-registration",
            &["await-kubelet"],
            Step::AwaitNode {
                node_name: request.node_name.to_string(),
                until: Wait::Registered,
                seconds: request.wait_seconds,
            },
        );
        steps.add(
            Phase::NodeWait,
            "mark-node",
            &["await-registration"],
            Step::MarkNode {
                node_name: request.node_name.to_string(),
                admin_labels: request.admin_labels.clone(),
                annotations: request.annotations.clone(),
            },
        );
    }
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

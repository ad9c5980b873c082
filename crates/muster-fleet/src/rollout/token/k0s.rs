//! What a k0s worker starts with: a kubeconfig with a bootstrap token, as `k0s token create` packs into its tokens.

use muster_identity::{Kubeconfig, Secret};
use muster_rollout::StageFailure;

use super::Admission;
use crate::rollout::fault;

/// The name of the user in a worker's token, by which k0s knows the role.
const WORKER: &str = "kubelet-bootstrap";

/// The text of `kubelet-bootstrap.conf`.
pub(crate) fn k0s_kubeconfig(admission: &Admission) -> Result<Secret<String>, StageFailure> {
    let ca = admission.ca.as_ref().ok_or_else(|| {
        StageFailure::terminal(
            fault::ids::ACCESS,
            "k0s needs the cluster's CA itself, and only its pin is known",
        )
        .with_cure("give the run a kubeconfig with certificate-authority-data")
    })?;
    let server = admission.endpoint.url();
    Ok(Kubeconfig::for_token(&server, ca, WORKER, &admission.token.to_text()).to_yaml())
}

//! The names that a join token request goes by: group, versions, labels, annotations, finalizer.
//!
//! Those of the group `k0smotron.io` are k0smotron's; what muster adds begins with `muster.dev/`. It does nothing.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write as _;

/// The group of requests, and of k0smotron's own clusters.
pub const GROUP: &str = "k0smotron.io";
/// The kind of requests.
pub const KIND: &str = "JoinTokenRequest";
/// Their plural.
pub const PLURAL: &str = "jointokenrequests";
/// The version in which they are kept.
pub const STORED_VERSION: &str = "v1beta2";
/// The name of their definition.
pub const DEFINITION: &str = "jointokenrequests.k0smotron.io";
/// Keeps a request until its tokens are out of the target cluster, or written down as a debt.
pub const FINALIZER: &str = "jointokenrequests.k0smotron.io/finalizer";

/// On the result Secret: the cluster.
pub const CLUSTER_LABEL: &str = "k0smotron.io/cluster";
/// On the result Secret: `worker` or `controller`.
pub const ROLE_LABEL: &str = "k0smotron.io/role";
/// On the result Secret: the request.
pub const REQUEST_LABEL: &str = "k0smotron.io/token-request";
/// On the result Secret: what it is of k0smotron.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The value of [`COMPONENT_LABEL`].
pub const COMPONENT: &str = "jointoken";
/// The key of the token in the result Secret.
pub const TOKEN_KEY: &str = "token";

/// On a request: `k0s` (else), `kubeadm` or `muster`, the form of the token.
pub const FORMAT_ANNOTATION: &str = "muster.dev/token-format";
/// On a request: `"true"` has an expired token replaced by a fresh one.
pub const RENEW_ANNOTATION: &str = "renew";
/// The same with a prefix.
pub const RENEW_ANNOTATION_LONG: &str = "muster.dev/renew";
/// On a kubeconfig Secret: the address that joining machines use instead of the kubeconfig's own.
pub const ENDPOINT_ANNOTATION: &str = "muster.dev/join-endpoint";

/// On a bootstrap token in a target cluster: the uid of `kube-system` of the cluster whose operator made it.
pub const MANAGER_LABEL: &str = "muster.dev/token-manager";
/// On a bootstrap token: the uid of its request.
pub const REQUEST_UID_LABEL: &str = "muster.dev/token-request-uid";
/// On a bootstrap token: `NAMESPACE/NAME` of its request.
pub const REQUEST_ANNOTATION: &str = "muster.dev/token-request";
/// On a ConfigMap that remembers a token which could not be removed yet.
pub const DEBT_LABEL: &str = "muster.dev/join-token-debt";

/// Written by kubectl on what it applies; meant for that object alone.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The longest value of a label.
const LABEL_LEN: usize = 63;

/// A name as the value of a label: itself, or its beginning and a hash of the whole.
pub(super) fn label_value(name: &str) -> String {
    if name.len() <= LABEL_LEN {
        return name.to_owned();
    }
    let kept: String = name.chars().take(LABEL_LEN - 9).collect();
    format!("{kept}-{}", &fingerprint(name.as_bytes())[..8])
}

/// SHA-256 in hexadecimal digits.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_makes_a_label_of_its_own() {
        let (one, two) = ("n".repeat(200), "n".repeat(201));
        assert_eq!(label_value("my-token"), "my-token");
        assert_eq!(label_value(&one).len(), LABEL_LEN);
        assert_ne!(label_value(&one), label_value(&two));
    }
}

//! The signers of Kubernetes and what each of them signs: [`SignerName`].
use jiff::SignedDuration;

use super::{Csr, IssueRequest, Usage};
use crate::name::NodeName;

/// Least `spec.expirationSeconds`.
pub const MIN_EXPIRATION_SECONDS: i64 = 600;
/// Longest life the signers give (kube-controller-manager's `--cluster-signing-duration`): one year.
pub const MAX_CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A signer of the certificates API, `spec.signerName`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SignerName {
    /// `kubernetes.io/kube-apiserver-client-kubelet`: client certificates of nodes.
    KubeApiserverClientKubelet,
    /// `kubernetes.io/kubelet-serving`: serving certificates of nodes.
    KubeletServing,
    /// `kubernetes.io/kube-apiserver-client`: client certificates of anyone.
    KubeApiserverClient,
    /// `kubernetes.io/legacy-unknown`: anything, trusted by nobody in particular.
    LegacyUnknown,
    /// Someone else's; not ours to judge or sign.
    Other(String),
}

/// What was asked of a signer, beside the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningOrder {
    /// `spec.usages`.
    pub usages: Vec<Usage>,
    /// `spec.expirationSeconds`.
    pub expiration_seconds: Option<i64>,
    /// `spec.username`, who created the request.
    pub requester: String,
}

/// Why a signer refuses a request. The text is what Kubernetes says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerRefusal {
    /// O is not exactly `system:nodes`.
    #[error("subject organization is not system:nodes")]
    OrganizationNotSystemNodes,
    /// CN does not start with `system:node:`.
    #[error("subject common name does not begin with system:node:")]
    CommonNameNotSystemNode,
}

/// Which of the two requests that the approver grants by itself a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRequest {
    /// `certificatesigningrequests/nodeclient`: somebody asks for a node's client certificate.
    NodeClient,
    /// `certificatesigningrequests/selfnodeclient`: a node asks for its own again.
    SelfNodeClient,
}

impl SignerName {
    /// Reads `spec.signerName`.
    pub fn parse(name: &str) -> Self {
        let _ = name;
        todo!()
    }

    /// As it stands in `spec.signerName`.
    pub fn as_str(&self) -> &str {
        todo!()
    }

    /// Whether this signer signs such a request.
    ///
    /// # Errors
    /// [`SignerRefusal`], the first rule that is broken.
    pub fn validate(&self, csr: &Csr, order: &SigningOrder) -> Result<(), SignerRefusal> {
        let _ = (csr, order);
        todo!()
    }

    /// Validates and says what certificate to issue: subject and names of the request, usages of the order,
    /// a life of `expirationSeconds` within its bounds.
    ///
    /// # Errors
    /// [`SignerRefusal`], the first rule that is broken.
    pub fn issue_request(
        &self,
        csr: &Csr,
        order: &SigningOrder,
        max_life: SignedDuration,
    ) -> Result<IssueRequest, SignerRefusal> {
        let _ = (csr, order, max_life);
        todo!()
    }
}

/// Which request of a node this is, for the approver; `None` when it is no node's client request at all.
pub fn node_request(signer: &SignerName, csr: &Csr, order: &SigningOrder) -> Option<(NodeRequest, NodeName)> {
    let _ = (signer, csr, order);
    todo!()
}

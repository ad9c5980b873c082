//! The signers of Kubernetes and what each of them signs: [`SignerName`].
//!
//! The rules are those of Kubernetes 1.36 (`pkg/apis/certificates`, `pkg/controller/certificates`,
//! the admission plugins CertificateSubjectRestriction and NodeRestriction). It refuses to know who approved
//! what: admission, approver and signer all ask the same rules here.

use std::collections::BTreeSet;
use std::fmt;

use jiff::SignedDuration;

use super::{Csr, IssueRequest, Usage, Validity};
use crate::name::{NODE_USER_PREFIX, NODES_GROUP, NodeName};

/// Least `spec.expirationSeconds` (`certificates.k8s.io/v1`): 10 minutes.
pub const MIN_EXPIRATION_SECONDS: i64 = 600;
/// Longest life the signers give (kube-controller-manager's `--cluster-signing-duration`): one year.
pub const MAX_CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

const CLIENT_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";
const MASTERS_GROUP: &str = "system:masters";

/// A signer of the certificates API, `spec.signerName`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SigningOrder {
    /// `spec.usages`.
    pub usages: Vec<Usage>,
    /// `spec.expirationSeconds`.
    pub expiration_seconds: Option<i64>,
    /// `spec.username`, who created the request; `None` leaves the rules about the requester out.
    pub requester: Option<String>,
}

/// Why a signer refuses a request. The texts are those of Kubernetes where it has one; show them to the
/// requester.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerRefusal {
    /// O is not exactly `system:nodes`.
    #[error("subject organization is not system:nodes")]
    OrganizationNotSystemNodes,
    /// CN does not start with `system:node:`.
    #[error("subject common name does not begin with system:node:")]
    CommonNameNotSystemNode,
    /// A serving certificate needs a name to serve.
    #[error("DNS or IP subjectAltName is required")]
    DnsOrIpRequired,
    /// No DNS names here.
    #[error("DNS subjectAltNames are not allowed")]
    DnsNotAllowed,
    /// No email addresses here.
    #[error("email subjectAltNames are not allowed")]
    EmailNotAllowed,
    /// No IP addresses here.
    #[error("IP subjectAltNames are not allowed")]
    IpNotAllowed,
    /// No URIs here.
    #[error("URI subjectAltNames are not allowed")]
    UriNotAllowed,
    /// No other kinds of name anywhere in a node's certificate.
    #[error("subjectAltNames of other kinds are not allowed")]
    OtherNameNotAllowed,
    /// Other usages than exactly these (key encipherment may be missing).
    #[error("usages did not match {expected}")]
    Usages {
        /// The usages that are wanted, as Kubernetes prints them.
        expected: &'static str,
    },
    /// `client auth` is missing.
    #[error("usages must include client auth")]
    ClientAuthRequired,
    /// A usage that this signer does not give.
    #[error("usage {usage:?} is not allowed by this signer")]
    UsageNotAllowed {
        /// The usage.
        usage: &'static str,
    },
    /// Nobody becomes cluster administrator this way.
    #[error(
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    )]
    SystemMasters,
    /// A node asks for another one's certificate, or another than the node for a serving certificate.
    #[error("{requester:?} may not request a certificate for {common_name:?}")]
    NotTheRequester {
        /// Who asked.
        requester: String,
        /// For whom.
        common_name: String,
    },
    /// Less than 10 minutes.
    #[error("may not specify a duration less than 600 seconds (10 minutes)")]
    ExpirationTooShort {
        /// The seconds asked for.
        seconds: i64,
    },
    /// Not a signer of Kubernetes itself.
    #[error("the signer {signer:?} is not ours")]
    NotOurs {
        /// Its name.
        signer: String,
    },
}

/// Which of the two requests that the approver grants by itself a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRequest {
    /// Somebody asks for a node's client certificate.
    NodeClient,
    /// A node asks for its own client certificate again.
    SelfNodeClient,
}

impl NodeRequest {
    /// The subresources of `certificatesigningrequests` of which the requester must have `create` on one, in
    /// the order in which the approver asks.
    pub const fn subresources(self) -> &'static [&'static str] {
        match self {
            Self::NodeClient => &["nodeclient"],
            Self::SelfNodeClient => &["selfnodeclient", "nodeclient"],
        }
    }
}

impl SignerName {
    /// Reads `spec.signerName`.
    pub fn parse(name: &str) -> Self {
        match name {
            CLIENT_KUBELET => Self::KubeApiserverClientKubelet,
            KUBELET_SERVING => Self::KubeletServing,
            CLIENT => Self::KubeApiserverClient,
            LEGACY_UNKNOWN => Self::LegacyUnknown,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As it stands in `spec.signerName`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::KubeApiserverClientKubelet => CLIENT_KUBELET,
            Self::KubeletServing => KUBELET_SERVING,
            Self::KubeApiserverClient => CLIENT,
            Self::LegacyUnknown => LEGACY_UNKNOWN,
            Self::Other(name) => name,
        }
    }

    /// Whether this signer signs such a request.
    ///
    /// # Errors
    /// [`SignerRefusal`], the first rule that is broken.
    pub fn validate(&self, csr: &Csr, order: &SigningOrder) -> Result<(), SignerRefusal> {
        if let Some(seconds) = order.expiration_seconds
            && seconds < MIN_EXPIRATION_SECONDS
        {
            return Err(SignerRefusal::ExpirationTooShort { seconds });
        }
        match self {
            Self::KubeApiserverClientKubelet => validate_node_client(csr, order),
            Self::KubeletServing => validate_node_serving(csr, order),
            Self::KubeApiserverClient => validate_client(csr, order),
            // Anything goes; a request for a CA did not even become a `Csr`.
            Self::LegacyUnknown => Ok(()),
            Self::Other(signer) => Err(SignerRefusal::NotOurs {
                signer: signer.clone(),
            }),
        }
    }

    /// Validates and says what certificate to issue: subject, names and key of the request, usages of the
    /// order, a life of `expirationSeconds` or `max_life`, whichever is shorter.
    ///
    /// # Errors
    /// [`SignerRefusal`], the first rule that is broken.
    pub fn issue_request(
        &self,
        csr: &Csr,
        order: &SigningOrder,
        max_life: SignedDuration,
    ) -> Result<IssueRequest, SignerRefusal> {
        self.validate(csr, order)?;
        let life = order.expiration_seconds.map_or(max_life, |seconds| {
            SignedDuration::from_secs(seconds).min(max_life)
        });
        Ok(IssueRequest {
            subject: csr.subject().clone(),
            sans: csr.subject_alt_names().clone(),
            usages: order.usages.clone(),
            public_key: csr.public_key().clone(),
            validity: Validity::For(life),
        })
    }
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which request of a node this is and of which node, for the approver; `None` when it is no node's client
/// request at all.
pub fn node_request(
    signer: &SignerName,
    csr: &Csr,
    order: &SigningOrder,
) -> Option<(NodeRequest, NodeName)> {
    let ours = *signer == SignerName::KubeApiserverClientKubelet;
    if !ours || signer.validate(csr, order).is_err() {
        return None;
    }
    let common_name = &csr.subject().common_name;
    let node = NodeName::from_user_name(common_name)?;
    let own = order.requester.as_deref() == Some(common_name);
    Some((
        if own {
            NodeRequest::SelfNodeClient
        } else {
            NodeRequest::NodeClient
        },
        node,
    ))
}

fn validate_node_client(csr: &Csr, order: &SigningOrder) -> Result<(), SignerRefusal> {
    require_nodes_group(csr)?;
    let names = csr.subject_alt_names();
    let rules = [
        (names.dns.is_empty(), SignerRefusal::DnsNotAllowed),
        (names.email.is_empty(), SignerRefusal::EmailNotAllowed),
        (names.ip.is_empty(), SignerRefusal::IpNotAllowed),
        (names.uri.is_empty(), SignerRefusal::UriNotAllowed),
        (names.others == 0, SignerRefusal::OtherNameNotAllowed),
    ];
    first_broken(rules)?;
    require_node_name(csr)?;
    require_usages(
        order,
        Usage::ClientAuth,
        "[client auth digital signature key encipherment]",
    )?;
    // NodeRestriction: a bootstrap token may ask for any node, a node only for itself.
    match order.requester.as_deref() {
        Some(requester) if requester.starts_with(NODE_USER_PREFIX) => same(requester, csr),
        _ => Ok(()),
    }
}

fn validate_node_serving(csr: &Csr, order: &SigningOrder) -> Result<(), SignerRefusal> {
    require_nodes_group(csr)?;
    let names = csr.subject_alt_names();
    let rules = [
        (
            !names.dns.is_empty() || !names.ip.is_empty(),
            SignerRefusal::DnsOrIpRequired,
        ),
        (names.email.is_empty(), SignerRefusal::EmailNotAllowed),
        (names.uri.is_empty(), SignerRefusal::UriNotAllowed),
        (names.others == 0, SignerRefusal::OtherNameNotAllowed),
    ];
    first_broken(rules)?;
    require_usages(
        order,
        Usage::ServerAuth,
        "[digital signature key encipherment server auth]",
    )?;
    require_node_name(csr)?;
    order
        .requester
        .as_deref()
        .map_or(Ok(()), |requester| same(requester, csr))
}

fn validate_client(csr: &Csr, order: &SigningOrder) -> Result<(), SignerRefusal> {
    if csr
        .subject()
        .organizations
        .iter()
        .any(|group| group == MASTERS_GROUP)
    {
        return Err(SignerRefusal::SystemMasters);
    }
    let allowed = [
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
        Usage::ClientAuth,
    ];
    if let Some(usage) = order.usages.iter().find(|usage| !allowed.contains(usage)) {
        return Err(SignerRefusal::UsageNotAllowed {
            usage: usage.as_str(),
        });
    }
    if !order.usages.contains(&Usage::ClientAuth) {
        return Err(SignerRefusal::ClientAuthRequired);
    }
    Ok(())
}

fn first_broken<const N: usize>(rules: [(bool, SignerRefusal); N]) -> Result<(), SignerRefusal> {
    rules
        .into_iter()
        .find(|(kept, _)| !kept)
        .map_or(Ok(()), |(_, refusal)| Err(refusal))
}

fn require_nodes_group(csr: &Csr) -> Result<(), SignerRefusal> {
    match csr.subject().organizations.as_slice() {
        [only] if only == NODES_GROUP => Ok(()),
        _ => Err(SignerRefusal::OrganizationNotSystemNodes),
    }
}

fn require_node_name(csr: &Csr) -> Result<(), SignerRefusal> {
    if csr.subject().common_name.starts_with(NODE_USER_PREFIX) {
        Ok(())
    } else {
        Err(SignerRefusal::CommonNameNotSystemNode)
    }
}

/// Exactly digital signature and `purpose`, with or without key encipherment (which only RSA needs).
fn require_usages(
    order: &SigningOrder,
    purpose: Usage,
    expected: &'static str,
) -> Result<(), SignerRefusal> {
    let mut found: BTreeSet<Usage> = order.usages.iter().copied().collect();
    found.remove(&Usage::KeyEncipherment);
    if found == BTreeSet::from([Usage::DigitalSignature, purpose]) {
        Ok(())
    } else {
        Err(SignerRefusal::Usages { expected })
    }
}

fn same(requester: &str, csr: &Csr) -> Result<(), SignerRefusal> {
    let common_name = &csr.subject().common_name;
    if requester == common_name {
        return Ok(());
    }
    Err(SignerRefusal::NotTheRequester {
        requester: requester.to_owned(),
        common_name: common_name.clone(),
    })
}

#[cfg(test)]
mod tests;

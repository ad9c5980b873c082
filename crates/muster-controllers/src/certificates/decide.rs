//! What to do about one request now. Pure: the Node and the time are arguments.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use muster_identity::pki::{
    Csr, IssueRequest, NodeRequest, SignerName, SigningOrder, Usage, node_request,
};
use std::net::IpAddr;

/// How long requests are kept after they were approved or denied, and while nobody decides
/// (kube-controller-manager's cleaner).
const KEPT_WHEN_DECIDED: SignedDuration = SignedDuration::from_hours(1);
const KEPT_WHEN_PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Why a request is approved; the text becomes the condition's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// A node's first client certificate.
    NodeClient,
    /// A node renews its client certificate.
    SelfNodeClient,
    /// A serving certificate whose names and addresses are those of the Node.
    KubeletServing,
}

impl Approval {
    /// The subresource of `certificatesigningrequests` that the requester must be allowed to create;
    /// `None` when the request was checked by other means.
    #[must_use]
    pub const fn review(self) -> Option<&'static str> {
        match self {
            Self::NodeClient => Some("nodeclient"),
            Self::SelfNodeClient => Some("selfnodeclient"),
            Self::KubeletServing => None,
        }
    }

    /// The message of the condition `Approved`, in the words of kube-controller-manager.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NodeClient => {
                "Auto approving kubelet client certificate after SubjectAccessReview."
            }
            Self::SelfNodeClient => {
                "Auto approving self kubelet client certificate after SubjectAccessReview."
            }
            Self::KubeletServing => {
                "Auto approving kubelet serving certificate after a check of its addresses against the Node."
            }
        }
    }
}

/// What was looked up for a decision.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether serving certificates of kubelets are approved at all.
    pub approve_kubelet_serving: bool,
    /// The Node that the requester claims to be; `None` when there is none.
    pub node: Option<Node>,
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing until it changes or has grown old.
    Nothing,
    /// It can be decided when the Node of this name exists and reports its addresses.
    WaitForNode(String),
    /// Approve it for the first of these reasons whose review the requester passes.
    Approve(&'static [Approval]),
    /// Issue this certificate.
    Sign(Box<IssueRequest>),
    /// It was approved but must not be signed: say so.
    Fail {
        /// Why, for the condition.
        message: String,
    },
    /// It is old enough to go.
    Remove,
}

/// Decides about one request.
#[must_use]
pub fn decide(
    csr: &CertificateSigningRequest,
    facts: &Facts,
    longest_life: SignedDuration,
    now: Timestamp,
) -> Decision {
    if expiry(csr) <= now {
        return Decision::Remove;
    }
    let signed = csr
        .status
        .as_ref()
        .is_some_and(|status| status.certificate.is_some());
    if signed || has_condition(csr, "Denied") || has_condition(csr, "Failed") {
        return Decision::Nothing;
    }
    let signer = SignerName::parse(&csr.spec.signer_name);
    if matches!(signer, SignerName::Other(_)) {
        return Decision::Nothing;
    }
    let approved = has_condition(csr, "Approved");
    match (Csr::from_pem(&csr.spec.request.0), order_of(csr)) {
        (Ok(request), Ok(order)) if approved => sign(&signer, &request, &order, longest_life),
        (Ok(request), Ok(order)) => {
            approve(&signer, &request, &order, facts).unwrap_or(Decision::Nothing)
        }
        (Err(error), _) if approved => Decision::Fail {
            message: error.to_string(),
        },
        (_, Err(message)) if approved => Decision::Fail { message },
        _ => Decision::Nothing,
    }
}

/// The node whose serving certificate an undecided request asks for.
pub(super) fn serving_node(csr: &CertificateSigningRequest) -> Option<String> {
    let decided = has_condition(csr, "Approved") || has_condition(csr, "Denied");
    if decided || SignerName::parse(&csr.spec.signer_name) != SignerName::KubeletServing {
        return None;
    }
    csr.spec
        .username
        .as_ref()?
        .strip_prefix("system:node:")
        .map(str::to_owned)
}

fn has_condition(csr: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = csr
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.type_ == type_ && one.status != "False")
    })
}

/// When the request is cleared away.
fn expiry(csr: &CertificateSigningRequest) -> Timestamp {
    let created = csr
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::MAX, |at| at.0);
    let conditions = csr
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let decided = conditions
        .into_iter()
        .flatten()
        .filter_map(|one| one.last_update_time.as_ref());
    match decided.map(|at| at.0).max() {
        Some(decided) => decided
            .saturating_add(KEPT_WHEN_DECIDED)
            .unwrap_or(Timestamp::MAX),
        None => created
            .saturating_add(KEPT_WHEN_PENDING)
            .unwrap_or(Timestamp::MAX),
    }
}

fn order_of(csr: &CertificateSigningRequest) -> Result<SigningOrder, String> {
    let usages = csr.spec.usages.as_deref().unwrap_or_default();
    Ok(SigningOrder {
        usages: Usage::parse_all(usages).map_err(|error| error.to_string())?,
        expiration_seconds: csr.spec.expiration_seconds.map(i64::from),
        requester: csr.spec.username.clone(),
    })
}

fn sign(signer: &SignerName, csr: &Csr, order: &SigningOrder, longest: SignedDuration) -> Decision {
    match signer.issue_request(csr, order, longest) {
        Ok(issue) => Decision::Sign(Box::new(issue)),
        Err(refusal) => Decision::Fail {
            message: refusal.to_string(),
        },
    }
}

fn approve(
    signer: &SignerName,
    csr: &Csr,
    order: &SigningOrder,
    facts: &Facts,
) -> Option<Decision> {
    if *signer == SignerName::KubeletServing {
        return approve_serving(signer, csr, order, facts);
    }
    Some(Decision::Approve(
        match node_request(signer, csr, order)?.0 {
            NodeRequest::NodeClient => &[Approval::NodeClient],
            NodeRequest::SelfNodeClient => &[Approval::SelfNodeClient, Approval::NodeClient],
        },
    ))
}

/// A kubelet gets a serving certificate for itself alone, and only for what its Node reports.
fn approve_serving(
    signer: &SignerName,
    csr: &Csr,
    order: &SigningOrder,
    facts: &Facts,
) -> Option<Decision> {
    let requester = order.requester.as_deref()?;
    let requests_itself = csr.subject().common_name == requester;
    if !facts.approve_kubelet_serving || !requests_itself || signer.validate(csr, order).is_err() {
        return None;
    }
    let name = requester.strip_prefix("system:node:")?;
    if facts.node.as_ref().is_some_and(|node| covers(node, csr)) {
        return Some(Decision::Approve(&[Approval::KubeletServing]));
    }
    Some(Decision::WaitForNode(name.to_owned()))
}

/// Whether every name and address of the request is one that the Node reports.
fn covers(node: &Node, csr: &Csr) -> bool {
    let reported = node
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_ref());
    let reported: Vec<&str> = reported
        .into_iter()
        .flatten()
        .map(|address| address.address.as_str())
        .collect();
    let is_reported = |ip: &IpAddr| {
        reported
            .iter()
            .any(|address| address.parse::<IpAddr>().is_ok_and(|one| one == *ip))
    };
    let names = csr.subject_alt_names();
    names
        .dns
        .iter()
        .all(|name| reported.iter().any(|one| one.eq_ignore_ascii_case(name)))
        && names.ip.iter().all(is_reported)
}

#[cfg(test)]
mod tests;

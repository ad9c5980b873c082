//! TLS bootstrap: from a trusted cluster and a token to a node's certificate, both halves.
//!
//! [`Enrolment`] takes one certificate signing request to its end and serves first certificates
//! and renewals alike; [`Survey`] reads what a join must know first; [`TlsBootstrap`] is both. The cluster
//! half ([`ReceivedRequest`]) is what approvers and signers read and write. None of them knows
//! sockets, clocks or keys' bytes.

mod certificate;
mod cluster;
mod enrolment;
mod joiner;
mod profile;
mod survey;
#[cfg(test)]
mod tests;
mod verdict;
mod wish;

pub use certificate::check_certificate;
pub use cluster::{CsrCondition, Decision, ReceivedRequest, RequestFault, put_certificate};
pub use enrolment::Enrolment;
pub use joiner::{Enrolled, TlsBootstrap, TlsBootstrapRequest};
pub use profile::{ProfileNameError, ProfileSearch, ProfileWish, WorkerProfile};
pub use survey::{ClusterConfig, ClusterText, ExistingNode, Survey, Surveyed};
pub use wish::{CertificateWish, csr_name};

use jiff::Timestamp;
use muster_identity::CertificateBundle;
use serde_json::Value;

use crate::error::HandshakeError;
use crate::progress::Progress;
use crate::wire::{Answer, Request};

/// Path of the CertificateSigningRequests.
pub const CSR_PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Which request an answer belongs to. At most one of each is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// GET of ConfigMap kube-system/kubeadm-config.
    KubeadmConfig,
    /// GET of ConfigMap kube-system/kubelet-config.
    KubeletConfig,
    /// GET of the Node of our name.
    Node,
    /// GET of a ConfigMap with a worker profile of k0s.
    WorkerProfile,
    /// POST of the CertificateSigningRequest.
    CreateCsr,
    /// GET of the CertificateSigningRequest.
    ReadCsr,
}

/// What the driver must do; `T` is what comes out at the end.
#[derive(Debug)]
pub enum Effect<T> {
    /// Send the request; several may be under way at once. Answer with [`Event::Answered`].
    Send(Call, Request),
    /// Watch with this request and report its events and its end. A former watch ends silently.
    Watch(Request),
    /// Tell whoever watches.
    Tell(Progress),
    /// It is over; whatever is under way may be dropped.
    Finished(Result<T, HandshakeError>),
}

impl<T> Effect<T> {
    /// The same work for a machine of another result, or the result itself.
    pub(crate) fn or_finished<U>(self) -> Result<Effect<U>, Result<T, HandshakeError>> {
        match self {
            Self::Send(call, request) => Ok(Effect::Send(call, request)),
            Self::Watch(request) => Ok(Effect::Watch(request)),
            Self::Tell(progress) => Ok(Effect::Tell(progress)),
            Self::Finished(result) => Err(result),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A request was answered, or failed for good: the driver has its own retry policy for
    /// failures that pass within moments.
    Answered(Call, Answer),
    /// The watch delivered this event (`{"type": …, "object": …}`).
    Watched(Value),
    /// The watch ended or could not begin, for whatever reason.
    WatchEnded(Option<HandshakeError>),
    /// The time of `deadline()` has come.
    Tick,
}

/// A certificate in hand: fits our key and subject, and is valid now.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Name of the CertificateSigningRequest.
    pub csr_name: String,
    /// The certificate, leaf first, with whatever intermediates the signer added.
    pub chain: CertificateBundle,
    /// Start of the leaf's validity.
    pub not_before: Timestamp,
    /// End of the leaf's validity.
    pub not_after: Timestamp,
}

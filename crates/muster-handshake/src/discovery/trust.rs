//! What discovery starts from and what it proves, as values.
//!
//! Also the faults of a certificate chain in the terms of a person: whose name, whose CA, whose
//! clock. Knows neither TLS libraries nor the order of steps.

use jiff::{SignedDuration, Timestamp};
use muster_identity::{BootstrapToken, CaPin, CertificateBundle, Endpoint, Host};

use crate::error::HandshakeError;

/// Which CA certificates of a signed cluster-info are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusting {
    /// Those whose own key has one of these pins.
    Pins(Vec<CaPin>),
    /// All of them: whoever knows the token is believed. kubeadm's
    /// `--discovery-token-unsafe-skip-ca-verification`.
    WhoeverKnowsTheToken,
}

/// Who vouches for the cluster.
#[derive(Debug, Clone)]
pub enum Vouching {
    /// Whoever knows the token, through its signature on cluster-info, and pins.
    Token {
        /// The token; only its id ever leaves this machine during discovery.
        token: BootstrapToken,
        /// Whom to believe.
        trusting: Trusting,
    },
    /// A CA that is known beforehand, for example from a discovery file: no cluster-info is needed.
    Authority {
        /// The CA; `None` believes the public ones first, and takes the cluster's own from cluster-info.
        ca: Option<CertificateBundle>,
        /// The name that the certificate must be valid for, when it is not the endpoint's host.
        server_name: Option<Host>,
    },
}

/// Trust anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchors {
    /// These and nothing else.
    Given(CertificateBundle),
    /// The public CAs that this machine trusts.
    Public,
}

/// Which endpoint to go on with, when the typed one and the advertised one differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointChoice {
    /// The advertised one, as kubeadm does; its certificate must be valid for it.
    Advertised,
    /// The typed one; a certificate that is not valid for it is an error.
    #[default]
    Typed,
    /// The typed one, or the advertised one when the certificate is not valid for the typed one.
    TypedOrAdvertised,
}

/// What discovery starts from.
#[derive(Debug, Clone)]
pub struct DiscoveryRequest {
    /// The API server as the user typed it.
    pub endpoint: Endpoint,
    /// Who vouches for the cluster.
    pub vouching: Vouching,
    /// Which endpoint to go on with.
    pub choice: EndpointChoice,
    /// How long failures that may pass by themselves are retried. Zero tells at once.
    pub patience: SignedDuration,
}

impl DiscoveryRequest {
    /// The usual request: only the typed endpoint, and failures are told at once.
    pub const fn new(endpoint: Endpoint, token: BootstrapToken, trusting: Trusting) -> Self {
        Self {
            endpoint,
            vouching: Vouching::Token { token, trusting },
            choice: EndpointChoice::Typed,
            patience: SignedDuration::ZERO,
        }
    }

    /// A cluster whose CA is known beforehand. Failures are told at once.
    pub const fn introduced(
        endpoint: Endpoint,
        ca: Option<CertificateBundle>,
        server_name: Option<Host>,
    ) -> Self {
        Self {
            endpoint,
            vouching: Vouching::Authority { ca, server_name },
            choice: EndpointChoice::Typed,
            patience: SignedDuration::ZERO,
        }
    }
}

/// A cluster that proved itself.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The CA certificates to trust from now on, here and in what the kubelet gets: only pinned
    /// ones, unless the caller chose to believe the token alone.
    pub ca: CertificateBundle,
    /// The endpoint whose certificate was verified: the typed one, unless the request chose
    /// otherwise.
    pub endpoint: Endpoint,
    /// The endpoint that cluster-info advertises; the typed one when it names none that is usable.
    pub advertised: Endpoint,
    /// Name of the cluster in cluster-info, or `kubernetes`.
    pub cluster_name: String,
    /// The name that the certificate was verified for, when it is not the endpoint's own host.
    pub server_name: Option<Host>,
}

/// Why a recorded certificate chain is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainFault {
    /// No path leads to a CA that was given.
    UnknownIssuer,
    /// The chain is good, but the leaf is for other names.
    NameMismatch {
        /// The names and addresses in the leaf.
        names: Vec<String>,
    },
    /// A certificate of an otherwise good chain is out of its validity at the local time.
    OutOfValidity {
        /// Start of validity.
        not_before: Timestamp,
        /// End of validity.
        not_after: Timestamp,
    },
    /// Anything else, in words.
    Unusable {
        /// What is wrong.
        reason: String,
    },
}

impl ChainFault {
    /// The fault in the terms of the user: found at `endpoint`, at the local time `now`, while the
    /// server's clock said `server` and the cluster advertises another endpoint.
    pub fn into_error(
        self,
        endpoint: &Endpoint,
        advertised: Option<String>,
        server: Option<Timestamp>,
        now: Timestamp,
    ) -> HandshakeError {
        let untrusted = |reason| HandshakeError::TlsUntrusted {
            endpoint: endpoint.to_string(),
            reason,
        };
        match self {
            Self::UnknownIssuer => untrusted("it was not issued by the cluster's CA".to_owned()),
            Self::NameMismatch { names } => HandshakeError::TlsNameMismatch {
                endpoint: endpoint.to_string(),
                host: endpoint.server_name(),
                names,
                advertised,
            },
            Self::OutOfValidity {
                not_before,
                not_after,
            } => out_of_validity(endpoint.to_string(), not_before, not_after, server, now),
            Self::Unusable { reason } => untrusted(reason),
        }
    }
}

/// Out of validity by the local clock: whose clock is wrong, or is the certificate really old?
fn out_of_validity(
    endpoint: String,
    not_before: Timestamp,
    not_after: Timestamp,
    server: Option<Timestamp>,
    local: Timestamp,
) -> HandshakeError {
    let clock_is_wrong = match server {
        Some(server) => (not_before..=not_after).contains(&server),
        // Certificates are made in the past, so "not yet" is the clock; "no longer" may be either.
        None => local < not_before,
    };
    if clock_is_wrong {
        HandshakeError::ClockSkew {
            what: format!("the certificate of {endpoint}"),
            local,
            server,
            not_before,
            not_after,
        }
    } else if local > not_after {
        let reason = format!("it expired at {not_after}; the cluster must renew it");
        HandshakeError::TlsUntrusted { endpoint, reason }
    } else {
        let reason = format!("it becomes valid only at {not_before}, by the server's clock too");
        HandshakeError::TlsUntrusted { endpoint, reason }
    }
}

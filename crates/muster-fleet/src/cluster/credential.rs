//! What somebody gave to be let in: how the cluster is found and believed, and as whom a certificate is asked for.
//!
//! One value for every way in, so that a join need not know which it is. It reads no files and asks nobody.

use std::fmt;

use jiff::SignedDuration;
use muster_handshake::{DiscoveryRequest, EndpointChoice, ProfileWish, Trusting, Vouching};
use muster_identity::{BootstrapToken, Endpoint, K0sToken, NodeName, Secret};
use muster_net::{Identity, Introduction};

/// Common names of nodes begin with it (`k8s.io/apiserver`, system:node).
const NODE_PREFIX: &str = "system:node:";
/// The organisation of nodes.
const NODES: &str = "system:nodes";

/// What somebody gave to be let in.
#[derive(Clone, Debug)]
pub struct Credential {
    /// How the cluster is found and believed.
    pub way: Way,
    /// The token for the certificate request, where it is another credential than the one of discovery.
    pub tls_bootstrap_token: Option<BootstrapToken>,
    /// Which endpoint is used, when the cluster advertises another one than was typed.
    pub choice: EndpointChoice,
    /// How long failures that may pass by themselves are retried during discovery.
    pub patience: SignedDuration,
    /// How long an undecided certificate request is waited for.
    pub approval_limit: SignedDuration,
    /// The worker profile of k0s that configures the kubelet, where the cluster is one of k0s.
    pub worker_profile: Option<ProfileWish>,
}

/// How a cluster is found and believed.
#[derive(Clone)]
pub enum Way {
    /// By a bootstrap token: cluster-info is signed with it.
    Token {
        /// The API server as it was typed.
        endpoint: Endpoint,
        /// The token.
        token: BootstrapToken,
        /// Which CA certificates are believed.
        trusting: Trusting,
    },
    /// By somebody who knows it: a discovery file, an administrator's kubeconfig, a CA certificate.
    Introduction(Box<Introduction>),
}

impl Credential {
    /// The usual one: a token for everything, failures told at once, five minutes for an approval.
    #[must_use]
    pub const fn token(endpoint: Endpoint, token: BootstrapToken, trusting: Trusting) -> Self {
        Self::by(Way::Token {
            endpoint,
            token,
            trusting,
        })
    }

    /// One that a kubeconfig brings along.
    #[must_use]
    pub fn introduction(introduction: Introduction) -> Self {
        Self::by(Way::Introduction(Box::new(introduction)))
    }

    /// A join token of k0s: it says where the cluster is and whom to trust there, so that nothing is discovered. The
    /// kubelet is configured by a worker profile.
    #[must_use]
    pub fn k0s(token: &K0sToken, profile: ProfileWish) -> Self {
        let mut credential = Self::introduction(Introduction {
            source: "the join token".to_owned(),
            endpoint: token.server().clone(),
            server_name: None,
            ca: Some(token.ca().clone()),
            identity: Identity::Bearer(token.token().to_text()),
        });
        credential.worker_profile = Some(profile);
        credential
    }

    const fn by(way: Way) -> Self {
        Self {
            way,
            tls_bootstrap_token: None,
            choice: EndpointChoice::TypedOrAdvertised,
            patience: SignedDuration::ZERO,
            approval_limit: SignedDuration::from_mins(5),
            worker_profile: None,
        }
    }

    /// The API server as it was typed, or as the file names it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        match &self.way {
            Way::Token { endpoint, .. } => endpoint,
            Way::Introduction(introduction) => &introduction.endpoint,
        }
    }

    /// What discovery starts from.
    #[must_use]
    pub fn request(&self) -> DiscoveryRequest {
        let vouching = match &self.way {
            Way::Token {
                token, trusting, ..
            } => Vouching::Token {
                token: token.clone(),
                trusting: trusting.clone(),
            },
            Way::Introduction(introduction) => Vouching::Authority {
                ca: introduction.ca.clone(),
                server_name: introduction.server_name.clone(),
            },
        };
        DiscoveryRequest {
            endpoint: self.endpoint().clone(),
            vouching,
            choice: self.choice,
            patience: self.patience,
        }
    }

    /// As whom the cluster is asked after discovery: the token that was given for it, else what discovery brought.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match (&self.tls_bootstrap_token, &self.way) {
            (Some(token), _) | (None, Way::Token { token, .. }) => {
                Identity::Bearer(token.to_text())
            }
            (None, Way::Introduction(introduction)) => introduction.identity.clone(),
        }
    }

    /// The node that the credential is already the certificate of: no certificate has to be requested then.
    #[must_use]
    pub fn certified_node(&self) -> Option<NodeName> {
        let Identity::Certificate { chain, .. } = self.identity() else {
            return None;
        };
        let subject = chain.certificates().first()?.subject();
        let name = subject.common_name.strip_prefix(NODE_PREFIX)?;
        let is_node = subject.organizations.iter().any(|name| name == NODES);
        is_node.then(|| NodeName::parse(name).ok()).flatten()
    }

    /// Certificate and key of that node in one PEM text, as the kubelet keeps them.
    #[must_use]
    pub fn certified_pem(&self) -> Option<Secret<Vec<u8>>> {
        self.certified_node()?;
        match self.identity() {
            Identity::Certificate { chain, key } => {
                let mut pem = chain.to_pem().into_bytes();
                pem.extend_from_slice(key.to_pem().expose().as_bytes());
                Some(Secret::new(pem))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Way {
    /// Where it leads, and never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token {
                endpoint,
                token,
                trusting,
            } => f
                .debug_struct("Token")
                .field("endpoint", endpoint)
                .field("id", token.id())
                .field("trusting", trusting)
                .finish(),
            Self::Introduction(introduction) => f
                .debug_struct("Introduction")
                .field("source", &introduction.source)
                .field("endpoint", &introduction.endpoint)
                .finish_non_exhaustive(),
        }
    }
}

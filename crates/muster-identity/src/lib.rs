//! Who is who, as values: tokens, keys, certificates, pins, signatures, kubeconfig.
//!
//! Everything a stranger or a cluster shows to prove who it is parses into a type here, and everything
//! we show is made here. This crate refuses to know sockets, files, clocks, the environment and where
//! random bytes come from: all of them arrive as arguments.

pub mod duration;
pub mod endpoint;
pub mod entropy;
pub mod jws;
pub mod kubeconfig;
pub mod name;
pub mod pin;
pub mod pki;
pub mod proxy;
pub mod secret;
pub mod token;

pub use duration::{DurationError, GoDuration, human_duration, short_human_duration};
pub use endpoint::{Endpoint, EndpointError, Host};
pub use entropy::Entropy;
pub use jws::JwsError;
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use name::{NodeName, NodeNameError};
pub use pin::{CaPin, PinError};
pub use pki::{
    AuthorityError, Certificate, CertificateAuthority, CertificateBundle, CertificateError, Csr,
    CsrError, KeyError, KeyKind, PrivateKey, PublicKey, SignerName, Subject, SubjectAltNames,
    Usage,
};
pub use proxy::{Proxy, ProxyError, ProxyRules};
pub use secret::Secret;
pub use token::{
    BootstrapToken, BootstrapTokenSecret, JoinRole, K0sToken, K0sTokenError, K3sToken,
    K3sTokenError, TokenError, TokenId, TokenKind, TokenSecretError,
};

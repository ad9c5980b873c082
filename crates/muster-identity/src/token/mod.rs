//! Join tokens as values: kubeadm's bootstrap tokens and the Secret that a cluster keeps of one, and what k0s and K3s
//! wrap around them.
//!
//! It refuses to know how the Secret is stored or fetched.

mod k0s;
mod k3s;
mod kind;
mod kubeadm;
mod role;
mod secret_object;

pub use k0s::{K0sToken, K0sTokenError};
pub use k3s::{K3S_NODE_TOKEN_GROUP, K3sCredentials, K3sToken, K3sTokenError, k3s_ca_hash};
pub use kind::TokenKind;
pub use kubeadm::{BootstrapToken, TokenError, TokenId};
pub use role::{JoinRole, UnknownRole};
pub use secret_object::{
    BOOTSTRAP_GROUP, BootstrapTokenSecret, DEFAULT_NODE_TOKEN_GROUP, Expiration,
    K0S_NODE_TOKEN_GROUP, SECRET_NAMESPACE, SECRET_TYPE, TokenSecretError, TokenUsages,
    is_bootstrap_group,
};

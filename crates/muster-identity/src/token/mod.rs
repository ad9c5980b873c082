//! kubeadm's bootstrap tokens: the text a person carries, and the Secret that a cluster keeps.
//!
//! It refuses to know how the Secret is stored or fetched.

mod kubeadm;
mod secret_object;

pub use kubeadm::{BootstrapToken, TokenError, TokenId};
pub use secret_object::{
    BOOTSTRAP_GROUP, BootstrapTokenSecret, DEFAULT_NODE_TOKEN_GROUP, Expiration, SECRET_NAMESPACE,
    SECRET_TYPE, TokenSecretError, TokenUsages, is_bootstrap_group,
};

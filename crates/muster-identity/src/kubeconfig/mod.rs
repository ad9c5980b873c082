//! kubeconfig files (`v1` `Config` of client-go): [`Kubeconfig`].
//!
//! It refuses to know files: where a kubeconfig names one, the path is handed on, and whoever calls reads it.
//! Fields that it does not know are kept.

mod document;
mod make;
mod resolve;

pub use resolve::{Material, Resolved, ResolvedCluster, ResolvedUser};

use std::fmt;

use crate::secret::Secret;
use document::Document;

/// Largest kubeconfig that is read, in bytes.
pub const MAX_LEN: usize = 1024 * 1024;

/// A kubeconfig. Its `Debug` shows the names of its entries and no credential.
#[derive(Clone, PartialEq)]
pub struct Kubeconfig(Document);

/// Why a kubeconfig cannot be used. No text repeats a value of the file: it could be a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// Larger than 1 MiB.
    #[error("the kubeconfig has {length} bytes, more than 1 MiB")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not YAML, or not of a kubeconfig's shape.
    #[error("the kubeconfig cannot be read, see {place}")]
    Unreadable {
        /// Line and column, as far as known.
        place: String,
    },
    /// The `kind` is not `Config`.
    #[error("the document is not a kubeconfig, its kind is {found:?}")]
    Kind {
        /// The kind found.
        found: String,
    },
    /// `current-context` is empty or names no context.
    #[error("there is no context {name:?} in the kubeconfig")]
    NoContext {
        /// The name.
        name: String,
    },
    /// The context names a cluster that is not there.
    #[error("there is no cluster {name:?} in the kubeconfig")]
    NoCluster {
        /// The name.
        name: String,
    },
    /// The context names a user that is not there.
    #[error("there is no user {name:?} in the kubeconfig")]
    NoUser {
        /// The name.
        name: String,
    },
    /// A `…-data` field is not base64.
    #[error("{field} is not base64")]
    NotBase64 {
        /// The field.
        field: &'static str,
    },
}

impl Kubeconfig {
    /// Reads YAML, or JSON.
    ///
    /// # Errors
    /// [`KubeconfigError::TooLong`], [`KubeconfigError::Unreadable`] or [`KubeconfigError::Kind`].
    pub fn parse(text: &[u8]) -> Result<Self, KubeconfigError> {
        if text.len() > MAX_LEN {
            return Err(KubeconfigError::TooLong { length: text.len() });
        }
        document::read(text).map(Self)
    }

    /// YAML as kubectl and kubeadm write it. It may hold secrets.
    pub fn to_yaml(&self) -> Secret<String> {
        document::write(&self.0)
    }

    /// The name of the current context; empty when there is none.
    pub fn current_context(&self) -> &str {
        &self.0.current_context
    }

    /// The names of all contexts, in order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.0
            .contexts
            .iter()
            .flatten()
            .map(|context| context.name.as_str())
    }

    /// The names of all contexts with those of their users, in order; a context without a user has the empty name.
    pub fn users_of_contexts(&self) -> impl Iterator<Item = (&str, &str)> {
        let contexts = self.0.contexts.iter().flatten();
        contexts.map(|named| (named.name.as_str(), named.context.user.as_str()))
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names<'a>(entries: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
            entries.collect()
        }
        let Document {
            clusters,
            contexts,
            users,
            current_context,
            ..
        } = &self.0;
        f.debug_struct("Kubeconfig")
            .field(
                "clusters",
                &names(clusters.iter().flatten().map(|entry| &entry.name)),
            )
            .field(
                "contexts",
                &names(contexts.iter().flatten().map(|entry| &entry.name)),
            )
            .field("current_context", current_context)
            .field(
                "users",
                &names(users.iter().flatten().map(|entry| &entry.name)),
            )
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

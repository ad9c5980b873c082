//! May this user do this? The chain of Kubernetes' authorizers in kubeadm's order: `system:masters`, the
//! Node authorizer, RBAC. Whatever none of them allows is denied.
//!
//! Refuses to know: how the user proved who they are, request bodies, and HTTP. It reads roles and pods
//! through [`ObjectReader`] and says yes or no; the text of the 403 is made elsewhere from the reason.

mod coverage;
mod impersonation;
mod index;
mod node;
mod rule;
#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;

pub use self::{impersonation::Acting, rule::PolicyRule};
use self::{index::RbacIndex, node::NodeAuthorizer};
use crate::request::{ObjectReader, RequestInfo, UserInfo};

pub(crate) use self::{
    coverage::{compact, missing_rules, quoted},
    node::{LEASE_NAMESPACE, identity as node_identity, is_mirror as is_mirror_pod, references},
};

/// The group whose members may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some authorizer allows it.
    Allow,
    /// None allows it.
    Deny {
        /// What the authorizers have to say about it, as Kubernetes words it; often empty.
        reason: String,
    },
}

impl Decision {
    /// Whether this is [`Decision::Allow`].
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// What a user may do in a namespace, as far as it can be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRules {
    /// Every rule that applies, in the order of the bindings.
    pub rules: Vec<PolicyRule>,
    /// Why the list may be incomplete: dangling role references, or a node whose rights hang on its pods.
    pub errors: Vec<String>,
}

/// Decides for every request. Cheap to share; the roles are compiled once per change of them.
pub struct Authorizer {
    nodes: NodeAuthorizer,
    rbac: RbacIndex,
}

impl Authorizer {
    /// An authorizer that reads roles, bindings, pods and volumes through `reader`.
    pub fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            nodes: NodeAuthorizer::new(reader.clone()),
            rbac: RbacIndex::new(reader),
        }
    }

    /// Decides one request.
    pub fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::Allow;
        }
        let mut reasons = Vec::new();
        for verdict in [
            self.nodes.authorize(user, info),
            self.rbac.authorize(user, info),
        ] {
            match verdict {
                Decision::Allow => return Decision::Allow,
                Decision::Deny { reason } if reason.is_empty() => {}
                Decision::Deny { reason } => reasons.push(reason),
            }
        }
        Decision::Deny {
            reason: reasons.join("\n"),
        }
    }

    /// The RBAC rules that apply to `user` cluster-wide and, if given, in `namespace`.
    pub fn rules_for(&self, user: &UserInfo, namespace: Option<&str>) -> UserRules {
        let mut listed = self.rbac.rules_for(user, namespace);
        if node_identity(user).is_some() {
            listed
                .errors
                .push("node authorizer does not support user rule resolution".to_owned());
        }
        listed
    }

    /// The rules behind a role reference of a binding; `namespace` is the binding's.
    ///
    /// # Errors
    /// The text of Kubernetes' not-found error when the role does not exist.
    pub(crate) fn rules_of_role(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<Arc<[PolicyRule]>, String> {
        self.rbac.rules_of_role(kind, name, namespace)
    }
}

#[cfg(test)]
mod tests;

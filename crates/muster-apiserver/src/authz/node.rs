//! The Node authorizer: what a kubelet may do because of which machine it is. Everything about itself,
//! and of secrets, config maps, volumes and claims only what pods bound to it refer to.
//!
//! Refuses to know: RBAC bindings, and the contents of what is written (admission checks those).

use std::sync::{Arc, LazyLock};

use muster_identity::name::{NODE_USER_PREFIX, NODES_GROUP};
use muster_machinery::meta;

use self::relation::{Relation, Relations};
use super::{Decision, PolicyRule};
use crate::{
    bootstrap,
    request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb},
};

mod graph;
pub(crate) mod references;
mod relation;

/// The namespace of node heartbeats.
pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node a user is, by Kubernetes' rule: the name `system:node:NAME` together with the group
/// `system:nodes`. The name may be empty: that is a node which cannot be told, and has no rights.
pub(crate) fn identity(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_USER_PREFIX)?;
    user.is_in(NODES_GROUP).then_some(name)
}

/// The rules every node has alike, those of the built-in ClusterRole `system:node`. Fixed in the program:
/// editing that role must not widen what this authorizer allows.
static NODE_RULES: LazyLock<Vec<PolicyRule>> =
    LazyLock::new(|| bootstrap::cluster_role_rules("system:node"));

pub(super) struct NodeAuthorizer {
    relations: Relations,
}

/// Allowed, or not, with Kubernetes' words for why.
type Verdict = Result<(), String>;

fn no(reason: impl Into<String>) -> Verdict {
    Err(reason.into())
}

impl NodeAuthorizer {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            relations: Relations::new(reader),
        }
    }

    pub(super) fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        let verdict = match identity(user) {
            None => no(""),
            Some("") => no(format!("unknown node for user {:?}", user.name)),
            Some(node) => self.decide(node, info),
        };
        match verdict {
            Ok(()) => Decision::Allow,
            Err(reason) => Decision::Deny { reason },
        }
    }

    fn decide(&self, node: &str, info: &RequestInfo) -> Verdict {
        if let Some(resource) = &info.resource {
            let verb = &info.verb;
            match (resource.group.as_str(), resource.resource.as_str()) {
                ("", "secrets") => return self.read(node, Relation::Secret, verb, resource),
                ("", "configmaps") => return self.read(node, Relation::ConfigMap, verb, resource),
                ("", "persistentvolumeclaims") => return self.claim(node, verb, resource),
                ("", "persistentvolumes") => {
                    return self.get(node, Relation::Volume, verb, resource);
                }
                ("resource.k8s.io", "resourceclaims") => {
                    return self.get(node, Relation::ResourceClaim, verb, resource);
                }
                ("storage.k8s.io", "volumeattachments") => {
                    return self.get(node, Relation::VolumeAttachment, verb, resource);
                }
                ("", "serviceaccounts") => return self.service_account(node, verb, resource),
                ("coordination.k8s.io", "leases") => return lease(node, verb, resource),
                ("storage.k8s.io", "csinodes") => return csi_node(node, verb, resource),
                ("resource.k8s.io", "resourceslices") => {
                    return self.resource_slice(node, verb, resource);
                }
                ("", "nodes") => return own_node(node, verb, resource),
                ("", "pods") => return self.pod(node, verb, resource),
                _ => {}
            }
        }
        if NODE_RULES.iter().any(|rule| rule.allows(info)) {
            return Ok(());
        }
        no("")
    }

    /// Secrets and config maps: single ones may be read, listed and watched by name.
    fn read(
        &self,
        node: &str,
        relation: Relation,
        verb: &Verb,
        asked: &ResourceRequest,
    ) -> Verdict {
        if !matches!(verb, Verb::Get | Verb::List | Verb::Watch) {
            return no("can only read resources of this type");
        }
        if asked.subresource.is_some() {
            return no("cannot read subresource");
        }
        if asked.namespace.is_none() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, relation, asked)
    }

    fn get(&self, node: &str, relation: Relation, verb: &Verb, asked: &ResourceRequest) -> Verdict {
        if *verb != Verb::Get {
            return no("can only get individual resources of this type");
        }
        if asked.subresource.is_some() {
            return no("cannot get subresource");
        }
        self.related(node, relation, asked)
    }

    fn claim(&self, node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
        if asked.subresource.as_deref() != Some("status") {
            return self.get(node, Relation::Claim, verb, asked);
        }
        if !matches!(verb, Verb::Update | Verb::Patch) {
            return no("can only get/update/patch this type");
        }
        self.related(node, Relation::Claim, asked)
    }

    /// A token for, or a look at, the service account of a pod on the node.
    fn service_account(&self, node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
        if *verb == Verb::Get {
            return self.get(node, Relation::ServiceAccount, verb, asked);
        }
        if *verb != Verb::Create || asked.name.is_none() {
            return no("can only create tokens for individual service accounts");
        }
        if asked.subresource.as_deref() != Some("token") {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Relation::ServiceAccount, asked)
    }

    fn resource_slice(&self, node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
        if asked.subresource.is_some() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match verb {
            // Admission checks spec.nodeName, which is not known here.
            Verb::Create => Ok(()),
            Verb::Get | Verb::Update | Verb::Patch | Verb::Delete => {
                self.related(node, Relation::ResourceSlice, asked)
            }
            Verb::Watch | Verb::List | Verb::DeleteCollection => {
                if asked.pinned("spec.nodeName") == Some(node) {
                    return Ok(());
                }
                no(
                    "can only list/watch/deletecollection resourceslices with nodeName field selector",
                )
            }
            _ => no("only the following verbs are allowed for a ResourceSlice: \
                 get, watch, list, create, update, patch, delete, deletecollection"),
        }
    }

    fn pod(&self, node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
        match (asked.subresource.as_deref(), verb) {
            (None, Verb::Get) => self.get(node, Relation::Pod, verb, asked),
            (None, Verb::List | Verb::Watch) => {
                if asked.pinned("spec.nodeName") == Some(node) {
                    return Ok(());
                }
                if asked.name.is_some() {
                    return self.related(node, Relation::Pod, asked);
                }
                no("can only list/watch pods with spec.nodeName field selector")
            }
            // Admission limits these to mirror pods and pods of the node.
            (None, Verb::Create | Verb::Delete)
            | (Some("status"), Verb::Update | Verb::Patch)
            | (Some("eviction"), Verb::Create) => Ok(()),
            _ => no(""),
        }
    }

    fn related(&self, node: &str, relation: Relation, asked: &ResourceRequest) -> Verdict {
        let Some(name) = &asked.name else {
            return no("No Object name found");
        };
        let namespace = asked.namespace.as_deref();
        if self.relations.holds(relation, node, namespace, name) {
            return Ok(());
        }
        no(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }
}

fn lease(node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
    if !is_own_object_verb(verb) {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if asked.namespace.as_deref() != Some(LEASE_NAMESPACE) {
        return no(format!(
            "can only access leases in the {LEASE_NAMESPACE:?} system namespace"
        ));
    }
    // The name of a creation is in the body: admission checks it.
    if *verb != Verb::Create && asked.name.as_deref() != Some(node) {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn csi_node(node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
    if !is_own_object_verb(verb) {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if asked.subresource.is_some() {
        return no("cannot authorize CSINode subresources");
    }
    if *verb != Verb::Create && asked.name.as_deref() != Some(node) {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

fn is_own_object_verb(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Get | Verb::Create | Verb::Update | Verb::Patch | Verb::Delete
    )
}

fn own_node(node: &str, verb: &Verb, asked: &ResourceRequest) -> Verdict {
    match (asked.subresource.as_deref(), verb) {
        // Admission limits writes to the node's own object.
        (None, Verb::Create | Verb::Update | Verb::Patch)
        | (Some("status"), Verb::Update | Verb::Patch) => Ok(()),
        (None, Verb::Get | Verb::List | Verb::Watch) => match asked.name.as_deref() {
            Some(name) if name == node => Ok(()),
            None => no(format!(
                "node '{node}' cannot read all nodes, only its own Node object"
            )),
            Some(other) => no(format!(
                "node '{node}' cannot read '{other}', only its own Node object"
            )),
        },
        _ => no(""),
    }
}

/// Whether a pod is a mirror of a static one: it grants its node nothing, as the node itself wrote it.
pub(crate) fn is_mirror(pod: &serde_json::Value) -> bool {
    meta::annotation(pod, "kubernetes.io/config.mirror").is_some()
}

#[cfg(test)]
mod tests;

//! NodeRestriction: a kubelet writes about its own machine and nothing else. What the Node authorizer had to
//! let through because it cannot see bodies is checked here.
//!
//! Refuses to know: reading, and users who are no nodes.

mod labels;
mod pods;
mod tokens;

use muster_identity::{Csr, SignerName};
use muster_machinery::meta::{self, at, str_at};
use serde_json::Value;

use super::{Admitted, Judged, Operation, certificates};
use crate::{
    authz::{Authorizer, LEASE_NAMESPACE, node_identity},
    request::ObjectReader,
};

pub(super) fn admit(
    reader: &dyn ObjectReader,
    authorizer: &Authorizer,
    request: &Judged<'_>,
) -> Admitted {
    let Some(node) = node_identity(request.user) else {
        return Ok(());
    };
    if node.is_empty() {
        let user = &request.user.name;
        return Err(request.forbidden(&format!("could not determine node from user {user:?}")));
    }
    match (request.info.group.as_str(), request.info.resource.as_str()) {
        ("", "pods") => pods::admit(reader, node, request),
        ("", "nodes") => own_node(node, request),
        ("", "persistentvolumeclaims") => claim_status(node, request),
        ("", "serviceaccounts") => tokens::admit(reader, authorizer, node, request),
        ("coordination.k8s.io", "leases") => lease(node, request),
        ("storage.k8s.io", "csinodes") if request.name() != node => {
            Err(request
                .forbidden("can only access CSINode with the same name as the requesting node"))
        }
        ("resource.k8s.io", "resourceslices") => resource_slice(node, request),
        (certificates::GROUP, certificates::REQUESTS) => certificate_request(node, request),
        _ => Ok(()),
    }
}

fn own_node(node: &str, request: &Judged<'_>) -> Admitted {
    let name = request.name();
    if name != node {
        return Err(request.forbidden(&format!(
            "node {node:?} is not allowed to modify node {name:?}"
        )));
    }
    let (Some(new), old) = (request.object, request.old.unwrap_or(&Value::Null)) else {
        return Ok(());
    };
    match request.operation {
        Operation::Create => new_node(node, new, request),
        Operation::Update => changed_node(node, new, old, request),
        Operation::Delete => Ok(()),
    }
}

fn is_set(object: &Value, path: &[&str]) -> bool {
    at(object, path).is_some_and(|value| !value.is_null())
}

fn new_node(node: &str, new: &Value, request: &Judged<'_>) -> Admitted {
    if is_set(new, &["spec", "configSource"]) {
        return Err(request.forbidden(&format!(
            "node {node:?} is not allowed to create pods with a non-nil configSource"
        )));
    }
    let labels = labels::forbidden(new, &Value::Null);
    if labels.is_empty() {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "node {node:?} is not allowed to set the following labels: {}",
        labels.join(", ")
    )))
}

fn changed_node(node: &str, new: &Value, old: &Value, request: &Judged<'_>) -> Admitted {
    let source = ["spec", "configSource"];
    if is_set(new, &source) && at(new, &source) != at(old, &source) {
        return Err(request.forbidden(&format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        )));
    }
    if meta::items(new, &["spec", "taints"]) != meta::items(old, &["spec", "taints"]) {
        return Err(request.forbidden(&format!("node {node:?} is not allowed to modify taints")));
    }
    let labels = labels::forbidden(new, old);
    if !labels.is_empty() {
        let why = format!("is not allowed to modify labels: {}", labels.join(", "));
        return Err(request.forbidden(&why));
    }
    // With an owner of its choosing a node could have its object collected and made anew.
    if meta::owner_references(new) != meta::owner_references(old) {
        return Err(request.forbidden(&format!(
            "node {node:?} is not allowed to modify ownerReferences"
        )));
    }
    Ok(())
}

/// Of a claim a node may change the parts of the status that describe the volume as it found it.
fn claim_status(node: &str, request: &Judged<'_>) -> Admitted {
    if request.subresource() != "status" {
        return Err(request.forbidden("may only update PVC status"));
    }
    if request.operation != Operation::Update {
        let operation = request.operation.as_str();
        return Err(request.forbidden(&format!("unexpected operation {operation:?}")));
    }
    if without_node_parts(request.object) == without_node_parts(request.old) {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
    )))
}

fn without_node_parts(claim: Option<&Value>) -> Value {
    let mut claim = claim.cloned().unwrap_or_default();
    let mut remove = |parent: &str, fields: &[&str]| {
        if let Some(parent) = claim.get_mut(parent).and_then(Value::as_object_mut) {
            parent.retain(|field, _| !fields.contains(&field.as_str()));
        }
    };
    remove("metadata", &["resourceVersion", "managedFields"]);
    remove(
        "status",
        &[
            "capacity",
            "conditions",
            "allocatedResourceStatuses",
            "allocatedResources",
        ],
    );
    claim
}

fn lease(node: &str, request: &Judged<'_>) -> Admitted {
    if request.namespace() != LEASE_NAMESPACE {
        return Err(request.forbidden(&format!(
            "can only access leases in the {LEASE_NAMESPACE:?} system namespace"
        )));
    }
    if request.name() != node {
        return Err(request
            .forbidden("can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}

fn resource_slice(node: &str, request: &Judged<'_>) -> Admitted {
    let (verb, slice) = match request.operation {
        Operation::Create => ("create", request.object),
        Operation::Delete => ("delete", request.old),
        Operation::Update => return Ok(()),
    };
    let of = slice.and_then(|slice| str_at(slice, &["spec", "nodeName"]));
    if of == Some(node) {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "can only {verb} ResourceSlice with the same NodeName as the requesting node"
    )))
}

/// A node asks for certificates in its own name only.
fn certificate_request(node: &str, request: &Judged<'_>) -> Admitted {
    let (Operation::Create, Some(object)) = (request.operation, request.object) else {
        return Ok(());
    };
    let signer = SignerName::parse(str_at(object, &["spec", "signerName"]).unwrap_or_default());
    if !matches!(
        signer,
        SignerName::KubeletServing | SignerName::KubeApiserverClientKubelet
    ) {
        return Ok(());
    }
    let csr: Csr = certificates::parse(object)
        .map_err(|error| request.forbidden(&format!("unable to parse csr: {error}")))?;
    if csr.subject().common_name == format!("system:node:{node}") {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "can only create a node CSR with CN=system:node:{node}"
    )))
}

#[cfg(test)]
mod tests;

//! What a kubelet may do to pods: make and delete mirrors of its static ones, report the status of those
//! bound to it, evict and delete them.
//!
//! Refuses to know: scheduling; the binding of a stored pod is taken as it is.

use std::sync::Arc;

use muster_machinery::{
    gvk::GroupResource,
    meta::{self, str_at},
    status::Status,
};
use serde_json::Value;

use super::super::{Admitted, Judged, Operation};
use crate::{
    authz::{is_mirror_pod, references},
    request::ObjectReader,
};

pub(super) fn admit(reader: &dyn ObjectReader, node: &str, request: &Judged<'_>) -> Admitted {
    match request.subresource() {
        "" => pod(reader, node, request),
        "status" => status(node, request),
        "eviction" => eviction(reader, node, request),
        other => Err(request.forbidden(&format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        ))),
    }
}

fn node_of(pod: &Value) -> &str {
    str_at(pod, &["spec", "nodeName"]).unwrap_or_default()
}

/// The stored pod that the request is about.
fn stored(reader: &dyn ObjectReader, request: &Judged<'_>) -> Result<Arc<Value>, Box<Status>> {
    let name = request.name();
    if name.is_empty() {
        return Err(request.forbidden("could not determine pod from request data"));
    }
    reader
        .get("", "pods", request.info.namespace.as_deref(), name)
        .ok_or_else(|| Box::new(Status::not_found(GroupResource::new("", "pods"), name)))
}

fn pod(reader: &dyn ObjectReader, node: &str, request: &Judged<'_>) -> Admitted {
    match (request.operation, request.object) {
        (Operation::Create, Some(pod)) => new_pod(reader, node, pod, request),
        (Operation::Delete, _) => {
            if node_of(&*stored(reader, request)?) == node {
                return Ok(());
            }
            Err(request.forbidden(&format!(
                "node {node:?} can only delete pods with spec.nodeName set to itself"
            )))
        }
        (operation, _) => Err(request.forbidden(&format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            operation.as_str()
        ))),
    }
}

fn new_pod(reader: &dyn ObjectReader, node: &str, pod: &Value, request: &Judged<'_>) -> Admitted {
    let refused = |why: String| Err(request.forbidden(&why));
    if !is_mirror_pod(pod) {
        return refused(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
        ));
    }
    if node_of(pod) != node {
        return refused(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        ));
    }
    owner(reader, node, pod, request)?;
    if str_at(pod, &["spec", "serviceAccountName"]).is_some_and(|name| !name.is_empty()) {
        return refused(format!(
            "node {node:?} can not create pods that reference a service account"
        ));
    }
    if let Some(kind) = references::referenced_kind(pod) {
        return refused(format!(
            "node {node:?} can not create pods that reference {kind}"
        ));
    }
    if !meta::items(pod, &["spec", "resourceClaims"]).is_empty() {
        return refused(format!(
            "node {node:?} can not create pods that reference resourceclaims"
        ));
    }
    Ok(())
}

/// The one owner of a mirror pod is its node, as it is now.
fn owner(reader: &dyn ObjectReader, node: &str, pod: &Value, request: &Judged<'_>) -> Admitted {
    let refused = |why: String| Err(request.forbidden(&why));
    let owner = match meta::owner_references(pod) {
        [one] => one,
        [] => {
            return refused(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        _ => {
            return refused(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    let text = |field| str_at(owner, &[field]).unwrap_or_default();
    let flag = |field: &str| owner.get(field).and_then(Value::as_bool).unwrap_or(false);
    if (text("apiVersion"), text("kind"), text("name")) != ("v1", "Node", node) {
        return refused(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        ));
    }
    if !flag("controller") {
        return refused(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if flag("blockOwnerDeletion") {
        return refused(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let Some(stored) = reader.get("", "nodes", None, node) else {
        let resource = GroupResource::new("", "nodes");
        return Err(Box::new(Status::not_found(resource, node)));
    };
    let (expected, got) = (text("uid"), meta::uid(&stored));
    if expected != got {
        return refused(format!(
            "node {node} UID mismatch: expected {expected} got {got}"
        ));
    }
    Ok(())
}

fn status(node: &str, request: &Judged<'_>) -> Admitted {
    let (Operation::Update, Some(new), Some(old)) =
        (request.operation, request.object, request.old)
    else {
        let operation = request.operation.as_str();
        return Err(request.forbidden(&format!("unexpected operation {operation:?}")));
    };
    if node_of(old) != node {
        return Err(request.forbidden(&format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        )));
    }
    if meta::labels(new).filter(|labels| !labels.is_empty())
        != meta::labels(old).filter(|labels| !labels.is_empty())
    {
        return Err(request.forbidden(&format!(
            "node {node:?} cannot update labels through pod status"
        )));
    }
    let claims = |pod| meta::items(pod, &["status", "resourceClaimStatuses"]);
    if claims(new) != claims(old) {
        return Err(request.forbidden(&format!(
            "node {node:?} cannot update resource claim statues"
        )));
    }
    Ok(())
}

fn eviction(reader: &dyn ObjectReader, node: &str, request: &Judged<'_>) -> Admitted {
    if request.operation != Operation::Create {
        let operation = request.operation.as_str();
        return Err(request.forbidden(&format!("unexpected operation {operation}")));
    }
    if node_of(&*stored(reader, request)?) == node {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "node {node} can only evict pods with spec.nodeName set to itself"
    )))
}

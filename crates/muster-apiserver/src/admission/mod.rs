//! The last word on a write: what an allowed request may contain, and what is filled in for it. The plugins
//! of Kubernetes that a kubeadm cluster runs, in their order: first those that change the object, then those
//! that only judge it.
//!
//! Refuses to know: storage, wire formats, and the checks that look at one object alone (validation does
//! those). Denials are Kubernetes' words, as clients match on them.

mod certificates;
mod escalation;
mod namespaces;
mod node_restriction;
mod node_taints;
mod owner_references;
mod pod_defaults;
mod priority;
mod service_account;

use std::sync::Arc;

use jiff::Timestamp;
use muster_machinery::{
    gvk::GroupResource,
    meta,
    status::{AccessAttributes, Status},
};
use serde_json::Value;

use crate::{
    authz::{Authorizer, Decision},
    request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb},
};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is replaced or changed in part, itself or one of its subresources.
    Update,
    /// It is removed.
    Delete,
    /// A stream to it is opened (`exec`, `proxy`, …).
    Connect,
}

impl Operation {
    /// As in Kubernetes' messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One write, after decoding and patching, before validation and storage.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// What is asked for. For a deletion as part of a collection the name is the single object's.
    pub info: &'a ResourceRequest,
    /// What is done.
    pub operation: Operation,
    /// The object as it is to be; `None` for deletions. For a subresource such as `token` or `eviction` it is
    /// that request's own object.
    pub object: Option<&'a mut Value>,
    /// The object as it is; `None` for creations.
    pub old: Option<&'a Value>,
    /// The time of the request.
    pub now: Timestamp,
}

/// The outcome of a plugin: pass, or the answer to the client.
pub(crate) type Admitted = Result<(), Box<Status>>;

/// The chain of plugins. Cheap to share.
pub struct Admission {
    reader: Arc<dyn ObjectReader>,
    authorizer: Arc<Authorizer>,
}

impl Admission {
    /// A chain that looks objects up through `reader` and asks `authorizer` about further rights.
    pub fn new(reader: Arc<dyn ObjectReader>, authorizer: Arc<Authorizer>) -> Self {
        Self { reader, authorizer }
    }

    /// Passes a write through every plugin, filling in what they add to `request.object`.
    ///
    /// # Errors
    /// The status to answer with: mostly 403, 404 for a namespace or pod that is not there, 422 for a
    /// certificate request that cannot be read.
    pub fn admit(&self, mut request: AdmissionRequest<'_>) -> Admitted {
        self.change(&mut request)?;
        self.judge(&Judged::of(&request))
    }

    fn change(&self, request: &mut AdmissionRequest<'_>) -> Admitted {
        let reader = self.reader.as_ref();
        namespaces::admit(reader, &Judged::of(request))?;
        let (user, operation, info) = (request.user, request.operation, request.info);
        let is_main = info.subresource.is_none();
        let creates = |group: &str, resource: &str| {
            operation == Operation::Create
                && is_main
                && (info.group.as_str(), info.resource.as_str()) == (group, resource)
        };
        let (pod, node, csr) = (
            creates("", "pods"),
            creates("", "nodes"),
            creates(certificates::GROUP, certificates::REQUESTS),
        );
        if pod {
            service_account::admit(reader, request)?;
        }
        let Some(object) = request.object.as_deref_mut() else {
            return Ok(());
        };
        if csr {
            certificates::record_requester(object, user);
        }
        if node {
            node_taints::add_not_ready(object);
        }
        if pod {
            pod_defaults::tolerate_lost_nodes(object);
            return priority::admit(reader, request);
        }
        Ok(())
    }

    fn judge(&self, request: &Judged<'_>) -> Admitted {
        let (reader, authorizer) = (self.reader.as_ref(), self.authorizer.as_ref());
        may_create(authorizer, request)?;
        node_restriction::admit(reader, authorizer, request)?;
        priority::admit_class(reader, request)?;
        certificates::admit(authorizer, request)?;
        owner_references::admit(authorizer, request)?;
        escalation::admit(authorizer, request)
    }
}

/// A creation with a name in its path began as a change of something that turned out not to be there (a `PUT`,
/// an apply). The right to that change was asked for at the door; the right to create is asked for here.
fn may_create(authorizer: &Authorizer, request: &Judged<'_>) -> Admitted {
    let info = request.info;
    if request.operation != Operation::Create || info.subresource.is_some() || info.name.is_none() {
        return Ok(());
    }
    let Decision::Deny { reason } = request.also_may(authorizer, "create", info.clone()) else {
        return Ok(());
    };
    let attributes = AccessAttributes {
        user: &request.user.name,
        verb: "create",
        group: &info.group,
        resource: &info.resource,
        subresource: "",
        namespace: request.namespace(),
        name: request.name(),
        path: "",
    };
    Err(Box::new(Status::forbidden(&attributes, &reason)))
}

/// A request as the judging plugins see it: nothing can be changed any more.
pub(crate) struct Judged<'a> {
    pub(crate) user: &'a UserInfo,
    pub(crate) info: &'a ResourceRequest,
    pub(crate) operation: Operation,
    pub(crate) object: Option<&'a Value>,
    pub(crate) old: Option<&'a Value>,
}

impl<'a> Judged<'a> {
    fn of<'r: 'a>(request: &'a AdmissionRequest<'r>) -> Self {
        Self {
            user: request.user,
            info: request.info,
            operation: request.operation,
            object: request.object.as_deref(),
            old: request.old,
        }
    }

    /// Whether this is about `resource` in `group`, whatever the subresource.
    pub(crate) fn is_about(&self, group: &str, resource: &str) -> bool {
        self.info.group == group && self.info.resource == resource
    }

    pub(crate) fn subresource(&self) -> &str {
        self.info.subresource.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.info.namespace.as_deref().unwrap_or_default()
    }

    /// The object's name: from the path, or for creations and collections from the object.
    pub(crate) fn name(&self) -> &str {
        let of_object = || {
            let object = self.object.or(self.old)?;
            Some(meta::name(object)).filter(|name| !name.is_empty())
        };
        self.info
            .name
            .as_deref()
            .or_else(of_object)
            .unwrap_or_default()
    }

    pub(crate) fn resource(&self) -> GroupResource<'_> {
        GroupResource::new(&self.info.group, &self.info.resource)
    }

    /// The refusal with this text: `pods "x" is forbidden: WHY`.
    pub(crate) fn forbidden(&self, why: &str) -> Box<Status> {
        Box::new(Status::forbidden_because(self.resource(), self.name(), why))
    }

    /// Whether the user has a further right, and what the authorizer says if not.
    pub(crate) fn also_may(
        &self,
        authorizer: &Authorizer,
        verb: &str,
        resource: ResourceRequest,
    ) -> Decision {
        let info = RequestInfo {
            verb: Verb::from(verb),
            path: String::new(),
            resource: Some(resource),
        };
        authorizer.authorize(self.user, &info)
    }
}

#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
mod tests;

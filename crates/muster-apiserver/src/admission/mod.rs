//! The last word on a write: what an allowed request may contain, and what is filled in for it. The plugins
//! of Kubernetes that a kubeadm cluster runs, in their order, and the webhooks of the cluster: first what changes the
//! object, then, once it has been validated, what only judges it.
//!
//! Refuses to know: storage, wire formats, and the checks that look at one object alone (validation does
//! those). Denials are Kubernetes' words, as clients match on them.

mod cel_policies;
mod certificates;
mod claim_resize;
mod class_defaults;
mod escalation;
mod expressions;
mod limit_ranges;
mod namespaces;
mod node_restriction;
mod node_taints;
mod owner_references;
mod pod_defaults;
mod pod_security;
mod policies;
mod priority;
mod request;
mod runtime_class;
mod service_account;
mod storage_protection;
mod webhook;

use std::{sync::Arc, time::Instant};

use muster_machinery::{
    gvk::GroupResource,
    meta,
    status::{AccessAttributes, Status},
};
use serde_json::Value;

use crate::{
    authz::{Authorizer, Decision},
    notes::Notes,
    request::{ObjectReader, RequestInfo, ResourceRequest, UserInfo, Verb},
    system::AdmissionMetrics,
};
use policies::Policies;
pub(crate) use request::{AdmissionOptions, AdmissionRequest, Operation};
use webhook::{Reinvocation, Webhooks};

/// The outcome of a plugin: pass, or the answer to the client.
pub(crate) type Admitted = Result<(), Box<Status>>;

/// The chain of plugins. Cheap to share.
pub(crate) struct Admission {
    reader: Arc<dyn ObjectReader>,
    authorizer: Arc<Authorizer>,
    policies: Policies,
    webhooks: Webhooks,
    metrics: Arc<AdmissionMetrics>,
}

/// Which half of the chain is at work, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Objects are changed.
    Admit,
    /// Objects are judged.
    Validate,
}

impl Phase {
    /// As in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }
}

impl Admission {
    /// A chain that looks objects up through `reader` and asks `authorizer` about further rights.
    pub(crate) fn new(
        reader: Arc<dyn ObjectReader>,
        authorizer: Arc<Authorizer>,
        metrics: Arc<AdmissionMetrics>,
    ) -> Self {
        let webhooks = Webhooks::new(Arc::clone(&reader), Arc::clone(&metrics));
        Self {
            reader,
            authorizer,
            policies: Policies::default(),
            webhooks,
            metrics,
        }
    }

    /// Passes a new or changed object through everything that fills in or changes. Says whether a webhook changed it:
    /// then it must be put in order again.
    ///
    /// # Errors
    /// The status to answer with: mostly 403, 404 for a namespace that is not there.
    pub(crate) async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<bool, Box<Status>> {
        let begun = Instant::now();
        let changed = self.change_all(request, object, old).await;
        let took = begun.elapsed();
        self.metrics
            .step(Phase::Admit, request.operation, changed.is_err(), took);
        changed
    }

    async fn change_all(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<bool, Box<Status>> {
        self.fill_in(request, object, old)?;
        let mut again = Reinvocation::default();
        let changed = self
            .webhooks
            .change(request, Some(object), old, &mut again)
            .await?;
        if changed {
            // What webhooks did may need filling in, and that may concern webhooks that came earlier.
            self.fill_in(request, object, old)?;
            self.webhooks
                .change(request, Some(object), old, &mut again)
                .await?;
        }
        Ok(changed)
    }

    /// The plugins that change objects.
    fn fill_in(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Admitted {
        let reader = self.reader.as_ref();
        let timed = |name, plugin: &mut dyn FnMut() -> Admitted| {
            self.timed(Phase::Admit, name, request.operation, plugin)
        };
        timed("NamespaceLifecycle", &mut || {
            namespaces::admit(reader, &Judged::of(request, Some(&*object), old))
        })?;
        let creates = |group: &str, resource: &str| request.creates(group, resource);
        if creates("", "pods") {
            timed("LimitRanger", &mut || {
                limit_ranges::fill_in(reader, request, object);
                Ok(())
            })?;
            timed("ServiceAccount", &mut || {
                service_account::admit(reader, request, object)
            })?;
            timed("Priority", &mut || priority::admit(reader, request, object))?;
            timed("DefaultTolerationSeconds", &mut || {
                pod_defaults::tolerate_lost_nodes(object);
                Ok(())
            })?;
            timed("RuntimeClass", &mut || {
                runtime_class::admit(reader, request, object)
            })?;
        }
        let changes_pod = request.operation == Operation::Update && request.writes("", "pods");
        if changes_pod {
            timed("DefaultTolerationSeconds", &mut || {
                pod_defaults::tolerate_lost_nodes(object);
                Ok(())
            })?;
        }
        if creates("", "persistentvolumeclaims") {
            timed("DefaultStorageClass", &mut || {
                class_defaults::storage(reader, object);
                Ok(())
            })?;
        }
        timed("StorageObjectInUseProtection", &mut || {
            storage_protection::protect(request, object);
            Ok(())
        })?;
        if creates("networking.k8s.io", "ingresses") {
            timed("DefaultIngressClass", &mut || {
                class_defaults::ingress(reader, object);
                Ok(())
            })?;
        }
        if creates("", "nodes") {
            timed("TaintNodesByCondition", &mut || {
                node_taints::add_not_ready(object);
                Ok(())
            })?;
        }
        if creates(certificates::GROUP, certificates::REQUESTS) {
            certificates::record_requester(object, request.user);
        }
        Ok(())
    }

    /// Passes a completed and valid write through everything that only judges.
    ///
    /// # Errors
    /// The status to answer with.
    pub(crate) async fn judge(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Admitted {
        let begun = Instant::now();
        let plain = self.ask_plugins(&Judged::of(request, object, old));
        let judged = match plain.and_then(|()| self.ask_policies(request, object, old)) {
            Ok(()) => self.webhooks.judge(request, object, old).await,
            refused => refused,
        };
        let took = begun.elapsed();
        self.metrics
            .step(Phase::Validate, request.operation, judged.is_err(), took);
        judged
    }

    fn ask_policies(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Admitted {
        let (phase, reader) = (Phase::Validate, self.reader.as_ref());
        self.timed(
            phase,
            "ValidatingAdmissionPolicy",
            request.operation,
            &mut || self.policies.judge(reader, request, object, old),
        )
    }

    /// Passes a deletion through the whole chain.
    ///
    /// # Errors
    /// The status to answer with.
    pub(crate) async fn delete(&self, request: &AdmissionRequest<'_>, old: &Value) -> Admitted {
        let begun = Instant::now();
        let before = self.timed(
            Phase::Admit,
            "NamespaceLifecycle",
            request.operation,
            &mut || namespaces::admit(self.reader.as_ref(), &Judged::of(request, None, Some(old))),
        );
        let admitted = match before {
            Ok(()) => {
                let mut again = Reinvocation::default();
                let asked = self.webhooks.change(request, None, Some(old), &mut again);
                asked.await.map(drop)
            }
            refused => refused,
        };
        let took = begun.elapsed();
        self.metrics
            .step(Phase::Admit, request.operation, admitted.is_err(), took);
        admitted?;
        self.judge(request, None, Some(old)).await
    }

    /// The plugins that only judge.
    fn ask_plugins(&self, request: &Judged<'_>) -> Admitted {
        let (reader, authorizer) = (self.reader.as_ref(), self.authorizer.as_ref());
        may_create(authorizer, request)?;
        cel_policies::warn(request);
        let timed = |name, plugin: &mut dyn FnMut() -> Admitted| {
            self.timed(Phase::Validate, name, request.operation, plugin)
        };
        timed("LimitRanger", &mut || limit_ranges::admit(reader, request))?;
        timed("NodeRestriction", &mut || {
            node_restriction::admit(reader, authorizer, request)
        })?;
        timed("PodSecurity", &mut || pod_security::admit(reader, request))?;
        timed("Priority", &mut || priority::admit_class(reader, request))?;
        timed("OwnerReferencesPermissionEnforcement", &mut || {
            owner_references::admit(reader, authorizer, request)
        })?;
        timed("PersistentVolumeClaimResize", &mut || {
            claim_resize::admit(reader, request)
        })?;
        timed("CertificateApproval", &mut || {
            certificates::admit(authorizer, request)
        })?;
        escalation::admit(authorizer, request)
    }

    /// Runs a plugin and counts how long it took.
    fn timed(
        &self,
        phase: Phase,
        name: &'static str,
        operation: Operation,
        plugin: &mut dyn FnMut() -> Admitted,
    ) -> Admitted {
        let begun = Instant::now();
        let outcome = plugin();
        let took = begun.elapsed();
        self.metrics
            .controller(name, phase, operation, outcome.is_err(), took);
        outcome
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
    pub(crate) notes: &'a Notes,
}

impl<'a> Judged<'a> {
    fn of(
        request: &AdmissionRequest<'a>,
        object: Option<&'a Value>,
        old: Option<&'a Value>,
    ) -> Self {
        Self {
            user: request.user,
            info: request.info,
            operation: request.operation,
            object,
            old,
            notes: request.notes,
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

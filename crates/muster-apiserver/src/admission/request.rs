//! One write as admission sees it: who asks for what, how, and about which resource.
//!
//! Refuses to know: plugins and webhooks.

use muster_machinery::resources::{Resource, Subresource};
use serde_json::{Value, json};

use crate::{
    notes::Notes,
    registry::{DeleteOptions, Propagation, WriteKind, WriteOptions},
    request::{ResourceRequest, UserInfo},
};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// It is made.
    Create,
    /// It is replaced or changed in part, itself or one of its subresources.
    Update,
    /// It is removed.
    Delete,
}

impl Operation {
    /// As in Kubernetes' messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One write, after decoding and patching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionRequest<'a> {
    /// Who asks.
    pub(crate) user: &'a UserInfo,
    /// What is asked for. For a deletion as part of a collection the name is the single object's.
    pub(crate) info: &'a ResourceRequest,
    /// What is done.
    pub(crate) operation: Operation,
    /// The form in which the objects are given.
    pub(crate) stored: &'a Resource,
    /// The form that the client asked for.
    pub(crate) served: &'a Resource,
    /// The subresource, if one is addressed. Where it has a type of its own, the object is of that type.
    pub(crate) sub: Option<&'a Subresource>,
    /// How it is to be done.
    pub(crate) options: AdmissionOptions<'a>,
    /// Warnings and remarks for the audit log go here.
    pub(crate) notes: &'a Notes,
}

/// The options of a write, of either sort.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdmissionOptions<'a> {
    /// Those of create, update, patch and apply.
    Write(&'a WriteOptions),
    /// Those of delete.
    Delete(&'a DeleteOptions),
}

impl<'a> From<&'a WriteOptions> for AdmissionOptions<'a> {
    fn from(options: &'a WriteOptions) -> Self {
        Self::Write(options)
    }
}

impl<'a> From<&'a DeleteOptions> for AdmissionOptions<'a> {
    fn from(options: &'a DeleteOptions) -> Self {
        Self::Delete(options)
    }
}

impl AdmissionOptions<'_> {
    /// Whether nothing is to be written.
    pub(crate) fn dry_run(self) -> bool {
        match self {
            Self::Write(options) => options.dry_run,
            Self::Delete(options) => options.dry_run,
        }
    }

    /// The options as `meta.k8s.io/v1` has them.
    pub(crate) fn to_value(self, operation: Operation) -> Value {
        let mut value = match self {
            Self::Write(options) => {
                let kind = match (operation, options.kind) {
                    (Operation::Create, _) => "CreateOptions",
                    (_, WriteKind::Patch | WriteKind::Apply) => "PatchOptions",
                    _ => "UpdateOptions",
                };
                let mut value = json!({"kind": kind, "fieldManager": options.manager});
                if options.kind == WriteKind::Apply && kind == "PatchOptions" {
                    value["force"] = options.force.into();
                }
                value
            }
            Self::Delete(options) => {
                let mut value = json!({"kind": "DeleteOptions"});
                if let Some(grace) = options.grace {
                    value["gracePeriodSeconds"] = grace.into();
                }
                if let Some(uid) = &options.uid {
                    value["preconditions"]["uid"] = uid.as_str().into();
                }
                if let Some(version) = &options.resource_version {
                    value["preconditions"]["resourceVersion"] = version.as_str().into();
                }
                if let Some(propagation) = options.propagation {
                    value["propagationPolicy"] = match propagation {
                        Propagation::Orphan => "Orphan",
                        Propagation::Background => "Background",
                        Propagation::Foreground => "Foreground",
                    }
                    .into();
                }
                value
            }
        };
        value["apiVersion"] = "meta.k8s.io/v1".into();
        if self.dry_run() {
            value["dryRun"] = json!(["All"]);
        }
        value
    }
}

impl AdmissionRequest<'_> {
    /// Whether an object of `resource` in `group` is made.
    pub(crate) fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.writes(group, resource)
    }

    /// Whether an object of `resource` in `group` itself, and no subresource, is written.
    pub(crate) fn writes(&self, group: &str, resource: &str) -> bool {
        self.sub.is_none() && self.info.group == group && self.info.resource == resource
    }
}

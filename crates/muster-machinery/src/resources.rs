//! The one table of every built-in resource of Kubernetes 1.36 that kube-apiserver serves by default.
//!
//! Declares names, scope, verbs and subresources; discovery, routing and storage all read it from here.
//! Refuses to know how a resource is served, and which custom resources exist: those are the same
//! [`Resource`] type, made by the caller.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::gvk::{GroupResource, GroupVersionKind, join_api_version};

mod builtin;
mod version;

pub use version::{KUBERNETES_GIT_VERSION, KUBERNETES_VERSION, VersionInfo, version_info};

/// The verbs of an ordinary stored resource, in discovery's (alphabetical) order.
pub const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The verbs of a `status` or `scale` subresource.
pub const READ_WRITE_VERBS: &[&str] = &["get", "patch", "update"];

/// The only verb of a resource that is asked, not stored.
pub const CREATE_ONLY: &[&str] = &["create"];

/// Text that is either built in or made at run time.
pub type Text = Cow<'static, str>;

/// How a resource comes to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Kept in the store.
    Stored,
    /// Answered on the spot: create only, never stored (reviews, bindings).
    Virtual,
    /// Computed on reading: get and list only (component statuses).
    Computed,
}

/// A path below an object, such as `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// Name in the path.
    pub name: Text,
    /// Kind sent and answered; the parent's kind for `status`.
    pub kind: Text,
    /// Group and version of `kind`, when they differ from the parent's.
    pub group_version: Option<(Text, Text)>,
    /// Verbs in discovery's order.
    pub verbs: Vec<Text>,
}

impl Subresource {
    /// Whether the verb exists on it.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }
}

/// One resource of one group version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for core.
    pub group: Text,
    /// Version, such as `v1`.
    pub version: Text,
    /// Plural name, as in the path.
    pub plural: Text,
    /// Singular name.
    pub singular: Text,
    /// Kind of one object.
    pub kind: Text,
    /// Kind of a list of them.
    pub list_kind: Text,
    /// Short names for `kubectl`.
    pub short_names: Vec<Text>,
    /// Categories, such as `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs in discovery's order.
    pub verbs: Vec<Text>,
    /// Subresources in alphabetical order.
    pub subresources: Vec<Subresource>,
    /// Stored, virtual or computed.
    pub nature: Nature,
    /// Group and version in which objects are kept; differs for resources served under two names.
    pub storage_group_version: (Text, Text),
    /// Upstream's hash of the storage version; empty when discovery shows none.
    pub storage_version_hash: Text,
    /// Fields by which objects of a custom resource can be selected, such as `spec.color`.
    pub selectable: Vec<Text>,
}

impl Resource {
    /// The `apiVersion` of its objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        join_api_version(&self.group, &self.version)
    }

    /// Group, version and kind of its objects.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&*self.group, &*self.version, &*self.kind)
    }

    /// Group and plural, for messages.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource::new(&self.group, &self.plural)
    }

    /// Whether the verb exists on it.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// A subresource by name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// Whether `status` is a subresource: then it is dropped on create and kept on update.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The `apiVersion` in which objects are kept.
    #[must_use]
    pub fn storage_api_version(&self) -> String {
        let (group, version) = &self.storage_group_version;
        join_api_version(group, version)
    }

    /// Where objects are kept: `/registry/<group or core>/<plural>/`.
    #[must_use]
    pub fn storage_prefix(&self) -> String {
        let group = match &*self.storage_group_version.0 {
            "" => "core",
            group => group,
        };
        format!("/registry/{group}/{}/", self.plural)
    }

    /// The path of one object or, with an empty name, of the collection, as in `metadata.selfLink`.
    #[must_use]
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let mut path = match &*self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

struct Registry {
    resources: Vec<Resource>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
    resources: builtin::all(),
});

type ByName = HashMap<(&'static str, &'static str, &'static str), &'static Resource>;

static BY_PLURAL: LazyLock<ByName> = LazyLock::new(|| {
    all()
        .iter()
        .map(|r| ((&*r.group, &*r.version, &*r.plural), r))
        .collect()
});

static BY_KIND: LazyLock<ByName> = LazyLock::new(|| {
    all()
        .iter()
        .map(|r| ((&*r.group, &*r.version, &*r.kind), r))
        .collect()
});

/// All built-in resources: core first, then the groups in kube-apiserver's order.
#[must_use]
pub fn all() -> &'static [Resource] {
    &REGISTRY.resources
}

/// The resource of a group (empty for core), version and plural.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    BY_PLURAL.get(&(group, version, plural)).copied()
}

/// The resource whose objects are of this kind.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    BY_KIND.get(&(group, version, kind)).copied()
}

/// The resource of a kind in a group, in its preferred version.
#[must_use]
pub fn find_preferred_kind(group: &str, kind: &str) -> Option<&'static Resource> {
    all()
        .iter()
        .find(|resource| resource.group == group && resource.kind == kind)
}

/// The resource in a group, in its preferred version.
#[must_use]
pub fn find_preferred(group: &str, plural: &str) -> Option<&'static Resource> {
    all()
        .iter()
        .find(|resource| resource.group == group && resource.plural == plural)
}

/// Groups (core is the empty one) with their versions, preferred first, in kube-apiserver's order.
#[must_use]
pub fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in all() {
        match groups
            .iter_mut()
            .find(|(group, _)| *group == resource.group)
        {
            None => groups.push((&resource.group, vec![&resource.version])),
            Some((_, versions)) if versions.contains(&&*resource.version) => {}
            Some((_, versions)) => versions.push(&resource.version),
        }
    }
    groups
}

/// The resources of one group version, sorted by plural.
pub fn in_group_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    all()
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

#[cfg(test)]
mod tests;

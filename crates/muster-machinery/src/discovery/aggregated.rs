//! The aggregated document: everything a client asks for at its start, in one answer.

use serde::Serialize;

use super::{Group, Resource};
use crate::resources::{Subresource, Text};

/// Which version of the aggregated format a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregatedVersion {
    /// `apidiscovery.k8s.io/v2`, since 1.30.
    V2,
    /// `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
}

impl AggregatedVersion {
    const fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }
}

/// An `APIGroupDiscoveryList`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupDiscoveryList {
    kind: &'static str,
    api_version: &'static str,
    metadata: NoMeta,
    items: Vec<GroupDiscovery>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct NoMeta {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct GroupDiscovery {
    metadata: NameMeta,
    versions: Vec<VersionDiscovery>,
}

/// Upstream writes a creation timestamp of null into each group's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NameMeta {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct VersionDiscovery {
    version: String,
    resources: Vec<ResourceDiscovery>,
    freshness: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: Text,
    response_kind: ResponseKind,
    scope: &'static str,
    singular_resource: Text,
    verbs: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<SubresourceDiscovery>,
}

/// Empty group and version mean: those of the enclosing document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ResponseKind {
    group: Text,
    version: Text,
    kind: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubresourceDiscovery {
    subresource: Text,
    response_kind: ResponseKind,
    verbs: Vec<Text>,
}

impl GroupDiscoveryList {
    pub(super) fn new<'a>(
        version: AggregatedVersion,
        groups: impl Iterator<Item = &'a Group>,
    ) -> Self {
        Self {
            kind: "APIGroupDiscoveryList",
            api_version: version.api_version(),
            metadata: NoMeta {},
            items: groups.map(GroupDiscovery::from).collect(),
        }
    }
}

impl From<&Group> for GroupDiscovery {
    fn from(group: &Group) -> Self {
        let versions = group.versions.iter().map(|version| VersionDiscovery {
            version: version.name.clone(),
            resources: version
                .resources
                .iter()
                .map(ResourceDiscovery::from)
                .collect(),
            freshness: "Current",
        });
        Self {
            metadata: NameMeta {
                name: group.name.clone(),
            },
            versions: versions.collect(),
        }
    }
}

impl From<&Resource> for ResourceDiscovery {
    fn from(resource: &Resource) -> Self {
        Self {
            resource: resource.plural.clone(),
            response_kind: ResponseKind::own(&resource.kind),
            scope: if resource.namespaced {
                "Namespaced"
            } else {
                "Cluster"
            },
            singular_resource: resource.singular.clone(),
            verbs: resource.verbs.clone(),
            short_names: resource.short_names.clone(),
            categories: resource.categories.clone(),
            subresources: resource
                .subresources
                .iter()
                .map(SubresourceDiscovery::from)
                .collect(),
        }
    }
}

impl From<&Subresource> for SubresourceDiscovery {
    fn from(sub: &Subresource) -> Self {
        let response_kind = match &sub.group_version {
            None => ResponseKind::own(&sub.kind),
            Some((group, version)) => ResponseKind {
                group: group.clone(),
                version: version.clone(),
                kind: sub.kind.clone(),
            },
        };
        Self {
            subresource: sub.name.clone(),
            response_kind,
            verbs: sub.verbs.clone(),
        }
    }
}

impl ResponseKind {
    fn own(kind: &Text) -> Self {
        Self {
            group: Text::Borrowed(""),
            version: Text::Borrowed(""),
            kind: kind.clone(),
        }
    }
}

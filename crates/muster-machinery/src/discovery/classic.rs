//! The classic documents: `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`.

use serde::Serialize;

use super::{Group, Resource};
use crate::gvk::join_api_version;
use crate::resources::{Subresource, Text};

/// The document of `/api`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiVersions {
    kind: &'static str,
    versions: Vec<String>,
    #[serde(rename = "serverAddressByClientCIDRs")]
    server_address_by_client_cidrs: Vec<ServerAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ServerAddress {
    #[serde(rename = "clientCIDR")]
    client_cidr: &'static str,
    #[serde(rename = "serverAddress")]
    server_address: String,
}

impl ApiVersions {
    pub(super) fn new<'a>(versions: impl Iterator<Item = &'a str>, address: &str) -> Self {
        Self {
            kind: "APIVersions",
            versions: versions.map(str::to_owned).collect(),
            server_address_by_client_cidrs: vec![ServerAddress {
                client_cidr: "0.0.0.0/0",
                server_address: address.to_owned(),
            }],
        }
    }
}

/// The document of `/apis`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<ApiGroup>,
}

impl ApiGroupList {
    pub(super) fn new<'a>(groups: impl Iterator<Item = &'a Group>) -> Self {
        Self {
            kind: "APIGroupList",
            api_version: "v1",
            groups: groups.map(ApiGroup::entry).collect(),
        }
    }
}

/// The document of `/apis/GROUP`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: String,
    versions: Vec<GroupVersionEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_version: Option<GroupVersionEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersionEntry {
    group_version: String,
    version: String,
}

impl ApiGroup {
    fn entry(group: &Group) -> Self {
        let versions: Vec<_> = group
            .versions
            .iter()
            .map(|version| GroupVersionEntry {
                group_version: join_api_version(&group.name, &version.name),
                version: version.name.clone(),
            })
            .collect();
        Self {
            kind: None,
            api_version: None,
            name: group.name.clone(),
            preferred_version: versions.first().cloned(),
            versions,
        }
    }

    pub(super) fn standalone(group: &Group) -> Self {
        Self {
            kind: Some("APIGroup"),
            api_version: Some("v1"),
            ..Self::entry(group)
        }
    }
}

/// The document of `/api/v1` and of `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceList {
    kind: &'static str,
    /// Upstream leaves it out in the core group's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource {
    name: String,
    singular_name: Text,
    namespaced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Text>,
    kind: Text,
    verbs: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<Text>,
    #[serde(skip_serializing_if = "str::is_empty")]
    storage_version_hash: Text,
}

impl ApiResourceList {
    pub(super) fn new(group: &str, version: &str, resources: &[Resource]) -> Self {
        let entries = resources.iter().flat_map(|resource| {
            std::iter::once(ApiResource::from(resource)).chain(
                resource
                    .subresources
                    .iter()
                    .map(|sub| ApiResource::below(resource, sub)),
            )
        });
        Self {
            kind: "APIResourceList",
            api_version: (!group.is_empty()).then_some("v1"),
            group_version: join_api_version(group, version),
            resources: entries.collect(),
        }
    }
}

impl From<&Resource> for ApiResource {
    fn from(resource: &Resource) -> Self {
        Self {
            name: resource.plural.to_string(),
            singular_name: resource.singular.clone(),
            namespaced: resource.namespaced,
            group: None,
            version: None,
            kind: resource.kind.clone(),
            verbs: resource.verbs.clone(),
            short_names: resource.short_names.clone(),
            categories: resource.categories.clone(),
            storage_version_hash: resource.storage_version_hash.clone(),
        }
    }
}

impl ApiResource {
    fn below(resource: &Resource, sub: &Subresource) -> Self {
        let (group, version) = sub.group_version.clone().unzip();
        Self {
            name: format!("{}/{}", resource.plural, sub.name),
            singular_name: Text::Borrowed(""),
            namespaced: resource.namespaced,
            group,
            version,
            kind: sub.kind.clone(),
            verbs: sub.verbs.clone(),
            short_names: Vec::new(),
            categories: Vec::new(),
            storage_version_hash: Text::Borrowed(""),
        }
    }
}

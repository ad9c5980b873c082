//! The documents by which clients find out what a server serves.
//!
//! Two forms of the same table: the classic one (`/api`, `/apis`, `/apis/G`, `/apis/G/V`) and the
//! aggregated one (`apidiscovery.k8s.io`, v2 and v2beta1). Custom resources join through
//! [`Catalogue::add`]. Refuses to know HTTP: which document answers which `Accept` header is decided by
//! the server with the constants here.

use crate::resources::{self, Resource};

mod aggregated;
mod classic;

pub use aggregated::{AggregatedVersion, GroupDiscoveryList};
pub use classic::{ApiGroup, ApiGroupList, ApiResourceList, ApiVersions};

/// Content type of plain JSON.
pub const JSON: &str = "application/json";
/// Content type of an aggregated document in its stable version.
pub const AGGREGATED_V2: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// Content type of an aggregated document for clients before 1.30.
pub const AGGREGATED_V2BETA1: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What a server serves: groups in order, each with its versions in order of preference.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    groups: Vec<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Debug, Clone)]
struct Version {
    name: String,
    resources: Vec<Resource>,
}

impl Catalogue {
    /// All built-in resources.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalogue = Self::default();
        for resource in resources::all() {
            catalogue.add(resource.clone());
        }
        catalogue
    }

    /// Adds a resource. A new group goes to the end, a new version behind the versions of its group that
    /// are preferred to it (`v2` > `v1` > `v1beta1` > `v1alpha1` > others by name).
    pub fn add(&mut self, resource: Resource) {
        let group = match self.groups.iter().position(|g| g.name == resource.group) {
            Some(at) => &mut self.groups[at],
            None => {
                self.groups.push(Group {
                    name: resource.group.to_string(),
                    versions: Vec::new(),
                });
                let last = self.groups.len() - 1;
                &mut self.groups[last]
            }
        };
        let at = match group
            .versions
            .iter()
            .position(|v| v.name == resource.version)
        {
            Some(at) => at,
            None => {
                let rank = priority(&resource.version);
                let at = group
                    .versions
                    .partition_point(|v| priority(&v.name) <= rank);
                let name = resource.version.to_string();
                group.versions.insert(
                    at,
                    Version {
                        name,
                        resources: Vec::new(),
                    },
                );
                at
            }
        };
        let resources = &mut group.versions[at].resources;
        resources.retain(|known| known.plural != resource.plural);
        let place = resources.partition_point(|known| known.plural < resource.plural);
        resources.insert(place, resource);
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    fn version(&self, group: &str, version: &str) -> Option<&Version> {
        self.group(group)?
            .versions
            .iter()
            .find(|v| v.name == version)
    }

    /// Names of all groups but core, in order.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups
            .iter()
            .map(|group| group.name.as_str())
            .filter(|name| !name.is_empty())
    }

    /// The document of `/api`. `address` is where this server can be reached, as `host:port`.
    #[must_use]
    pub fn api_versions(&self, address: &str) -> ApiVersions {
        let versions = self
            .group("")
            .map(|core| core.versions.as_slice())
            .unwrap_or_default();
        ApiVersions::new(versions.iter().map(|v| v.name.as_str()), address)
    }

    /// The document of `/apis`.
    #[must_use]
    pub fn api_group_list(&self) -> ApiGroupList {
        ApiGroupList::new(self.groups.iter().filter(|g| !g.name.is_empty()))
    }

    /// The document of `/apis/GROUP`; `None` when there is no such group.
    #[must_use]
    pub fn api_group(&self, group: &str) -> Option<ApiGroup> {
        self.group(group)
            .filter(|g| !g.name.is_empty())
            .map(ApiGroup::standalone)
    }

    /// The document of `/api/v1` (empty group) or `/apis/GROUP/VERSION`; `None` when there is none.
    #[must_use]
    pub fn api_resource_list(&self, group: &str, version: &str) -> Option<ApiResourceList> {
        self.version(group, version)
            .map(|v| ApiResourceList::new(group, version, &v.resources))
    }

    /// The aggregated document of `/api`.
    #[must_use]
    pub fn aggregated_core(&self, version: AggregatedVersion) -> GroupDiscoveryList {
        GroupDiscoveryList::new(version, self.groups.iter().filter(|g| g.name.is_empty()))
    }

    /// The aggregated document of `/apis`.
    #[must_use]
    pub fn aggregated_groups(&self, version: AggregatedVersion) -> GroupDiscoveryList {
        GroupDiscoveryList::new(version, self.groups.iter().filter(|g| !g.name.is_empty()))
    }
}

/// Sort key of a version name: stable before beta before alpha before anything else, newest first
/// (`version.CompareKubeAwareVersionStrings`).
fn priority(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>, String) {
    use std::cmp::Reverse;
    let odd = || (3, Reverse(0), Reverse(0), version.to_owned());
    let Some(rest) = version.strip_prefix('v') else {
        return odd();
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, stage) = rest.split_at(digits);
    let Ok(major) = major.parse() else {
        return odd();
    };
    let (level, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (2, minor),
        _ if stage.is_empty() => return (0, Reverse(major), Reverse(0), String::new()),
        _ => return odd(),
    };
    minor.parse().map_or_else(
        |_| odd(),
        |minor| (level, Reverse(major), Reverse(minor), String::new()),
    )
}

#[cfg(test)]
mod tests;

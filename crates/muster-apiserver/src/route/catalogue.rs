//! Which resources are served, by the parts of their paths, and the documents that say so.
//!
//! Refuses to know: how they are served.

use std::{collections::HashMap, sync::Arc};

use muster_machinery::{
    discovery::Catalogue,
    gvk::join_api_version,
    resources::{self, Resource},
};

/// The served resources.
pub(crate) struct ResourceCatalogue {
    by_version: HashMap<String, HashMap<String, Arc<Resource>>>,
    documents: Catalogue,
}

impl ResourceCatalogue {
    /// Every built-in resource.
    pub(crate) fn builtin() -> Self {
        let mut by_version: HashMap<String, HashMap<String, Arc<Resource>>> = HashMap::new();
        for resource in resources::all() {
            by_version
                .entry(resource.api_version())
                .or_default()
                .insert(resource.plural.to_string(), Arc::new(resource.clone()));
        }
        Self {
            by_version,
            documents: Catalogue::builtin(),
        }
    }

    /// The resource behind a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.by_version
            .get(&join_api_version(group, version))?
            .get(plural)
            .cloned()
    }

    /// The resource of a kind, by its `apiVersion`.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let resources = self.by_version.get(api_version)?;
        resources
            .values()
            .find(|resource| resource.kind == kind)
            .cloned()
    }

    /// The resources of a group and version, in no order; `None` when there is none of them.
    pub(crate) fn in_version(&self, api_version: &str) -> Option<Vec<Arc<Resource>>> {
        Some(
            self.by_version
                .get(api_version)?
                .values()
                .cloned()
                .collect(),
        )
    }

    /// Every `apiVersion` that has resources.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &str> {
        self.by_version.keys().map(String::as_str)
    }

    /// The discovery documents.
    pub(crate) fn documents(&self) -> &Catalogue {
        &self.documents
    }
}

//! All definitions as they are now: looked up by path, kept from one change to the next as far as nothing has changed.
//!
//! Refuses to know: built-in resources.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use muster_machinery::{
    crd::Definition,
    gvk::join_api_version,
    resources::{Resource, find, find_kind},
};
use tokio_util::sync::CancellationToken;

use super::{CustomVersion, version::Body};
use crate::watch::StoredObject;

/// One definition.
#[derive(Clone)]
pub(crate) struct Entry {
    /// What it says, without schemas.
    pub(crate) definition: Arc<Definition>,
    /// The definition itself.
    pub(crate) object: Arc<StoredObject>,
    body: Arc<Body>,
    resources: Vec<(Arc<Resource>, usize)>,
}

/// All definitions at one revision.
#[derive(Default)]
pub(crate) struct Index {
    entries: BTreeMap<String, Entry>,
    by_version: HashMap<String, BTreeMap<String, (Arc<Resource>, CustomVersion)>>,
}

impl Index {
    /// The index of these objects. What has not changed since `before` is taken over; what is served no longer is ended.
    pub(crate) fn of(
        objects: &[Arc<StoredObject>],
        before: &Self,
        stop: &CancellationToken,
    ) -> Self {
        let mut index = Self::default();
        for object in objects {
            let known = before.entries.get(object.name());
            let entry = match known {
                Some(known) if known.object.revision() == object.revision() => known.clone(),
                known => Entry::of(object, known, stop),
            };
            index.entries.insert(object.name().to_owned(), entry);
        }
        for entry in index.entries.values() {
            for (resource, at) in &entry.resources {
                index
                    .by_version
                    .entry(resource.api_version())
                    .or_default()
                    .entry(resource.plural.to_string())
                    .or_insert_with(|| {
                        (Arc::clone(resource), CustomVersion::new(&entry.body, *at))
                    });
            }
        }
        for (name, old) in &before.entries {
            let now = index.entries.get(name);
            let goes_on = now.is_some_and(|now| Arc::ptr_eq(&now.body, &old.body));
            if !goes_on {
                old.body.end();
            }
        }
        index
    }

    /// The definitions by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// A definition by its name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The resource behind a path.
    pub(crate) fn find(
        &self,
        api_version: &str,
        plural: &str,
    ) -> Option<&(Arc<Resource>, CustomVersion)> {
        self.by_version.get(api_version)?.get(plural)
    }

    /// The resources of a group and version, by plural.
    pub(crate) fn in_version(
        &self,
        api_version: &str,
    ) -> impl Iterator<Item = &(Arc<Resource>, CustomVersion)> {
        self.by_version
            .get(api_version)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Every `apiVersion` that has resources.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &str> {
        self.by_version.keys().map(String::as_str)
    }
}

impl Entry {
    fn of(object: &Arc<StoredObject>, known: Option<&Self>, stop: &CancellationToken) -> Self {
        let definition = match object.value() {
            Ok(value) => Definition::parse(&value),
            Err(error) => {
                tracing::error!(key = &**object.key(), %error, "a definition cannot be read");
                Definition::default()
            }
        };
        let definition = Arc::new(definition);
        let body = match known {
            Some(known) if known.body.is_spec_of(&definition) => Arc::clone(&known.body),
            _ => Body::new(
                Arc::clone(&definition),
                Arc::clone(object),
                stop.child_token(),
            ),
        };
        let resources = resources_of(&definition);
        Self {
            definition,
            object: Arc::clone(object),
            body,
            resources,
        }
    }

    /// The version in which objects are kept, whether it is served or not.
    pub(crate) fn storage(&self) -> Option<(Resource, CustomVersion)> {
        let versions = &self.definition.versions;
        let at = versions.iter().position(|version| version.storage)?;
        let resource = self.definition.resource(&versions[at], "");
        Some((resource, CustomVersion::new(&self.body, at)))
    }

    /// Changes whenever schemas of this definition may.
    pub(crate) fn tag(&self) -> String {
        format!("{}/{}", self.definition.uid, self.definition.generation)
    }
}

/// What is served of a definition: nothing before its names are accepted, and nothing that is built in.
fn resources_of(definition: &Definition) -> Vec<(Arc<Resource>, usize)> {
    if !definition.is("Established") {
        return Vec::new();
    }
    let hash = definition
        .storage_version()
        .map_or_else(String::new, |storage| {
            let kind = &definition.accepted.kind;
            storage_version_hash(&definition.group, &storage.name, kind)
        });
    let built_in = |resource: &Resource| {
        let (group, version) = (&resource.group, &resource.version);
        find(group, version, &resource.plural).is_some()
            || find_kind(group, version, &resource.kind).is_some()
    };
    let served = definition
        .versions
        .iter()
        .enumerate()
        .filter(|(_, version)| version.served);
    served
        .map(|(at, version)| (definition.resource(version, &hash), at))
        .filter(|(resource, _)| !built_in(resource))
        .map(|(resource, at)| (Arc::new(resource), at))
        .collect()
}

/// As `discovery.StorageVersionHash` upstream.
fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let text = format!("{}/{kind}", join_api_version(group, version));
    STANDARD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..8])
}

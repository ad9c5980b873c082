//! A CustomResourceDefinition as the server needs it: names, versions and conditions, without the schemas.

use serde_json::Value;

use super::scale::ScalePaths;
use crate::meta::{self, items, str_at};
use crate::resources::{ALL_VERBS, Nature, READ_WRITE_VERBS, Resource, Subresource, Text};

/// The finalizer that keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What remains possible while a definition waits for its objects to go.
const ENDING_VERBS: [&str; 5] = ["delete", "deletecollection", "get", "list", "watch"];

/// The names of a kind (`CustomResourceDefinitionNames`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the field names are the documentation, as upstream"
)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

impl Names {
    pub(super) fn parse(names: Option<&Value>) -> Self {
        let text = |name: &str| {
            let text = names.and_then(|names| str_at(names, &[name]));
            text.unwrap_or_default().to_owned()
        };
        let texts = |name: &str| {
            let list = names.map(|names| items(names, &[name])).unwrap_or_default();
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        Self {
            plural: text("plural"),
            singular: text("singular"),
            kind: text("kind"),
            list_kind: text("listKind"),
            short_names: texts("shortNames"),
            categories: texts("categories"),
        }
    }
}

/// One version of a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinitionVersion {
    /// Its name, such as `v1`.
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are kept in it.
    pub storage: bool,
    /// What to tell who uses it, if it is deprecated.
    pub deprecation: Option<String>,
    /// Whether it has the `status` subresource.
    pub has_status: bool,
    /// Where it has its replicas, if it has the `scale` subresource.
    pub scale: Option<ScalePaths>,
    /// The fields that objects can be selected by, such as `spec.color`.
    pub selectable: Vec<String>,
}

/// A definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// The definition's name, such as `widgets.example.com`.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
    /// The group of its kind.
    pub group: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The names that it asks for.
    pub wanted: Names,
    /// The names that it has got.
    pub accepted: Names,
    /// Its versions, as listed.
    pub versions: Vec<DefinitionVersion>,
    /// Whether somebody else converts between its versions.
    pub converts_by_webhook: bool,
    /// Conditions that are true.
    pub true_conditions: Vec<String>,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// Whether it waits for its objects to go.
    pub is_held: bool,
}

impl Definition {
    /// Reads a definition. What is missing reads as empty.
    #[must_use]
    pub fn parse(object: &Value) -> Self {
        let text = |path: &[&str]| str_at(object, path).unwrap_or_default().to_owned();
        let group = text(&["spec", "group"]);
        let kind = text(&["spec", "names", "kind"]);
        let versions = items(object, &["spec", "versions"]);
        let versions = versions
            .iter()
            .map(|version| parse_version(version, &group, &kind));
        let conditions = items(object, &["status", "conditions"]).iter();
        let holding = conditions.filter(|condition| str_at(condition, &["status"]) == Some("True"));
        Self {
            name: meta::name(object).to_owned(),
            uid: meta::uid(object).to_owned(),
            generation: meta::generation(object),
            namespaced: str_at(object, &["spec", "scope"]) == Some("Namespaced"),
            wanted: Names::parse(meta::at(object, &["spec", "names"])),
            accepted: Names::parse(meta::at(object, &["status", "acceptedNames"])),
            versions: versions.collect(),
            converts_by_webhook: str_at(object, &["spec", "conversion", "strategy"])
                == Some("Webhook"),
            true_conditions: holding
                .filter_map(|c| str_at(c, &["type"]))
                .map(str::to_owned)
                .collect(),
            is_deleted: meta::is_being_deleted(object),
            is_held: meta::finalizers(object).any(|finalizer| finalizer == CLEANUP_FINALIZER),
            group,
        }
    }

    /// Whether a condition is true.
    #[must_use]
    pub fn is(&self, condition: &str) -> bool {
        self.true_conditions.iter().any(|own| own == condition)
    }

    /// The version in which objects are kept.
    #[must_use]
    pub fn storage_version(&self) -> Option<&DefinitionVersion> {
        self.versions.iter().find(|version| version.storage)
    }

    /// The resource of one version, as discovery and routing know it.
    #[must_use]
    pub fn resource(&self, version: &DefinitionVersion, storage_version_hash: &str) -> Resource {
        let owned = |text: &str| Text::Owned(text.to_owned());
        let texts = |list: &[String]| list.iter().map(|text| owned(text)).collect();
        let verbs = |verbs: &[&'static str]| verbs.iter().copied().map(Text::Borrowed).collect();
        let storage = self.storage_version().map_or("", |storage| &storage.name);
        let mut subresources = Vec::new();
        if version.scale.is_some() {
            subresources.push(Subresource {
                name: Text::Borrowed("scale"),
                kind: Text::Borrowed("Scale"),
                group_version: Some((Text::Borrowed("autoscaling"), Text::Borrowed("v1"))),
                verbs: verbs(READ_WRITE_VERBS),
            });
        }
        if version.has_status {
            subresources.push(Subresource {
                name: Text::Borrowed("status"),
                kind: owned(&self.accepted.kind),
                group_version: None,
                verbs: verbs(READ_WRITE_VERBS),
            });
        }
        Resource {
            group: owned(&self.group),
            version: owned(&version.name),
            plural: owned(&self.accepted.plural),
            singular: owned(&self.accepted.singular),
            kind: owned(&self.accepted.kind),
            list_kind: owned(&self.accepted.list_kind),
            short_names: texts(&self.accepted.short_names),
            categories: texts(&self.accepted.categories),
            namespaced: self.namespaced,
            verbs: if self.is("Terminating") {
                verbs(&ENDING_VERBS)
            } else {
                verbs(ALL_VERBS)
            },
            subresources,
            nature: Nature::Stored,
            storage_group_version: (owned(&self.group), owned(storage)),
            storage_version_hash: owned(storage_version_hash),
            selectable: texts(&version.selectable),
        }
    }

    /// The `openAPIV3Schema` of a version in the definition's object.
    #[must_use]
    pub fn schema_in<'a>(object: &'a Value, version: &str) -> Option<&'a Value> {
        let versions = items(object, &["spec", "versions"]);
        let found = versions
            .iter()
            .find(|own| str_at(own, &["name"]) == Some(version))?;
        meta::at(found, &["schema", "openAPIV3Schema"])
    }

    /// The `additionalPrinterColumns` of a version in the definition's object.
    #[must_use]
    pub fn columns_in<'a>(object: &'a Value, version: &str) -> &'a [Value] {
        let versions = items(object, &["spec", "versions"]);
        let found = versions
            .iter()
            .find(|own| str_at(own, &["name"]) == Some(version));
        found
            .map(|version| items(version, &["additionalPrinterColumns"]))
            .unwrap_or_default()
    }
}

fn parse_version(version: &Value, group: &str, kind: &str) -> DefinitionVersion {
    let flag = |name: &str| version.get(name) == Some(&Value::Bool(true));
    let name = str_at(version, &["name"]).unwrap_or_default().to_owned();
    let deprecation = flag("deprecated").then(|| {
        let own = str_at(version, &["deprecationWarning"]).map(str::to_owned);
        own.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated"))
    });
    let subresource =
        |name: &str| meta::at(version, &["subresources", name]).filter(|sub| !sub.is_null());
    let selectable = items(version, &["selectableFields"]).iter();
    DefinitionVersion {
        served: flag("served"),
        storage: flag("storage"),
        deprecation,
        has_status: subresource("status").is_some(),
        scale: subresource("scale").map(ScalePaths::parse),
        selectable: selectable
            .filter_map(|field| str_at(field, &["jsonPath"]))
            .map(|path| path.trim_start_matches('.').to_owned())
            .collect(),
        name,
    }
}

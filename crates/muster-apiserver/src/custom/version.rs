//! One version of a custom resource, as one spec of its definition has it.
//!
//! Schemas are read when the first object of the kind is touched; a definition nobody uses costs its names.

use std::sync::{Arc, OnceLock};

use muster_machinery::{
    apply,
    crd::{
        self, Coerced, Definition, DefinitionVersion, Judged, Schema, columns::Columns,
        scale::ScalePaths,
    },
    gvk::join_api_version,
    meta,
    resources::Resource,
    status::Status,
    validation::{
        FieldError, validate_metadata, validate_metadata_update, without_rules_of_built_in_kinds,
    },
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{registry::Refusal, watch::StoredObject};

/// A version of a custom resource.
#[derive(Clone)]
pub(crate) struct CustomVersion {
    body: Arc<Body>,
    at: usize,
}

/// One spec of a definition.
pub(super) struct Body {
    definition: Arc<Definition>,
    object: Arc<StoredObject>,
    compiled: OnceLock<Vec<Compiled>>,
    gone: CancellationToken,
}

/// What a version says about its objects.
struct Compiled {
    api_version: String,
    schema: Schema,
    /// The schema without its prose: what ownership of fields is decided by.
    bare: Option<Value>,
    columns: Columns,
}

impl Body {
    /// `gone` is cancelled when this spec is served no longer.
    pub(super) fn new(
        definition: Arc<Definition>,
        object: Arc<StoredObject>,
        gone: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            definition,
            object,
            compiled: OnceLock::new(),
            gone,
        })
    }

    /// Whether a definition's objects are still read and written by this spec.
    pub(super) fn is_spec_of(&self, definition: &Definition) -> bool {
        self.definition.uid == definition.uid
            && self.definition.generation == definition.generation
            && self.definition.accepted == definition.accepted
    }

    /// Ends what follows objects of this spec.
    pub(super) fn end(&self) {
        self.gone.cancel();
    }

    fn compiled(&self) -> &[Compiled] {
        self.compiled.get_or_init(|| {
            let object = self.object.value().unwrap_or_else(|error| {
                tracing::error!(definition = self.definition.name, %error, "a definition cannot be read");
                Value::Null
            });
            let versions = self.definition.versions.iter();
            versions.map(|version| compile(&self.definition, version, &object)).collect()
        })
    }
}

fn compile(definition: &Definition, version: &DefinitionVersion, object: &Value) -> Compiled {
    let schema = Definition::schema_in(object, &version.name);
    let parsed = schema
        .map(Schema::parse)
        .transpose()
        .unwrap_or_else(|error| {
            tracing::error!(definition = definition.name, %error, "a schema cannot be read");
            None
        });
    let unknown = || Schema {
        preserves_unknown: true,
        ..Schema::default()
    };
    Compiled {
        api_version: join_api_version(&definition.group, &version.name),
        schema: parsed.unwrap_or_else(unknown),
        bare: schema.map(without_prose),
        columns: Columns::parse(Definition::columns_in(object, &version.name)),
    }
}

/// A schema without descriptions, which are most of it.
fn without_prose(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let kept = members.iter().filter_map(|(name, value)| {
        let value = match (name.as_str(), value) {
            (
                "description" | "example" | "title" | "externalDocs" | "x-kubernetes-validations",
                _,
            ) => return None,
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, property)| (name.clone(), without_prose(property)))
                .collect::<Map<_, _>>()
                .into(),
            ("items" | "additionalProperties", below) => without_prose(below),
            (_, value) => value.clone(),
        };
        Some((name.clone(), value))
    });
    Value::Object(kept.collect())
}

impl CustomVersion {
    pub(super) fn new(body: &Arc<Body>, at: usize) -> Self {
        Self {
            body: Arc::clone(body),
            at,
        }
    }

    fn own(&self) -> &Compiled {
        &self.body.compiled()[self.at]
    }

    fn spec(&self) -> &DefinitionVersion {
        &self.body.definition.versions[self.at]
    }

    /// Where the version has its replicas.
    pub(crate) fn scale(&self) -> Option<&ScalePaths> {
        self.spec().scale.as_ref()
    }

    /// Where a version of the same kind, by group and version, has its replicas.
    pub(crate) fn scale_of(&self, api_version: &str) -> Option<&ScalePaths> {
        let at = self.version_at(api_version)?;
        self.body.definition.versions[at].scale.as_ref()
    }

    /// Whether the status is a subresource.
    pub(crate) fn has_status(&self) -> bool {
        self.spec().has_status
    }

    /// What to tell who uses this version, if it is on its way out.
    pub(crate) fn deprecation(&self) -> Option<&str> {
        self.spec().deprecation.as_deref()
    }

    /// What tables of this version show.
    pub(crate) fn columns(&self) -> &Columns {
        &self.own().columns
    }

    /// Is cancelled when the definition changes or goes, or the server stops.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.body.gone.clone()
    }

    /// The versions of the kind, for the owners of fields.
    pub(crate) fn typing(&self) -> Vec<apply::CustomVersion<'_>> {
        let versions = self.body.compiled().iter();
        versions
            .map(|version| apply::CustomVersion {
                api_version: &version.api_version,
                schema: version.bare.as_ref(),
            })
            .collect()
    }

    fn version_at(&self, api_version: &str) -> Option<usize> {
        self.body
            .compiled()
            .iter()
            .position(|version| version.api_version == api_version)
    }

    /// Brings the object of a request into form.
    pub(crate) fn coerce(&self, object: &mut Value) -> Coerced {
        crd::coerce(object, &self.own().schema)
    }

    /// Turns a stored object into the served form.
    pub(crate) fn serve(&self, object: &mut Value) -> Result<(), Refusal> {
        let stored = self.version_at(meta::api_version(object));
        if let Some(at) = stored {
            crd::coerce(object, &self.body.compiled()[at].schema);
        }
        if stored != Some(self.at) {
            self.convert(object, self.at)?;
        }
        Ok(())
    }

    /// Turns a served object into the stored form.
    pub(crate) fn store(&self, object: &mut Value) -> Result<(), Refusal> {
        let versions = &self.body.definition.versions;
        match versions.iter().position(|version| version.storage) {
            Some(storage) if storage != self.at => self.convert(object, storage),
            _ => Ok(()),
        }
    }

    /// Whether objects are kept in this group and version.
    pub(crate) fn is_stored_in(&self, api_version: &str) -> bool {
        let versions = &self.body.definition.versions;
        self.version_at(api_version)
            .is_some_and(|at| versions[at].storage)
    }

    /// Between versions only the name differs, unless somebody else would have to say what does.
    fn convert(&self, object: &mut Value, to: usize) -> Result<(), Refusal> {
        let target = &self.body.compiled()[to];
        let kind = meta::kind(object).to_owned();
        if self.body.definition.converts_by_webhook {
            let from = meta::api_version(object);
            return Err(Status::internal(format!(
                "conversion webhook for {from}, Kind={kind} failed: this server calls no conversion webhooks, so the object cannot be served as {}",
                target.api_version
            ))
            .into());
        }
        meta::set_gvk(object, &target.api_version, &kind);
        crd::prune(object, &target.schema, true);
        crd::drop_nulls(object, &target.schema);
        Ok(())
    }

    /// The mistakes in a new object.
    pub(crate) fn validate(&self, resource: &Resource, object: &Value) -> Vec<FieldError> {
        let mut errors = without_rules_of_built_in_kinds(validate_metadata(resource, object));
        errors.extend(crd::validate_custom(&self.judged(object, None)));
        errors
    }

    /// The mistakes in a changed object, or in its status.
    pub(crate) fn validate_update(
        &self,
        object: &Value,
        old: &Value,
        sub: &str,
    ) -> Vec<FieldError> {
        let mut errors = without_rules_of_built_in_kinds(validate_metadata_update(object, old));
        let judged = self.judged(object, Some(old));
        errors.extend(match sub {
            "status" => crd::validate_custom_status(&judged),
            _ => crd::validate_custom(&judged),
        });
        errors
    }

    fn judged<'a>(&'a self, object: &'a Value, old: Option<&'a Value>) -> Judged<'a> {
        Judged {
            schema: &self.own().schema,
            scale: self.scale(),
            object,
            old,
        }
    }
}

impl std::fmt::Debug for CustomVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let definition = &self.body.definition;
        f.debug_tuple("CustomVersion")
            .field(&definition.name)
            .field(&self.spec().name)
            .finish()
    }
}

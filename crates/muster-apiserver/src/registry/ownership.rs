//! Who owns the fields of an object that is written: the registry's way to `metadata.managedFields`.
//!
//! Refuses to know: the rules of ownership; those are the data model's (`muster_machinery::apply`). Entries speak of
//! paths in the version that was asked for, objects are kept in another one: both sides are looked at as served.

use std::borrow::Cow;

use muster_machinery::{
    apply::{CustomVersion, FieldManager, FieldSet, Typing},
    meta,
};
use serde_json::Value;

use super::{Call, Conversion, Refusal, WriteOptions};

/// How the owners of a changed object are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The writer becomes the owner of what it changes.
    Track,
    /// The new state already says who owns what.
    Given,
}

/// The one who writes, on the endpoint it writes to.
pub(super) struct Writer<'a> {
    call: &'a Call<'a>,
    manager: &'a str,
    api_version: Cow<'a, str>,
    kind: &'a str,
    ignored: FieldSet,
    /// The versions of a custom resource.
    versions: Option<Vec<CustomVersion<'a>>>,
}

impl<'a> Writer<'a> {
    /// The writer of a request on an object or on a subresource that is a part of it.
    pub(super) fn of(call: &'a Call<'a>, options: &'a WriteOptions) -> Self {
        let api_version = call.served.api_version();
        let (kind, has_status) = (&*call.served.kind, call.resource.has_status());
        let versions = call.custom.map(crate::custom::CustomVersion::typing);
        let typing = versions.as_deref().map_or(Typing::BuiltIn, Typing::Custom);
        let ignored = typing.reset_fields(&api_version, kind, has_status, call.sub_name());
        Self {
            call,
            manager: &options.manager,
            api_version: api_version.into(),
            kind,
            ignored,
            versions,
        }
    }

    /// The writer of a subresource with a type of its own.
    pub(super) fn of_type(
        call: &'a Call<'a>,
        options: &'a WriteOptions,
        (api_version, kind): (&'a str, &'a str),
    ) -> Self {
        Self {
            call,
            manager: &options.manager,
            api_version: api_version.into(),
            kind,
            ignored: FieldSet::new(),
            versions: None,
        }
    }

    /// The writer as the data model knows it.
    pub(super) fn field_manager(&self) -> FieldManager<'_> {
        FieldManager {
            typing: self
                .versions
                .as_deref()
                .map_or(Typing::BuiltIn, Typing::Custom),
            api_version: &self.api_version,
            kind: self.kind,
            manager: self.manager,
            subresource: self.call.sub_name(),
            ignored: Some(&self.ignored),
            now: self.call.now,
        }
    }

    /// The object after an apply, in the served form.
    pub(super) fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, Refusal> {
        let applied = self.field_manager().apply(live, config, force);
        applied.map_err(|error| error.to_status().into())
    }
}

/// Writes down who owns what in an object that is made or changed. Both states are in the stored form.
pub(super) fn track(
    call: &Call<'_>,
    options: &WriteOptions,
    live: Option<&Value>,
    new: &mut Value,
) {
    let writer = Writer::of(call, options);
    let conversion = Conversion::of(call.served);
    if conversion == Conversion::None {
        return writer.field_manager().track(live, new);
    }
    let served = |object: &Value| {
        let mut object = object.clone();
        conversion.serve(call.served, &mut object);
        object
    };
    let live = live.map(served);
    let mut seen = served(new);
    writer.field_manager().track(live.as_ref(), &mut seen);
    let entries = meta::metadata_mut(&mut seen).and_then(|seen| seen.remove("managedFields"));
    set_entries(new, entries);
}

/// Replaces an object's entries.
pub(super) fn set_entries(object: &mut Value, entries: Option<Value>) {
    let Some(metadata) = meta::metadata_mut(object) else {
        return;
    };
    match entries {
        Some(entries) => metadata.insert("managedFields".to_owned(), entries),
        None => metadata.remove("managedFields"),
    };
}

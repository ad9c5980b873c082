//! What single kinds do differently from all the others when they are written. Everything here is a pure
//! function of the request, the new and the old state.
//!
//! Refuses to know: storage, permissions, validation (that is the data model's).

mod addresses;
mod certificates;
mod custom;
mod definitions;
mod namespaces;
mod pods;
mod services;

use muster_machinery::{defaulting, meta};
use serde_json::Value;

pub(crate) use self::addresses::ServiceAddresses;
pub(super) use self::pods::bind;
use super::Call;

/// Fills in what the client could have said itself.
pub(super) fn complete_new(call: &Call<'_>, object: &mut Value) {
    if let Some(custom) = call.custom {
        custom.coerce(object);
        return;
    }
    defaulting::apply(call.resource, object);
    if call.is("", "namespaces") {
        namespaces::prepare_create(object);
    }
    if call.is("certificates.k8s.io", "certificatesigningrequests") {
        certificates::prepare_create(object);
    }
}

/// What happens to a new object before admission sees it.
pub(super) fn prepare_create(call: &Call<'_>, object: &mut Value) {
    if let Some(custom) = call.custom {
        custom::prepare_create(custom, object);
        return;
    }
    defaulting::prepare_create(call.resource, object);
}

/// Lets a change reach only the part of the object that is addressed: the object without its status, or
/// what a subresource stands for.
pub(super) fn prepare_update(call: &Call<'_>, new: &mut Value, old: &Value) {
    if let Some(custom) = call.custom {
        custom::prepare_update(custom, call.sub_name(), new, old);
        return;
    }
    match (call.group(), &*call.resource.plural, call.sub_name()) {
        ("certificates.k8s.io", "certificatesigningrequests", sub) => {
            certificates::prepare_update(call, new, old, sub);
        }
        ("", "namespaces", "finalize") => namespaces::only_finalizers(new, old),
        ("", "pods", "ephemeralcontainers") => pods::only_ephemeral_containers(new, old),
        ("", "pods", "resize") => pods::only_resources(new, old),
        (_, _, "status") => only_status(call, new, old),
        (group, plural, _) => {
            keep_status(call, new, old);
            if (group, plural) == ("", "namespaces") {
                namespaces::keep_finalizers(new, old);
            }
            if (group, plural) == ("", "services") {
                services::prepare_update(new, old);
            }
            if (group, plural) == (crate::custom::GROUP, crate::custom::DEFINITIONS) {
                muster_machinery::crd::prepare_definition_update(new);
            }
        }
    }
    defaulting::apply(call.resource, new);
}

/// The old status stays.
fn keep_status(call: &Call<'_>, new: &mut Value, old: &Value) {
    if call.resource.has_status() {
        copy_field(new, old, "status");
    }
}

/// Status and metadata come from the new state, everything else from the old. Labels of a workload belong
/// to its main resource; owners always do.
fn only_status(call: &Call<'_>, new: &mut Value, old: &Value) {
    let mut result = old.clone();
    copy_field(&mut result, new, "status");
    copy_field(&mut result, new, "metadata");
    copy_metadata(&mut result, old, "ownerReferences");
    if matches!(call.group(), "apps" | "batch" | "autoscaling") {
        copy_metadata(&mut result, old, "labels");
    }
    *new = result;
}

/// Makes `target[field]` what it is in `source`.
fn copy_field(target: &mut Value, source: &Value, field: &str) {
    let Some(map) = target.as_object_mut() else {
        return;
    };
    match source.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

fn copy_metadata(target: &mut Value, source: &Value, field: &str) {
    let Some(metadata) = meta::metadata_mut(target) else {
        return;
    };
    match meta::at(source, &["metadata", field]) {
        Some(value) => metadata.insert(field.to_owned(), value.clone()),
        None => metadata.remove(field),
    };
}

/// Whether a changed object has nothing left to wait for and goes.
pub(super) fn is_finished(call: &Call<'_>, object: &Value) -> bool {
    meta::is_being_deleted(object)
        && meta::finalizers(object).next().is_none()
        && !held(call, object)
        && meta::at(object, &["metadata", "deletionGracePeriodSeconds"])
            .and_then(Value::as_i64)
            .unwrap_or(0)
            == 0
}

/// What a deletion changes in the object itself.
pub(super) fn prepare_delete(call: &Call<'_>, object: &mut Value) {
    if call.is("", "namespaces") {
        namespaces::prepare_delete(object);
    }
    if call.is(crate::custom::GROUP, crate::custom::DEFINITIONS) {
        definitions::prepare_delete(object, call.now);
    }
}

/// How many seconds the object gets for its end.
pub(super) fn grace(call: &Call<'_>, object: &Value, asked: Option<i64>) -> i64 {
    if call.is("", "pods") {
        pods::grace(object, asked)
    } else {
        0
    }
}

/// Whether something besides `metadata.finalizers` keeps the object.
pub(super) fn held(call: &Call<'_>, object: &Value) -> bool {
    call.is("", "namespaces") && namespaces::has_content_finalizers(object)
}

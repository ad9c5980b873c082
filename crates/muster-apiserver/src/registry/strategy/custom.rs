//! Custom resources: generation and status as their definition has them.
//!
//! Refuses to know: schemas.

use muster_machinery::meta;
use serde_json::Value;

use super::copy_field;
use crate::custom::CustomVersion;

/// A new object is at its first generation and has no status, where that is a subresource.
pub(super) fn prepare_create(custom: &CustomVersion, object: &mut Value) {
    if custom.has_status()
        && let Some(members) = object.as_object_mut()
    {
        members.remove("status");
    }
    meta::set_generation(object, 1);
}

/// Lets a change reach the object without its status, or only the status.
pub(super) fn prepare_update(custom: &CustomVersion, sub: &str, new: &mut Value, old: &Value) {
    if sub == "status" {
        let mut result = old.clone();
        copy_field(&mut result, new, "status");
        super::copy_metadata(&mut result, new, "managedFields");
        super::copy_metadata(&mut result, new, "resourceVersion");
        *new = result;
        return;
    }
    if custom.has_status() {
        copy_field(new, old, "status");
    }
    if !same_besides_metadata(new, old) {
        meta::set_generation(new, meta::generation(old) + 1);
    }
}

fn same_besides_metadata(new: &Value, old: &Value) -> bool {
    let parts = |object: &Value| -> Vec<(String, Value)> {
        let members = object.as_object().into_iter().flatten();
        let kept = members.filter(|(name, _)| *name != "metadata");
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    parts(new) == parts(old)
}

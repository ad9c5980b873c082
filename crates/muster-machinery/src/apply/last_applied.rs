//! From `kubectl apply` on the client's side to the server's: the annotation in which kubectl keeps what it applied.
//!
//! Only for the manager named `kubectl`, as upstream; kubectl itself renames the entries of its older applies.

use serde_json::Value;

use super::MAX_DEPTH;
use super::compare::compare;
use super::extract::{check, field_set, is_shallow};
use super::field_set::FieldSet;
use super::typing::Type;
use crate::meta;
use crate::validation::MAX_ANNOTATION_BYTES;

/// The manager for which the annotation counts.
pub(super) const MANAGER: &str = "kubectl";

/// Where kubectl keeps the configuration it applied last.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields of the last configuration that still have its values: kubectl may take them. `None` without a readable
/// configuration of this version.
pub(super) fn fields(live: &Value, api_version: &str, ty: Type<'_>) -> Option<FieldSet> {
    let text = meta::annotation(live, LAST_APPLIED_ANNOTATION).filter(|text| !text.is_empty())?;
    let config: Value = serde_json::from_str(text).ok()?;
    let is_fit = meta::api_version(&config) == api_version
        && is_shallow(&config, MAX_DEPTH)
        && check(&config, ty).is_empty();
    if !is_fit {
        return None;
    }
    let change = compare(&config, live, ty);
    let unchanged = field_set(&config, ty)
        .difference(&change.written())
        .difference(&change.removed);
    Some(unchanged)
}

/// Brings the annotation up to date where there is one, so that older kubectl can go on from here. An object whose
/// annotations become too large loses it.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if meta::annotation(object, LAST_APPLIED_ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = annotations_mut(&mut config) {
        annotations.remove(LAST_APPLIED_ANNOTATION);
    }
    meta::set_annotation(object, LAST_APPLIED_ANNOTATION, &format!("{config}\n"));
    if let Some(annotations) = annotations_mut(object) {
        let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
        if annotations.iter().map(size).sum::<usize>() > MAX_ANNOTATION_BYTES {
            annotations.remove(LAST_APPLIED_ANNOTATION);
        }
    }
}

fn annotations_mut(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let metadata = object.get_mut("metadata")?;
    metadata.get_mut("annotations")?.as_object_mut()
}

//! Reading and writing the metadata every Kubernetes object has (`ObjectMeta`, `ListMeta`).
//!
//! Works on any JSON value and never fails on a wrongly shaped one: a field of the wrong type reads as
//! absent. Knows nothing about particular kinds.

use jiff::{Timestamp, tz};
use serde_json::{Map, Value};

use crate::gvk::{GroupVersionKind, split_api_version};

/// An object as it is sent over the wire: JSON.
pub type Object = Value;

/// The string at a path of map keys; `None` when absent, null or no string.
#[must_use]
pub fn str_at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(object, path)?.as_str()
}

/// The value at a path of map keys; `None` when a step is missing or no map.
#[must_use]
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The map at `object[key]`, made when it is absent or no map. `None` when `object` is no map.
pub fn map_mut<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = object
        .as_object_mut()?
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// `apiVersion`, empty when absent.
#[must_use]
pub fn api_version(object: &Value) -> &str {
    str_at(object, &["apiVersion"]).unwrap_or("")
}

/// `kind`, empty when absent.
#[must_use]
pub fn kind(object: &Value) -> &str {
    str_at(object, &["kind"]).unwrap_or("")
}

/// Group, version and kind; `None` when `apiVersion` or `kind` is missing or malformed.
#[must_use]
pub fn gvk(object: &Value) -> Option<GroupVersionKind> {
    let (group, version) = split_api_version(api_version(object))?;
    let kind = kind(object);
    (!kind.is_empty()).then(|| GroupVersionKind::new(group, version, kind))
}

/// Writes `apiVersion` and `kind`.
pub fn set_gvk(object: &mut Value, api_version: &str, kind: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
    }
}

/// `metadata`, made when absent. `None` when the object is no map.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    map_mut(object, "metadata")
}

macro_rules! text_field {
    ($(#[$doc:meta])* $name:ident, $set:ident, $key:literal) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(object: &Value) -> &str {
            str_at(object, &["metadata", $key]).unwrap_or("")
        }
        #[doc = concat!("Writes `metadata.", $key, "`; the empty string removes the field.")]
        pub fn $set(object: &mut Value, value: &str) {
            set_text(object, $key, value);
        }
    };
}

text_field!(
    /// `metadata.name`, empty when absent.
    name, set_name, "name"
);
text_field!(
    /// `metadata.namespace`, empty when absent.
    namespace, set_namespace, "namespace"
);
text_field!(
    /// `metadata.generateName`, empty when absent.
    generate_name, set_generate_name, "generateName"
);
text_field!(
    /// `metadata.uid`, empty when absent.
    uid, set_uid, "uid"
);
text_field!(
    /// `metadata.resourceVersion`, empty when absent. Also reads a list's.
    resource_version, set_resource_version, "resourceVersion"
);

fn set_text(object: &mut Value, key: &str, value: &str) {
    let Some(metadata) = metadata_mut(object) else {
        return;
    };
    if value.is_empty() {
        metadata.remove(key);
    } else {
        metadata.insert(key.into(), value.into());
    }
}

/// `metadata.generation`; 0 when absent.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    at(object, &["metadata", "generation"])
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// Writes `metadata.generation`.
pub fn set_generation(object: &mut Value, generation: i64) {
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert("generation".into(), generation.into());
    }
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    str_at(object, &["metadata", "labels", key])
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    str_at(object, &["metadata", "annotations", key])
}

/// All labels; `None` when there are none.
#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    at(object, &["metadata", "labels"])?.as_object()
}

/// All annotations; `None` when there are none.
#[must_use]
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    at(object, &["metadata", "annotations"])?.as_object()
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set_in(object, "labels", key, value);
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_in(object, "annotations", key, value);
}

fn set_in(object: &mut Value, map: &str, key: &str, value: &str) {
    let Some(metadata) = metadata_mut(object) else {
        return;
    };
    let slot = metadata
        .entry(map)
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Some(entries) = slot.as_object_mut() {
        entries.insert(key.into(), value.into());
    }
}

/// The names in `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    items(object, &["metadata", "finalizers"])
        .iter()
        .filter_map(Value::as_str)
}

/// The entries of `metadata.ownerReferences`.
#[must_use]
pub fn owner_references(object: &Value) -> &[Value] {
    items(object, &["metadata", "ownerReferences"])
}

/// The list at a path; empty when absent or no list.
#[must_use]
pub fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `metadata.creationTimestamp`; `None` when absent or malformed.
#[must_use]
pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    time_at(object, &["metadata", "creationTimestamp"])
}

/// `metadata.deletionTimestamp`; `None` when absent or malformed.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    time_at(object, &["metadata", "deletionTimestamp"])
}

/// Whether the object carries a deletion timestamp.
#[must_use]
pub fn is_being_deleted(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|value| !value.is_null())
}

/// The RFC 3339 time at a path.
#[must_use]
pub fn time_at(object: &Value, path: &[&str]) -> Option<Timestamp> {
    str_at(object, path)?.parse().ok()
}

/// A time as `metav1.Time` is written: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn format_time(time: Timestamp) -> String {
    time.to_zoned(tz::TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// A time as `metav1.MicroTime` is written: RFC 3339, UTC, six decimals.
#[must_use]
pub fn format_micro_time(time: Timestamp) -> String {
    time.to_zoned(tz::TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrongly_shaped_metadata_reads_as_absent() {
        let object = json!({"metadata": {"name": 3, "labels": [], "finalizers": {"a": 1}}});
        assert_eq!(name(&object), "");
        assert_eq!(label(&object, "x"), None);
        assert_eq!(finalizers(&object).count(), 0);
        assert_eq!(gvk(&json!([])), None);
        assert_eq!(
            creation_timestamp(&json!({"metadata": {"creationTimestamp": "soon"}})),
            None
        );
    }

    #[test]
    fn setters_make_the_maps_they_need_and_empty_text_removes() {
        let mut object = json!({});
        set_name(&mut object, "a");
        set_label(&mut object, "k", "v");
        set_annotation(&mut object, "n", "m");
        set_gvk(&mut object, "v1", "Pod");
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a",
                "labels": {"k": "v"}, "annotations": {"n": "m"}}})
        );
        set_name(&mut object, "");
        assert!(object["metadata"].get("name").is_none());
    }

    #[test]
    fn times_have_the_precision_of_their_kubernetes_type() {
        let time: Timestamp = "2026-11-21T05:40:05.1234567Z".parse().unwrap();
        assert_eq!(format_time(time), "2026-11-21T05:40:05Z");
        assert_eq!(format_micro_time(time), "2026-11-21T05:40:05.123456Z");
    }
}

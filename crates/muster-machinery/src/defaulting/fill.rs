//! Setting a field only where there is none.

use serde_json::{Map, Value};

/// Sets `object[key]` when it is absent or null. Does nothing when `object` is no map.
pub(super) fn fill(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        fill_map(map, key, value);
    }
}

/// As [`fill`], on a map.
pub(super) fn fill_map(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let slot = map.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value.into();
    }
}

/// As [`fill`], but the empty string counts as absent too.
pub(super) fn fill_text(object: &mut Value, key: &str, value: &str) {
    if object.get(key).is_none_or(|old| old.as_str() == Some(""))
        && let Some(map) = object.as_object_mut()
    {
        map.remove(key);
    }
    fill(object, key, value);
}

/// The map at `object[key]`, made when absent.
pub(super) fn child<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    fill(object, key, Map::new());
    object.get_mut(key).filter(|child| child.is_object())
}

/// The map at `object[key]` if there is one.
pub(super) fn existing<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|child| child.is_object())
}

/// The maps in the list at `object[key]`.
pub(super) fn each<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let entries = object.get_mut(key).and_then(Value::as_array_mut);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.is_object())
}

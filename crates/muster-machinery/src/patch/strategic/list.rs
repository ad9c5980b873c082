//! Lists in a strategic merge: merging by key or as a set, deleting, and the order of the result.
//!
//! Knows elements and merge keys only. Every step is linear (upstream's are quadratic), so that a large list in a patch
//! does not hold up the server.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{PATCH, Place, SET_ELEMENT_ORDER, cleaned, merge_object};
use crate::patch::PatchError;

/// What identifies an element: its merge key's value, or the scalar itself, as JSON text.
type Key = String;

/// Merges the patch's list into the live one.
pub(super) fn merge(
    live: Vec<Value>,
    patch: Vec<Value>,
    place: Place,
    merge_key: &'static str,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    if live.is_empty() && patch.is_empty() {
        return Ok(live);
    }
    if are_objects(live.iter().chain(&patch), name)? {
        if merge_key.is_empty() {
            return Err(PatchError::NoMergeKey(name.to_owned()));
        }
        merge_objects(live, patch, place, merge_key, name)
    } else {
        let mut seen = HashSet::new();
        let server_order = live.clone();
        let union = live.into_iter().chain(patch.iter().cloned());
        let merged = union
            .filter(|element| seen.insert(element.to_string()))
            .collect();
        ordered(merged, &patch, &server_order, "", name)
    }
}

fn merge_objects(
    live: Vec<Value>,
    patch: Vec<Value>,
    place: Place,
    merge_key: &'static str,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    let patch = Directives::split(patch, merge_key, name)?;
    if patch.replace {
        return Ok(cleaned_elements(patch.elements));
    }
    let mut merged = live;
    if !patch.deleted.is_empty() {
        merged.retain(|element| !is_in(element, &patch.deleted, merge_key));
    }
    let server_order = merged.clone();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for (index, element) in merged.iter().enumerate() {
        if let Some(key) = element.get(merge_key) {
            places.entry(key.to_string()).or_insert(index);
        }
    }
    for element in &patch.elements {
        let key = key_of(element, merge_key, name)?;
        let old = places.get(&key).and_then(|index| merged.get_mut(*index));
        match (old, element) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                *old = merge_object(std::mem::take(old), new.clone(), place, name)?;
            }
            _ => {
                if let Some(new) = cleaned(element.clone()) {
                    places.insert(key, merged.len());
                    merged.push(new);
                }
            }
        }
    }
    ordered(merged, &patch.elements, &server_order, merge_key, name)
}

/// The elements of a patch's list, sorted by what they ask for.
struct Directives {
    elements: Vec<Value>,
    deleted: HashSet<Key>,
    replace: bool,
}

impl Directives {
    fn split(patch: Vec<Value>, merge_key: &'static str, name: &str) -> Result<Self, PatchError> {
        let mut split = Self {
            elements: Vec::new(),
            deleted: HashSet::new(),
            replace: false,
        };
        for element in patch {
            match element.get(PATCH).map(Value::as_str) {
                None => split.elements.push(element),
                Some(Some("delete")) => {
                    split.deleted.insert(key_of(&element, merge_key, name)?);
                }
                Some(Some("replace")) => split.replace = true,
                Some(_) => {
                    return Err(PatchError::Directive {
                        directive: PATCH,
                        field: name.to_owned(),
                    });
                }
            }
        }
        Ok(split)
    }
}

/// Takes the given scalars out of the list.
pub(super) fn delete(live: &mut Vec<Value>, gone: &[Value], name: &str) -> Result<(), PatchError> {
    if live.is_empty() || gone.is_empty() {
        return Ok(());
    }
    if are_objects(live.iter().chain(gone), name)? {
        return Err(PatchError::NoMergeKey(name.to_owned()));
    }
    let gone: HashSet<Key> = gone.iter().map(Value::to_string).collect();
    live.retain(|element| !gone.contains(&element.to_string()));
    Ok(())
}

/// Puts elements that the patch names into the patch's order and the others into the live order, and weaves the two:
/// an element that only the server has goes before the first patched one that follows it in the live list.
pub(super) fn ordered(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: &'static str,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    let patch_ranks = ranks(patch_order, merge_key, name)?;
    let server_ranks = ranks(server_order, merge_key, name)?;
    let (mut patched, mut server_only) = (Vec::new(), Vec::new());
    for element in merged {
        let key = key_of(&element, merge_key, name)?;
        let live = server_ranks.get(&key).copied();
        match patch_ranks.get(&key) {
            Some(rank) => patched.push((*rank, live, element)),
            None => server_only.push((live.unwrap_or(usize::MAX), live, element)),
        }
    }
    patched.sort_by_key(|(rank, ..)| *rank);
    server_only.sort_by_key(|(rank, ..)| *rank);
    let mut result = Vec::with_capacity(patched.len() + server_only.len());
    let mut server_only = server_only.into_iter().peekable();
    for (_, rank, element) in patched {
        while let Some((_, _, before)) =
            server_only.next_if(|(_, live, _)| matches!((live, rank), (Some(l), Some(r)) if *l < r))
        {
            result.push(before);
        }
        result.push(element);
    }
    result.extend(server_only.map(|(.., element)| element));
    Ok(result)
}

fn ranks(
    order: &[Value],
    merge_key: &'static str,
    name: &str,
) -> Result<HashMap<Key, usize>, PatchError> {
    let mut ranks = HashMap::with_capacity(order.len());
    for (rank, element) in order.iter().enumerate() {
        ranks
            .entry(key_of(element, merge_key, name)?)
            .or_insert(rank);
    }
    Ok(ranks)
}

/// The list of a patch must name its elements in the order of the `$setElementOrder` list, and no others.
pub(super) fn check_order(
    patch: &[Value],
    order: &[Value],
    merge_key: &'static str,
    name: &str,
) -> Result<(), PatchError> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut order = order.iter();
    for element in patch.iter().filter(|element| element.get(PATCH).is_none()) {
        let key = key_of(element, merge_key, name)?;
        loop {
            let next = order.next().ok_or_else(|| PatchError::Directive {
                directive: SET_ELEMENT_ORDER,
                field: name.to_owned(),
            })?;
            if key_of(next, merge_key, name)? == key {
                break;
            }
        }
    }
    Ok(())
}

/// The elements as they are stored: directives and `null` members removed.
pub(super) fn cleaned_elements(elements: Vec<Value>) -> Vec<Value> {
    elements.into_iter().filter_map(cleaned).collect()
}

fn is_in(element: &Value, keys: &HashSet<Key>, merge_key: &str) -> bool {
    element
        .get(merge_key)
        .is_some_and(|key| keys.contains(&key.to_string()))
}

fn key_of(element: &Value, merge_key: &'static str, name: &str) -> Result<Key, PatchError> {
    if merge_key.is_empty() {
        return Ok(element.to_string());
    }
    let key = element
        .as_object()
        .and_then(|members: &Map<String, Value>| members.get(merge_key));
    key.map(Value::to_string)
        .ok_or_else(|| PatchError::MissingMergeKey {
            field: name.to_owned(),
            merge_key,
        })
}

/// Whether the elements are objects; an error if they are mixed, or lists, or `null`.
fn are_objects<'a>(
    elements: impl Iterator<Item = &'a Value>,
    name: &str,
) -> Result<bool, PatchError> {
    let mixed = || PatchError::MixedList(name.to_owned());
    let mut first = None;
    for element in elements {
        if element.is_array() || element.is_null() {
            return Err(mixed());
        }
        let kind = (std::mem::discriminant(element), element.is_object());
        if *first.get_or_insert(kind) != kind {
            return Err(mixed());
        }
    }
    Ok(first.is_some_and(|(_, is_object)| is_object))
}

//! Strategic merge patch (`application/strategic-merge-patch+json`): a merge patch that knows which lists are keyed.
//!
//! Follows `k8s.io/apimachinery/pkg/util/strategicpatch`: merge keys and strategies come from the schema table, and the
//! directives `$patch`, `$retainKeys`, `$setElementOrder/x` and `$deleteFromPrimitiveList/x` are obeyed. It refuses kinds
//! that are not in the table, because nothing says how their lists merge.
//!
//! Two deliberate differences: maps of structs and embedded JSON merge member by member, where upstream gives up; and no
//! directive or `null` of the patch is left in the result, where upstream relies on the typed decoding that follows.

mod list;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{self, Field, Form, MergeRules, Message, Shape};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";

type Members = Map<String, Value>;

/// Applies a patch to an object of a built-in kind.
///
/// # Errors
/// When the object's kind is not built in, or the patch breaks the rules of its type.
pub fn apply(object: Value, patch: Value) -> Result<Value, PatchError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = schema::table()
        .by_api_version(api_version, kind)
        .ok_or_else(|| PatchError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })?;
    apply_to(message, object, patch)
}

/// Applies a patch to a value of the given type.
///
/// # Errors
/// When either is not a JSON object, or the patch breaks the rules of the type.
pub fn apply_to(
    message: &'static Message,
    object: Value,
    patch: Value,
) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::NotAnObject);
    };
    merge_object(object, patch, Place::Struct(message), "").map(Value::Object)
}

/// Applies a patch to an object of a kind outside the schema none of whose lists has a merge key: maps merge, lists are
/// replaced, and the directives are obeyed.
///
/// # Errors
/// When either is not a JSON object, or a directive is malformed.
pub fn apply_without_schema(object: Value, patch: Value) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::NotAnObject);
    };
    merge_object(object, patch, Place::Free, "").map(Value::Object)
}

/// What the schema says about the value at hand.
#[derive(Clone, Copy)]
enum Place {
    /// A struct with fields.
    Struct(&'static Message),
    /// A map from names to structs.
    MapOf(&'static Message),
    /// A map of scalars, or JSON without a schema.
    Free,
}

impl Place {
    fn of(field: &'static Field) -> Self {
        let Some(message) = schema::table().message_of(field) else {
            return Self::Free;
        };
        match (field.shape(), Self::of_message(message)) {
            (Shape::Map, Self::Struct(message)) => Self::MapOf(message),
            (_, place) => place,
        }
    }

    fn of_message(message: &'static Message) -> Self {
        let table = schema::table();
        match message.form() {
            Form::Object => Self::Struct(message),
            Form::SchemaOrArray | Form::SchemaOrBool | Form::SchemaOrStrings => {
                let schema = message
                    .fields()
                    .iter()
                    .find(|field| field.name() == "schema");
                schema
                    .and_then(|field| table.message_of(field))
                    .map_or(Self::Free, Self::Struct)
            }
            _ => Self::Free,
        }
    }

    /// The member's place and merge rules.
    fn member(self, name: &str) -> Result<(Self, Option<&'static MergeRules>), PatchError> {
        match self {
            Self::Free => Ok((Self::Free, None)),
            Self::MapOf(message) => Ok((Self::Struct(message), None)),
            Self::Struct(message) => {
                let field = schema::table().field(message, name).ok_or_else(|| {
                    PatchError::UnknownField {
                        message: message.short_name(),
                        field: name.to_owned(),
                    }
                })?;
                Ok((Self::of(field), Some(field.rules())))
            }
        }
    }
}

/// The strategy of a field without `retainKeys`, which only matters to those who make patches.
fn strategy(rules: Option<&MergeRules>) -> &str {
    let all = rules.map_or("", |rules| rules.patch_strategy);
    all.split(',')
        .find(|strategy| *strategy != "retainKeys")
        .unwrap_or("")
}

fn merge_object(
    mut object: Members,
    mut patch: Members,
    place: Place,
    at: &str,
) -> Result<Members, PatchError> {
    match patch.remove(PATCH) {
        None => {}
        Some(directive) if directive == "merge" => {}
        Some(directive) if directive == "delete" => return Ok(Members::new()),
        Some(directive) if directive == "replace" => {
            clean_members(&mut patch);
            return Ok(patch);
        }
        Some(_) => {
            return Err(PatchError::Directive {
                directive: PATCH,
                field: at.to_owned(),
            });
        }
    }
    retain_keys(&mut object, &mut patch, at)?;
    set_element_orders(&mut object, &mut patch, place)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM_LIST) {
            Some(list) => {
                let name = list
                    .strip_prefix('/')
                    .ok_or_else(|| PatchError::Directive {
                        directive: DELETE_FROM_LIST,
                        field: at.to_owned(),
                    })?;
                delete_from_list(&mut object, name, value, place)?;
            }
            None => merge_member(&mut object, key, value, place)?,
        }
    }
    Ok(object)
}

fn merge_member(
    object: &mut Members,
    key: String,
    value: Value,
    place: Place,
) -> Result<(), PatchError> {
    let merged = match (object.remove(&key), value) {
        (_, Value::Null) => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            let (inner, rules) = place.member(&key)?;
            if strategy(rules) == "replace" {
                cleaned(Value::Object(new))
            } else {
                merge_object(old, new, inner, &key).map(|merged| Some(Value::Object(merged)))?
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let (inner, rules) = place.member(&key)?;
            if strategy(rules) == "merge" {
                let merge_key = rules.map_or("", |rules| rules.patch_merge_key);
                list::merge(old, new, inner, merge_key, &key)
                    .map(|merged| Some(Value::Array(merged)))?
            } else {
                cleaned(Value::Array(new))
            }
        }
        (_, new) => cleaned(new),
    };
    if let Some(merged) = merged {
        object.insert(key, merged);
    }
    Ok(())
}

/// `$retainKeys`: only the named members stay. Everything else that the patch sets must be named.
fn retain_keys(object: &mut Members, patch: &mut Members, at: &str) -> Result<(), PatchError> {
    let Some(names) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let invalid = || PatchError::Directive {
        directive: RETAIN_KEYS,
        field: at.to_owned(),
    };
    let names = names.as_array().ok_or_else(invalid)?;
    let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let is_named = |key: &str| names.contains(key);
    let is_directive =
        |key: &str| key.starts_with(SET_ELEMENT_ORDER) || key.starts_with(DELETE_FROM_LIST);
    if patch
        .iter()
        .any(|(key, value)| !value.is_null() && !is_directive(key) && !is_named(key))
    {
        return Err(invalid());
    }
    object.retain(|key, _| is_named(key));
    Ok(())
}

/// `$setElementOrder/x`: merges the list `x` of the patch at once and puts the result into the given order.
fn set_element_orders(
    object: &mut Members,
    patch: &mut Members,
    place: Place,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(SET_ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let name = directive
            .strip_prefix(SET_ELEMENT_ORDER)
            .and_then(|rest| rest.strip_prefix('/'));
        let invalid = || PatchError::Directive {
            directive: SET_ELEMENT_ORDER,
            field: directive.clone(),
        };
        let name = name.ok_or_else(invalid)?;
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(invalid());
        };
        let (inner, rules) = place.member(name)?;
        let merge_key = rules.map_or("", |rules| rules.patch_merge_key);
        let live = match object.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Array(live)) => Some(live),
            Some(_) => return Err(invalid()),
        };
        let new = match patch.remove(name) {
            None => None,
            Some(Value::Null) => continue, // The list is removed, so there is nothing to order.
            Some(Value::Array(new)) => Some(new),
            Some(_) => return Err(invalid()),
        };
        if let Some(new) = &new {
            list::check_order(new, &order, merge_key, name)?;
        }
        let server_order = live.clone().unwrap_or_default();
        let merged = match (live, new) {
            (None, None) => continue,
            (Some(live), None) => live,
            (Some(live), Some(new)) if strategy(rules) == "merge" => {
                list::merge(live, new, inner, merge_key, name)?
            }
            (_, Some(new)) => list::cleaned_elements(new),
        };
        let ordered = list::ordered(merged, &order, &server_order, merge_key, name)?;
        object.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/x`: takes scalars out of a list; elements of keyed lists are merged, as upstream does.
fn delete_from_list(
    object: &mut Members,
    name: &str,
    value: Value,
    place: Place,
) -> Result<(), PatchError> {
    let Value::Array(gone) = value else {
        return Err(PatchError::Directive {
            directive: DELETE_FROM_LIST,
            field: name.to_owned(),
        });
    };
    if let Some(Value::Array(list)) = object.get_mut(name) {
        place.member(name)?;
        list::delete(list, &gone, name)?;
    }
    Ok(())
}

/// A value of the patch as it is stored: without `null` members and directives. `None` if the value is a directive.
fn cleaned(mut value: Value) -> Option<Value> {
    match &mut value {
        Value::Object(members) if members.contains_key(PATCH) => return None,
        Value::Object(members) => clean_members(members),
        Value::Array(elements) => *elements = list::cleaned_elements(std::mem::take(elements)),
        _ => {}
    }
    Some(value)
}

fn clean_members(members: &mut Members) {
    let is_directive = |key: &str| {
        key == RETAIN_KEYS
            || key.starts_with(SET_ELEMENT_ORDER)
            || key.starts_with(DELETE_FROM_LIST)
    };
    let old = std::mem::take(members);
    members.extend(
        old.into_iter()
            .filter(|(key, value)| !value.is_null() && !is_directive(key))
            .filter_map(|(key, value)| Some((key, cleaned(value)?))),
    );
}

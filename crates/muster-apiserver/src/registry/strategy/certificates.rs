//! Certificate signing requests: the request itself never changes; approval and signing are separate rights
//! on separate subresources.
//!
//! Refuses to know: signers and what they sign, and who asks (admission writes that down).

use muster_machinery::meta;
use serde_json::{Value, json};

use super::{super::Call, copy_field};

/// The usages of a request that names none.
const DEFAULT_USAGES: [&str; 2] = ["digital signature", "key encipherment"];

pub(super) fn prepare_create(object: &mut Value) {
    let Some(spec) = meta::map_mut(object, "spec") else {
        return;
    };
    if spec.get("usages").is_none_or(Value::is_null) {
        spec.insert("usages".to_owned(), json!(DEFAULT_USAGES));
    }
}

pub(super) fn prepare_update(call: &Call<'_>, new: &mut Value, old: &Value, sub: &str) {
    copy_field(new, old, "spec");
    match sub {
        "approval" => {
            stamp_all(call, new, old);
            only_conditions(new, old);
        }
        "status" => {
            keep_verdicts(new, old);
            stamp_all(call, new, old);
        }
        _ => copy_field(new, old, "status"),
    }
}

fn kind(condition: &Value) -> &str {
    condition
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Approval changes conditions and nothing else of the status.
fn only_conditions(new: &mut Value, old: &Value) {
    let conditions = meta::items(new, &["status", "conditions"]).to_vec();
    copy_field(new, old, "status");
    let Some(map) = new.as_object_mut() else {
        return;
    };
    let status = map.entry("status").or_insert_with(|| json!({}));
    match status.as_object_mut() {
        Some(status) if conditions.is_empty() => {
            status.remove("conditions");
        }
        Some(status) => {
            status.insert("conditions".to_owned(), Value::Array(conditions));
        }
        None => {}
    }
}

/// A signer that writes the status back gives verdicts back as they were, times included; one that adds or removes them
/// is refused by validation.
fn keep_verdicts(new: &mut Value, old: &Value) {
    for verdict in ["Approved", "Denied"] {
        let before: Vec<&Value> = meta::items(old, &["status", "conditions"])
            .iter()
            .filter(|condition| kind(condition) == verdict)
            .collect();
        let Some(conditions) = new
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut)
        else {
            return;
        };
        let mut now: Vec<&mut Value> = conditions
            .iter_mut()
            .filter(|condition| kind(condition) == verdict)
            .collect();
        if now.len() == before.len() {
            for (now, before) in now.iter_mut().zip(before) {
                **now = before.clone();
            }
        }
    }
}

fn stamp_all(call: &Call<'_>, new: &mut Value, old: &Value) {
    let before = meta::items(old, &["status", "conditions"]);
    let Some(conditions) = new
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for condition in conditions {
        let previous = before
            .iter()
            .find(|previous| kind(previous) == kind(condition));
        stamp(call, condition, previous);
    }
}

/// Fills in the times that the client left out.
fn stamp(call: &Call<'_>, condition: &mut Value, previous: Option<&Value>) {
    let now = Value::String(meta::format_time(call.now));
    let Some(map) = condition.as_object_mut() else {
        return;
    };
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    if absent(map.get("lastUpdateTime")) {
        map.insert("lastUpdateTime".to_owned(), now.clone());
    }
    if absent(map.get("lastTransitionTime")) {
        let unchanged = previous.filter(|previous| previous.get("status") == map.get("status"));
        let since = unchanged
            .and_then(|previous| previous.get("lastTransitionTime"))
            .cloned();
        map.insert("lastTransitionTime".to_owned(), since.unwrap_or(now));
    }
}

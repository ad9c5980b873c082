//! Certificate signing requests: the request itself never changes; approval and signing are separate rights
//! on separate subresources.
//!
//! Refuses to know: signers and what they sign, and who asks (admission writes that down).

use muster_machinery::meta;
use serde_json::{Map, Value, json};

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
        "approval" => merge_conditions(call, new, old, is_verdict, false),
        "status" => merge_conditions(call, new, old, |kind| !is_verdict(kind), true),
        _ => copy_field(new, old, "status"),
    }
}

/// Approval decides on these conditions, signers on the others.
fn is_verdict(kind: &str) -> bool {
    matches!(kind, "Approved" | "Denied")
}

/// Takes from the new status the conditions that are `ours`, keeps the others as they were, and takes the
/// certificate only where that is allowed.
fn merge_conditions(
    call: &Call<'_>,
    new: &mut Value,
    old: &Value,
    ours: fn(&str) -> bool,
    certificate: bool,
) {
    let kind = |condition: &Value| {
        condition
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let before = meta::items(old, &["status", "conditions"]);
    let mut conditions: Vec<Value> = meta::items(new, &["status", "conditions"]).to_vec();
    conditions.retain(|condition| ours(&kind(condition)));
    let kept = before
        .iter()
        .filter(|condition| !ours(&kind(condition)))
        .cloned();
    let mut merged: Vec<Value> = kept.collect();
    for mut condition in conditions {
        let previous = before
            .iter()
            .find(|previous| kind(previous) == kind(&condition));
        stamp(call, &mut condition, previous);
        merged.push(condition);
    }
    let mut status = Map::new();
    if !merged.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(merged));
    }
    let source = if certificate { &*new } else { old };
    if let Some(issued) = meta::at(source, &["status", "certificate"])
        && !issued.is_null()
    {
        status.insert("certificate".to_owned(), issued.clone());
    }
    if let Some(map) = new.as_object_mut() {
        map.insert("status".to_owned(), Value::Object(status));
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

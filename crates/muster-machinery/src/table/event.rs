//! Events, under both of their names.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{int, name, text};
use super::column::{self, Column, NAME, Printer, wide};
use crate::duration_text::age;
use crate::meta::{str_at, time_at};

const COLUMNS: &[Column] = &[
    column::text(
        "Last Seen",
        "The time at which the most recent occurrence of this event was recorded.",
    ),
    column::text(
        "Type",
        "Type of this event (Normal, Warning), new types could be added in the future",
    ),
    column::text(
        "Reason",
        "This should be a short, machine understandable string that gives the reason for the transition into the object's current status.",
    ),
    column::text("Object", "The object that this event is about."),
    wide(
        "Subobject",
        "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2].",
    ),
    wide(
        "Source",
        "The component reporting this event. Should be a short machine understandable string.",
    ),
    column::text(
        "Message",
        "A human-readable description of the status of this operation.",
    ),
    wide(
        "First Seen",
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
    ),
    wide("Count", "The number of times this event has occurred."),
    Column {
        priority: 1,
        ..NAME
    },
];

/// Where the two forms of an event keep the same things.
struct Fields {
    object: &'static str,
    message: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    source: &'static str,
    controller: &'static str,
}

const CORE: Fields = Fields {
    object: "involvedObject",
    message: "message",
    first: "firstTimestamp",
    last: "lastTimestamp",
    count: "count",
    source: "source",
    controller: "reportingComponent",
};

const NEW: Fields = Fields {
    object: "regarding",
    message: "note",
    first: "deprecatedFirstTimestamp",
    last: "deprecatedLastTimestamp",
    count: "deprecatedCount",
    source: "deprecatedSource",
    controller: "reportingController",
};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    (kind == "Event").then_some(Printer::new(COLUMNS, |event, now| cells(event, now, &CORE)))
}

pub(super) fn new_api_printer(kind: &str) -> Option<Printer> {
    (kind == "Event").then_some(Printer::new(COLUMNS, |event, now| cells(event, now, &NEW)))
}

fn cells(event: &Value, now: Timestamp, fields: &Fields) -> Vec<Value> {
    let first = time_at(event, &[fields.first]).or_else(|| time_at(event, &["eventTime"]));
    let series = event.get("series").filter(|series| !series.is_null());
    let (last, count) = match series {
        Some(series) => (
            time_at(series, &["lastObservedTime"]),
            int(series, &["count"]),
        ),
        None => (
            time_at(event, &[fields.last]).or(first),
            int(event, &[fields.count]).max(1),
        ),
    };
    let message = str_at(event, &[fields.message]).unwrap_or("").trim();
    vec![
        age(last, now).into(),
        text(event, &["type"]),
        text(event, &["reason"]),
        target(event, fields).into(),
        text(event, &[fields.object, "fieldPath"]),
        source(event, fields).into(),
        message.into(),
        age(first, now).into(),
        count.into(),
        name(event),
    ]
}

fn target(event: &Value, fields: &Fields) -> String {
    let kind = str_at(event, &[fields.object, "kind"])
        .unwrap_or("")
        .to_lowercase();
    match str_at(event, &[fields.object, "name"]) {
        Some(name) if !name.is_empty() => format!("{kind}/{name}"),
        _ => kind,
    }
}

fn source(event: &Value, fields: &Fields) -> String {
    let pick = |old: &str, new: &str| {
        let old = str_at(event, &[fields.source, old]).filter(|text| !text.is_empty());
        old.or_else(|| str_at(event, &[new]))
            .unwrap_or("")
            .to_owned()
    };
    let component = pick("component", fields.controller);
    match pick("host", "reportingInstance") {
        instance if instance.is_empty() => component,
        instance => format!("{component}, {instance}"),
    }
}

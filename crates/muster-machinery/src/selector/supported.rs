//! Which fields each kind can be selected by, and how they read as text.
//!
//! The list is upstream's: the field label conversions and `GetAttrs`/`ToSelectableFields` of each kind.

use std::borrow::Cow;

use serde_json::Value;

use crate::go_quote::quoted;
use crate::meta;

/// A field that this kind cannot be selected by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UnsupportedField {
    text: String,
}

/// The selectable fields of a kind beyond `metadata.name` and `metadata.namespace`.
#[must_use]
pub fn selectable_fields(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.host",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        ("resource.k8s.io", "ResourceSlice") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

/// Whether the kind can be selected by the field.
#[must_use]
pub fn is_supported(group: &str, kind: &str, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace")
        || selectable_fields(group, kind).contains(&field)
}

pub(super) fn check_field(group: &str, kind: &str, field: &str) -> Result<(), UnsupportedField> {
    if is_supported(group, kind, field) {
        return Ok(());
    }
    // Kinds without a conversion of their own share one text that names the two general fields.
    let text = if selectable_fields(group, kind).is_empty() {
        format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            quoted(field)
        )
    } else {
        format!("field label not supported: {field}")
    };
    Err(UnsupportedField { text })
}

/// A selectable field as text; empty when absent. Booleans and numbers are written as Go prints them.
#[must_use]
pub fn field_value<'a>(group: &str, kind: &str, object: &'a Value, field: &str) -> Cow<'a, str> {
    match (group, kind, field) {
        ("", "Event", "source") => {
            let component = meta::str_at(object, &["source", "component"]).unwrap_or("");
            let reporting = || meta::str_at(object, &["reportingComponent"]).unwrap_or("");
            Cow::Borrowed(if component.is_empty() {
                reporting()
            } else {
                component
            })
        }
        ("batch", "Job", "status.successful") => number(object, &["status", "succeeded"]),
        (_, "ReplicationController" | "ReplicaSet", "status.replicas") => {
            number(object, &["status", "replicas"])
        }
        ("", "Node", "spec.unschedulable") => flag(object, &["spec", "unschedulable"]),
        // The name of the field in the first clients.
        ("", "Pod", "spec.host") => plain(meta::at(object, &["spec", "nodeName"])),
        ("", "Pod", "spec.hostNetwork") => flag(object, &["spec", "hostNetwork"]),
        ("", "Pod", "status.podIPs") => meta::items(object, &["status", "podIPs"])
            .first()
            .and_then(|ip| meta::str_at(ip, &["ip"]))
            .map_or(Cow::Borrowed(""), Cow::Borrowed),
        _ => plain(
            field
                .split('.')
                .try_fold(object, |value, key| value.get(key)),
        ),
    }
}

fn plain(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(""),
    }
}

fn number(object: &Value, path: &[&str]) -> Cow<'static, str> {
    Cow::Owned(
        meta::at(object, path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
            .to_string(),
    )
}

fn flag(object: &Value, path: &[&str]) -> Cow<'static, str> {
    Cow::Borrowed(
        if meta::at(object, path)
            .and_then(Value::as_bool)
            .unwrap_or(false)
        {
            "true"
        } else {
            "false"
        },
    )
}

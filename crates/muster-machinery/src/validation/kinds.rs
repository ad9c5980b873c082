//! Which rules of their own the kinds have.
//!
//! The depth follows what joining, everyday use and the controllers rely on: required fields, bounds, and
//! above all what may not change. Kinds without an entry are checked for their metadata only.

use serde_json::Value;

use super::{FieldError, validate_metadata, validate_metadata_update};
use crate::crd;
use crate::resources::Resource;

mod admission_policy;
mod certificates;
mod config;
mod network;
mod node;
mod pod;
mod rbac;
mod webhook;
mod workload;

/// Every mistake in a new object, metadata included; empty when it may be created.
///
/// The object must be defaulted, named and placed in its namespace first.
#[must_use]
pub fn validate_create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    if is_definition(resource) {
        return crd::validate_definition(resource, object);
    }
    let mut errors = validate_metadata(resource, object);
    own_rules(resource, object, None, &mut errors);
    errors
}

/// Every mistake in a changed object; empty when it may replace `old`. `subresource` is what was addressed, empty for
/// the object itself.
#[must_use]
pub fn validate_update(
    resource: &Resource,
    subresource: &str,
    object: &Value,
    old: &Value,
) -> Vec<FieldError> {
    if is_definition(resource) {
        return crd::validate_definition_update(object, old);
    }
    let mut errors = validate_metadata_update(object, old);
    if resource.group.is_empty() && resource.kind == "Pod" {
        let before = pod::as_changed_through(subresource, object, old, &mut errors);
        own_rules(resource, object, Some(&before), &mut errors);
    } else {
        own_rules(resource, object, Some(old), &mut errors);
    }
    if subresource == "status" && resource.kind == "CertificateSigningRequest" {
        certificates::signers_do_not_decide(object, old, &mut errors);
    }
    errors
}

fn is_definition(resource: &Resource) -> bool {
    resource.group == "apiextensions.k8s.io" && resource.kind == "CustomResourceDefinition"
}

fn own_rules(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    match (&*resource.group, &*resource.kind) {
        ("", "Secret") => config::secret(object, old, errors),
        ("", "ConfigMap") => config::config_map(object, old, errors),
        ("", "Namespace") => config::namespace(object, errors),
        ("", "Event") => config::event(object, old, errors),
        ("", "Node") => node::node(object, old, errors),
        ("", "Pod") => pod::pod(object, old, errors),
        ("", "Service") => network::service(object, old, errors),
        ("", "Endpoints") => network::endpoints(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, old, errors),
        ("coordination.k8s.io", "Lease") => node::lease(object, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            certificates::signing_request(object, old, errors);
        }
        ("rbac.authorization.k8s.io", kind) => rbac::check(kind, object, old, errors),
        ("apps" | "batch", kind) => workload::check(kind, object, old, errors),
        ("scheduling.k8s.io", "PriorityClass") => workload::priority_class(object, old, errors),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            webhook::configuration(object, old, true, errors);
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            webhook::configuration(object, old, false, errors);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            admission_policy::policy(object, old, errors);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            admission_policy::binding(object, errors);
        }
        ("storage.k8s.io", "StorageClass") => config::storage_class(object, old, errors),
        _ => {}
    }
}

/// The value at a path, null when absent: both read the same when compared.
fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    crate::meta::at(object, path).unwrap_or(&Value::Null)
}

/// Refuses a change of a field. Null, `{}`, `[]` and absent are the same.
fn immutable(object: &Value, old: &Value, path: &[&str], errors: &mut Vec<FieldError>) {
    let new = at(object, path);
    if !same(new, at(old, path)) {
        errors.push(FieldError::immutable(path.join("."), new.clone()));
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || (is_empty(a) && is_empty(b))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Checks that a number lies in a range, both ends included.
fn in_range(field: String, value: i64, low: i64, high: i64, errors: &mut Vec<FieldError>) {
    if !(low..=high).contains(&value) {
        let detail = format!("must be between {low} and {high}, inclusive");
        errors.push(FieldError::invalid(field, value.into(), detail));
    }
}

#[cfg(test)]
mod tests;

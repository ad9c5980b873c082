//! Checks of `metadata`, the same for every kind (`ValidateObjectMeta` upstream).

use serde_json::{Map, Value};

use super::FieldError;
use super::names::{
    dns_label_problems, dns_subdomain_problems, label_key_problems, label_value_problems,
    path_segment_problems, qualified_name_problems, rfc1035_label_problems,
};
use crate::meta;
use crate::resources::Resource;

/// Largest sum of annotation keys and values, in bytes.
pub const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// Longest `generateName` that is kept whole; longer ones are cut before the five random characters.
pub const MAX_GENERATED_NAME_BASE: usize = 63 - 5;

/// The problems of an object's name for its resource; empty when the name is fine.
#[must_use]
pub fn name_problems(group: &str, kind: &str, name: &str) -> Vec<String> {
    match (group, kind) {
        // The kubelet names its requests by a digest in base64: large letters and underscores.
        ("rbac.authorization.k8s.io", _) | ("certificates.k8s.io", "CertificateSigningRequest") => {
            path_segment_problems(name)
        }
        ("", "Namespace") => dns_label_problems(name),
        ("", "Service") => rfc1035_label_problems(name),
        ("networking.k8s.io", "IPAddress") => match name.parse::<std::net::IpAddr>() {
            Ok(ip) if ip.to_string() == name => Vec::new(),
            _ => vec!["must be a valid IP address in canonical form".into()],
        },
        _ => dns_subdomain_problems(name),
    }
}

/// A prefix may end in what a whole name may not: `-`.
fn prefix_problems(group: &str, kind: &str, prefix: &str) -> Vec<String> {
    match prefix.strip_suffix('-') {
        Some(stem) => name_problems(group, kind, &format!("{stem}a")),
        None => name_problems(group, kind, prefix),
    }
}

/// Checks the metadata of a new object.
///
/// The name must already be made from `generateName` when there was one.
#[must_use]
pub fn validate_metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_name(resource, object, &mut errors);
    check_namespace(resource, object, &mut errors);
    if meta::generation(object) < 0 {
        errors.push(FieldError::invalid(
            "metadata.generation",
            meta::generation(object).into(),
            "must be greater than or equal to 0",
        ));
    }
    check_shared(object, &mut errors);
    errors
}

fn check_name(resource: &Resource, object: &Value, errors: &mut Vec<FieldError>) {
    let (group, kind) = (&*resource.group, &*resource.kind);
    let prefix = meta::generate_name(object);
    if !prefix.is_empty() {
        errors.extend(
            prefix_problems(group, kind, prefix)
                .into_iter()
                .map(|problem| {
                    FieldError::invalid("metadata.generateName", prefix.into(), problem)
                }),
        );
    }
    let name = meta::name(object);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    errors.extend(
        name_problems(group, kind, name)
            .into_iter()
            .map(|problem| FieldError::invalid("metadata.name", name.into(), problem)),
    );
}

fn check_namespace(resource: &Resource, object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = meta::namespace(object);
    if !resource.namespaced {
        if !namespace.is_empty() {
            errors.push(FieldError::forbidden(
                "metadata.namespace",
                "not allowed on this type",
            ));
        }
    } else if namespace.is_empty() {
        errors.push(FieldError::required("metadata.namespace", ""));
    } else {
        errors.extend(
            dns_label_problems(namespace).into_iter().map(|problem| {
                FieldError::invalid("metadata.namespace", namespace.into(), problem)
            }),
        );
    }
}

fn check_shared(object: &Value, errors: &mut Vec<FieldError>) {
    let empty = Map::new();
    let map = |field| meta::at(object, &["metadata", field]).and_then(Value::as_object);
    check_labels("metadata.labels", map("labels").unwrap_or(&empty), errors);
    check_annotations(map("annotations").unwrap_or(&empty), errors);
    check_owner_references(meta::owner_references(object), errors);
    for finalizer in meta::finalizers(object) {
        errors.extend(finalizer_error(finalizer));
    }
}

/// Checks a map of labels at a field path.
pub(super) fn check_labels(path: &str, labels: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for (key, value) in labels {
        for problem in label_key_problems(key) {
            errors.push(FieldError::invalid(path, key.as_str().into(), problem));
        }
        let value = value.as_str().unwrap_or("");
        for problem in label_value_problems(value) {
            errors.push(FieldError::invalid(path, value.into(), problem));
        }
    }
}

fn check_annotations(annotations: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in annotations {
        // Annotation keys are label keys, except that capitals are allowed in the prefix.
        for problem in qualified_name_problems(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                key.as_str().into(),
                problem,
            ));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > MAX_ANNOTATION_BYTES {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATION_BYTES,
        ));
    }
}

fn check_owner_references(owners: &[Value], errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for (i, owner) in owners.iter().enumerate() {
        let path = format!("metadata.ownerReferences[{i}]");
        for (key, text) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if meta::str_at(owner, &[key]).is_none_or(str::is_empty) {
                errors.push(FieldError::invalid(
                    format!("{path}.{key}"),
                    "".into(),
                    text,
                ));
            }
        }
        if meta::at(owner, &["controller"]) == Some(&Value::Bool(true)) {
            controllers += 1;
        }
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            Value::from(owners.to_vec()),
            "Only one reference can have Controller set to true",
        ));
    }
}

/// Whether a name is one of Kubernetes' own finalizers or has a prefix.
pub(super) fn is_finalizer(name: &str) -> bool {
    name.contains('/') || ["kubernetes", "orphan", "foregroundDeletion"].contains(&name)
}

/// A finalizer is a qualified name; one without a prefix must be one of Kubernetes' own.
fn finalizer_error(finalizer: &str) -> Option<FieldError> {
    const PATH: &str = "metadata.finalizers";
    if let Some(problem) = qualified_name_problems(finalizer).into_iter().next() {
        return Some(FieldError::invalid(PATH, finalizer.into(), problem));
    }
    (!is_finalizer(finalizer))
        .then(|| FieldError::invalid(PATH, finalizer.into(), UNQUALIFIED_FINALIZER))
}

const UNQUALIFIED_FINALIZER: &str =
    "name is neither a standard finalizer name nor is it fully qualified";

/// Leaves out what only built-in kinds demand of their metadata: finalizers of definitions and custom resources need no
/// prefix.
#[must_use]
pub fn without_rules_of_built_in_kinds(mut errors: Vec<FieldError>) -> Vec<FieldError> {
    errors.retain(|error| error.detail != UNQUALIFIED_FINALIZER);
    errors
}

/// Checks the metadata of a changed object against the old one.
///
/// `resourceVersion` is the caller's: a stale one is a conflict, not a mistake.
#[must_use]
pub fn validate_metadata_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let new = meta::at(object, &["metadata", field]).unwrap_or(&Value::Null);
        if new != meta::at(old, &["metadata", field]).unwrap_or(&Value::Null) {
            errors.push(FieldError::immutable(
                format!("metadata.{field}"),
                new.clone(),
            ));
        }
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let new = meta::at(object, &["metadata", field]).unwrap_or(&Value::Null);
        if new != meta::at(old, &["metadata", field]).unwrap_or(&Value::Null) {
            errors.push(FieldError::immutable(
                format!("metadata.{field}"),
                new.clone(),
            ));
        }
    }
    if meta::generation(object) < meta::generation(old) {
        errors.push(FieldError::invalid(
            "metadata.generation",
            meta::generation(object).into(),
            "must not be decremented",
        ));
    }
    if meta::is_being_deleted(old) {
        check_no_new_finalizers(object, old, &mut errors);
    }
    check_shared(object, &mut errors);
    errors
}

fn check_no_new_finalizers(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let added: Vec<&str> = meta::finalizers(object)
        .filter(|finalizer| meta::finalizers(old).all(|known| known != *finalizer))
        .collect();
    if !added.is_empty() {
        let listed = added
            .iter()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        errors.push(FieldError::forbidden(
            "metadata.finalizers",
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            ),
        ));
    }
}

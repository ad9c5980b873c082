//! Secrets, config maps, namespaces, events, storage classes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{FieldError, at, immutable};
use crate::meta;
use crate::validation::metadata::is_finalizer;
use crate::validation::names::config_key_problems;

/// Largest sum of the values of a Secret or ConfigMap, in bytes (1 MiB).
const MAX_DATA: usize = 1024 * 1024;

pub(super) fn secret(secret: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let empty = Map::new();
    let data = at(secret, &["data"]).as_object().unwrap_or(&empty);
    let mut total = 0;
    for (key, value) in data {
        for problem in config_key_problems(key) {
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                key.as_str().into(),
                problem,
            ));
        }
        match STANDARD.decode(value.as_str().unwrap_or("")) {
            Ok(bytes) => total += bytes.len(),
            Err(_) => errors.push(FieldError::invalid(
                format!("data[{key}]"),
                "<not shown>".into(),
                "must be base64",
            )),
        }
    }
    if total > MAX_DATA {
        errors.push(FieldError::too_long("data", MAX_DATA));
    }
    let type_ = meta::str_at(secret, &["type"]).unwrap_or("");
    required_keys(type_, secret, data, errors);
    if let Some(old) = old {
        immutable(secret, old, &["type"], errors);
        frozen(secret, old, &["data"], errors);
    }
}

/// What each built-in type of Secret must hold.
fn required_keys(
    type_: &str,
    secret: &Value,
    data: &Map<String, Value>,
    errors: &mut Vec<FieldError>,
) {
    let needed: &[&str] = match type_ {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/basic-auth" => {
            if !data.contains_key("username") && !data.contains_key("password") {
                errors.push(FieldError::required("data[username]", ""));
                errors.push(FieldError::required("data[password]", ""));
            }
            &[]
        }
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if meta::annotation(secret, account).is_none_or(str::is_empty) {
                let field = format!("metadata.annotations[{account}]");
                errors.push(FieldError::required(field, ""));
            }
            &[]
        }
        _ => &[],
    };
    for key in needed.iter().filter(|key| !data.contains_key(**key)) {
        errors.push(FieldError::required(format!("data[{key}]"), ""));
    }
}

/// Once `immutable` is set, neither it nor the data can change.
fn frozen(object: &Value, old: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if at(old, &["immutable"]) != &Value::Bool(true) {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if at(object, &["immutable"]) != &Value::Bool(true) {
        errors.push(FieldError::forbidden("immutable", detail));
    }
    for field in fields {
        if !super::same(at(object, &[field]), at(old, &[field])) {
            errors.push(FieldError::forbidden(*field, detail));
        }
    }
}

pub(super) fn config_map(map: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let empty = Map::new();
    let data = at(map, &["data"]).as_object().unwrap_or(&empty);
    let binary = at(map, &["binaryData"]).as_object().unwrap_or(&empty);
    let mut total = 0;
    for (field, entries) in [("data", data), ("binaryData", binary)] {
        for (key, value) in entries {
            for problem in config_key_problems(key) {
                let field = format!("{field}[{key}]");
                errors.push(FieldError::invalid(field, key.as_str().into(), problem));
            }
            let text = value.as_str().unwrap_or("");
            total += match field {
                "data" => text.len(),
                _ => STANDARD
                    .decode(text)
                    .map_or(text.len(), |bytes| bytes.len()),
            };
        }
    }
    for key in data.keys().filter(|key| binary.contains_key(*key)) {
        let detail = "duplicate of key present in binaryData";
        errors.push(FieldError::invalid(
            format!("data[{key}]"),
            key.as_str().into(),
            detail,
        ));
    }
    if total > MAX_DATA {
        // Upstream names no field here.
        errors.push(FieldError::too_long("", MAX_DATA));
    }
    if let Some(old) = old {
        frozen(map, old, &["data", "binaryData"], errors);
    }
}

pub(super) fn namespace(namespace: &Value, errors: &mut Vec<FieldError>) {
    for (i, finalizer) in meta::items(namespace, &["spec", "finalizers"])
        .iter()
        .enumerate()
    {
        let text = finalizer.as_str().unwrap_or("");
        if !is_finalizer(text) {
            errors.push(FieldError::invalid(
                format!("spec.finalizers[{i}]"),
                text.into(),
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

/// An event lives in the namespace of its object, or in `default` when that has none.
pub(super) fn event(event: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let namespace = meta::namespace(event);
    let involved = meta::str_at(event, &["involvedObject", "namespace"]).unwrap_or("");
    let fits = match involved {
        "" => matches!(namespace, "default" | "kube-system"),
        involved => involved == namespace,
    };
    if !fits {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            involved.into(),
            "does not match event.namespace",
        ));
    }
    // Events of the new API carry a time and name their reporter.
    if old.is_none() && !at(event, &["eventTime"]).is_null() {
        for (path, field) in [
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if meta::str_at(event, &[path]).is_none_or(str::is_empty) {
                errors.push(FieldError::required(field, ""));
            }
        }
    }
}

pub(super) fn storage_class(class: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if meta::str_at(class, &["provisioner"]).is_none_or(str::is_empty) {
        errors.push(FieldError::required("provisioner", ""));
    }
    if let Some(old) = old {
        for field in [
            "parameters",
            "provisioner",
            "reclaimPolicy",
            "volumeBindingMode",
        ] {
            if !super::same(at(class, &[field]), at(old, &[field])) {
                errors.push(FieldError::forbidden(
                    field,
                    format!("updates to {field} are forbidden."),
                ));
            }
        }
    }
}

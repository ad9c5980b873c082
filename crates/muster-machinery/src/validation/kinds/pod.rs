//! Pods: enough of a spec to run, and hardly anything that may change later.

use serde_json::{Map, Value};

use super::{FieldError, at, in_range};
use crate::meta;
use crate::validation::names::{dns_label_problems, dns_subdomain_problems, port_name_problems};

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn pod(pod: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    pod_spec("spec", at(pod, &["spec"]), errors);
    if let Some(old) = old {
        unchanged(at(pod, &["spec"]), at(old, &["spec"]), errors);
    }
}

/// The old pod with those fields taken from the new one that a subresource is there to change.
pub(super) fn as_changed_through(
    subresource: &str,
    pod: &Value,
    old: &Value,
    errors: &mut Vec<FieldError>,
) -> Value {
    let mut changed = old.clone();
    let Some(spec) = changed.get_mut("spec").and_then(Value::as_object_mut) else {
        return changed;
    };
    if subresource == "ephemeralcontainers" {
        ephemeral_containers(pod, old, errors);
        adopt_from(spec, pod, "ephemeralContainers");
    }
    if subresource == "resize" {
        for list in ["containers", "initContainers"] {
            if let Some(Value::Array(containers)) = spec.get_mut(list) {
                let new = meta::items(pod, &["spec", list]);
                for (container, new) in containers.iter_mut().zip(new) {
                    if let Some(container) = container.as_object_mut() {
                        match new.get("resources") {
                            Some(value) => container.insert("resources".to_owned(), value.clone()),
                            None => container.remove("resources"),
                        };
                    }
                }
            }
        }
    }
    changed
}

fn adopt_from(spec: &mut Map<String, Value>, pod: &Value, field: &str) {
    match meta::at(pod, &["spec", field]) {
        Some(value) => spec.insert(field.to_owned(), value.clone()),
        None => spec.remove(field),
    };
}

/// Containers for looking into a running pod are added, never changed or taken away
/// (`ValidatePodEphemeralContainersUpdate`).
fn ephemeral_containers(pod: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const LIST: &str = "spec.ephemeralContainers";
    let name = |container: &Value| {
        let name = meta::str_at(container, &["name"]);
        name.unwrap_or_default().to_owned()
    };
    let new = meta::items(pod, &["spec", "ephemeralContainers"]);
    let mut names: Vec<String> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| meta::items(pod, &["spec", list]))
        .map(name)
        .collect();
    for (i, container) in new.iter().enumerate() {
        let own = name(container);
        name_of(&format!("{LIST}[{i}].name"), &own, errors);
        if meta::str_at(container, &["image"])
            .unwrap_or_default()
            .is_empty()
        {
            errors.push(FieldError::required(format!("{LIST}[{i}].image"), ""));
        }
        if !own.is_empty() && names.contains(&own) {
            let field = format!("{LIST}[{i}].name");
            errors.push(FieldError::duplicate(field, own.as_str().into()));
        }
        names.push(own);
    }
    for before in meta::items(old, &["spec", "ephemeralContainers"]) {
        let what = match new.iter().find(|new| name(new) == name(before)) {
            None => "removed",
            Some(new) if !super::same(new, before) => "changed",
            Some(_) => continue,
        };
        let detail = format!(
            "existing ephemeral containers {:?} may not be {what}",
            name(before)
        );
        errors.push(FieldError::forbidden(LIST, detail));
    }
}

/// Checks a pod's or a template's spec at a field path.
pub(super) fn pod_spec(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let containers = meta::items(spec, &["containers"]);
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let volumes = volume_names(path, spec, errors);
    let mut names = Vec::new();
    for list in ["containers", "initContainers"] {
        for (i, container) in meta::items(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{i}]");
            self::container(&path, container, &volumes, errors);
            let name = meta::str_at(container, &["name"]).unwrap_or("");
            if !name.is_empty() && names.contains(&name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name.into()));
            }
            names.push(name);
        }
    }
    one_of(
        path,
        spec,
        "restartPolicy",
        &["Always", "Never", "OnFailure"],
        errors,
    );
    let policies = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(path, spec, "dnsPolicy", policies, errors);
    sysctls(path, spec, errors);
    if let Some(seconds) = at(spec, &["terminationGracePeriodSeconds"]).as_i64()
        && seconds < 0
    {
        let detail = "must be greater than or equal to 0";
        let field = format!("{path}.terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(field, seconds.into(), detail));
    }
    for (field, check) in [
        (
            "nodeName",
            dns_subdomain_problems as fn(&str) -> Vec<String>,
        ),
        ("serviceAccountName", dns_subdomain_problems),
        ("hostname", dns_label_problems),
        ("subdomain", dns_label_problems),
    ] {
        let text = meta::str_at(spec, &[field]).filter(|text| !text.is_empty());
        for problem in text.map(check).unwrap_or_default() {
            let value = text.unwrap_or_default().into();
            errors.push(FieldError::invalid(
                format!("{path}.{field}"),
                value,
                problem,
            ));
        }
    }
}

/// Kernel parameters have names of the kernel's form, each once (`validateSysctls`).
fn sysctls(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let list = meta::items(spec, &["securityContext", "sysctls"]);
    let mut names = Vec::new();
    for (i, sysctl) in list.iter().enumerate() {
        let field = format!("{path}.securityContext.sysctls[{i}].name");
        let name = meta::str_at(sysctl, &["name"]).unwrap_or("");
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if !is_sysctl_name(name) {
            let detail = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(field, name.into(), detail));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(field, name.into()));
        }
        names.push(name);
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let inner = |byte: &u8| matches!(byte, b'-' | b'_') || edge(Some(byte));
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
    };
    name.len() <= 253 && name.split(['.', '/']).all(is_segment)
}

fn one_of(path: &str, object: &Value, field: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    let field_path = format!("{path}.{field}");
    match meta::str_at(object, &[field]) {
        None | Some("") => errors.push(FieldError::required(field_path, "")),
        Some(value) if !known.contains(&value) => {
            errors.push(FieldError::not_supported(field_path, value.into(), known));
        }
        Some(_) => {}
    }
}

fn volume_names<'a>(path: &str, spec: &'a Value, errors: &mut Vec<FieldError>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (i, volume) in meta::items(spec, &["volumes"]).iter().enumerate() {
        let field = format!("{path}.volumes[{i}].name");
        let name = meta::str_at(volume, &["name"]).unwrap_or("");
        name_of(&field, name, errors);
        if !name.is_empty() && names.contains(&name) {
            errors.push(FieldError::duplicate(field, name.into()));
        }
        names.push(name);
    }
    names
}

/// A name of a container or volume: a DNS label.
fn name_of(field: &str, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    for problem in dns_label_problems(name) {
        errors.push(FieldError::invalid(field, name.into(), problem));
    }
}

fn container(path: &str, container: &Value, volumes: &[&str], errors: &mut Vec<FieldError>) {
    name_of(
        &format!("{path}.name"),
        meta::str_at(container, &["name"]).unwrap_or(""),
        errors,
    );
    let image = meta::str_at(container, &["image"]).unwrap_or("");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(
            format!("{path}.image"),
            image.into(),
            detail,
        ));
    }
    one_of(
        path,
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    for (i, port) in meta::items(container, &["ports"]).iter().enumerate() {
        self::port(&format!("{path}.ports[{i}]"), port, errors);
    }
    for (i, mount) in meta::items(container, &["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{i}]");
        let name = meta::str_at(mount, &["name"]).unwrap_or("");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(&name) {
            errors.push(FieldError::not_found(format!("{path}.name"), name.into()));
        }
        if meta::str_at(mount, &["mountPath"]).is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        }
    }
}

fn port(path: &str, port: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = meta::str_at(port, &["name"]).filter(|name| !name.is_empty()) {
        for problem in port_name_problems(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name.into(),
                problem,
            ));
        }
    }
    match at(port, &["containerPort"]).as_i64() {
        None | Some(0) => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
        Some(number) => in_range(format!("{path}.containerPort"), number, 1, 65535, errors),
    }
    if let Some(number) = at(port, &["hostPort"])
        .as_i64()
        .filter(|number| *number != 0)
    {
        in_range(format!("{path}.hostPort"), number, 1, 65535, errors);
    }
    one_of(path, port, "protocol", &["SCTP", "TCP", "UDP"], errors);
}

/// Compares the specs with everything that may change made equal.
fn unchanged(spec: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (Some(new), Some(old)) = (spec.as_object(), old.as_object()) else {
        return;
    };
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        if let (Some(Value::Array(new)), Some(Value::Array(old))) =
            (munged.get_mut(list), old.get(list))
        {
            for (container, old) in new.iter_mut().zip(old) {
                take_from(container, old, "image");
            }
        }
    }
    let gated = !meta::items(spec, &["schedulingGates"]).is_empty()
        || old
            .get("schedulingGates")
            .is_some_and(|gates| !super::is_empty(gates));
    if gated {
        // A gated pod has not been scheduled: gates go, and the choice of nodes may narrow.
        for field in ["schedulingGates", "nodeSelector", "affinity"] {
            adopt(&mut munged, old, field);
        }
    }
    deadline(&mut munged, old, errors);
    if tolerations_only_grow(new, old) {
        adopt(&mut munged, old, "tolerations");
    }
    let grace = |spec: &Map<String, Value>| {
        spec.get("terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
    };
    if grace(old).is_some_and(|seconds| seconds < 0) && grace(new) == Some(1) {
        adopt(&mut munged, old, "terminationGracePeriodSeconds");
    }
    let differs = munged
        .iter()
        .any(|(key, value)| !super::same(value, old.get(key).unwrap_or(&Value::Null)))
        || old
            .iter()
            .any(|(key, value)| !munged.contains_key(key) && !super::is_empty(value));
    if differs {
        errors.push(FieldError::forbidden("spec", MUTABLE));
    }
}

fn take_from(object: &mut Value, old: &Value, field: &str) {
    if let (Some(map), Some(value)) = (object.as_object_mut(), old.get(field)) {
        map.insert(field.into(), value.clone());
    }
}

fn adopt(map: &mut Map<String, Value>, old: &Map<String, Value>, field: &str) {
    match old.get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

/// A deadline can be set, and only be brought nearer.
fn deadline(
    munged: &mut Map<String, Value>,
    old: &Map<String, Value>,
    errors: &mut Vec<FieldError>,
) {
    const FIELD: &str = "activeDeadlineSeconds";
    let read = |map: &Map<String, Value>| map.get(FIELD).and_then(Value::as_i64);
    match (read(munged), read(old)) {
        (Some(new), Some(old)) if new > old => {
            let detail = format!("must be less than or equal to previous value '{old}'");
            errors.push(FieldError::invalid(
                format!("spec.{FIELD}"),
                new.into(),
                detail,
            ));
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(
                format!("spec.{FIELD}"),
                Value::Null,
                detail,
            ));
        }
        _ => {}
    }
    adopt(munged, old, FIELD);
}

fn tolerations_only_grow(new: &Map<String, Value>, old: &Map<String, Value>) -> bool {
    let list = |map: &Map<String, Value>| {
        map.get("tolerations")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let new = list(new);
    // The seconds of a toleration may change; everything else identifies it.
    let key = |toleration: &Value| {
        let mut copy = toleration.clone();
        if let Some(map) = copy.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        copy
    };
    list(old)
        .iter()
        .all(|old| new.iter().any(|new| key(new) == key(old)))
}

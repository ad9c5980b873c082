//! Roles and their bindings.

use serde_json::Value;

use super::{FieldError, at};
use crate::meta;
use crate::validation::names::{dns_label_problems, path_segment_problems};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn check(kind: &str, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match kind {
        "Role" => rules(object, true, errors),
        "ClusterRole" => rules(object, false, errors),
        "RoleBinding" => binding(object, old, &["ClusterRole", "Role"], true, errors),
        "ClusterRoleBinding" => binding(object, old, &["ClusterRole"], false, errors),
        _ => {}
    }
}

fn rules(role: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (i, rule) in meta::items(role, &["rules"]).iter().enumerate() {
        let path = format!("rules[{i}]");
        let has = |field| !meta::items(rule, &[field]).is_empty();
        if !has("verbs") {
            let detail = "verbs must contain at least one value";
            errors.push(FieldError::required(format!("{path}.verbs"), detail));
        }
        if has("nonResourceURLs") {
            let urls = at(rule, &["nonResourceURLs"]).clone();
            if namespaced {
                errors.push(FieldError::invalid(
                    format!("{path}.nonResourceURLs"),
                    urls,
                    "namespaced rules cannot apply to non-resource URLs",
                ));
            } else if has("apiGroups") || has("resources") || has("resourceNames") {
                errors.push(FieldError::invalid(
                    format!("{path}.nonResourceURLs"),
                    urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(format!("{path}.apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format!("{path}.resources"), detail));
        }
    }
}

fn binding(
    binding: &Value,
    old: Option<&Value>,
    kinds: &[&str],
    namespaced: bool,
    errors: &mut Vec<FieldError>,
) {
    let role = |key| meta::str_at(binding, &["roleRef", key]).unwrap_or("");
    if role("apiGroup") != GROUP {
        let value = role("apiGroup").into();
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            value,
            &[GROUP],
        ));
    }
    if !kinds.contains(&role("kind")) {
        errors.push(FieldError::not_supported(
            "roleRef.kind",
            role("kind").into(),
            kinds,
        ));
    }
    if role("name").is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    for problem in path_segment_problems(role("name")) {
        errors.push(FieldError::invalid(
            "roleRef.name",
            role("name").into(),
            problem,
        ));
    }
    for (i, subject) in meta::items(binding, &["subjects"]).iter().enumerate() {
        self::subject(&format!("subjects[{i}]"), subject, namespaced, errors);
    }
    if let Some(old) = old {
        let new = at(binding, &["roleRef"]);
        if new != at(old, &["roleRef"]) {
            errors.push(FieldError::invalid(
                "roleRef",
                new.clone(),
                "cannot change roleRef",
            ));
        }
    }
}

fn subject(path: &str, subject: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    let field = |key| meta::str_at(subject, &[key]).unwrap_or("");
    if field("name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = match field("kind") {
        "ServiceAccount" => {
            for problem in dns_label_problems(field("name")) {
                let value = field("name").into();
                errors.push(FieldError::invalid(format!("{path}.name"), value, problem));
            }
            if !namespaced && field("namespace").is_empty() {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let known = &["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(
                format!("{path}.kind"),
                other.into(),
                known,
            ));
            return;
        }
    };
    if field("apiGroup") != group {
        let value = field("apiGroup").into();
        errors.push(FieldError::not_supported(
            format!("{path}.apiGroup"),
            value,
            &[group],
        ));
    }
}

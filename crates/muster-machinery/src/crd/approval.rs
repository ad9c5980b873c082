//! Groups that belong to the Kubernetes community: definitions in them say who approved them.

use crate::meta;
use serde_json::Value;

use crate::go_quote::quoted;

/// The annotation that names the approval.
pub const APPROVED_ANNOTATION: &str = "api-approved.kubernetes.io";

/// What a definition says about its approval, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nothing.
    Missing(String),
    /// That it is not approved, on purpose.
    Bypassed(String),
    /// Where it was approved.
    Approved(String),
    /// Something else.
    Invalid(String),
}

/// Whether a group is protected: `*.k8s.io` and `*.kubernetes.io`.
#[must_use]
pub fn is_protected_group(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group == *domain
            || group
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

/// What the object's annotation says.
#[must_use]
pub fn approval_of(object: &Value) -> Approval {
    let annotation = meta::annotation(object, APPROVED_ANNOTATION).unwrap_or_default();
    let name = quoted(APPROVED_ANNOTATION);
    if annotation.is_empty() {
        return Approval::Missing(format!(
            "protected groups must have approval annotation {name}, see https://github.com/kubernetes/enhancements/pull/1111"
        ));
    }
    if annotation.starts_with("unapproved") {
        return Approval::Bypassed(format!("not approved: {}", quoted(annotation)));
    }
    let is_url = annotation.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
    });
    if is_url {
        return Approval::Approved(format!("approved in {annotation}"));
    }
    Approval::Invalid(format!(
        "protected groups must have approval annotation {name} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
    ))
}

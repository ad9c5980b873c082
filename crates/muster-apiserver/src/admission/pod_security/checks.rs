//! What the Pod Security Standards forbid, check by check, with the versions from which each holds
//! (`k8s.io/pod-security-admission/policy`). Pure functions of a pod.
//!
//! Refuses to know: namespaces, and what becomes of a violation.

mod baseline;
mod restricted;

use muster_machinery::meta;
use serde_json::Value;

use super::policy::{Level, LevelVersion, Version};

/// The newest version for which anything changed.
const NEWEST: u32 = 35;

/// A pod or a pod template.
#[derive(Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) annotations: Option<&'a serde_json::Map<String, Value>>,
    pub(super) spec: &'a Value,
}

/// What a check does not like: the reason, and the detail that goes into brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    reason: String,
    detail: String,
}

type Check = fn(Pod<'_>) -> Option<Violation>;

/// One check, and the minor version from which each of its forms holds.
struct Versioned {
    /// Checks are told of in the order of their names.
    id: &'static str,
    forms: &'static [(u32, Check)],
    /// The baseline check that this one takes the place of.
    overrides: &'static str,
}

/// What a pod violates at a level, in upstream's order.
pub(super) fn violations(policy: LevelVersion, pod: Pod<'_>) -> Vec<Violation> {
    if policy.level == Level::Privileged {
        return Vec::new();
    }
    let minor = match policy.version {
        Version::Latest => NEWEST,
        Version::Minor(minor) => minor.min(NEWEST),
    };
    let form = |check: &Versioned| {
        let mut forms = check.forms.iter().rev();
        forms
            .find(|(from, _)| *from <= minor)
            .map(|(_, form)| *form)
    };
    let restricted = policy.level == Level::Restricted;
    let overridden = |id: &str| {
        let mut overriding = restricted::CHECKS.iter();
        restricted && overriding.any(|check| check.overrides == id && form(check).is_some())
    };
    let baseline = baseline::CHECKS
        .iter()
        .filter(|check| !overridden(check.id));
    let further = restricted::CHECKS.iter().filter(|_| restricted);
    baseline
        .chain(further)
        .filter_map(form)
        .filter_map(|check| check(pod))
        .collect()
}

/// All violations in one line, with their details.
pub(super) fn in_detail(violations: &[Violation]) -> String {
    let texts = violations.iter().map(|one| match one.detail.as_str() {
        "" => one.reason.clone(),
        detail => format!("{} ({detail})", one.reason),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Only their reasons.
pub(super) fn in_short(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|one| one.reason.as_str()).collect();
    reasons.join(", ")
}

fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation {
        reason: reason.to_owned(),
        detail,
    })
}

impl<'a> Pod<'a> {
    /// Every container there is, of all three sorts.
    fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| meta::items(self.spec, &[list]))
    }

    /// The names of those containers that `is_bad` holds of.
    fn bad_containers(self, mut is_bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| is_bad(container))
            .map(name)
            .collect()
    }

    fn security(self, field: &str) -> Option<&'a Value> {
        set(self.spec, &["securityContext", field])
    }

    /// Whether the pod has users of its own, which are nobody on the host.
    fn has_own_users(self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    fn runs_on_windows(self) -> bool {
        meta::str_at(self.spec, &["os", "name"]) == Some("windows")
    }
}

fn name(value: &Value) -> &str {
    meta::str_at(value, &["name"]).unwrap_or_default()
}

/// The value at a path, unless it is null.
fn set<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    meta::at(value, path).filter(|value| !value.is_null())
}

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
}

/// A field of a container's security context.
fn own<'a>(container: &'a Value, field: &str) -> Option<&'a Value> {
    set(container, &["securityContext", field])
}

/// `"a", "b"`.
fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.as_ref()))
        .collect();
    items.join(", ")
}

fn number(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    let word = number(names.len(), "container", "containers");
    format!("{word} {}", quoted(names))
}

/// The pod, its containers, or both, as those who set something.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let pod = pod.then(|| "pod".to_owned());
    let names = (!names.is_empty()).then(|| containers(names));
    let all: Vec<String> = pod.into_iter().chain(names).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

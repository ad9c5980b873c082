//! PodSecurity: pods are held to the level of the Pod Security Standards that their namespace asks for; templates of
//! pods are warned of.
//!
//! Refuses to know: exemptions. There are none.

mod checks;
mod policy;

use std::collections::{BTreeMap, HashSet};

use muster_machinery::{meta, status::Status};
use serde_json::Value;

use super::{Admitted, Judged, Operation};
use crate::request::ObjectReader;
use checks::{Pod, in_detail, in_short, violations};
use policy::{Level, LevelVersion, Policy};

const ANNOTATION: &str = "pod-security.kubernetes.io/";
/// Pods that are looked at when a namespace is held to more than before.
const MOST_PODS: usize = 3000;
/// Subresources of pods that change nothing about what they may do.
const HARMLESS: [&str; 8] = [
    "exec",
    "attach",
    "binding",
    "eviction",
    "log",
    "portforward",
    "proxy",
    "status",
];

pub(super) fn admit(reader: &dyn ObjectReader, request: &Judged<'_>) -> Admitted {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let Some(object) = request.object else {
        return Ok(());
    };
    if request.is_about("", "namespaces") {
        return namespace(reader, request, object);
    }
    if request.is_about("", "pods") {
        let unchanged = || request.old.is_some_and(|old| !is_significant(object, old));
        if HARMLESS.contains(&request.subresource()) || unchanged() {
            return Ok(());
        }
        return judge(reader, request, pod(object), true);
    }
    if !request.subresource().is_empty() {
        return Ok(());
    }
    match template(request, object) {
        Some(template) => judge(reader, request, pod(template), false),
        None => Ok(()),
    }
}

fn pod(object: &Value) -> Pod<'_> {
    Pod {
        annotations: meta::annotations(object),
        spec: object.get("spec").unwrap_or(&Value::Null),
    }
}

/// The template from which a controller makes pods.
fn template<'a>(request: &Judged<'_>, object: &'a Value) -> Option<&'a Value> {
    let path: &[&str] = match (request.info.group.as_str(), request.info.resource.as_str()) {
        ("", "podtemplates") => &["template"],
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &["spec", "template"],
        ("batch", "cronjobs") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    meta::at(object, path).filter(|template| template.is_object())
}

/// Whether a change of a pod could make it do other things: other containers, or other images.
fn is_significant(new: &Value, old: &Value) -> bool {
    let list = |pod, which| meta::items(pod, &["spec", which]);
    let image = |container: &Value| container.get("image").cloned();
    for which in ["containers", "initContainers"] {
        let (new, old) = (list(new, which), list(old, which));
        if new.len() != old.len()
            || new
                .iter()
                .zip(old)
                .any(|(new, old)| image(new) != image(old))
        {
            return true;
        }
    }
    let before = list(old, "ephemeralContainers");
    list(new, "ephemeralContainers").iter().any(|new| {
        let mut before = before.iter();
        let old = before.find(|old| old.get("name") == new.get("name"));
        old.is_none_or(|old| image(old) != image(new))
    })
}

fn judge(
    reader: &dyn ObjectReader,
    request: &Judged<'_>,
    pod: Pod<'_>,
    enforces: bool,
) -> Admitted {
    let remark = |key: &str, text: String| {
        request.notes.annotate(&format!("{ANNOTATION}{key}"), text);
    };
    let name = request.namespace();
    let Some(namespace) = reader.get("", "namespaces", None, name) else {
        if enforces {
            let why = format!("failed to lookup namespace {name:?}");
            return Err(Status::internal(why).into());
        }
        return Ok(());
    };
    let (policy, errors) = Policy::of(&namespace);
    if policy.is_privileged() && errors.is_empty() {
        if enforces {
            remark("enforce-policy", "privileged:latest".to_owned());
        }
        return Ok(());
    }
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        remark(
            "error",
            format!("Failed to parse policy: {}", list(&errors)),
        );
    }
    let mut refused = Ok(());
    if enforces {
        remark("enforce-policy", policy.enforce.to_string());
        let found = violations(policy.enforce, pod);
        if !found.is_empty() {
            let level = policy.enforce.to_string();
            let why = format!("violates PodSecurity {level:?}: {}", in_detail(&found));
            refused = Err(request.forbidden(&why));
        }
    }
    let would = |level: LevelVersion| {
        let found = violations(level, pod);
        let name = level.to_string();
        (!found.is_empty())
            .then(|| format!("would violate PodSecurity {name:?}: {}", in_detail(&found)))
    };
    if let Some(told) = would(policy.audit) {
        remark("audit-violations", told);
    }
    if refused.is_ok()
        && let Some(told) = would(policy.warn)
    {
        request.notes.warn(&told);
    }
    refused
}

/// Several errors as upstream joins them.
fn list(errors: &[String]) -> String {
    match errors {
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// The labels of a namespace must be readable, and whoever asks for more is told which pods would not pass.
fn namespace(reader: &dyn ObjectReader, request: &Judged<'_>, object: &Value) -> Admitted {
    if !request.subresource().is_empty() {
        return Ok(());
    }
    let (policy, errors) = Policy::of(object);
    let before = request.old.map(Policy::of);
    let known = before.as_ref().is_some_and(|(_, before)| *before == errors);
    if !errors.is_empty() && !known {
        return Err(Status::invalid("", "Namespace", request.name(), &errors).into());
    }
    let Some((before, _)) = before else {
        return Ok(());
    };
    let (new, old) = (policy.enforce, before.enforce);
    let is_laxer = new.version == old.version && new.level <= old.level;
    if new == old || new.level == Level::Privileged || is_laxer {
        return Ok(());
    }
    for warning in existing(reader, request.name(), new) {
        request.notes.warn(&warning);
    }
    Ok(())
}

/// What pods that are there already violate.
fn existing(reader: &dyn ObjectReader, namespace: &str, level: LevelVersion) -> Vec<String> {
    let pods = reader.list("", "pods", Some(namespace));
    let mut owners = HashSet::new();
    // One pod of each controller first: its siblings are alike.
    let (first, siblings): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| {
        let mut references = meta::owner_references(pod).iter();
        let controller = references.find(|one| one.get("controller") == Some(&Value::Bool(true)));
        let owner = controller.and_then(|owner| meta::str_at(owner, &["uid"]));
        owner.is_none_or(|uid| owners.insert(uid.to_owned()))
    });
    let total = pods.len();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for one in first.into_iter().chain(siblings).take(MOST_PODS) {
        let violations = violations(level, pod(one));
        if !violations.is_empty() {
            let names = found.entry(in_short(&violations)).or_default();
            names.push(meta::name(one));
        }
    }
    let mut warnings = Vec::new();
    if total > MOST_PODS {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        let level = level.to_string();
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {level:?}"
        ));
    }
    let mut lines: Vec<String> = found
        .iter()
        .map(|(what, names)| {
            let name = names.iter().min().copied().unwrap_or_default();
            match names.len() {
                1 => format!("{name}: {what}"),
                2 => format!("{name} (and 1 other pod): {what}"),
                more => format!("{name} (and {} other pods): {what}", more - 1),
            }
        })
        .collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}

#[cfg(test)]
mod tests;

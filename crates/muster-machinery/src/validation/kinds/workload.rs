//! Deployments, sets and jobs: the selector fits the template and never changes.

use serde_json::Value;

use super::pod::pod_spec;
use super::{FieldError, at, immutable};
use crate::meta;
use crate::selector::LabelSelector;

const STATEFUL_SET: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

pub(super) fn check(kind: &str, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            count(object, "replicas", errors);
            selector_fits(object, errors);
            pod_spec(
                "spec.template.spec",
                at(object, &["spec", "template", "spec"]),
                errors,
            );
            restarts_always(object, errors);
            match old {
                Some(old) if kind == "StatefulSet" => stateful_set_stays(object, old, errors),
                Some(old) => immutable(object, old, &["spec", "selector"], errors),
                None => {}
            }
        }
        "Job" => job(object, old, errors),
        "CronJob" => cron_job(object, errors),
        _ => {}
    }
}

fn count(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = at(object, &["spec", field]).as_i64()
        && number < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            format!("spec.{field}"),
            number.into(),
            detail,
        ));
    }
}

fn selector_fits(object: &Value, errors: &mut Vec<FieldError>) {
    let selector = at(object, &["spec", "selector"]);
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    }
    match LabelSelector::from_object(Some(selector)) {
        Err(problem) => {
            let value = selector.clone();
            errors.push(FieldError::invalid(
                "spec.selector",
                value,
                problem.to_string(),
            ));
        }
        Ok(parsed) if parsed.is_everything() => errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            "empty selector is invalid for deployment",
        )),
        Ok(parsed) => {
            let labels = at(object, &["spec", "template", "metadata", "labels"]);
            if !parsed.matches_labels(labels.as_object()) {
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    labels.clone(),
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
}

fn restarts_always(object: &Value, errors: &mut Vec<FieldError>) {
    let policy = meta::str_at(object, &["spec", "template", "spec", "restartPolicy"]).unwrap_or("");
    if policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(field, policy.into(), &["Always"]));
    }
}

fn stateful_set_stays(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fixed = [
        "selector",
        "serviceName",
        "podManagementPolicy",
        "volumeClaimTemplates",
    ];
    let changed = fixed
        .iter()
        .any(|field| !super::same(at(object, &["spec", field]), at(old, &["spec", field])));
    if changed {
        errors.push(FieldError::forbidden("spec", STATEFUL_SET));
    }
}

fn job(job: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        count(job, field, errors);
    }
    pod_spec(
        "spec.template.spec",
        at(job, &["spec", "template", "spec"]),
        errors,
    );
    once_only(
        "spec.template.spec",
        at(job, &["spec", "template", "spec"]),
        errors,
    );
    let Some(old) = old else { return };
    let suspended = at(old, &["spec", "suspend"]) == &Value::Bool(true);
    for field in [
        "completions",
        "selector",
        "completionMode",
        "podFailurePolicy",
    ] {
        immutable(job, old, &["spec", field], errors);
    }
    if !suspended {
        immutable(job, old, &["spec", "template"], errors);
    }
}

/// Pods of a job end; they cannot be restarted for ever.
fn once_only(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let policy = meta::str_at(spec, &["restartPolicy"]).unwrap_or("");
    if !matches!(policy, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(
            format!("{path}.restartPolicy"),
            policy.into(),
            &["OnFailure", "Never"],
        ));
    }
}

fn cron_job(cron: &Value, errors: &mut Vec<FieldError>) {
    if meta::str_at(cron, &["spec", "schedule"]).is_none_or(str::is_empty) {
        errors.push(FieldError::required("spec.schedule", ""));
    }
    let policy = meta::str_at(cron, &["spec", "concurrencyPolicy"]).unwrap_or("");
    let policies = &["Allow", "Forbid", "Replace"];
    if !policies.contains(&policy) {
        errors.push(FieldError::not_supported(
            "spec.concurrencyPolicy",
            policy.into(),
            policies,
        ));
    }
    let path = "spec.jobTemplate.spec.template.spec";
    let spec = at(cron, &["spec", "jobTemplate", "spec", "template", "spec"]);
    pod_spec(path, spec, errors);
    once_only(path, spec, errors);
}

pub(super) fn priority_class(class: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let value = at(class, &["value"]).as_i64().unwrap_or(0);
    let system = meta::name(class).starts_with("system-");
    if !system && value > 1_000_000_000 {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        errors.push(FieldError::forbidden("value", detail));
    }
    if let Some(old) = old {
        if at(old, &["value"]).as_i64().unwrap_or(0) != value {
            errors.push(FieldError::forbidden(
                "value",
                "may not be changed in an update.",
            ));
        }
        immutable(class, old, &["preemptionPolicy"], errors);
    }
}

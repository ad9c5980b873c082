//! Deployments, sets, jobs, autoscalers.

use serde_json::{Value, json};

use super::fill::{child, each, existing, fill, fill_text};
use super::pod;
use crate::meta;

pub(super) fn apply(kind: &str, object: &mut Value) {
    if let "HorizontalPodAutoscaler" = kind {
        return autoscaler(object);
    }
    let Some(spec) = existing(object, "spec") else {
        return;
    };
    match kind {
        "Deployment" => deployment(spec),
        "DaemonSet" => daemon_set(spec),
        "StatefulSet" => stateful_set(spec),
        "ReplicaSet" => fill(spec, "replicas", 1),
        "ReplicationController" => replication_controller(spec),
        "Job" => job(spec),
        "CronJob" => return cron_job(spec),
        _ => return,
    }
    pod::template(spec.get_mut("template"));
}

fn deployment(spec: &mut Value) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let Some(strategy) = child(spec, "strategy") else {
        return;
    };
    fill_text(strategy, "type", "RollingUpdate");
    if meta::str_at(strategy, &["type"]) == Some("RollingUpdate")
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
}

fn daemon_set(spec: &mut Value) {
    fill(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = child(spec, "updateStrategy") else {
        return;
    };
    fill_text(strategy, "type", "RollingUpdate");
    if meta::str_at(strategy, &["type"]) == Some("RollingUpdate")
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
}

fn stateful_set(spec: &mut Value) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill_text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(retention) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        fill_text(retention, "whenDeleted", "Retain");
        fill_text(retention, "whenScaled", "Retain");
    }
    for claim in each(spec, "volumeClaimTemplates") {
        fill_text(claim, "apiVersion", "v1");
        fill_text(claim, "kind", "PersistentVolumeClaim");
        if let Some(claim) = existing(claim, "spec") {
            fill(claim, "volumeMode", "Filesystem");
        }
        fill(claim, "status", json!({"phase": "Pending"}));
    }
    let Some(strategy) = child(spec, "updateStrategy") else {
        return;
    };
    fill_text(strategy, "type", "RollingUpdate");
    if meta::str_at(strategy, &["type"]) == Some("RollingUpdate")
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "partition", 0);
    }
}

/// The selector is that of the template when there is none.
fn replication_controller(spec: &mut Value) {
    fill(spec, "replicas", 1);
    let labels = meta::at(spec, &["template", "metadata", "labels"]).cloned();
    let empty = meta::at(spec, &["selector"])
        .and_then(Value::as_object)
        .is_none_or(serde_json::Map::is_empty);
    if let (true, Some(labels)) = (empty, labels) {
        spec["selector"] = labels;
    }
}

fn job(spec: &mut Value) {
    // Without either number one pod is meant; with parallelism only, any success is enough.
    if spec.get("completions").is_none_or(Value::is_null)
        && spec.get("parallelism").is_none_or(Value::is_null)
    {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let per_index = spec
        .get("backoffLimitPerIndex")
        .is_some_and(|limit| !limit.is_null());
    fill(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let failure_policy = spec
        .get("podFailurePolicy")
        .is_some_and(|policy| !policy.is_null());
    let replacement = if failure_policy {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    fill(spec, "podReplacementPolicy", replacement);
}

fn cron_job(spec: &mut Value) {
    fill_text(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let template = existing(spec, "jobTemplate").and_then(|template| existing(template, "spec"));
    pod::template(template.and_then(|job| job.get_mut("template")));
}

fn autoscaler(object: &mut Value) {
    let v2 = meta::api_version(object) != "autoscaling/v1";
    let Some(spec) = existing(object, "spec") else {
        return;
    };
    fill(spec, "minReplicas", 1);
    if v2 && meta::items(spec, &["metrics"]).is_empty() {
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    }
}

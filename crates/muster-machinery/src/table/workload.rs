//! Deployments, sets, jobs, autoscalers.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{
    age_of, containers, flag, has_condition, int, labels, name, selector, text, text_or,
};
use super::column::{self, AGE, CONTAINERS, Column, IMAGES, NAME, Printer, SELECTOR};
use crate::duration_text::{age, human_duration};
use crate::gvk::{GroupResource, split_api_version};
use crate::meta::{self, at, items, str_at, time_at};
use crate::quantity::canonical;

const POD_CONTAINERS: &[&str] = &["spec", "template", "spec", "containers"];

const REPLICAS: &[Column] = &[
    NAME,
    column::integer("Desired", "Replicas is the number of desired pods."),
    column::integer(
        "Current",
        "Replicas is the most recently observed number of replicas.",
    ),
    column::integer("Ready", "The number of ready replicas."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DEPLOYMENT: &[Column] = &[
    NAME,
    column::text("Ready", "Number of the pod with ready state"),
    column::text(
        "Up-to-date",
        "Total number of non-terminated pods targeted by this deployment that have the desired template spec.",
    ),
    column::text(
        "Available",
        "Total number of available pods (ready for at least minReadySeconds) targeted by this deployment.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DAEMON_SET: &[Column] = &[
    NAME,
    column::integer(
        "Desired",
        "The total number of nodes that should be running the daemon pod (including nodes correctly running the daemon pod).",
    ),
    column::integer(
        "Current",
        "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod.",
    ),
    column::integer(
        "Ready",
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running with a Ready Condition.",
    ),
    column::integer(
        "Up-to-date",
        "The total number of nodes that are running updated daemon pod",
    ),
    column::integer(
        "Available",
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available.",
    ),
    column::text(
        "Node Selector",
        "NodeSelector is a selector which must be true for the pod to fit on a node.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const STATEFUL_SET: &[Column] = &[
    NAME,
    column::text("Ready", "Number of the pod with ready state"),
    AGE,
    CONTAINERS,
    IMAGES,
];

const JOB: &[Column] = &[
    NAME,
    column::text("Status", "Status of the job."),
    column::text(
        "Completions",
        "The number of pods which reached phase Succeeded.",
    ),
    column::text("Duration", "Time required to complete the job."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const CRON_JOB: &[Column] = &[
    NAME,
    column::text(
        "Schedule",
        "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron.",
    ),
    column::text(
        "Timezone",
        "The time zone name for the given schedule, see https://en.wikipedia.org/wiki/List_of_tz_database_time_zones.",
    ),
    column::boolean(
        "Suspend",
        "This flag tells the controller to suspend subsequent executions.",
    ),
    column::integer("Active", "A list of pointers to currently running jobs."),
    column::text(
        "Last Schedule",
        "Information when was the last time the job was successfully scheduled.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const AUTOSCALER: &[Column] = &[
    NAME,
    column::text(
        "Reference",
        "scaleTargetRef points to the target resource to scale.",
    ),
    column::text(
        "Targets",
        "metrics contains the specifications for which to use to calculate the desired replica count.",
    ),
    column::text(
        "MinPods",
        "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.",
    ),
    column::text(
        "MaxPods",
        "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up.",
    ),
    column::text(
        "Replicas",
        "currentReplicas is current number of replicas of pods managed by this autoscaler.",
    ),
    AGE,
];

const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    column::text("Controller", "Controller of the object"),
    column::text(
        "Revision",
        "Revision indicates the revision of the state represented by Data.",
    ),
    AGE,
];

const SCALE: &[Column] = &[
    NAME,
    column::integer(
        "Desired",
        "replicas is the desired number of instances for the scaled object.",
    ),
    column::integer(
        "Available",
        "replicas is the actual number of observed instances of the scaled object.",
    ),
    AGE,
];

pub(super) fn core_printer(kind: &str) -> Option<Printer> {
    (kind == "ReplicationController").then_some(Printer::new(REPLICAS, |o, now| {
        replicas(o, now, labels(at(o, &["spec", "selector"])))
    }))
}

pub(super) fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("apps", "ReplicaSet") => {
            Printer::new(REPLICAS, |o, now| replicas(o, now, pod_selector(o)))
        }
        ("apps", "Deployment") => Printer::new(DEPLOYMENT, deployment),
        ("apps", "DaemonSet") => Printer::new(DAEMON_SET, daemon_set),
        ("apps", "StatefulSet") => Printer::new(STATEFUL_SET, |o, now| {
            let [names, images] = containers(o, POD_CONTAINERS);
            vec![name(o), ready(o).into(), age_of(o, now), names, images]
        }),
        ("apps", "ControllerRevision") => Printer::new(CONTROLLER_REVISION, |o, now| {
            vec![
                name(o),
                controller(o).into(),
                int(o, &["revision"]).into(),
                age_of(o, now),
            ]
        }),
        ("batch", "Job") => Printer::new(JOB, job),
        ("batch", "CronJob") => Printer::new(CRON_JOB, cron_job),
        ("autoscaling", "HorizontalPodAutoscaler") => Printer::new(AUTOSCALER, autoscaler),
        ("autoscaling", "Scale") => Printer::new(SCALE, |o, now| {
            let [spec, status] = ["spec", "status"].map(|part| int(o, &[part, "replicas"]).into());
            vec![name(o), spec, status, age_of(o, now)]
        }),
        _ => return None,
    })
}

fn pod_selector(object: &Value) -> String {
    selector(at(object, &["spec", "selector"]))
}

fn replicas(object: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let [names, images] = containers(object, POD_CONTAINERS);
    vec![
        name(object),
        int(object, &["spec", "replicas"]).into(),
        int(object, &["status", "replicas"]).into(),
        int(object, &["status", "readyReplicas"]).into(),
        age_of(object, now),
        names,
        images,
        selector.into(),
    ]
}

fn ready(object: &Value) -> String {
    let ready = int(object, &["status", "readyReplicas"]);
    format!("{ready}/{}", int(object, &["spec", "replicas"]))
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, POD_CONTAINERS);
    vec![
        name(object),
        ready(object).into(),
        int(object, &["status", "updatedReplicas"]).into(),
        int(object, &["status", "availableReplicas"]).into(),
        age_of(object, now),
        names,
        images,
        pod_selector(object).into(),
    ]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, POD_CONTAINERS);
    let status = |field| -> Value { int(object, &["status", field]).into() };
    vec![
        name(object),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(at(object, &["spec", "template", "spec", "nodeSelector"])).into(),
        age_of(object, now),
        names,
        images,
        pod_selector(object).into(),
    ]
}

fn controller(object: &Value) -> String {
    let owner = meta::owner_references(object)
        .iter()
        .find(|o| flag(o, &["controller"], false));
    let Some(owner) = owner else {
        return "<none>".into();
    };
    let field = |key| str_at(owner, &[key]).unwrap_or("");
    let group = split_api_version(field("apiVersion")).map_or("", |(group, _)| group);
    let kind = GroupResource::new(group, field("kind"))
        .to_string()
        .to_lowercase();
    format!("{kind}/{}", field("name"))
}

fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = int(job, &["status", "succeeded"]);
    let completions = match at(job, &["spec", "completions"]).and_then(Value::as_i64) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match int(job, &["spec", "parallelism"]) {
            parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let [names, images] = containers(job, POD_CONTAINERS);
    vec![
        name(job),
        job_status(job).into(),
        completions.into(),
        job_duration(job, now).into(),
        age_of(job, now),
        names,
        images,
        pod_selector(job).into(),
    ]
}

fn job_status(job: &Value) -> &'static str {
    match () {
        () if has_condition(job, "Complete") => "Complete",
        () if has_condition(job, "Failed") => "Failed",
        () if meta::is_being_deleted(job) => "Terminating",
        () if has_condition(job, "Suspended") => "Suspended",
        () if has_condition(job, "FailureTarget") => "FailureTarget",
        () => "Running",
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time_at(job, &["status", "startTime"]) else {
        return String::new();
    };
    let end = time_at(job, &["status", "completionTime"]).unwrap_or(now);
    human_duration(end.duration_since(start))
}

fn cron_job(cron: &Value, now: Timestamp) -> Vec<Value> {
    const JOB: &[&str] = &["spec", "jobTemplate", "spec"];
    let [names, images] = containers(
        cron,
        &[
            "spec",
            "jobTemplate",
            "spec",
            "template",
            "spec",
            "containers",
        ],
    );
    let suspend = match at(cron, &["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = time_at(cron, &["status", "lastScheduleTime"]);
    vec![
        name(cron),
        text(cron, &["spec", "schedule"]),
        text_or(cron, &["spec", "timeZone"], "<none>"),
        suspend.into(),
        items(cron, &["status", "active"]).len().into(),
        last.map_or_else(|| "<none>".into(), |last| age(Some(last), now))
            .into(),
        age_of(cron, now),
        names,
        images,
        selector(at(cron, JOB).and_then(|spec| spec.get("selector"))).into(),
    ]
}

fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let target = |key| str_at(object, &["spec", "scaleTargetRef", key]).unwrap_or("");
    let min = at(object, &["spec", "minReplicas"]).and_then(Value::as_i64);
    vec![
        name(object),
        format!("{}/{}", target("kind"), target("name")).into(),
        metrics(object).into(),
        min.map_or_else(|| "<unset>".into(), |min| min.to_string())
            .into(),
        int(object, &["spec", "maxReplicas"]).into(),
        int(object, &["status", "currentReplicas"]).into(),
        age_of(object, now),
    ]
}

/// What is measured and wanted: `cpu: 12%/80%`. The v1 form has a CPU percentage only.
fn metrics(object: &Value) -> String {
    let specs = items(object, &["spec", "metrics"]);
    if let Some(wanted) = at(object, &["spec", "targetCPUUtilizationPercentage"]) {
        let current = at(object, &["status", "currentCPUUtilizationPercentage"]);
        let current = current.map_or_else(|| "<unknown>".into(), |c| format!("{c}%"));
        return format!("cpu: {current}/{wanted}%");
    }
    let statuses = items(object, &["status", "currentMetrics"]);
    let texts: Vec<_> = specs
        .iter()
        .enumerate()
        .map(|(i, spec)| metric(spec, statuses.get(i)))
        .collect();
    match texts.len() {
        0 => "<none>".into(),
        n if n > 2 => format!("{} + {} more...", texts[..2].join(", "), n - 2),
        _ => texts.join(", "),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (key, named) = match str_at(spec, &["type"]) {
        Some("External") => ("external", false),
        Some("Pods") => ("pods", false),
        Some("Object") => ("object", false),
        Some("Resource") => ("resource", true),
        Some("ContainerResource") => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = |field| at(spec, &[key, "target", field]);
    let current = |field| status.and_then(|status| at(status, &[key, "current", field]));
    let quantity = |value: Option<&Value>| value.map_or_else(|| "<unknown>".into(), canonical);
    let percent = |value: Option<&Value>, otherwise: &str| {
        value.map_or_else(|| otherwise.to_owned(), |value| format!("{value}%"))
    };
    let average = target("averageValue");
    let pair = match (named, average) {
        (true, None) => format!(
            "{}/{}",
            percent(current("averageUtilization"), "<unknown>"),
            percent(target("averageUtilization"), "<auto>")
        ),
        (_, Some(wanted)) => format!(
            "{}/{}",
            quantity(current("averageValue")),
            canonical(wanted)
        ),
        (false, None) => format!(
            "{}/{}",
            quantity(current("value")),
            quantity(target("value"))
        ),
    };
    match (named, average) {
        (true, _) => format!("{}: {pair}", str_at(spec, &[key, "name"]).unwrap_or("")),
        (false, Some(_)) if key != "pods" => format!("{pair} (avg)"),
        _ => pair,
    }
}

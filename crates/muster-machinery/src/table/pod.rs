//! Pods: one word for the state of several containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cell::{age_of, containers, flag, has_condition, int, labels, name, text_or};
use super::column::{self, AGE, Column, NAME, Printer, wide};
use crate::duration_text::age;
use crate::meta::{self, at, items, str_at, time_at};

const COLUMNS: &[Column] = &[
    NAME,
    column::text(
        "Ready",
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    column::text(
        "Status",
        "The aggregate status of the containers in this pod.",
    ),
    column::text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wide(
        "IP",
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
    ),
    wide(
        "Node",
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName.",
    ),
    wide(
        "Nominated Node",
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods.",
    ),
    wide(
        "Readiness Gates",
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\"",
    ),
];

const TEMPLATE_COLUMNS: &[Column] = &[
    NAME,
    column::text("Containers", "Names of each container in the template."),
    column::text(
        "Images",
        "Images referenced by each container in the template.",
    ),
    column::text("Pod Labels", "The labels for the pod template."),
];

pub(super) fn printer(kind: &str) -> Option<Printer> {
    match kind {
        "Pod" => Some(Printer {
            columns: COLUMNS,
            cells,
            conditions,
        }),
        "PodTemplate" => Some(Printer::new(TEMPLATE_COLUMNS, template_cells)),
        _ => None,
    }
}

fn template_cells(template: &Value, _: Timestamp) -> Vec<Value> {
    let [names, images] = containers(template, &["template", "spec", "containers"]);
    let labels = labels(at(template, &["template", "metadata", "labels"]));
    vec![name(template), names, images, labels.into()]
}

/// A pod that is done is marked, so that clients may dim its row.
fn conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match str_at(pod, &["status", "phase"]) {
        Some("Succeeded") => ("Succeeded", "The pod has completed successfully."),
        Some("Failed") => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let state = PodState::of(pod);
    let restarts = match (state.restarts, state.last_restart) {
        (n, Some(last)) if n != 0 => format!("{n} ({} ago)", age(Some(last), now)),
        (n, _) => n.to_string(),
    };
    let ip = items(pod, &["status", "podIPs"])
        .first()
        .and_then(|ip| str_at(ip, &["ip"]));
    vec![
        name(pod),
        format!("{}/{}", state.ready, state.total).into(),
        state.word.into(),
        restarts.into(),
        age_of(pod, now),
        ip.filter(|ip| !ip.is_empty()).unwrap_or("<none>").into(),
        text_or(pod, &["spec", "nodeName"], "<none>"),
        text_or(pod, &["status", "nominatedNodeName"], "<none>"),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates
        .iter()
        .filter_map(|gate| str_at(gate, &["conditionType"]))
        .filter(|gate| has_condition(pod, gate))
        .count();
    format!("{open}/{}", gates.len())
}

/// The sum of a pod's containers.
struct PodState {
    word: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts of sidecars (init containers that keep running) count on after initialisation.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += int(status, &["restartCount"]);
        self.last = self
            .last
            .max(time_at(status, &["lastState", "terminated", "finishedAt"]));
    }
}

impl PodState {
    fn of(pod: &Value) -> Self {
        let init = items(pod, &["spec", "initContainers"]);
        let total = items(pod, &["spec", "containers"]).len()
            + init.iter().filter(|c| is_sidecar(c)).count();
        let mut state = Self {
            word: phase_word(pod),
            ready: 0,
            total,
            restarts: 0,
            last_restart: None,
        };
        let (initializing, all, sidecars) = state.initialisation(pod, init);
        let restarts = if !initializing || has_condition(pod, "Initialized") {
            state.containers(pod, sidecars)
        } else {
            all
        };
        state.restarts = restarts.count;
        state.last_restart = restarts.last;
        state.deletion(pod);
        state
    }

    /// Walks the init containers up to the first that is not done.
    fn initialisation(&mut self, pod: &Value, specs: &[Value]) -> (bool, Restarts, Restarts) {
        let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());
        for (i, status) in items(pod, &["status", "initContainerStatuses"])
            .iter()
            .enumerate()
        {
            all.add(status);
            let name = str_at(status, &["name"]);
            let sidecar = specs
                .iter()
                .find(|c| str_at(c, &["name"]) == name)
                .is_some_and(is_sidecar);
            if sidecar {
                sidecars.add(status);
            }
            let terminated = at(status, &["state", "terminated"]).filter(|t| !t.is_null());
            if terminated.is_some_and(|t| int(t, &["exitCode"]) == 0) {
                continue;
            }
            if sidecar && flag(status, &["started"], false) {
                self.ready += usize::from(flag(status, &["ready"], false));
                continue;
            }
            let waiting = str_at(status, &["state", "waiting", "reason"]).unwrap_or("");
            self.word = match terminated {
                Some(terminated) => format!("Init:{}", termination(terminated)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => {
                    format!("Init:{waiting}")
                }
                None => format!("Init:{i}/{}", specs.len()),
            };
            return (true, all, sidecars);
        }
        (false, all, sidecars)
    }

    /// The first container that is not running gives the word.
    fn containers(&mut self, pod: &Value, mut restarts: Restarts) -> Restarts {
        let mut running = false;
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            restarts.add(status);
            let waiting = str_at(status, &["state", "waiting", "reason"]).unwrap_or("");
            let terminated = at(status, &["state", "terminated"]).filter(|t| !t.is_null());
            if !waiting.is_empty() {
                self.word = waiting.into();
            } else if let Some(terminated) = terminated {
                self.word = termination(terminated);
            } else if flag(status, &["ready"], false)
                && at(status, &["state", "running"]).is_some_and(|r| !r.is_null())
            {
                running = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && running {
            self.word = if has_condition(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .into();
        }
        restarts
    }

    fn deletion(&mut self, pod: &Value) {
        let finished = matches!(
            str_at(pod, &["status", "phase"]),
            Some("Succeeded" | "Failed")
        );
        if !meta::is_being_deleted(pod) {
        } else if str_at(pod, &["status", "reason"]) == Some("NodeLost") {
            self.word = "Unknown".into();
        } else if !finished {
            self.word = "Terminating".into();
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    str_at(container, &["restartPolicy"]) == Some("Always")
}

fn phase_word(pod: &Value) -> String {
    let gated = items(pod, &["status", "conditions"])
        .iter()
        .any(|condition| {
            str_at(condition, &["type"]) == Some("PodScheduled")
                && str_at(condition, &["reason"]) == Some("SchedulingGated")
        });
    if gated {
        return "SchedulingGated".into();
    }
    let reason = str_at(pod, &["status", "reason"]).filter(|reason| !reason.is_empty());
    reason
        .or_else(|| str_at(pod, &["status", "phase"]))
        .unwrap_or("")
        .into()
}

fn termination(terminated: &Value) -> String {
    let reason = str_at(terminated, &["reason"]).unwrap_or("");
    let signal = int(terminated, &["signal"]);
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", int(terminated, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

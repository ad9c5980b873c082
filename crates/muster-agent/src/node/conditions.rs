//! The conditions of a Node, from what is scarce and what the runtime says. Pure.

use crate::cri::RuntimeState;
use crate::machine::Usage;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Memory below this is pressure: the kubelet's default hard eviction threshold, 100 MiB.
const LEAST_MEMORY_KIB: u64 = 100 * 1024;
/// Free disk below this share of its size is pressure (kubelet default: 10 %).
const LEAST_DISK_PERCENT: u64 = 10;
/// Processes above this share of the limit are pressure.
const MOST_PROCESSES_PERCENT: u64 = 90;

/// Whether the node is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It serves.
    Up,
    /// It was told to stop.
    ShuttingDown,
}

/// One condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `MemoryPressure`, `DiskPressure`, `PIDPressure` or `Ready`.
    pub kind: &'static str,
    /// `True` or `False`.
    pub status: &'static str,
    /// One word for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The four conditions that a kubelet reports, in its order.
#[must_use]
pub fn conditions(usage: &Usage, runtime: &RuntimeState, life: Life) -> Vec<Condition> {
    let memory = usage.memory_available_kib < LEAST_MEMORY_KIB;
    let disk = usage.disk_available_kib.saturating_mul(100)
        < usage.disk_kib.saturating_mul(LEAST_DISK_PERCENT);
    let processes = usage.processes.saturating_mul(100)
        > usage.processes_limit.saturating_mul(MOST_PROCESSES_PERCENT);
    vec![
        pressure(
            "MemoryPressure",
            memory,
            "KubeletHasInsufficientMemory",
            "KubeletHasSufficientMemory",
            "memory",
        ),
        disk_pressure(disk),
        pressure(
            "PIDPressure",
            processes,
            "KubeletHasInsufficientPID",
            "KubeletHasSufficientPID",
            "PID",
        ),
        ready(runtime, life),
    ]
}

fn pressure(
    kind: &'static str,
    is: bool,
    short: &'static str,
    enough: &'static str,
    of: &str,
) -> Condition {
    let (status, reason, word) = if is {
        ("True", short, "insufficient")
    } else {
        ("False", enough, "sufficient")
    };
    Condition {
        kind,
        status,
        reason,
        message: format!("kubelet has {word} {of} available"),
    }
}

fn disk_pressure(is: bool) -> Condition {
    let (status, reason, message) = if is {
        (
            "True",
            "KubeletHasDiskPressure",
            "kubelet has disk pressure",
        )
    } else {
        (
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        )
    };
    Condition {
        kind: "DiskPressure",
        status,
        reason,
        message: message.to_owned(),
    }
}

fn ready(runtime: &RuntimeState, life: Life) -> Condition {
    let not_ready = |message: String| Condition {
        kind: "Ready",
        status: "False",
        reason: "KubeletNotReady",
        message,
    };
    if life == Life::ShuttingDown {
        return not_ready("node is shutting down".to_owned());
    }
    match runtime.problem() {
        Some(problem) => not_ready(problem),
        None => Condition {
            kind: "Ready",
            status: "True",
            reason: "KubeletReady",
            message: "kubelet is posting ready status".to_owned(),
        },
    }
}

/// As the Node's status holds them; a transition keeps its time while the status stays.
#[must_use]
pub fn to_json(conditions: &[Condition], before: &Value, now: Timestamp) -> Value {
    let now = format!("{now:.0}");
    let since = |condition: &Condition| {
        let old = before.as_array().into_iter().flatten();
        let mut old =
            old.filter(|one| one["type"] == condition.kind && one["status"] == condition.status);
        old.find_map(|one| one["lastTransitionTime"].as_str().map(str::to_owned))
    };
    conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition.kind,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since(condition).unwrap_or_else(|| now.clone()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Usage = Usage {
        memory_available_kib: 1 << 20,
        disk_available_kib: 50,
        disk_kib: 100,
        processes: 10,
        processes_limit: 1000,
    };

    fn status(usage: &Usage, runtime: &RuntimeState, life: Life) -> Vec<&'static str> {
        conditions(usage, runtime, life)
            .iter()
            .map(|condition| condition.status)
            .collect()
    }

    #[test]
    fn a_machine_with_plenty_and_a_running_runtime_is_ready() {
        let hollow = RuntimeState::hollow();
        assert_eq!(
            status(&PLENTY, &hollow, Life::Up),
            ["False", "False", "False", "True"]
        );
    }

    #[test]
    fn what_is_scarce_shows_and_a_node_that_stops_is_not_ready() {
        let hollow = RuntimeState::hollow();
        let scarce = Usage {
            memory_available_kib: 1,
            disk_available_kib: 5,
            processes: 950,
            ..PLENTY
        };
        assert_eq!(
            status(&scarce, &hollow, Life::Up),
            ["True", "True", "True", "True"]
        );
        assert_eq!(status(&PLENTY, &hollow, Life::ShuttingDown)[3], "False");
    }

    #[test]
    fn a_transition_time_stays_while_the_status_stays() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let later: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let up = conditions(&PLENTY, &RuntimeState::hollow(), Life::Up);
        let first = to_json(&up, &Value::Null, now);
        let second = to_json(&up, &first, later);
        assert_eq!(second[3]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(second[3]["lastHeartbeatTime"], "2026-01-01T01:00:00Z");
        let down = conditions(&PLENTY, &RuntimeState::hollow(), Life::ShuttingDown);
        assert_eq!(
            to_json(&down, &second, later)[3]["lastTransitionTime"],
            "2026-01-01T01:00:00Z"
        );
    }
}

//! CRI: a node that runs containers needs exactly one runtime that answers.
//!
//! Only whether its socket accepts a connection is known here; what the runtime says of itself is the kubelet's to ask.

use super::Situation;
use crate::{Finding, Runtime, paths};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let sockets = &situation.facts.cri_sockets;
    match &situation.request.runtime {
        Runtime::Hollow => {}
        Runtime::Cri {
            endpoint: Some(endpoint),
        } => {
            let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
            match sockets.iter().find(|socket| socket.path == path) {
                Some(socket) => answers(&socket.path, socket.answers, findings),
                None => findings.push(absent(path)),
            }
        }
        Runtime::Cri { endpoint: None } => match sockets.as_slice() {
            [] => findings.push(absent(paths::CRI_SOCKETS[0])),
            [socket] => answers(&socket.path, socket.answers, findings),
            several => findings.push(Finding::error(
                "CRI",
                format!(
                    "found several container runtimes: {}",
                    several
                        .iter()
                        .map(|s| s.path.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                "Choose one with --cri-socket.",
            )),
        },
    }
}

fn answers(path: &str, answers: bool, findings: &mut Vec<Finding>) {
    if !answers {
        findings.push(Finding::error(
            "CRI",
            format!("the container runtime at {path} does not answer"),
            "Start it (for example `systemctl start containerd`) and look into its log.",
        ));
    }
}

fn absent(path: &str) -> Finding {
    Finding::error(
        "CRI",
        format!("no container runtime at {path}"),
        "Install and start containerd or CRI-O, name its socket with --cri-socket, or join a simulated node with --runtime hollow.",
    )
}

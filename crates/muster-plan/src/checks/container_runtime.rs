//! CRI and ContainerRuntimeVersion: a node that runs containers needs exactly one runtime that answers and is ready.
//!
//! kubeadm counts the sockets that exist; here they are asked, so that a stale one beside a live one is no reason to
//! stop.

use super::Situation;
use crate::{CriSocket, Finding, Runtime, RuntimeFact, paths};

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let sockets = &situation.facts.cri_sockets;
    match &situation.request.runtime {
        Runtime::Hollow => {}
        Runtime::Cri {
            endpoint: Some(endpoint),
        } => {
            let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
            match sockets.iter().find(|socket| socket.path == path) {
                Some(socket) => one(socket, findings),
                None => findings.push(absent(path)),
            }
        }
        Runtime::Cri { endpoint: None } => choose(sockets, findings),
    }
}

fn choose(sockets: &[CriSocket], findings: &mut Vec<Finding>) {
    let live: Vec<&CriSocket> = sockets.iter().filter(|socket| socket.answers).collect();
    match (sockets, live.as_slice()) {
        ([], _) => findings.push(absent(paths::CRI_SOCKETS[0])),
        ([socket], _) => one(socket, findings),
        (_, [socket]) => one(socket, findings),
        (_, several) => {
            let found: Vec<&str> = sockets.iter().map(|socket| socket.path.as_str()).collect();
            let answer = if several.is_empty() {
                "none of them answers"
            } else {
                "more than one of them answers"
            };
            findings.push(Finding::error(
                "CRI",
                format!(
                    "found multiple CRI endpoints on the host. Please define which one do you wish to use by setting the 'criSocket' field in the kubeadm configuration file: {}",
                    found.join(", ")
                ),
                format!("Choose one with --cri-socket ({answer})."),
            ));
        }
    }
}

fn one(socket: &CriSocket, findings: &mut Vec<Finding>) {
    let CriSocket {
        path,
        answers,
        runtime,
    } = socket;
    if !answers {
        let why = runtime.silent.as_deref().unwrap_or("it does not answer");
        findings.push(Finding::error(
            "CRI",
            format!("could not connect to the container runtime: unix://{path}: {why}"),
            "Start it (for example `systemctl start containerd`) and look into its log; a containerd whose configuration disables the plugin `cri` does not speak CRI.",
        ));
        return;
    }
    if let Some(why) = &runtime.not_ready {
        findings.push(Finding::error(
            "CRI",
            format!("container runtime condition \"RuntimeReady\" is not true. {why}"),
            "Look into the container runtime's log.",
        ));
    }
    version(runtime, findings);
}

fn version(runtime: &RuntimeFact, findings: &mut Vec<Finding>) {
    if runtime.tells_config == Some(false) {
        findings.push(Finding::warning(
            "ContainerRuntimeVersion",
            "You must update your container runtime to a version that supports the CRI method RuntimeConfig. Falling back to using cgroupDriver from kubelet config will be removed in 1.37. For more information, see https://git.k8s.io/enhancements/keps/sig-node/4033-group-driver-detection-over-cri",
            format!(
                "Update {} (containerd 2.0, CRI-O 1.28 and later answer it).",
                runtime.version.as_deref().unwrap_or("the container runtime")
            ),
        ));
    }
}

fn absent(path: &str) -> Finding {
    Finding::error(
        "CRI",
        format!(
            "could not connect to the container runtime: unix://{path}: there is no such socket"
        ),
        "Install and start containerd or CRI-O, name its socket with --cri-socket, or join a simulated node with --runtime hollow.",
    )
}

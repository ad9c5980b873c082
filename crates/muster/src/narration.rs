//! Events of joins and resets in words: one line per event that a person wants to see.

use muster_fleet::Event;
use muster_handshake::Progress;
use muster_plan::{Phase, Severity};

/// What an event says to a person; `None` when it is only for programs.
pub(crate) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::PhaseCompleted { phase, elapsed_ms } => {
            format!("{phase:14} {} ({elapsed_ms} ms)", done(*phase))
        }
        Event::Finding { finding } => {
            let word = match finding.severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            let mut text = format!(
                "{:14} {word} {}: {}",
                "preflight", finding.id, finding.message
            );
            if !finding.remedy.is_empty() {
                text.push_str(&format!(" ({})", finding.remedy));
            }
            text
        }
        Event::Handshake { progress } => format!("{:14} {}", "cluster", handshake(progress)?),
        Event::CsrPending {
            name,
            approved: true,
            ..
        } => {
            format!(
                "{:14} request {name} is approved and waits to be signed",
                "waiting"
            )
        }
        Event::CsrPending { name, cure, .. } => {
            format!("{:14} request {name} waits for approval. {cure}", "waiting")
        }
        Event::StepStarted {
            description,
            attempt,
            ..
        } if *attempt > 1 => {
            format!("{:14} again: {description}", "resuming")
        }
        Event::StepFailed { step, failure } => {
            format!("{:14} {step}: {}", "failed", first_line(&failure.message))
        }
        // Steps that changed nothing say so in their journal; here they are noise.
        Event::StepUndone { description, .. } if description.starts_with("nothing to do") => {
            return None;
        }
        Event::StepUndone { description, .. } => format!("{:14} {description}", "undone"),
        Event::UndoFailed { step, failure } => {
            format!("{:14} {step}: {}", "not undone", failure.message)
        }
        Event::Waiting { reason, .. } => format!("{:14} {reason}", "waiting"),
        Event::Resuming {
            node_name,
            endpoint,
            steps_done,
        } => format!(
            "{:14} an earlier join of {node_name} to {endpoint} was cut off after {steps_done} steps",
            "resuming"
        ),
        // A repair is no node's.
        Event::Undoing { node_name, reason } if node_name.is_empty() => {
            format!("{:14} taking it back: {}", "undoing", first_line(reason))
        }
        Event::Undoing { node_name, reason } => {
            format!(
                "{:14} taking back the join of {node_name}: {}",
                "undoing",
                first_line(reason)
            )
        }
        _ => return None,
    })
}

/// A kubelet's log comes along with some failures: it is shown once, with the error at the end.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split("; the end of its log").next().unwrap_or(line)
}

/// What is going on, for as long as it goes on.
pub(crate) const fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight => "checking this machine",
        Phase::Discovery => "finding the cluster",
        Phase::TlsBootstrap => "asking for a certificate",
        Phase::KubeletStart => "writing files, starting the kubelet",
        Phase::KubeletWait => "waiting for the kubelet",
        Phase::NodeWait => "waiting for the node",
        Phase::ControlPlanePrepare => "making certificates and kubeconfigs",
        Phase::EtcdJoin => "joining the etcds",
        Phase::ControlPlane => "writing static pods",
        Phase::MarkControlPlane => "marking the node",
        Phase::WaitControlPlane => "waiting for the control plane",
        Phase::Reset => "taking everything back",
        Phase::Repair => "mending this machine",
    }
}

const fn done(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight => "this machine can be a node",
        Phase::Discovery => "the cluster is trusted",
        Phase::TlsBootstrap => "the certificate is here",
        Phase::KubeletStart => "files written, kubelet started",
        Phase::KubeletWait => "the kubelet is well",
        Phase::NodeWait => "the node is there",
        Phase::ControlPlanePrepare => "certificates and kubeconfigs are made",
        Phase::EtcdJoin => "etcd here has its vote",
        Phase::ControlPlane => "static pods are written",
        Phase::MarkControlPlane => "the node is marked",
        Phase::WaitControlPlane => "the control plane here is well",
        Phase::Reset => "everything is taken back",
        Phase::Repair => "this machine is mended",
    }
}

fn handshake(progress: &Progress) -> Option<String> {
    Some(match progress {
        Progress::NoAnswerYet { hint, .. } => hint.clone(),
        Progress::Proxied { endpoint, proxy } => {
            format!("the way to {endpoint} leads through the proxy {proxy}")
        }
        Progress::Unsafe { reason } => format!("UNSAFE: {reason}"),
        Progress::WithoutClusterInfo { reason, .. } => {
            format!("{reason}; the pinned CA in the server's own certificate chain is used")
        }
        Progress::Rerouted { from, to } => {
            format!("using {to}, which the cluster advertises, instead of {from}")
        }
        Progress::ClusterConfigRead {
            kubelet_config: false,
            ..
        } => "it shows no kubelet-config: joining in generic mode".to_owned(),
        Progress::WorkerProfileRead {
            profile,
            config_map,
            of_neighbour,
        } => {
            let mut text = format!("worker profile {profile} of k0s ({config_map})");
            if *of_neighbour {
                text.push_str(
                    ": that of a neighbouring version, as there is none for the API server's own",
                );
            }
            text
        }
        Progress::WorkerProfileMissing { profile, .. } => {
            format!("it shows no worker profile {profile} of k0s: joining without")
        }
        Progress::NodeLocalLoadBalancing { kind } => format!(
            "it wants a load balancer ({kind}) on every node, which is not started here: the kubelet goes to one address, \
             and konnectivity agents that expect it on localhost will not connect (no logs and exec)"
        ),
        Progress::Konnectivity { port } => {
            let port = port.map_or_else(String::new, |port| format!(" {port}"));
            format!(
                "it reaches kubelets through konnectivity: pods of this node must reach port{port} of the control plane"
            )
        }
        Progress::SignatureAwaited { token_id } => {
            format!("waiting for cluster-info to be signed for token {token_id}")
        }
        Progress::Retrying { reason, .. } => format!("trying again: {reason}"),
        Progress::Trusted {
            endpoint,
            advertised,
            ca_pins,
            ..
        } => {
            let mut text = format!("trusting {endpoint} by {}", ca_pins.join(", "));
            if advertised != endpoint {
                text.push_str(&format!(" (the typed address; it advertises {advertised})"));
            }
            text
        }
        Progress::CsrCreated {
            name,
            resumed: true,
        } => format!("going on with request {name}"),
        Progress::CsrApproved { name } => format!("request {name} is approved"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_not_told_again_and_again() {
        let message = "the kubelet is not healthy: it ended 3 times; the end of its log:\na\nb";
        assert_eq!(
            first_line(message),
            "the kubelet is not healthy: it ended 3 times"
        );
        assert_eq!(first_line("one line"), "one line");
        assert_eq!(first_line(""), "");
    }
}

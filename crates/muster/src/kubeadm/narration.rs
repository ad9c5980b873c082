//! The events of a join in kubeadm's lines: `[tag] text` on standard output, findings and warnings on standard error.
//!
//! It refuses to know how a join is done; it remembers which phase runs, as errors are told with it.

use crate::printer::Printer;
use muster_fleet::{Event, EventSink};
use muster_handshake::Progress;
use muster_plan::{Finding, Phase, Severity, paths};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells a join in kubeadm's words.
#[derive(Clone)]
pub(super) struct Narrator {
    printer: Printer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    phase: Option<Phase>,
    quiet_checks: bool,
    kubelet_seconds: u32,
    told: Vec<String>,
}

impl Narrator {
    /// A narrator; `quiet_checks` keeps findings to itself, for phases in which kubeadm checks nothing.
    pub(super) fn new(printer: Printer, quiet_checks: bool, kubelet_seconds: u32) -> Self {
        let state = State {
            quiet_checks,
            kubelet_seconds,
            ..State::default()
        };
        Self {
            printer,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Where events go.
    pub(super) fn sink(&self) -> EventSink {
        let narrator = self.clone();
        EventSink::new(move |event| narrator.tell(&event))
    }

    /// kubeadm's name of the phase that ran last.
    pub(super) fn phase(&self) -> &'static str {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.phase.map_or("preflight", name)
    }

    /// A line that is told once.
    fn once(&self, text: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.told.contains(&text) {
            self.printer.line(&text);
            state.told.push(text);
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::PhaseStarted { phase } => self.enter(*phase),
            Event::PhaseCompleted { phase, elapsed_ms } => self.leave(*phase, *elapsed_ms),
            Event::Finding { finding } => self.finding(finding),
            Event::Handshake { progress } => self.handshake(progress),
            Event::CsrPending { name, cure, .. } => {
                self.printer.line(format!(
                    "[kubelet-start] The certificate signing request {name} waits. {cure}"
                ));
            }
            Event::StepStarted {
                step,
                phase,
                description,
                ..
            } => {
                if let Some(text) = step_line(step, *phase, description) {
                    self.once(text);
                }
            }
            Event::Resuming { steps_done, .. } => self.printer.line(format!(
                "[join] Going on with a join that was cut off after {steps_done} steps"
            )),
            Event::Undoing { reason, .. } => {
                let reason = reason.lines().next().unwrap_or_default();
                self.printer
                    .line(format!("[join] Taking the join back: {reason}"));
            }
            Event::UndoFailed { step, failure } => {
                self.printer.note(format!(
                    "[join] {step} could not be taken back: {}",
                    failure.message
                ));
            }
            Event::Planned { steps, .. } => {
                for step in steps {
                    self.printer
                        .line(format!("[dryrun] Would {}", lower(&step.description)));
                }
            }
            _ => {}
        }
    }

    fn enter(&self, phase: Phase) {
        let (quiet, seconds) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // Discovery runs beside the checks; what fails there belongs to kubeadm's preflight.
            if phase != Phase::Discovery {
                state.phase = Some(phase);
            }
            (state.quiet_checks, state.kubelet_seconds)
        };
        match phase {
            Phase::Preflight if !quiet => self.once("[preflight] Running pre-flight checks".into()),
            Phase::TlsBootstrap => {
                self.once(
                    "[kubelet-start] Performing the TLS Bootstrap before the kubelet starts".into(),
                );
            }
            Phase::KubeletWait => self.once(format!(
                "[kubelet-check] Waiting for a healthy kubelet. This can take up to {}",
                muster_kubeadm::config::Span::from_secs(i64::from(seconds)).0
            )),
            Phase::NodeWait => self.once("[kubelet-start] Waiting for the Node to register".into()),
            _ => {}
        }
    }

    fn leave(&self, phase: Phase, elapsed_ms: u64) {
        match phase {
            Phase::Discovery => {
                self.once("[preflight] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"...".into());
                self.once("[preflight] Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to re-upload it.".into());
            }
            Phase::KubeletWait => self.once(format!(
                "[kubelet-check] The kubelet is healthy after {}",
                muster_identity::GoDuration::from_nanos(
                    i64::try_from(elapsed_ms)
                        .unwrap_or(i64::MAX)
                        .saturating_mul(1_000_000)
                )
            )),
            _ => {}
        }
    }

    /// Warnings are told at once, and once however often a server is tried; errors together at the end.
    fn finding(&self, finding: &Finding) {
        if let Some(text) = self.warning(finding) {
            self.printer.note(text);
        }
    }

    fn warning(&self, finding: &Finding) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("\t[WARNING {}]: {}", finding.id, finding.message);
        if finding.severity != Severity::Warning || state.quiet_checks || state.told.contains(&text)
        {
            return None;
        }
        state.told.push(text.clone());
        Some(text)
    }

    fn handshake(&self, progress: &Progress) {
        let text = match progress {
            Progress::NoAnswerYet { hint, .. } => hint.clone(),
            Progress::SignatureAwaited { token_id } => {
                format!(
                    "Waiting for the cluster-info ConfigMap to be signed for token ID {token_id:?}"
                )
            }
            Progress::Retrying { reason, .. } => format!("Trying again: {reason}"),
            _ => return,
        };
        self.once(format!("[discovery] {text}"));
    }

    /// The block at the end of failed checks.
    pub(super) fn fatal(&self, findings: &[Finding]) {
        let errors: Vec<String> = findings
            .iter()
            .filter(|finding| finding.is_fatal())
            .map(|finding| format!("\t[ERROR {}]: {}\n", finding.id, finding.message))
            .collect();
        self.printer.note(format!(
            "[preflight] Some fatal errors occurred:\n{}[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`",
            errors.concat()
        ));
    }
}

/// kubeadm's phase for ours.
pub(super) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight | Phase::Discovery => "preflight",
        Phase::TlsBootstrap | Phase::KubeletStart => "kubelet-start",
        Phase::KubeletWait | Phase::NodeWait => "kubelet-wait-bootstrap",
        Phase::ControlPlane => "control-plane-prepare/control-plane",
        Phase::MarkControlPlane => "control-plane-join/mark-control-plane",
        other => other.name(),
    }
}

fn step_line(step: &str, phase: Phase, description: &str) -> Option<String> {
    Some(match step {
        "write-instance-config" => {
            format!(
                "[kubelet-start] Writing kubelet configuration to file {:?}",
                paths::INSTANCE_CONFIG
            )
        }
        "write-kubelet-config" => {
            format!(
                "[kubelet-start] Writing kubelet configuration to file {:?}",
                paths::KUBELET_CONFIG
            )
        }
        "write-flags-env" => format!(
            "[kubelet-start] Writing kubelet environment file with flags to file {:?}",
            paths::FLAGS_ENV
        ),
        "start-kubelet" => "[kubelet-start] Starting the kubelet".into(),
        _ if matches!(
            phase,
            Phase::TlsBootstrap | Phase::KubeletStart | Phase::KubeletWait | Phase::NodeWait
        ) =>
        {
            return None;
        }
        // What kubeadm has no line for is told in our own words, under the phase's tag.
        _ => {
            let phase = name(phase);
            format!(
                "[{}] {description}",
                phase.rsplit('/').next().unwrap_or(phase)
            )
        }
    })
}

fn lower(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::Output;

    #[test]
    fn a_warning_is_told_once_however_often_a_join_is_tried() {
        let narrator = Narrator::new(Printer::new(Output::Text), false, 30);
        let warning = Finding::warning("Swap", "swap is on", "");
        assert_eq!(
            narrator.warning(&warning).as_deref(),
            Some("\t[WARNING Swap]: swap is on")
        );
        assert_eq!(narrator.warning(&warning), None);
        let other = Finding::warning("Mtu", "small packets", "");
        assert!(narrator.warning(&other).is_some());
        let error = Finding::error("CRI", "none answers", "");
        assert_eq!(narrator.warning(&error), None);
    }
}

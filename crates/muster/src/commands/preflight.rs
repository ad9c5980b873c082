//! `muster preflight`: the checks alone, with what mends the machine and takes that back.
//!
//! Exit status: 0 when nothing stands in the way of a join (warnings do not), 60 (`preflight-failed`) when something does,
//! 67 (`undo-incomplete`) when a repair could not be taken back.

use crate::args::join::KubeletChoice;
use crate::args::kubelet::Runtime;
use crate::args::preflight::Preflight;
use crate::commands::join::{as_url, join_failure, local_host, sink};
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use crate::progress::Ticker;
use muster_fleet::{Event, EventSink, JoinError, PreflightOptions};
use muster_host::Host;
use muster_identity::{Endpoint, NodeName};
use muster_plan::checks::ControlPlane;
use muster_plan::paths::Root;
use muster_plan::{
    ClusterAnswers, Finding, IgnoreSet, JoinRequest, KubeletPreference, PlannedStep, Severity,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const API_PORT: u16 = 6443;

/// Carries out `muster preflight`.
pub(crate) async fn run(preflight: Preflight, printer: Printer) -> Result<(), Failure> {
    let host = local_host(&preflight.root);
    if preflight.undo {
        return undo(host, printer).await;
    }
    let requests = requests(&preflight)?;
    if preflight.fix {
        fix(&preflight, &requests, &host, printer).await?;
        if preflight.dry_run {
            return Ok(());
        }
    }
    let mut findings: Vec<Finding> = Vec::new();
    for (request, look_at_server) in requests {
        let options = PreflightOptions {
            control_plane: preflight.control_plane.then(|| plane(&preflight, &request)),
            request,
            look_at_server,
            kubeconfig: preflight.kubeconfig.clone(),
        };
        let found = muster_fleet::examine(&options, &*host, &EventSink::nobody()).await;
        // What is true of the machine is told once, however many servers were looked at.
        for finding in found.map_err(|error| join_failure(&error))? {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    show(&findings, printer);
    if findings.iter().any(Finding::is_fatal) {
        let error = JoinError::Preflight { findings };
        let mut failure = join_failure(&error);
        // Each stands above with its cure already.
        failure.remedy.clear();
        return Err(failure
            .cure("mend what is marked, or overlook it by name: --ignore-preflight-errors NAME"));
    }
    Ok(())
}

/// One request for each server; one for the machine alone without any.
fn requests(preflight: &Preflight) -> Result<Vec<(JoinRequest, bool)>, Failure> {
    let name = match &preflight.node_name {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let name = NodeName::parse(&name).map_err(|error| {
        Failure::usage("the node's name cannot be used")
            .because(&error)
            .cure("name it with --node-name NAME")
    })?;
    let ignore = IgnoreSet::parse(preflight.ignore_preflight_errors.iter().map(String::as_str))
        .map_err(|error| {
            Failure::usage("--ignore-preflight-errors cannot be used").because(&error)
        })?;
    let request = |endpoint| JoinRequest {
        root: Root::new(&preflight.root.to_string_lossy()),
        kubelet: match preflight.kubelet {
            KubeletChoice::Auto => KubeletPreference::Auto,
            KubeletChoice::System => KubeletPreference::System,
            KubeletChoice::Builtin => KubeletPreference::BuiltIn,
        },
        runtime: match preflight.runtime {
            Runtime::Hollow => muster_plan::Runtime::Hollow,
            Runtime::Cri => muster_plan::Runtime::Cri {
                endpoint: preflight.cri_socket.clone().map(as_url),
            },
        },
        ignore: ignore.clone(),
        ..JoinRequest::new(endpoint, name.clone())
    };
    let parse = |text: &String| {
        Endpoint::parse_with_default_port(text, API_PORT).map_err(|error| {
            Failure::usage(format!("the endpoint {text} cannot be used")).because(&error)
        })
    };
    if preflight.endpoints.is_empty() {
        // No server is looked at: which one it would be only decides on the family of addresses.
        let nowhere = parse(&"kubernetes.invalid:6443".to_owned())?;
        return Ok(vec![(request(nowhere), false)]);
    }
    let endpoints = preflight
        .endpoints
        .iter()
        .map(|text| Ok((request(parse(text)?), true)));
    endpoints.collect()
}

fn plane(preflight: &Preflight, request: &JoinRequest) -> ControlPlane {
    let nobody = ClusterAnswers::new(request.endpoint.url(), "", jiff::Timestamp::UNIX_EPOCH);
    let address = preflight.advertise_address.clone().unwrap_or_default();
    ControlPlane::new(address, preflight.bind_port, &nobody, true)
}

fn show(findings: &[Finding], printer: Printer) {
    match printer.output() {
        Output::Text => printer.text(page(findings)),
        Output::Json | Output::Yaml => {
            for finding in findings {
                printer.json(&Event::Finding {
                    finding: finding.clone(),
                });
            }
            let count = |severity| {
                findings
                    .iter()
                    .filter(|finding| finding.severity == severity)
                    .count()
            };
            printer.json(&serde_json::json!({
                "type": "preflight",
                "ready": !findings.iter().any(Finding::is_fatal),
                "errors": count(Severity::Error),
                "warnings": count(Severity::Warning),
            }));
        }
    }
}

/// Errors first, then what was ignored, then warnings; checks of one name together.
fn page(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut by_rank: BTreeMap<u8, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let rank = match (finding.severity, finding.ignored) {
            (Severity::Error, _) => 0,
            (Severity::Warning, true) => 1,
            (Severity::Warning, false) => 2,
        };
        by_rank.entry(rank).or_default().push(finding);
    }
    for finding in by_rank.values().flatten() {
        let word = match (finding.severity, finding.ignored) {
            (Severity::Error, _) => "error",
            (Severity::Warning, true) => "ignored",
            (Severity::Warning, false) => "warning",
        };
        let _ = writeln!(text, "{word:8} {}: {}", finding.id, finding.message);
        let _ = writeln!(text, "         now: {}", finding.remedy);
    }
    let errors = by_rank.get(&0).map_or(0, Vec::len);
    let rest = findings.len() - errors;
    let _ = match errors {
        0 if rest == 0 => writeln!(text, "this machine can be a node"),
        0 => writeln!(
            text,
            "this machine can be a node; {rest} things are worth a look"
        ),
        _ => writeln!(
            text,
            "this machine cannot be a node yet: {errors} in the way, {rest} worth a look"
        ),
    };
    text
}

async fn fix(
    preflight: &Preflight,
    requests: &[(JoinRequest, bool)],
    host: &Arc<dyn Host>,
    printer: Printer,
) -> Result<(), Failure> {
    let Some((request, _)) = requests.first() else {
        return Ok(());
    };
    let steps = muster_fleet::plan_repairs(request, &**host).await;
    let steps = steps.map_err(|error| join_failure(&error))?;
    if steps.is_empty() {
        printer.note("there is nothing that could be mended from here");
        return Ok(());
    }
    tell_repairs(&steps, preflight.dry_run, printer);
    if preflight.dry_run {
        return Ok(());
    }
    if !preflight.yes {
        printer.note("Go on? [y/N]");
        let answer = crate::entropy::line_of_standard_input()?;
        if !matches!(answer.to_lowercase().as_str(), "y" | "yes") {
            return Err(Failure::usage("nothing was mended").cure("answer y, or use --yes"));
        }
    }
    let ticker = Ticker::new(printer);
    let mended = muster_fleet::repair(&steps, Arc::clone(host), &sink(printer, &ticker)).await;
    ticker.end();
    mended.map_err(|error| join_failure(&error))?;
    printer.note("mended; take it back with: muster preflight --undo");
    Ok(())
}

fn tell_repairs(steps: &[PlannedStep], dry_run: bool, printer: Printer) {
    if printer.output() != Output::Text {
        for step in steps {
            printer.json(&serde_json::json!({
                "type": "repair-planned",
                "step": step.id,
                "description": step.step.description(),
                "undo": step.step.undo(),
            }));
        }
        return;
    }
    let mut text = String::from(if dry_run {
        "--fix would\n"
    } else {
        "--fix will\n"
    });
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {:2}. {}", number + 1, step.step.description());
        let _ = writeln!(text, "      undo: {}", step.step.undo());
    }
    if dry_run {
        printer.text(text);
    } else {
        printer.note(text.trim_end());
    }
}

async fn undo(host: Arc<dyn Host>, printer: Printer) -> Result<(), Failure> {
    let ticker = Ticker::new(printer);
    let left = muster_fleet::undo_repairs(host, &sink(printer, &ticker)).await;
    ticker.end();
    match left.map_err(|error| join_failure(&error))? {
        None => printer.note("there is no repair to take back"),
        Some(left) if left.is_empty() => printer.note("the repair is taken back"),
        Some(left_behind) => {
            let error = JoinError::UndoIncomplete {
                left_behind,
                cause: None,
            };
            return Err(join_failure(&error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_first_each_with_its_cure_and_the_end_counts() {
        let mut ignored = Finding::error("CRI", "absent", "install it");
        ignored.severity = Severity::Warning;
        ignored.ignored = true;
        let findings = [
            Finding::warning("Swap", "swap is on", "switch it off"),
            ignored,
            Finding::error("Port-10250", "Port 10250 is in use", "free it"),
        ];
        assert_eq!(
            page(&findings),
            "error    Port-10250: Port 10250 is in use\n         now: free it\n\
             ignored  CRI: absent\n         now: install it\n\
             warning  Swap: swap is on\n         now: switch it off\n\
             this machine cannot be a node yet: 1 in the way, 2 worth a look\n"
        );
        assert_eq!(page(&[]), "this machine can be a node\n");
    }
}

//! `muster reset`: this machine out of its cluster, with the plan shown before anybody is asked.

use crate::args::reset::Reset;
use crate::commands::join::{as_url, join_failure, local_host, sink};
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use crate::progress::Ticker;
use muster_fleet::{EventSink, ResetOptions, ResetOutcome};
use muster_plan::ResetWishes;
use muster_saga::Residue;
use std::fmt::Write as _;

/// Carries out `muster reset`. Exit status 0 says that nothing of a node is left on this machine.
pub(crate) async fn run(reset: Reset, printer: Printer) -> Result<(), Failure> {
    let options = options(&reset);
    let asks = !reset.force && !reset.dry_run;
    if asks && !confirmed(&reset, &options, printer).await? {
        return Err(Failure::usage("nothing was reset").cure("answer y, or use --force"));
    }
    let ticker = Ticker::new(printer);
    let host = local_host(&reset.root);
    let outcome = muster_fleet::reset(&options, host, &sink(printer, &ticker)).await;
    ticker.end();
    let outcome = outcome.map_err(|error| join_failure(&error))?;
    match printer.output() {
        Output::Text => printer.text(words(&outcome)),
        Output::Json | Output::Yaml => printer.json(&told(&outcome)),
    }
    Ok(())
}

fn options(reset: &Reset) -> ResetOptions {
    ResetOptions {
        admin_kubeconfig: reset.kubeconfig.clone(),
        dry_run: reset.dry_run,
        wishes: ResetWishes {
            cleanup: true,
            cert_dir: reset.cert_dir.trim_end_matches('/').to_owned(),
            cri_socket: reset.cri_socket.clone().map(as_url),
            cleanup_tmp_dir: reset.cleanup_tmp_dir,
            network_plugins: reset.cni,
            firewall: reset.firewall,
        },
        keep_etcd_member: reset.keep_etcd_member,
    }
}

/// Shows what would go, then asks on the terminal, as kubeadm does.
async fn confirmed(
    reset: &Reset,
    options: &ResetOptions,
    printer: Printer,
) -> Result<bool, Failure> {
    let plan = ResetOptions {
        dry_run: true,
        ..options.clone()
    };
    let host = local_host(&reset.root);
    let planned = muster_fleet::reset(&plan, host, &EventSink::nobody()).await;
    if let Ok(planned) = &planned {
        printer.note(words(planned).trim_end());
    }
    printer.note(format!(
        "This takes back what a join did below {}. Go on? [y/N]",
        reset.root.display()
    ));
    let answer = crate::entropy::line_of_standard_input()?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

fn told(outcome: &ResetOutcome) -> serde_json::Value {
    let (kind, undo) = match outcome {
        ResetOutcome::Nothing { .. } => ("nothing", None),
        ResetOutcome::Clean { .. } => ("clean", None),
        ResetOutcome::Planned { undo, .. } => ("planned", Some(undo)),
    };
    serde_json::json!({
        "type": "reset",
        "outcome": kind,
        "undo": undo,
        "leftBehind": outcome.left_behind(),
    })
}

fn words(outcome: &ResetOutcome) -> String {
    let left_behind = outcome.left_behind();
    let mut text = match outcome {
        ResetOutcome::Nothing { .. } => "there is nothing of a join to take back\n".to_owned(),
        ResetOutcome::Clean { .. } if left_behind.is_empty() => {
            "this machine is as it was before the join\n".to_owned()
        }
        ResetOutcome::Clean { .. } => "the join is taken back as far as it goes\n".to_owned(),
        ResetOutcome::Planned { undo, .. } => planned(undo),
    };
    list(left_behind, &mut text);
    text
}

fn planned(undo: &[String]) -> String {
    let mut lines = undo
        .iter()
        .filter(|line| !line.starts_with("nothing to do"))
        .peekable();
    if lines.peek().is_none() {
        return "there is nothing of a join to take back\n".to_owned();
    }
    let mut text = String::from("a reset would\n");
    for (number, line) in lines.enumerate() {
        let _ = writeln!(text, "  {:2}. {line}", number + 1);
    }
    text
}

fn list(left_behind: &[Residue], text: &mut String) {
    for (number, residue) in left_behind.iter().enumerate() {
        if number == 0 {
            text.push_str("left for you:\n");
        }
        let Residue { what, why, remedy } = residue;
        let _ = writeln!(text, "  {:2}. {what} ({why}): {remedy}", number + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_numbered_and_what_stays_is_told_with_its_cure() {
        let outcome = ResetOutcome::Planned {
            undo: vec![
                "stop kubelet".into(),
                "nothing to do".into(),
                "remove /a".into(),
            ],
            left_behind: vec![Residue {
                what: "/b".into(),
                why: "nobody knows".into(),
                remedy: "rm /b".into(),
            }],
        };
        let expected = "a reset would\n   1. stop kubelet\n   2. remove /a\nleft for you:\n   1. /b (nobody knows): rm /b\n";
        assert_eq!(words(&outcome), expected);
        let nothing = ResetOutcome::Planned {
            undo: vec![],
            left_behind: vec![],
        };
        assert_eq!(words(&nothing), "there is nothing of a join to take back\n");
    }
}

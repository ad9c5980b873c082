//! The last screen of a run: what joined, what failed with cause and cure, what was taken back, what is left to do by
//! hand; and the exit that says so to programs.

use crate::exit::Failure;
use muster_fleet::rollout::{HostReport, Outcome, RunReport, exit_code};
use muster_identity::short_human_duration;
use muster_rollout::{Ending, Stuck, Verdict, failure_ids};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most names in one line.
const NAMES: usize = 12;
/// How long they are together, with which a line stays within 80 columns.
const NAMES_WIDTH: usize = 44;

/// The page for people.
pub(super) fn page(outcome: &Outcome) -> String {
    let mut text = String::new();
    for note in &outcome.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push_str(&report(&outcome.report));
    for lapse in &outcome.lapses {
        let _ = writeln!(
            text,
            "note: {} missed {} events: {}",
            lapse.sink, lapse.lost, lapse.reason
        );
    }
    text
}

/// What the events do not say, for programs.
pub(super) fn lines(outcome: &Outcome) -> impl Iterator<Item = Value> {
    let notes = outcome.notes.iter();
    let notes = notes.map(|note| json!({"type": "Note", "message": note}));
    let lapses = outcome.lapses.iter().map(|lapse| {
        json!({"type": "EventsMissed", "sink": lapse.sink, "lost": lapse.lost, "reason": lapse.reason})
    });
    notes.chain(lapses)
}

/// How a run ended, or how far it is.
pub(super) fn report(report: &RunReport) -> String {
    let mut text = String::from("\n");
    let took = short_human_duration(report.at.duration_since(report.began));
    let state = match &report.verdict {
        Some(verdict) => words_of(verdict.ending).to_owned(),
        None if report.running => "it is on its way".to_owned(),
        None => "it was cut off: `muster fleet resume` goes on, `muster fleet undo` takes it back"
            .to_owned(),
    };
    let _ = writeln!(
        text,
        "fleet {}, run {}: {state} ({took})",
        report.fleet, report.run
    );
    for (standing, word) in [
        ("joined", "joined"),
        ("at-work", "at work"),
        ("resting", "waiting for another attempt"),
        ("undoing", "being taken back"),
        ("undone", "taken back"),
        ("waiting", "not begun"),
    ] {
        let of = |host: &&HostReport| host.standing == standing;
        let hosts: Vec<&str> = report
            .hosts
            .iter()
            .filter(of)
            .map(|host| host.name.as_ref())
            .collect();
        if !hosts.is_empty() {
            let _ = writeln!(text, "  {word:12} {:5}  {}", hosts.len(), some(&hosts));
        }
    }
    failures(report, &mut text);
    if let Some(verdict) = &report.verdict {
        left_to_do(verdict, &mut text);
    }
    text
}

fn words_of(ending: Ending) -> &'static str {
    match ending {
        Ending::Joined => "every host joined",
        Ending::Kept => "some hosts failed, the others stay",
        Ending::Undone => "every attempted host is as it was before",
        Ending::Stuck => "something could not be taken back",
        Ending::Stopped => {
            "stopped at once; `muster fleet resume` goes on, `muster fleet undo` takes it back"
        }
    }
}

fn some(names: &[&str]) -> String {
    let mut width = 0;
    let fits = |name: &&&str| {
        width += name.chars().count() + 2;
        width <= NAMES_WIDTH
    };
    let shown = names.iter().take(NAMES).take_while(fits).count();
    // A single name is shown however long it is.
    let shown = shown.max(1).min(names.len());
    let more = names.len() - shown;
    let mut text = names[..shown].join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Hosts that failed for the same reason are told together.
fn failures(report: &RunReport, text: &mut String) {
    let mut by_reason: BTreeMap<(String, String, Option<String>), Vec<&str>> = BTreeMap::new();
    for host in &report.hosts {
        if let Some(failure) = host.failure.as_ref().filter(|_| host.standing != "joined") {
            let message = failure.message.replace(host.name.as_ref(), "{host}");
            let cure = failure
                .cure
                .as_ref()
                .map(|cure| cure.replace(host.name.as_ref(), "{host}"));
            by_reason
                .entry((failure.id.clone(), message, cure))
                .or_default()
                .push(&host.name);
        }
    }
    for ((id, message, cure), hosts) in by_reason {
        let fill = |text: &str| match hosts.as_slice() {
            [only] => text.replace("{host}", only),
            _ => text.replace("{host}", "HOST"),
        };
        let _ = writeln!(
            text,
            "  {:12} {:5}  {}",
            "failed",
            hosts.len(),
            some(&hosts)
        );
        for line in fill(&message).lines() {
            let _ = writeln!(text, "{:22}{line}", "");
        }
        let _ = writeln!(text, "{:22}[{id}]", "");
        for (number, line) in cure
            .map(|cure| fill(&cure))
            .unwrap_or_default()
            .lines()
            .enumerate()
        {
            let lead = if number == 0 { "now: " } else { "     " };
            let _ = writeln!(text, "{:22}{lead}{line}", "");
        }
    }
}

fn left_to_do(verdict: &Verdict, text: &mut String) {
    if verdict.stuck.is_empty() {
        return;
    }
    text.push_str("left for you, in this order:\n");
    let mut number = 0;
    for stuck in &verdict.stuck {
        let (what, failure, instructions) = match stuck {
            Stuck::Host {
                name,
                stage,
                failure,
                instructions,
            } => (format!("{name} ({stage})"), failure, instructions),
            Stuck::Token {
                id,
                failure,
                instructions,
            } => (format!("token {id}"), failure, instructions),
        };
        let _ = writeln!(text, "  {what}: {} [{}]", failure.message, failure.id);
        for instruction in instructions {
            number += 1;
            let _ = writeln!(text, "  {number:3}. {instruction}");
        }
    }
    text.push_str("or, once the cause is mended: muster fleet undo\n");
}

/// How the command ends.
pub(super) fn result(outcome: &Outcome, meant_to_undo: bool) -> Result<(), Failure> {
    let verdict = &outcome.verdict;
    let interrupted = verdict
        .reason
        .as_ref()
        .is_some_and(|reason| reason.id == failure_ids::INTERRUPTED);
    let (id, code) = match verdict.ending {
        _ if !verdict.stuck.is_empty() => ("fleet-stuck", exit_code::STUCK),
        Ending::Joined => return Ok(()),
        Ending::Undone if meant_to_undo => return Ok(()),
        Ending::Undone if interrupted => (
            failure_ids::INTERRUPTED,
            muster_fleet::exit_code::INTERRUPTED,
        ),
        Ending::Undone => ("fleet-undone", exit_code::UNDONE),
        Ending::Kept => ("fleet-partly-joined", exit_code::PARTLY_JOINED),
        Ending::Stuck => ("fleet-stuck", exit_code::STUCK),
        Ending::Stopped => ("fleet-stopped", exit_code::STOPPED),
    };
    let what = verdict.reason.as_ref().map_or_else(
        || words_of(verdict.ending).to_owned(),
        |reason| reason.message.clone(),
    );
    let mut failure = Failure::new(id, code, what);
    if verdict.ending == Ending::Undone {
        failure.causes.push(words_of(Ending::Undone).to_owned());
    }
    failure = failure.cure(match (verdict.ending, id) {
        (_, "fleet-stuck") => {
            "do what is listed above, or mend the cause and run `muster fleet undo`"
        }
        (Ending::Stopped, _) => "`muster fleet resume` goes on, `muster fleet undo` takes it back",
        (Ending::Kept, _) => {
            "mend what is named above and run it again: hosts that are nodes already are left alone"
        }
        _ => "mend what is named above and run it again: it begins clean",
    });
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use muster_fleet::rollout::Lapse;
    use muster_rollout::{Counts, RunId, Stage, StageFailure};

    fn host(name: &str, standing: &str, failure: Option<StageFailure>) -> HostReport {
        HostReport {
            name: name.into(),
            standing: standing.into(),
            stage: None,
            phase: None,
            failure,
        }
    }

    fn outcome(ending: Ending, hosts: Vec<HostReport>, stuck: Vec<Stuck>) -> Outcome {
        let verdict = Verdict {
            ending,
            counts: Counts::default(),
            reason: None,
            stuck,
        };
        Outcome {
            report: RunReport {
                run: RunId("r1".into()),
                fleet: "east".into(),
                began: Timestamp::UNIX_EPOCH,
                at: Timestamp::from_second(42).unwrap(),
                running: false,
                counts: Counts::default(),
                verdict: Some(verdict.clone()),
                hosts,
            },
            verdict,
            lapses: vec![],
            notes: vec![],
        }
    }

    #[test]
    fn the_last_screen_says_cause_cure_and_what_is_left_in_numbers() {
        let cause = |name: &str| {
            StageFailure::terminal("node-name-taken", format!("a Ready node {name} is there"))
                .with_cure(format!("kubectl delete node {name}"))
        };
        let stuck = Stuck::Host {
            name: "w3".into(),
            stage: Stage::Join,
            failure: StageFailure::terminal("ssh-unreachable", "w3 cannot be reached"),
            instructions: vec![
                "ssh w3 sudo kubeadm reset --force".into(),
                "kubectl delete node w3".into(),
            ],
        };
        let hosts = vec![
            host("w1", "undone", Some(cause("w1"))),
            host("w2", "undone", Some(cause("w2"))),
            host("w3", "stuck", None),
            host("w4", "waiting", None),
        ];
        let outcome = outcome(Ending::Stuck, hosts, vec![stuck]);
        let page = page(&outcome);
        let expected = "
fleet east, run r1: something could not be taken back (42s)
  taken back       2  w1, w2
  not begun        1  w4
  failed           2  w1, w2
                      a Ready node HOST is there
                      [node-name-taken]
                      now: kubectl delete node HOST
left for you, in this order:
  w3 (join): w3 cannot be reached [ssh-unreachable]
    1. ssh w3 sudo kubeadm reset --force
    2. kubectl delete node w3
or, once the cause is mended: muster fleet undo
";
        assert_eq!(page, expected);
        assert_eq!(result(&outcome, true).unwrap_err().code, exit_code::STUCK);
    }

    #[test]
    fn names_stay_within_a_narrow_terminal_and_those_left_out_are_counted() {
        let names: Vec<String> = (1..=30).map(|n| format!("worker-{n:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            some(&names),
            "worker-01, worker-02, worker-03, worker-04 and 26 more"
        );
        assert_eq!(some(&names[..2]), "worker-01, worker-02");
        let long = "x".repeat(70);
        assert_eq!(some(&[&long, "b"]), format!("{long} and 1 more"));
        assert_eq!(some(&[]), "");
    }

    #[test]
    fn programs_are_told_as_well_what_a_listener_missed() {
        let mut outcome = outcome(Ending::Joined, vec![], vec![]);
        outcome.notes.push("a Lease was taken over".into());
        outcome.lapses.push(Lapse {
            sink: "webhook".into(),
            lost: 3,
            reason: "no answer".into(),
        });
        let lines: Vec<Value> = lines(&outcome).collect();
        assert_eq!(lines[0]["message"], "a Lease was taken over");
        assert_eq!(lines[1]["type"], "EventsMissed");
        assert_eq!(lines[1]["lost"], 3);
    }

    #[test]
    fn an_undo_that_was_asked_for_is_no_failure() {
        let undone = outcome(Ending::Undone, vec![], vec![]);
        assert!(result(&undone, true).is_ok());
        assert_eq!(result(&undone, false).unwrap_err().code, exit_code::UNDONE);
        assert!(result(&outcome(Ending::Joined, vec![], vec![]), false).is_ok());
        assert_eq!(
            result(&outcome(Ending::Stopped, vec![], vec![]), true)
                .unwrap_err()
                .id,
            "fleet-stopped"
        );
    }
}

//! What the screen of a run knows: the hosts at work, and how many stand where. Rows and lines as text.
//!
//! It learns from events alone and refuses to know terminals.

use jiff::Timestamp;
use muster_identity::short_human_duration;
use muster_rollout::{Event, EventKind, HostName, Stage, StageFailure, failure_ids};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Up to so many hosts, every one that joined gets a line that stays.
const FEW: usize = 30;

/// A host that is being worked on.
struct AtWork {
    name: String,
    since: Timestamp,
    stage: Option<Stage>,
    undo: bool,
    attempt: u32,
    phase: String,
    trouble: Option<String>,
}

/// What is known.
pub(super) struct Board {
    hosts: usize,
    began: Option<Timestamp>,
    at_work: BTreeMap<u32, AtWork>,
    joined: usize,
    failed: usize,
    undone: usize,
    stuck: usize,
    started: usize,
    at_once: Option<u32>,
    doing: &'static str,
    /// What was told last of a host that is tried again and again.
    told: BTreeMap<u32, String>,
}

impl Board {
    pub(super) fn new(hosts: usize) -> Self {
        Self {
            hosts,
            began: None,
            at_work: BTreeMap::new(),
            joined: 0,
            failed: 0,
            undone: 0,
            stuck: 0,
            started: 0,
            at_once: None,
            doing: "making a token",
            told: BTreeMap::new(),
        }
    }

    pub(super) fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { .. } => self.began = Some(event.at),
            EventKind::RunResumed { counts } => {
                self.began = Some(event.at);
                self.joined = counts.joined as usize;
                self.undone = counts.undone as usize;
                self.started = (counts.hosts - counts.untouched) as usize;
                self.doing = "going on";
            }
            EventKind::ClusterNodeJoinStarted { host } => {
                self.started += 1;
                self.doing = "joining";
                self.begin(event, host, false);
            }
            EventKind::StageStarted {
                host,
                stage,
                attempt,
            } => {
                let row = self.row(event, host, false);
                row.stage = Some(*stage);
                row.attempt = *attempt;
                row.phase.clear();
            }
            EventKind::Progress { host, phase } => {
                if let Some(row) = self.at_work.get_mut(&host.host.0) {
                    row.phase.clone_from(phase);
                    row.trouble = None;
                }
            }
            EventKind::RetryScheduled {
                host,
                failure,
                undo,
                ..
            } => {
                let row = self.row(event, host, *undo);
                row.trouble = Some(failure.message.clone());
            }
            EventKind::ClusterNodeJoinCompleted { host, .. } => {
                self.at_work.remove(&host.host.0);
                self.joined += 1;
            }
            EventKind::ClusterNodeJoinFailed { host, .. } => {
                self.at_work.remove(&host.host.0);
                self.failed += 1;
            }
            EventKind::Unwinding { .. } => self.doing = "taking back",
            EventKind::UndoStarted { host } => self.begin(event, host, true),
            EventKind::UndoCompleted { host } => {
                self.at_work.remove(&host.host.0);
                self.undone += 1;
            }
            EventKind::UndoFailed { host, .. } => {
                self.at_work.remove(&host.host.0);
                self.stuck += 1;
            }
            EventKind::ConcurrencyChanged { at_once, .. } => self.at_once = Some(*at_once),
            EventKind::RunEnded { .. } => self.doing = "done",
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event, host: &HostName, undo: bool) {
        let row = AtWork {
            name: host.name.to_string(),
            since: event.at,
            stage: None,
            undo,
            attempt: 1,
            phase: String::new(),
            trouble: None,
        };
        self.at_work.insert(host.host.0, row);
    }

    fn row(&mut self, event: &Event, host: &HostName, undo: bool) -> &mut AtWork {
        self.at_work.entry(host.host.0).or_insert_with(|| AtWork {
            name: host.name.to_string(),
            since: event.at,
            stage: None,
            undo,
            attempt: 1,
            phase: String::new(),
            trouble: None,
        })
    }

    /// The hosts at work: those in trouble first, then those that have been at it longest; at most `most` rows.
    pub(super) fn rows(&self, now: Timestamp, most: usize, width: usize) -> Vec<String> {
        let mut rows: Vec<&AtWork> = self.at_work.values().collect();
        rows.sort_by_key(|row| (row.trouble.is_none(), row.since));
        let shown = if rows.len() > most {
            most.saturating_sub(1)
        } else {
            rows.len()
        };
        let longest = rows
            .iter()
            .take(shown)
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut texts: Vec<String> = rows[..shown]
            .iter()
            .map(|row| cut(&row.text(now, longest), width))
            .collect();
        if rows.len() > shown {
            texts.push(format!("  … and {} more at work", rows.len() - shown));
        }
        texts
    }

    /// How many stand where, and for how long the run has been going on.
    pub(super) fn summary(&self, now: Timestamp) -> String {
        let mut text = format!("{} {}/{} joined", self.doing, self.joined, self.hosts);
        // Writing to a String cannot fail.
        for (count, word) in [
            (self.at_work.len(), "at work"),
            (self.failed, "failed"),
            (self.undone, "undone"),
            (self.stuck, "STUCK"),
            (self.hosts.saturating_sub(self.started), "waiting"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {word}");
            }
        }
        if let Some(at_once) = self.at_once {
            let _ = write!(text, ", {at_once} at once");
        }
        if let Some(began) = self.began {
            let _ = write!(text, "  {}", elapsed(began, now));
        }
        text
    }

    /// The line that stays for an event; `watched`: hosts at work are drawn besides.
    pub(super) fn line(&mut self, event: &Event, watched: bool) -> Option<String> {
        let of = |word: &str, host: &HostName, text: String| {
            Some(format!("{word:9} {:16} {text}", host.name))
        };
        match &event.kind {
            EventKind::RunStarted { hosts } => Some(format!("run {}: {hosts} hosts", event.run)),
            EventKind::RunResumed { counts } => Some(format!(
                "run {} is taken up again: {} of {} hosts had joined",
                event.run, counts.joined, counts.hosts
            )),
            EventKind::TokenMinted { id, expires } => {
                (!watched).then(|| format!("{:9} {id}, until {expires}", "token"))
            }
            EventKind::TokenMintFailed { failure } => {
                Some(format!("{:9} {}", "token", words(failure)))
            }
            EventKind::TokenRevokeFailed { id, failure } => Some(format!(
                "{:9} {id} is not revoked: {}",
                "token",
                words(failure)
            )),
            EventKind::WaveStarted { wave, hosts } => {
                Some(format!("{:9} {wave}: {hosts} hosts", "wave"))
            }
            EventKind::StartingStopped { reason } => Some(format!(
                "{:9} no host starts any more: {reason}",
                "stopping"
            )),
            EventKind::ClusterNodeJoinStarted { host } if !watched => {
                of("start", host, String::new())
            }
            EventKind::RetryScheduled {
                host,
                stage,
                failure,
                undo,
                attempt,
                ..
            } => {
                // The same trouble again is told once.
                let before = self.told.insert(host.host.0, failure.message.clone());
                if before.as_ref() == Some(&failure.message) {
                    return None;
                }
                let what = if *undo { "taking back " } else { "" };
                of(
                    "retry",
                    host,
                    format!("{what}{stage} (attempt {attempt}): {}", words(failure)),
                )
            }
            EventKind::ClusterNodeJoinCompleted { host, seconds }
                if !watched || self.hosts <= FEW =>
            {
                of("joined", host, format!("{seconds:.1} s"))
            }
            // Why many hosts end at once was told once.
            EventKind::ClusterNodeJoinFailed { failure, .. }
                if watched && self.hosts > FEW && is_by_wish(failure) =>
            {
                None
            }
            EventKind::ClusterNodeJoinFailed {
                host,
                stage,
                failure,
            } => of("FAILED", host, format!("{stage}: {}", words(failure))),
            EventKind::Unwinding { reason } => Some(format!("{:9} {reason}", "undoing")),
            EventKind::UndoCompleted { host } if !watched || self.hosts <= FEW => {
                of("undone", host, String::new())
            }
            EventKind::UndoFailed {
                host,
                stage,
                failure,
            } => of(
                "STUCK",
                host,
                format!("{stage} cannot be taken back: {}", words(failure)),
            ),
            EventKind::ConcurrencyChanged {
                limit,
                at_once,
                quiet_until,
            } if !watched => {
                let quiet =
                    quiet_until.map_or_else(String::new, |until| format!(", quiet until {until}"));
                Some(format!("{:9} {at_once} at once ({limit}{quiet})", "pace"))
            }
            _ => None,
        }
        .map(|line| line.trim_end().to_owned())
    }
}

impl AtWork {
    fn text(&self, now: Timestamp, longest: usize) -> String {
        let stage = match (self.undo, self.stage) {
            (true, _) => "undo",
            (false, Some(stage)) => stage.as_str(),
            (false, None) => "",
        };
        let again = if self.attempt > 1 {
            format!(" (attempt {})", self.attempt)
        } else {
            String::new()
        };
        let what = match &self.trouble {
            Some(trouble) => format!("again soon: {}", first_line(trouble)),
            None => self.phase.clone(),
        };
        format!(
            "  {:longest$}  {:>4}  {stage:8}{again} {what}",
            self.name,
            elapsed(self.since, now)
        )
    }
}

fn is_by_wish(failure: &StageFailure) -> bool {
    [failure_ids::INTERRUPTED, failure_ids::STOPPED].contains(&failure.id.as_str())
}

fn words(failure: &StageFailure) -> String {
    format!("{} [{}]", first_line(&failure.message), failure.id)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn elapsed(since: Timestamp, now: Timestamp) -> String {
    short_human_duration(now.duration_since(since))
}

/// At most so many characters: a row that breaks would not be one row.
fn cut(text: &str, width: usize) -> String {
    let room = width.max(20) - 1;
    if text.chars().count() <= room {
        return text.trim_end().to_owned();
    }
    let kept: String = text.chars().take(room - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_rollout::{HostIndex, RunId};

    fn event(second: i64, kind: EventKind) -> Event {
        Event {
            run: RunId("r1".into()),
            incarnation: 0,
            sequence: 0,
            at: Timestamp::from_second(second).unwrap(),
            kind,
        }
    }

    fn host(index: u32) -> HostName {
        HostName {
            host: HostIndex(index),
            name: format!("w{index}").into(),
        }
    }

    fn board(events: Vec<Event>) -> Board {
        let mut board = Board::new(300);
        events.iter().for_each(|event| board.learn(event));
        board
    }

    #[test]
    fn hundreds_of_hosts_fit_and_those_in_trouble_come_first() {
        let mut events: Vec<Event> = (0..200)
            .map(|index| {
                event(
                    i64::from(index),
                    EventKind::ClusterNodeJoinStarted { host: host(index) },
                )
            })
            .collect();
        let failure = StageFailure::transient("connection-refused", "nobody listens\nmore");
        events.push(event(
            300,
            EventKind::RetryScheduled {
                host: host(150),
                stage: Stage::Join,
                undo: false,
                attempt: 1,
                until: Timestamp::UNIX_EPOCH,
                failure,
            },
        ));
        let board = board(events);
        let rows = board.rows(Timestamp::from_second(400).unwrap(), 5, 60);
        assert_eq!(rows.len(), 5);
        assert!(
            rows[0].contains("w150") && rows[0].contains("again soon: nobody listens"),
            "{rows:?}"
        );
        assert!(rows[1].contains("w0 "), "{rows:?}");
        assert_eq!(rows[4], "  … and 196 more at work");
        assert!(rows.iter().all(|row| row.chars().count() < 60));
    }

    #[test]
    fn the_summary_counts_everybody_once() {
        let failure = StageFailure::terminal("x", "y");
        let board = board(vec![
            event(0, EventKind::RunStarted { hosts: 300 }),
            event(0, EventKind::ClusterNodeJoinStarted { host: host(0) }),
            event(0, EventKind::ClusterNodeJoinStarted { host: host(1) }),
            event(0, EventKind::ClusterNodeJoinStarted { host: host(2) }),
            event(
                1,
                EventKind::ClusterNodeJoinCompleted {
                    host: host(0),
                    seconds: 1.0,
                },
            ),
            event(
                1,
                EventKind::ClusterNodeJoinFailed {
                    host: host(1),
                    stage: Stage::Join,
                    failure,
                },
            ),
        ]);
        let summary = board.summary(Timestamp::from_second(42).unwrap());
        assert_eq!(
            summary,
            "joining 1/300 joined, 1 at work, 1 failed, 297 waiting  42s"
        );
    }

    #[test]
    fn a_failure_has_its_line_with_stage_cause_and_id() {
        let mut board = Board::new(3);
        let failure = StageFailure::terminal("pin-mismatch", "another CA\nmore");
        let failed = event(
            0,
            EventKind::ClusterNodeJoinFailed {
                host: host(1),
                stage: Stage::Join,
                failure,
            },
        );
        let line = board.line(&failed, true).unwrap();
        assert_eq!(
            line,
            "FAILED    w1               join: another CA [pin-mismatch]"
        );
        let stopped = event(
            0,
            EventKind::ClusterNodeJoinFailed {
                host: host(1),
                stage: Stage::Join,
                failure: StageFailure::terminal(failure_ids::STOPPED, "stopped at once"),
            },
        );
        assert!(board.line(&stopped, true).is_some());
        // Hundreds of times the same would push the rest off the screen.
        assert_eq!(Board::new(300).line(&stopped, true), None);
        assert!(Board::new(300).line(&stopped, false).is_some());
    }
}

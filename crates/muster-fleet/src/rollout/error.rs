//! Why a run could not begin or be taken up: stable ids, documented exit codes, and what to do.

use muster_rollout::{PlanError, ReplayError, StageFailure};

use super::store::StoreFailure;

/// Exit codes of fleet commands. Never reused.
pub mod exit_code {
    /// `fleet-undone`: hosts failed, and every attempted one is as it was before.
    pub const UNDONE: u8 = 90;
    /// `fleet-partly-joined`: some hosts failed, the others stay, as was asked for.
    pub const PARTLY_JOINED: u8 = 91;
    /// `fleet-stuck`: something could not be taken back.
    pub const STUCK: u8 = 92;
    /// `fleet-stopped`: stopped at once; the run can be taken up again.
    pub const STOPPED: u8 = 93;
    /// `fleet-locked`: another run works on this fleet.
    pub const LOCKED: u8 = 94;
    /// `fleet-unfinished`: an earlier run of this fleet is not finished.
    pub const UNFINISHED: u8 = 95;
    /// `fleet-access-unusable` and other ids of what a run needs before it begins.
    pub const ACCESS: u8 = 96;
    /// `fleet-plan-stale`: a saved plan does not fit any more.
    pub const PLAN_STALE: u8 = 97;
    /// `fleet-no-run`: there is no run to take up.
    pub const NO_RUN: u8 = 98;
}

/// How fleet commands end, with their exit codes, in the order of the reference page.
pub const ENDS: [(&str, u8); 10] = [
    ("fleet-undone", exit_code::UNDONE),
    ("fleet-partly-joined", exit_code::PARTLY_JOINED),
    ("fleet-stuck", exit_code::STUCK),
    ("fleet-stopped", exit_code::STOPPED),
    ("fleet-locked", exit_code::LOCKED),
    ("fleet-unfinished", exit_code::UNFINISHED),
    ("fleet-access-unusable", exit_code::ACCESS),
    ("fleet-plan-stale", exit_code::PLAN_STALE),
    ("fleet-no-run", exit_code::NO_RUN),
    ("fleet-interrupted", crate::exit_code::INTERRUPTED),
];

/// Why a run could not begin or be taken up. Nothing was done on any host.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(StoreFailure),
    /// Another run has the fleet's Lease.
    #[error("{holder} works on this fleet")]
    Locked {
        /// Who.
        holder: String,
    },
    /// The cluster or the machine that mints tokens cannot be used.
    #[error("{}", .0.message)]
    Access(StageFailure),
    /// The fleet makes no plan.
    #[error("no run can follow this fleet")]
    Plan(#[source] PlanError),
    /// An earlier run is not finished.
    #[error("the run {run} of this fleet is not finished")]
    Unfinished {
        /// Which.
        run: String,
    },
    /// There is nothing to take up.
    #[error("there is no run of this fleet")]
    NoRun,
    /// The run that was named is not in the journal.
    #[error("there is no run {run} of this fleet")]
    UnknownRun {
        /// What was named.
        run: String,
        /// Those that are there, the oldest first.
        known: Vec<String>,
    },
    /// The journal does not tell a run of this fleet.
    #[error("the journal of the run cannot be followed")]
    Replay(#[source] ReplayError),
}

impl RolloutError {
    /// The stable kebab-case id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Store(StoreFailure::Locked { .. }) | Self::Locked { .. } => "fleet-locked",
            Self::Store(StoreFailure::Record { .. } | StoreFailure::About { .. })
            | Self::Replay(_) => "journal-damaged",
            Self::Store(_) => "journal-unwritable",
            Self::Access(failure) => &failure.id,
            Self::Plan(_) => "usage",
            Self::Unfinished { .. } => "fleet-unfinished",
            Self::NoRun | Self::UnknownRun { .. } => "fleet-no-run",
        }
    }

    /// The documented exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.id() {
            "fleet-locked" => exit_code::LOCKED,
            "journal-damaged" => crate::exit_code::JOURNAL_DAMAGED,
            "journal-unwritable" => crate::exit_code::JOURNAL_UNWRITABLE,
            "usage" => 2,
            "fleet-unfinished" => exit_code::UNFINISHED,
            "fleet-no-run" => exit_code::NO_RUN,
            id => exit_code_of_failure(id),
        }
    }

    /// What to do now.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        Some(match self {
            Self::Store(StoreFailure::Locked { .. }) => "wait until it has ended; `muster fleet status` shows how far it is".into(),
            Self::Locked { .. } => "wait until it has ended, or stop it: its Lease then expires within a minute".into(),
            Self::Store(StoreFailure::Record { .. } | StoreFailure::About { .. }) | Self::Replay(_) => {
                "use the version of muster that wrote it, or move the state directory away and reset the hosts by hand".into()
            }
            Self::Store(_) => "see that the state directory can be written and has room, or name another with --state-dir".into(),
            Self::Access(failure) => return failure.cure.clone(),
            Self::Plan(_) => "correct the fleet file".into(),
            Self::Unfinished { .. } => "`muster fleet resume` goes on with it, `muster fleet undo` takes it back".into(),
            Self::UnknownRun { known, .. } => format!("runs that are known: {}", known.join(", ")),
            Self::NoRun => "begin one with `muster fleet join`; another state directory is named with --state-dir".into(),
        })
    }
}

/// The exit code of a failure on the way to the cluster or to a machine.
fn exit_code_of_failure(id: &str) -> u8 {
    let machine = muster_ssh::MachineErrorKind::ALL
        .iter()
        .find(|kind| kind.id() == id);
    let handshake = muster_handshake::ErrorKind::ALL
        .iter()
        .find(|kind| kind.id() == id);
    match (machine, handshake) {
        (Some(kind), _) => kind.exit_code(),
        (_, Some(kind)) => kind.exit_code(),
        _ => exit_code::ACCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fault;

    const PAGE: &str = include_str!("../../../../docs/reference/errors.md");

    /// Ids and exit codes between two markers of the page.
    fn rows(section: &str) -> Vec<(String, u8)> {
        let begin = PAGE.find(&format!("<!-- {section}:begin")).unwrap();
        let end = PAGE.find(&format!("<!-- {section}:end")).unwrap();
        let rows = PAGE[begin..end]
            .lines()
            .filter(|line| line.starts_with("| `"));
        rows.map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let id = cells.next().unwrap().trim_matches('`').to_owned();
            (id, cells.next().unwrap().parse().unwrap())
        })
        .collect()
    }

    #[test]
    fn every_end_of_a_fleet_command_stands_on_the_page_with_its_code() {
        let expected: Vec<(String, u8)> = ENDS
            .iter()
            .map(|(id, code)| ((*id).to_owned(), *code))
            .collect();
        assert_eq!(rows("fleet"), expected);
    }

    #[test]
    fn every_failure_of_a_host_stands_on_the_page() {
        let ours = fault::ids::ALL
            .iter()
            .chain(&muster_rollout::failure_ids::ALL);
        for id in ours {
            let row = format!("| `{id}` |");
            assert!(PAGE.contains(&row), "{id} has no row");
        }
        for (id, _) in rows("fleet-hosts") {
            let known = fault::ids::ALL.contains(&id.as_str());
            assert!(
                known || muster_rollout::failure_ids::ALL.contains(&id.as_str()),
                "nothing is called {id}"
            );
        }
    }

    #[test]
    fn what_stands_in_the_way_has_an_id_a_code_and_a_cure() {
        let errors = [
            RolloutError::NoRun,
            RolloutError::UnknownRun {
                run: "r".into(),
                known: vec!["q".into()],
            },
            RolloutError::Locked { holder: "x".into() },
            RolloutError::Unfinished { run: "r".into() },
            RolloutError::Access(StageFailure::terminal(fault::ids::ACCESS, "m").with_cure("c")),
        ];
        for error in errors {
            assert!(ENDS.contains(&(error.id(), error.exit_code())), "{error:?}");
            assert!(error.cure().is_some());
        }
        assert_eq!(exit_code_of_failure("ssh-refused"), 102);
        assert_eq!(exit_code_of_failure("unauthorized"), 40);
    }
}

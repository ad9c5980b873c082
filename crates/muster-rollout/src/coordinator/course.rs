//! The course of the run as a whole: its phase, its waves, and the sums that say when a phase is over.
//!
//! Sums are kept as hosts move, so that nobody ever counts through all of them.

use crate::{Counts, HostIndex, Policy, Role, RolloutPlan, policy::ControlPlane};

/// What the run as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The first token is being minted.
    Minting,
    /// Hosts join, and those that fail are taken back.
    Forward,
    /// All that were attempted are taken back.
    Unwinding,
    /// Hosts that stay are let go.
    Settling,
    /// The end is on its way to the journal.
    Closing,
    /// Over.
    Ended,
}

/// Sums over all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) hosts: u32,
    pub(super) touched: u32,
    pub(super) joined: u32,
    pub(super) failed: u32,
    pub(super) undone: u32,
    pub(super) stuck: u32,
    /// Started and not ended.
    pub(super) at_work: u32,
    /// Given a chance to start, and not ended.
    pub(super) open: u32,
    /// On their way back.
    pub(super) undo_open: u32,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            hosts: self.hosts,
            joined: self.joined,
            failed: self.failed,
            undone: self.undone,
            stuck: self.stuck,
            untouched: self.hosts.saturating_sub(self.touched),
        }
    }
}

/// Who starts together.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    hosts: Vec<HostIndex>,
    next: usize,
    /// How many at the head are control-plane hosts that come before all others.
    leaders: usize,
    wave: usize,
    /// Whether the wave that is open is that of the leaders.
    leading: bool,
    /// Hosts of the open wave that failed.
    failed: u32,
}

impl Order {
    /// The order of those hosts: control-plane hosts first if the policy says so, otherwise as they are given.
    pub(super) fn of(plan: &RolloutPlan, hosts: impl IntoIterator<Item = HostIndex>) -> Self {
        let before = plan.policy.control_plane == ControlPlane::Before;
        let leads =
            |host: &HostIndex| before && plan.hosts[host.as_usize()].role == Role::ControlPlane;
        let (mut leaders, others): (Vec<_>, Vec<_>) = hosts.into_iter().partition(leads);
        let number = leaders.len();
        leaders.extend(others);
        Self {
            hosts: leaders,
            leaders: number,
            ..Self::default()
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.next >= self.hosts.len()
    }

    pub(super) fn on_failure(&mut self) {
        self.failed += 1;
    }

    /// Why no further wave may start after the one that is open, if so.
    pub(super) fn objection(&self, policy: &Policy) -> Option<&'static str> {
        if self.leading && self.failed > 0 {
            return Some("a control-plane host failed, and workers come after them");
        }
        if !self.leading && self.wave > 0 && !policy.goes_on_after_wave(self.failed) {
            return Some("too many hosts of a wave failed");
        }
        None
    }

    /// The hosts of the next wave, and its number if it is one of the policy's.
    pub(super) fn open(&mut self, policy: &Policy) -> (Vec<HostIndex>, Option<u32>) {
        self.failed = 0;
        self.leading = self.next < self.leaders;
        let size = if self.leading {
            self.leaders - self.next
        } else {
            let all = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
            self.wave += 1;
            policy.wave_size(self.wave - 1, all) as usize
        };
        let end = self.next.saturating_add(size).min(self.hosts.len());
        let hosts = self.hosts[self.next..end].to_vec();
        self.next = end;
        let number = u32::try_from(self.wave).ok();
        (
            hosts,
            number.filter(|_| !self.leading && policy.waves.is_some()),
        )
    }
}

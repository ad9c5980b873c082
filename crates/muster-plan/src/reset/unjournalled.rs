//! What of a join of ours goes without its journal: a unit with our mark and a process of ours.

use crate::{Step, paths};

/// What a reset without a journal does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetPlan {
    /// Steps whose undo is safe, as if nothing had been there before them; to be taken back in this order.
    pub take_back: Vec<Step>,
}

/// Decides what may go. `our_unit` says that the unit muster-kubelet.service carries our mark, `our_process` that
/// the pid file names a live process of ours.
#[must_use]
pub fn reset_without_journal(our_unit: bool, our_process: bool) -> ResetPlan {
    let mut take_back = Vec::new();
    if our_process {
        take_back.push(Step::SpawnSupervised {
            name: "kubelet".into(),
            executable: String::new(),
            argv: Vec::new(),
            pidfile: paths::KUBELET_PID.into(),
            log: paths::KUBELET_LOG.into(),
        });
    }
    if our_unit {
        let unit = paths::MUSTER_KUBELET_UNIT.to_owned();
        take_back.push(Step::StartService { unit: unit.clone() });
        take_back.push(Step::EnableService { unit: unit.clone() });
        take_back.push(Step::InstallUnit {
            unit,
            content: String::new(),
        });
    }
    ResetPlan { take_back }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_unit_and_process_go() {
        assert_eq!(reset_without_journal(true, true).take_back.len(), 4);
        assert_eq!(reset_without_journal(false, false).take_back, []);
    }
}

//! Resetting a machine without a journal: only what can be proved to be ours, and words for the rest.
//!
//! With a journal there is nothing to decide: every step is taken back in reverse. Without one, files at kubeadm's
//! paths may be kubeadm's, so they are named and left.

use muster_saga::Residue;

use crate::paths::{self, Root};
use crate::{Facts, Step};

/// What a reset without a journal does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetPlan {
    /// Steps whose undo is safe, as if nothing had been there before them; to be taken back in this order.
    pub take_back: Vec<Step>,
    /// What looks like a joined node but cannot be proved to be ours.
    pub left_behind: Vec<Residue>,
}

/// Decides what may go. `our_unit` says that the unit muster-kubelet.service carries our mark, `our_process` that
/// the pid file names a live process of ours.
#[must_use]
pub fn reset_without_journal(
    facts: &Facts,
    root: &Root,
    our_unit: bool,
    our_process: bool,
) -> ResetPlan {
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
    let left_behind = [paths::KUBELET_CONF, paths::CA_CRT, paths::KUBELET_CLIENT_CURRENT]
        .into_iter()
        .filter(|path| facts.files.contains_key(*path))
        .map(|path| {
            let real = root.real(path);
            Residue {
                what: real.clone(),
                why: "no journal that still holds says who wrote it".into(),
                remedy: format!(
                    "If kubeadm joined this machine: `kubeadm reset`. Otherwise remove it by hand: rm {real}"
                ),
            }
        })
        .collect();
    ResetPlan {
        take_back,
        left_behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileFact;
    use jiff::Timestamp;

    #[test]
    fn a_file_at_kubeadms_path_is_named_and_never_removed() {
        let mut facts = Facts::plain("n1", Timestamp::UNIX_EPOCH);
        facts
            .files
            .insert(paths::KUBELET_CONF.into(), FileFact::File { size: 1 });
        let plan = reset_without_journal(&facts, &Root::new("/tmp/n1"), false, false);
        assert_eq!(plan.take_back, []);
        assert_eq!(
            plan.left_behind[0].what,
            "/tmp/n1/etc/kubernetes/kubelet.conf"
        );
    }

    #[test]
    fn our_own_unit_and_process_go() {
        let facts = Facts::plain("n1", Timestamp::UNIX_EPOCH);
        let plan = reset_without_journal(&facts, &Root::new("/"), true, true);
        assert_eq!(plan.take_back.len(), 4);
        assert_eq!(plan.left_behind, []);
    }
}

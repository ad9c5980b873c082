//! FileExisting: programs that the kubelet calls for volumes.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() {
        return;
    }
    for program in ["losetup", "mount", "cp"] {
        if !situation.facts.binaries.contains_key(program) {
            findings.push(Finding::error(
                format!("FileExisting-{program}"),
                format!("{program} not found in system path"),
                format!("Install {program} (packages util-linux, mount, coreutils) and see that it is in PATH."),
            ));
        }
    }
}

//! IsPrivilegedUser: a join writes below `/etc` and starts services. Below a root directory of one's own it need not.

use super::Situation;
use crate::Finding;

/// Also RootDirectory (ours): files name each other by their real paths, so these must be absolute.
pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.facts.uid != 0 && situation.has_machine() {
        findings.push(Finding::error(
            "IsPrivilegedUser",
            "user is not running as root",
            "Run it as root (for example with sudo), or give --root DIR for a node below a directory of yours.",
        ));
    }
    if !situation.request.root.dir().starts_with('/') {
        findings.push(Finding::error(
            "RootDirectory",
            format!(
                "the root directory {} is not an absolute path",
                situation.request.root.dir()
            ),
            "Give the directory with its full path.",
        ));
    }
}

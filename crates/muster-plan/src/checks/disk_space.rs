//! DiskSpace (ours): a kubelet evicts pods below 10 % of room, and a join on a full disk fails half-way.

use super::Situation;
use crate::Finding;

/// Below this a join's own files may not fit.
const MINIMUM: u64 = 16 << 20;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let Some(disk) = situation.facts.disk else {
        return;
    };
    if disk.available < MINIMUM {
        findings.push(Finding::error(
            "DiskSpace",
            format!("only {} KiB are free below /var/lib", disk.available >> 10),
            "Free some room first.",
        ));
    } else if !situation.is_hollow() && disk.available < disk.total / 10 {
        findings.push(Finding::warning(
            "DiskSpace",
            format!(
                "{} of {} MiB are free below /var/lib",
                disk.available >> 20,
                disk.total >> 20
            ),
            "The kubelet evicts pods when less than 10 % is free.",
        ));
    }
}

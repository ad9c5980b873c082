//! DiskSpace and Inodes (ours): a kubelet evicts pods below 10 % of room or 5 % of inodes, and a join on a full disk
//! fails half-way.

use super::Situation;
use crate::{DiskFact, Finding};

/// Below this a join's own files may not fit.
const MINIMUM: u64 = 16 << 20;
/// A join makes some dozens of files.
const MINIMUM_INODES: u64 = 256;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    let Some(disk) = situation.facts.disk else {
        return;
    };
    room(situation, disk, findings);
    inodes(situation, disk, findings);
}

fn room(situation: &Situation<'_>, disk: DiskFact, findings: &mut Vec<Finding>) {
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

fn inodes(situation: &Situation<'_>, disk: DiskFact, findings: &mut Vec<Finding>) {
    let DiskFact {
        inodes_available: available,
        inodes_total: total,
        ..
    } = disk;
    // Some file systems (btrfs) do not count them.
    if total == 0 {
        return;
    }
    let message = format!("{available} of {total} inodes are free below /var/lib");
    if available < MINIMUM_INODES {
        let remedy = "Remove files that are not needed; `df -i` shows which file system it is.";
        findings.push(Finding::error("Inodes", message, remedy));
    } else if !situation.is_hollow() && available < total / 20 {
        let remedy = "The kubelet evicts pods when less than 5 % is free.";
        findings.push(Finding::warning("Inodes", message, remedy));
    }
}

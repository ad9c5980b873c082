//! Swap: allowed, but the kubelet must be told how to use it.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() || situation.facts.swap.is_empty() {
        return;
    }
    findings.push(Finding::warning(
        "Swap",
        format!("swap is on ({})", situation.facts.swap.join(", ")),
        "Switch it off with `swapoff -a`, or set failSwapOn and memorySwap in the kubelet's configuration.",
    ));
}

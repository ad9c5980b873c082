//! Swap: allowed, but the kubelet must be told how to use it.

use super::Situation;
use crate::Finding;

pub(super) fn check(situation: &Situation<'_>, findings: &mut Vec<Finding>) {
    if situation.is_hollow() || situation.facts.swap.is_empty() {
        return;
    }
    findings.push(Finding::warning(
        "Swap",
        "swap is supported for cgroup v2 only. The kubelet must be properly configured to use swap. Please refer to https://kubernetes.io/docs/concepts/architecture/nodes/#swap-memory, or disable swap on the node",
        format!(
            "In use: {}. Switch it off with `muster preflight --fix` or `swapoff -a`, or set failSwapOn and memorySwap in the kubelet's configuration.",
            situation.facts.swap.join(", ")
        ),
    ));
}

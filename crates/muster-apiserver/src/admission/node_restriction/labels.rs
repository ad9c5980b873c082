//! Which labels a kubelet may put on its own Node: any outside Kubernetes' domains, and of those the ones
//! that describe the machine.
//!
//! Refuses to know: values.

use std::collections::BTreeSet;

use muster_machinery::meta;
use serde_json::Value;

const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Domains whose labels a kubelet may set freely, with everything below them.
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Kubernetes' own labels that a kubelet may set.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// The labels that differ between the two and that a kubelet may not touch, sorted.
pub(super) fn forbidden(new: &Value, old: &Value) -> Vec<String> {
    let keys = |node| {
        meta::labels(node)
            .into_iter()
            .flat_map(|labels| labels.keys())
    };
    let changed: BTreeSet<&String> = keys(new)
        .chain(keys(old))
        .filter(|key| meta::label(new, key) != meta::label(old, key))
        .collect();
    changed
        .into_iter()
        .filter(|key| is_forbidden(key))
        .cloned()
        .collect()
}

fn is_forbidden(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    if is_within(domain, RESTRICTED) {
        return true;
    }
    let is_kubernetes = is_within(domain, "kubernetes.io") || is_within(domain, "k8s.io");
    let is_kubelet = KUBELET_LABELS.contains(&key)
        || KUBELET_DOMAINS
            .iter()
            .any(|allowed| is_within(domain, allowed));
    is_kubernetes && !is_kubelet
}

fn is_within(domain: &str, parent: &str) -> bool {
    domain
        .strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain", false)]
    #[case("example.com/rack", false)]
    #[case("muster.dev/hollow", false)]
    #[case("kubernetes.io/hostname", false)]
    #[case("node.kubernetes.io/instance-type", false)]
    #[case("custom.node.kubernetes.io/x", false)]
    #[case("kubelet.kubernetes.io/x", false)]
    #[case("node-role.kubernetes.io/control-plane", true)]
    #[case("node-restriction.kubernetes.io/x", true)]
    #[case("a.node-restriction.kubernetes.io/x", true)]
    #[case("kubernetes.io/x", true)]
    #[case("x.k8s.io/y", true)]
    #[case("notkubernetes.io/x", false)]
    fn only_labels_that_describe_the_machine_are_the_kubelets(
        #[case] key: &str,
        #[case] refused: bool,
    ) {
        assert_eq!(is_forbidden(key), refused);
    }
}

//! Policies in CEL that change objects (`MutatingAdmissionPolicy`) are stored and not evaluated: whoever writes one must
//! hear of it.
//!
//! Refuses to know: what the policies say.

use super::{Judged, Operation};

const GROUP: &str = "admissionregistration.k8s.io";
const RESOURCES: [(&str, &str); 2] = [
    ("mutatingadmissionpolicies", "MutatingAdmissionPolicy"),
    (
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
    ),
];

pub(super) fn warn(request: &Judged<'_>) {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if !writes || request.info.group != GROUP || !request.subresource().is_empty() {
        return;
    }
    let mut resources = RESOURCES.iter();
    if let Some((_, kind)) = resources.find(|(plural, _)| *plural == request.info.resource) {
        request.notes.warn(&format!(
            "this server changes no objects by policies in CEL: the {kind} is stored and has no effect"
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::admission::harness::Bench;

    #[test]
    fn whoever_writes_a_policy_hears_that_it_has_no_effect() {
        let bench = Bench::new([]);
        let policy = json!({"metadata": {"name": "p"}, "spec": {}});
        let target = "mutatingadmissionpolicies.admissionregistration.k8s.io";
        bench.create(target, policy).expect("admitted");
        let warnings = bench.warnings();
        assert_eq!(
            warnings,
            [
                "this server changes no objects by policies in CEL: the MutatingAdmissionPolicy is stored and has no effect"
            ]
        );
    }
}

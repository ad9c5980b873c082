//! Which fields an endpoint does not let clients write, so that writing them there makes nobody their owner.
//!
//! Upstream: the `GetResetFields` of each resource's strategies. Says nothing about how the server resets them.

use super::field_set::FieldSet;
use super::versions::Typing;
use crate::gvk::split_api_version;
use crate::schema;

impl Typing<'_> {
    /// The fields that nobody owns by writing them at this endpoint, with all below them. `subresource` is empty for the
    /// object itself; `has_status` tells whether the kind has a status subresource.
    #[must_use]
    pub fn reset_fields(
        &self,
        api_version: &str,
        kind: &str,
        has_status: bool,
        subresource: &str,
    ) -> FieldSet {
        const SPEC: &[&str] = &["spec"];
        const STATUS: &[&str] = &["status"];
        const METADATA: &[&str] = &["metadata"];
        let group = match self {
            Self::BuiltIn => split_api_version(api_version).map(|(group, _)| group),
            Self::Custom(_) => None,
        };
        let of = FieldSet::of_fields;
        match (group, kind, subresource) {
            (None, _, "status") => of(&[METADATA, SPEC]),
            (Some("certificates.k8s.io"), "CertificateSigningRequest", subresource) => {
                match subresource {
                    "status" => of(&[SPEC, &["status", "conditions"]]),
                    "approval" => of(&[SPEC, &["status", "certificate"]]),
                    _ => of(&[SPEC, STATUS]),
                }
            }
            (Some("apps"), "Deployment", "status") => of(&[SPEC, &["metadata", "labels"]]),
            (Some("resource.k8s.io"), _, "status") => of(&[METADATA, SPEC]),
            (Some(""), "Pod", "status") => of(&[
                SPEC,
                &["metadata", "deletionTimestamp"],
                &["metadata", "ownerReferences"],
            ]),
            (Some(""), "Pod", "ephemeralcontainers") => all_of_pods_but(&["ephemeralContainers"]),
            (Some(""), "Pod", "resize") => all_of_pods_but(&["containers", "initContainers"]),
            (_, _, "status") => of(&[SPEC]),
            (_, _, "") if has_status => of(&[STATUS]),
            _ => FieldSet::new(),
        }
    }
}

/// Everything in a pod but some fields of its spec.
fn all_of_pods_but(kept: &[&str]) -> FieldSet {
    let mut set = FieldSet::of_fields(&[&["metadata"], &["status"]]);
    let table = schema::table();
    let spec = table
        .by_kind("", "v1", "Pod")
        .and_then(|pod| table.message_of(table.field(pod, "spec")?));
    for field in spec.into_iter().flat_map(|spec| table.json_fields(spec)) {
        if !kept.contains(&field.name()) {
            set.extend(&FieldSet::of_fields(&[&["spec", field.name()]]));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::apply::Path;

    #[rstest]
    #[case("v1", "Node", "", &["status"], &["spec"])]
    #[case("v1", "Node", "status", &["spec"], &["status"])]
    #[case("certificates.k8s.io/v1", "CertificateSigningRequest", "", &["spec"], &["metadata"])]
    #[case("certificates.k8s.io/v1", "CertificateSigningRequest", "approval", &["status", "certificate"], &["status", "conditions"])]
    #[case("v1", "Pod", "ephemeralcontainers", &["spec", "containers"], &["spec", "ephemeralContainers"])]
    #[case("v1", "Pod", "resize", &["spec", "nodeName"], &["spec", "containers"])]
    fn each_endpoint_resets_its_fields(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] subresource: &str,
        #[case] reset: &[&str],
        #[case] owned: &[&str],
    ) {
        let set = Typing::BuiltIn.reset_fields(api_version, kind, true, subresource);
        assert!(set.contains(&Path::fields(reset).0));
        assert!(!set.contains(&Path::fields(owned).0));
    }

    #[test]
    fn a_custom_resource_s_status_endpoint_owns_the_status_only() {
        let reset = Typing::Custom(&[]).reset_fields("e.com/v1", "Widget", true, "status");
        assert_eq!(reset, FieldSet::of_fields(&[&["metadata"], &["spec"]]));
        let reset = Typing::Custom(&[]).reset_fields("e.com/v1", "Widget", false, "");
        assert!(reset.is_empty());
    }
}

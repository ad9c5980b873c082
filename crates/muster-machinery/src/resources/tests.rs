//! The table is complete and consistent with itself.

use super::*;

#[test]
fn every_resource_is_found_by_its_plural_and_by_its_kind() {
    for resource in all() {
        assert_eq!(
            find(&resource.group, &resource.version, &resource.plural),
            Some(resource)
        );
        assert_eq!(
            find_kind(&resource.group, &resource.version, &resource.kind),
            Some(resource)
        );
    }
    assert_eq!(find("", "v1", "nodos"), None);
    assert_eq!(find("apps", "v1", "nodes"), None);
}

#[test]
fn groups_come_in_the_order_of_kube_apiserver() {
    let groups = groups();
    assert_eq!(groups[0], ("", vec!["v1"]));
    assert_eq!(groups[1].0, "apiregistration.k8s.io");
    assert!(groups.contains(&("autoscaling", vec!["v2", "v1"])));
    assert_eq!(groups.len(), 21);
}

#[test]
fn resources_of_a_group_version_are_sorted_as_discovery_shows_them() {
    for (group, versions) in groups() {
        for version in versions {
            let kinds: Vec<_> = in_group_version(group, version)
                .map(|r| &*r.plural)
                .collect();
            let mut sorted = kinds.clone();
            // Upstream sorts by path segment: `persistentvolumeclaims` before `persistentvolumes`.
            sorted.sort_unstable();
            assert_eq!(kinds, sorted, "{group}/{version}");
        }
    }
}

#[test]
fn reviews_and_bindings_can_only_be_created() {
    let asked: Vec<_> = all()
        .iter()
        .filter(|r| r.nature == Nature::Virtual)
        .map(|r| &*r.plural)
        .collect();
    assert_eq!(
        asked,
        [
            "bindings",
            "selfsubjectreviews",
            "tokenreviews",
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews"
        ]
    );
    for resource in all().iter().filter(|r| r.nature == Nature::Virtual) {
        assert_eq!(resource.verbs, ["create"]);
    }
}

#[test]
fn status_is_reset_only_where_it_is_a_subresource() {
    assert!(find("", "v1", "nodes").unwrap().has_status());
    assert!(!find("", "v1", "secrets").unwrap().has_status());
    assert!(
        !find("coordination.k8s.io", "v1", "leases")
            .unwrap()
            .has_status()
    );
}

#[test]
fn both_names_of_an_event_lead_to_one_place() {
    let core = find("", "v1", "events").unwrap();
    let new = find("events.k8s.io", "v1", "events").unwrap();
    assert_eq!(core.storage_prefix(), "/registry/core/events/");
    assert_eq!(core.storage_prefix(), new.storage_prefix());
    assert_eq!(new.storage_api_version(), "v1");
}

#[test]
fn paths_are_those_of_the_api() {
    let pods = find("", "v1", "pods").unwrap();
    assert_eq!(
        pods.path("default", "a"),
        "/api/v1/namespaces/default/pods/a"
    );
    assert_eq!(pods.path("", ""), "/api/v1/pods");
    let roles = find_preferred("rbac.authorization.k8s.io", "clusterroles").unwrap();
    assert_eq!(
        roles.path("x", "a"),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/a"
    );
}

#[test]
fn the_version_document_claims_one_release() {
    let info = serde_json::to_value(version_info()).unwrap();
    assert_eq!(info["minor"], "36");
    assert!(
        info["gitVersion"]
            .as_str()
            .unwrap()
            .starts_with(KUBERNETES_VERSION)
    );
    assert_eq!(info["minCompatibilityMinor"], "35");
}

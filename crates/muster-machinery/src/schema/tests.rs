//! The embedded table is whole, and says what the wire and the patches need to know.

use super::*;

fn field(message: &str, name: &str) -> &'static Field {
    let message = table().message(message).expect("message");
    table().field(message, name).expect("field")
}

#[test]
fn the_embedded_table_is_read_whole() {
    let table = Schema::parse(EMBEDDED).expect("the embedded table parses");
    assert!(
        table.messages().len() > 800,
        "{} messages",
        table.messages().len()
    );
    assert!(table.kinds().len() > 200, "{} kinds", table.kinds().len());
    assert_eq!(table.source(), "Kubernetes v1.36.2 API types");
}

#[test]
fn a_kind_is_found_by_group_version_and_kind() {
    let pod = table().by_kind("", "v1", "Pod").expect("Pod");
    assert_eq!(pod.name(), "k8s.io.api.core.v1.Pod");
    let lease = table()
        .by_api_version("coordination.k8s.io/v1", "Lease")
        .expect("Lease");
    assert_eq!(lease.short_name(), "Lease");
    assert_eq!(lease.kind().expect("kind").group, "coordination.k8s.io");
    assert!(
        table()
            .by_kind("coordination.k8s.io", "v1beta1", "Lease")
            .is_none(),
        "1.36 does not serve it"
    );
}

#[test]
fn every_kind_finds_itself() {
    for (kind, message) in table().kinds() {
        let found = table()
            .by_kind(kind.group, kind.version, kind.kind)
            .expect("found");
        assert_eq!(found.name(), message.name());
    }
}

#[test]
fn delete_options_belong_to_every_group() {
    let options = table()
        .by_api_version("resource.k8s.io/v1", "DeleteOptions")
        .expect("DeleteOptions");
    assert_eq!(
        options.name(),
        "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    );
}

#[test]
fn fields_are_found_by_number_and_by_name() {
    let meta = table()
        .message("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        .expect("ObjectMeta");
    assert_eq!(meta.field_by_number(14).expect("14").name(), "finalizers");
    assert_eq!(
        table()
            .field(meta, "finalizers")
            .expect("finalizers")
            .number(),
        14
    );
    assert!(meta.field_by_number(0).is_none());
    assert!(table().field(meta, "clusterName").is_none());
}

#[test]
fn inlined_messages_show_their_fields_in_the_parent() {
    let volume = table()
        .message("k8s.io.api.core.v1.Volume")
        .expect("Volume");
    assert!(volume.fields().iter().any(|f| f.is_inline()));
    assert!(table().field(volume, "volumeSource").is_none());
    assert!(table().field(volume, "configMap").is_some());
    let ephemeral = table()
        .message("k8s.io.api.core.v1.EphemeralContainer")
        .expect("EphemeralContainer");
    assert!(table().field(ephemeral, "image").is_some());
}

#[test]
fn pointers_and_plain_numbers_are_told_apart() {
    assert!(field("k8s.io.api.apps.v1.DeploymentSpec", "replicas").is_pointer());
    assert!(!field("k8s.io.api.apps.v1.DeploymentSpec", "minReadySeconds").is_pointer());
    assert!(!field("k8s.io.api.core.v1.ContainerStatus", "restartCount").omits_empty());
    assert!(
        field(
            "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            "creationTimestamp"
        )
        .omits_zero()
    );
}

#[test]
fn merge_rules_are_those_of_the_types() {
    let containers = field("k8s.io.api.core.v1.PodSpec", "containers").rules();
    assert_eq!(
        (containers.patch_strategy, containers.patch_merge_key),
        ("merge", "name")
    );
    let ports = field("k8s.io.api.core.v1.Container", "ports").rules();
    assert_eq!(ports.patch_merge_key, "containerPort");
    assert_eq!(ports.list_keys, ["containerPort", "protocol"]);
    assert_eq!(
        field("k8s.io.api.core.v1.PodSpec", "tolerations")
            .rules()
            .list_type,
        Some(ListType::Atomic)
    );
    assert_eq!(
        field("k8s.io.api.core.v1.PodSpec", "nodeName").rules(),
        &NO_RULES
    );
}

#[test]
fn json_names_with_signs_are_kept() {
    let props = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    assert_eq!(field(props, "$ref").kind(), Kind::String);
    assert_eq!(
        field(props, "x-kubernetes-list-map-keys").shape(),
        Shape::List
    );
}

#[test]
fn a_table_that_points_nowhere_is_refused() {
    let text = r#"{"source":"","messages":[{"name":"a","fields":[["x",1,7,""]]}]}"#;
    assert!(matches!(
        Schema::parse(text),
        Err(SchemaError::Unknown { message: "a", .. })
    ));
    let text = r#"{"source":"","messages":[{"name":"b","fields":[]},{"name":"a","fields":[]}]}"#;
    assert!(matches!(
        Schema::parse(text),
        Err(SchemaError::Unordered("a"))
    ));
    assert!(matches!(Schema::parse("{"), Err(SchemaError::Malformed(_))));
}

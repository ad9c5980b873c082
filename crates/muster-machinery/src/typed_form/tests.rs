//! What goes, what stays, and that served objects are already in the form.

use serde_json::json;

use super::*;
use crate::protobuf;

fn tidied(api_version: &str, kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    assert!(apply(&mut object), "{kind} is built in");
    let members = object.as_object_mut().expect("object");
    members.remove("apiVersion");
    members.remove("kind");
    object
}

#[rstest::rstest]
#[case::unknown_members_go(json!({"spec": {"nodeName": "a", "foo": {"x": 1}}, "bar": 1}), json!({"spec": {"nodeName": "a"}}))]
#[case::nulls_go(json!({"metadata": {"labels": null, "creationTimestamp": null, "name": null}, "spec": null}), json!({"metadata": {}}))]
#[case::empty_members_go(
    json!({"metadata": {"labels": {}, "finalizers": [], "namespace": ""}, "spec": {"hostNetwork": false}}),
    json!({"metadata": {}, "spec": {}}))]
#[case::pointers_keep_their_zero(
    json!({"spec": {"priority": 0, "terminationGracePeriodSeconds": 0, "securityContext": {}, "automountServiceAccountToken": false}}),
    json!({"spec": {"priority": 0, "terminationGracePeriodSeconds": 0, "securityContext": {}, "automountServiceAccountToken": false}}))]
#[case::what_is_always_printed_stays(
    json!({"status": {"containerStatuses": [{"restartCount": 0, "ready": false, "image": ""}]}}),
    json!({"status": {"containerStatuses": [{"restartCount": 0, "ready": false, "image": ""}]}}))]
#[case::values_are_canonical(
    json!({"metadata": {"creationTimestamp": "2026-11-21T06:50:05.9+01:00"},
        "spec": {"overhead": {"cpu": 0.5, "memory": "1024Mi"}}}),
    json!({"metadata": {"creationTimestamp": "2026-11-21T05:50:05Z"}, "spec": {"overhead": {"cpu": "500m", "memory": "1Gi"}}}))]
#[case::inlined_sources_stay(
    json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}, "configMap": {"name": "c", "x": 1}}]}}),
    json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}, "configMap": {"name": "c"}}]}}))]
#[case::wrong_types_stay(
    json!({"spec": {"nodeName": 1, "containers": {"a": 1}}, "metadata": {"creationTimestamp": "today"}}),
    json!({"spec": {"nodeName": 1, "containers": {"a": 1}}, "metadata": {"creationTimestamp": "today"}}))]
#[case::annotations_are_left_alone(
    json!({"metadata": {"annotations": {"a": "", "b": "null"}}}),
    json!({"metadata": {"annotations": {"a": "", "b": "null"}}}))]
fn a_pod_takes_its_typed_form(#[case] given: Value, #[case] expected: Value) {
    assert_eq!(tidied("v1", "Pod", given), expected);
}

#[test]
fn micro_times_and_null_times_are_kept_as_go_prints_them() {
    let event = json!({"eventTime": null, "deprecatedLastTimestamp": null});
    let event = tidied("events.k8s.io/v1", "Event", event);
    assert_eq!(
        event,
        json!({"eventTime": null, "deprecatedLastTimestamp": null})
    );
    let lease = tidied(
        "coordination.k8s.io/v1",
        "Lease",
        json!({"spec": {"renewTime": "2026-11-21T05:50:05Z"}}),
    );
    assert_eq!(lease["spec"]["renewTime"], "2026-11-21T05:50:05.000000Z");
}

#[test]
fn embedded_json_is_left_alone_and_crd_schemas_are_not() {
    let schema = json!({"default": {"x": null, "y": {}}, "nullable": false, "items": {"typo": 1}, "anyOf": [],
        "additionalProperties": {"typo": 1, "type": "string"}});
    let crd = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
    let tidy = tidied("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd);
    assert_eq!(
        tidy["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({"default": {"x": null, "y": {}}, "items": {}, "additionalProperties": {"type": "string"}})
    );
}

#[test]
fn custom_kinds_are_untouched() {
    let mut lamp = json!({"apiVersion": "example.com/v1", "kind": "Lamp", "spec": null});
    assert!(!apply(&mut lamp));
    assert_eq!(lamp["spec"], Value::Null);
}

#[test]
fn served_objects_are_in_their_typed_form() {
    for body in [
        include_bytes!("../../fixtures/pod-list.pb").as_slice(),
        include_bytes!("../../fixtures/service-list.pb"),
        include_bytes!("../../fixtures/node.pb"),
        include_bytes!("../../fixtures/csr.pb"),
        include_bytes!("../../fixtures/csinode.pb"),
        include_bytes!("../../fixtures/event.pb"),
        include_bytes!("../../fixtures/lease-renewal.pb"),
    ] {
        let object = protobuf::decode(body).expect("decodes");
        let mut tidy = object.clone();
        assert!(apply(&mut tidy));
        assert_eq!(tidy, object);
    }
}

#[test]
fn the_typed_form_is_what_protobuf_leaves() {
    let given = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {}, "typo": 1},
        "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false, "selector": {"matchLabels": {"a": "b"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {"spec": {"containers": [{"name": "c", "env": [], "livenessProbe": {"httpGet": {"port": "x"}},
                "resources": {"limits": {}}}]}}}});
    let mut tidy = given.clone();
    apply(&mut tidy);
    let through = protobuf::decode(&protobuf::encode(&given).expect("encodes")).expect("decodes");
    assert_eq!(tidy, through);
}

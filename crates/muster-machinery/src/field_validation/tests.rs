//! The findings, word for word, and that good objects have none.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protobuf;
use crate::schema::table;

fn pod(text: &str) -> Findings {
    check(text.as_bytes(), table().by_kind("", "v1", "Pod")).expect("JSON")
}

#[rstest::rstest]
#[case(r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"foo": 1}}"#, &[r#"unknown field "spec.foo""#])]
#[case(r#"{"metadata": {"name": "a", "name": "b"}}"#, &[r#"duplicate field "metadata.name""#])]
#[case(r#"{"spec": {"containers": [{"name": "a"}, {"imag": {"x": 1, "x": 2}}]}}"#, &[r#"unknown field "spec.containers[1].imag""#])]
#[case(r#"{"metadata": {"labels": {"a": "1", "a": "2"}}}"#, &[r#"duplicate field "metadata.labels.a""#])]
#[case(r#"{"metdata": {}, "metdata": {}}"#, &[r#"unknown field "metdata""#, r#"duplicate field "metdata""#])]
#[case(r#"{"spec": {"volumes": [{"name": "a", "configMap": {"name": "c", "nam": ""}, "volumeSource": {}}]}}"#,
    &[r#"unknown field "spec.volumes[0].configMap.nam""#, r#"unknown field "spec.volumes[0].volumeSource""#])]
#[case(r#"{"spec": {"apiVersion": "v1"}}"#, &[r#"unknown field "spec.apiVersion""#])]
#[case(r#"{"metadata": {"managedFields": [{"fieldsV1": {"f:x": {}, "f:x": {}}}]}}"#, &[])]
fn unknown_and_repeated_members_are_named(#[case] text: &str, #[case] expected: &[&str]) {
    assert_eq!(pod(text).strict, expected);
    assert_eq!(pod(text).mismatch, None);
}

#[rstest::rstest]
#[case(json!({"spec": {"priority": "high"}}), "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32")]
#[case(json!({"spec": {"priority": 3_000_000_000_u32}}), "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32")]
#[case(json!({"spec": {"priority": 1.5}}), "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32")]
#[case(json!({"spec": {"containers": {}}}), "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container")]
#[case(json!({"spec": []}), "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec")]
#[case(json!({"metadata": {"labels": {"a": 1}}}), "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string")]
#[case(json!({"spec": {"hostNetwork": "yes"}}), "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool")]
#[case(json!({"metadata": {"name": true}}), "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string")]
#[case(json!({"kind": 1}), "json: cannot unmarshal number into Go struct field Pod.kind of type string")]
fn a_wrong_type_is_worded_as_go_does(#[case] object: Value, #[case] expected: &str) {
    assert_eq!(pod(&object.to_string()).mismatch.as_deref(), Some(expected));
}

#[rstest::rstest]
#[case(json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "one"}}}]}}), "quantities must match")]
#[case(json!({"metadata": {"creationTimestamp": "today"}}), "parsing time \"today\"")]
#[case(json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": true}}, "ports": 1}]}}),
    "bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type intstr.IntOrString")]
fn special_types_are_checked(#[case] object: Value, #[case] expected: &str) {
    let mismatch = pod(&object.to_string()).mismatch.expect("mismatch");
    assert!(mismatch.contains(expected), "{mismatch}");
}

#[test]
fn null_numbers_for_quantities_and_both_sorts_of_port_are_fine() {
    let object = json!({"metadata": null, "spec": {"nodeName": null, "containers": [
        {"resources": {"limits": {"cpu": 1, "memory": "1.5Gi", "x": "1e3", "y": "-.5m"}},
         "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"httpGet": {"port": 80}}}]}});
    assert_eq!(pod(&object.to_string()), Findings::default());
}

#[test]
fn a_crd_schema_is_followed_through_its_odd_forms() {
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [
        {"schema": {"openAPIV3Schema": {"default": {"anything": 1}, "properties": {
            "a": {"items": {"typo": 1}}, "b": {"items": [{"typo": 1}]}, "c": {"additionalProperties": true},
            "d": {"additionalProperties": {"typo": 1}}}}}}]}});
    let message = table().by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let findings = check(crd.to_string().as_bytes(), message).expect("JSON");
    let at = "spec.versions[0].schema.openAPIV3Schema.properties";
    let unknown = |path: &str| format!("unknown field \"{at}.{path}.typo\"");
    assert_eq!(
        findings.strict,
        [
            unknown("a.items"),
            unknown("b.items[0]"),
            unknown("d.additionalProperties")
        ]
    );
    assert_eq!(findings.mismatch, None);
}

#[test]
fn a_custom_resource_is_searched_for_repeats_only() {
    let findings = check(
        br#"{"spec": {"lit": true, "x": [{"a": 1, "a": "2"}], "lit": 1}}"#,
        None,
    )
    .expect("JSON");
    assert_eq!(
        findings.strict,
        [
            r#"duplicate field "spec.x[0].a""#,
            r#"duplicate field "spec.lit""#
        ]
    );
    assert_eq!(
        findings.strict_error().as_deref(),
        Some(r#"strict decoding error: duplicate field "spec.x[0].a", duplicate field "spec.lit""#)
    );
}

#[test]
fn what_is_not_one_json_document_is_an_error() {
    assert!(check(b"{} {}", None).is_err());
    assert!(check(b"{", None).is_err());
    assert!(
        check("[".repeat(10_000).as_bytes(), None).is_err(),
        "nesting is bounded"
    );
}

#[test]
fn findings_are_bounded() {
    let text = format!("{{{}\"z\": 1}}", r#""a": 1, "#.repeat(500));
    assert_eq!(pod(&text).strict.len(), MAX_FINDINGS);
    let long = "é".repeat(5_000);
    assert!(pod(&json!({ long: 1 }).to_string()).strict[0].len() < 1_100);
}

#[test]
fn served_objects_have_no_findings() {
    for body in [
        include_bytes!("../../fixtures/pod-list.pb").as_slice(),
        include_bytes!("../../fixtures/node.pb"),
        include_bytes!("../../fixtures/csr.pb"),
        include_bytes!("../../fixtures/service-list.pb"),
    ] {
        let object = protobuf::decode(body).expect("decodes");
        let text = |key: &str| object[key].as_str().expect("text");
        let message = table()
            .by_api_version(text("apiVersion"), text("kind"))
            .expect("known");
        assert_eq!(check_value(&object, message), Findings::default());
        assert_eq!(
            check(object.to_string().as_bytes(), Some(message)).expect("JSON"),
            Findings::default()
        );
    }
}

#[test]
fn the_parameter_is_read() {
    assert_eq!(FieldValidation::parse(""), Some(FieldValidation::Warn));
    assert_eq!(
        FieldValidation::parse("Strict"),
        Some(FieldValidation::Strict)
    );
    assert_eq!(
        FieldValidation::parse("Ignore"),
        Some(FieldValidation::Ignore)
    );
    assert_eq!(FieldValidation::parse("strict"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in r#"(\{|\}|\[|\]|:|,|"(spec|containers|name|metadata|labels|ports)"|1|null|true|"x"){0,40}"#) {
        let _ = check(text.as_bytes(), table().by_kind("", "v1", "Pod"));
    }

    #[test]
    fn what_has_no_mismatch_has_a_protobuf_form(
        spec in prop::collection::btree_map(
            prop::sample::select(vec!["nodeName", "priority", "containers", "hostNetwork", "nodeSelector", "overhead", "affinity"]),
            prop::sample::select(vec![json!(1), json!("a"), json!(true), json!([]), json!({}), json!(null), json!({"a": "1"}), json!([{"name": "a"}])]),
            0..4,
        ),
    ) {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
        let message = table().by_kind("", "v1", "Pod").expect("Pod");
        let is_fine = check_value(&object, message).mismatch.is_none();
        prop_assert_eq!(is_fine, protobuf::encode(&object).is_ok());
    }
}

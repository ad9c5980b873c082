//! The grammar with its escapes, the fields of each kind, and matching.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case("", "")]
#[case("metadata.name=a", "metadata.name=a")]
#[case("metadata.name==a,spec.nodeName!=", "metadata.name=a,spec.nodeName!=")]
#[case("reason=a\\,b\\=c\\\\", "reason=a\\,b\\=c\\\\")]
#[case("a=1,,b=2", "a=1,b=2")]
fn selectors_are_read(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(FieldSelector::parse(text).unwrap().to_string(), shown);
}

#[rstest]
#[case(
    "metadata.name",
    "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
)]
#[case("a=b=c", "invalid field selector: unescaped character in value: =")]
#[case("a=\\x", "invalid field selector: invalid escape sequence: \\x")]
fn malformed_selectors_are_refused(#[case] text: &str, #[case] words: &str) {
    assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), words);
}

#[test]
fn each_kind_offers_its_own_fields() {
    let by_node = FieldSelector::parse("spec.nodeName=a").unwrap();
    by_node.check("", "Pod").unwrap();
    assert_eq!(
        by_node.check("", "Node").unwrap_err().to_string(),
        "field label not supported: spec.nodeName"
    );
    assert_eq!(
        by_node
            .check("coordination.k8s.io", "Lease")
            .unwrap_err()
            .to_string(),
        "\"spec.nodeName\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    FieldSelector::parse("metadata.name=a,metadata.namespace=b")
        .unwrap()
        .check("", "Lease")
        .unwrap();
}

#[rstest]
#[case("", "Pod", "spec.nodeName=n1", true)]
#[case("", "Pod", "spec.nodeName!=n1", false)]
#[case("", "Pod", "status.phase=Running,spec.hostNetwork=false", true)]
#[case("", "Pod", "status.podIP=", true)]
#[case("", "Node", "spec.unschedulable=false", true)]
#[case("batch", "Job", "status.successful=0", true)]
fn fields_are_matched_as_text(
    #[case] group: &str,
    #[case] kind: &str,
    #[case] text: &str,
    #[case] expected: bool,
) {
    let object = json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
    assert_eq!(
        FieldSelector::parse(text)
            .unwrap()
            .matches(group, kind, &object),
        expected
    );
}

#[test]
fn an_events_source_falls_back_to_the_reporting_component() {
    let selector = FieldSelector::parse("source=kubelet,involvedObject.name=a").unwrap();
    let involved = json!({"name": "a"});
    let old = json!({"source": {"component": "kubelet"}, "involvedObject": involved});
    let new = json!({"reportingComponent": "kubelet", "involvedObject": involved});
    assert!(selector.matches("", "Event", &old));
    assert!(selector.matches("", "Event", &new));
}

#[test]
fn a_demanded_name_is_told() {
    let selector = FieldSelector::parse("metadata.name=a,metadata.namespace!=b").unwrap();
    assert_eq!(selector.required_value("metadata.name"), Some("a"));
    assert_eq!(selector.required_value("metadata.namespace"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_shown_is_read_back(
        terms in prop::collection::vec(("[a-z.]{1,8}", ".{0,8}", any::<bool>()), 0..5)
    ) {
        let mut requirements: Vec<_> = terms
            .into_iter()
            .map(|(field, value, negated)| FieldRequirement { field, value, negated })
            .collect();
        requirements.sort();
        let selector = FieldSelector { requirements };
        prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c=!,\\\\\u{e9}]{0,30}") {
        if let Ok(selector) = FieldSelector::parse(&text) {
            prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}

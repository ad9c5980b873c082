//! The grammar, upstream's words, and matching.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case("", "")]
#[case("x=a", "x=a")]
#[case("x==a", "x==a")]
#[case(" x = a , y != b ", "x=a,y!=b")]
#[case("y,!x", "!x,y")]
#[case("x in (b,a)", "x in (a,b)")]
#[case("x in (a,)", "x in (,a)")]
#[case("x notin (a, b)", "x notin (a,b)")]
#[case("x in ()", "x in ()")]
#[case("x=", "x=")]
#[case("x=,z=a", "x=,z=a")]
#[case("x>1,y<8", "x>1,y<8")]
#[case("in in (in)", "in in (in)")]
#[case("notin", "notin")]
#[case("example.com/a=b", "example.com/a=b")]
fn selectors_are_read(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(LabelSelector::parse(text).unwrap().to_string(), shown);
}

#[rstest]
#[case("x=a||y=b", "unable to parse requirement")]
#[case("!x=a", "found '=', expected: ',' or 'end of string'")]
#[case("x=(a)", "found '(', expected: identifier")]
#[case("x in a", "found 'a' expected: '('")]
#[case("x in (", "found '', expected: ',', or identifier")]
#[case("x,", "found '', expected: identifier after ','")]
#[case(",x", "found ',', expected: !, identifier, or 'end of string'")]
#[case("x y", "found 'y', expected: in, notin, =, ==, !=, gt, lt")]
#[case("x>a", "the value must be an integer")]
#[case("x=a b", "found 'b', expected: ',' or 'end of string'")]
#[case("a/b/c=d", "a qualified name must consist")]
fn malformed_selectors_are_refused(#[case] text: &str, #[case] words: &str) {
    let error = LabelSelector::parse(text).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[rstest]
#[case("app=web", true)]
#[case("app!=web", false)]
#[case("app!=db,tier", true)]
#[case("app in (web,db)", true)]
#[case("app notin (web)", false)]
#[case("missing notin (web)", true)]
#[case("missing!=web", true)]
#[case("missing", false)]
#[case("!missing", true)]
#[case("count>3", true)]
#[case("count<3", false)]
#[case("app>3", false)]
#[case("empty=", true)]
fn labels_are_matched(#[case] text: &str, #[case] expected: bool) {
    let labels = json!({"app": "web", "tier": "front", "count": "5", "empty": ""});
    let object = json!({"metadata": {"labels": labels}});
    assert_eq!(
        LabelSelector::parse(text).unwrap().matches(&object),
        expected
    );
}

#[test]
fn objects_select_by_labels_and_expressions_together() {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}],
    });
    let selector = LabelSelector::from_object(Some(&selector)).unwrap();
    assert_eq!(selector.to_string(), "app=web,tier notin (back)");
    assert!(selector.matches(&json!({"metadata": {"labels": {"app": "web"}}})));
    assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "web", "tier": "back"}}})));
    assert!(!selector.matches(&json!({})));
}

#[test]
fn an_absent_object_selects_nothing_and_an_empty_one_everything() {
    assert!(
        !LabelSelector::from_object(None)
            .unwrap()
            .matches(&json!({}))
    );
    assert!(
        LabelSelector::from_object(Some(&json!({})))
            .unwrap()
            .matches(&json!({}))
    );
    assert_eq!(
        LabelSelector::from_object(Some(
            &json!({"matchExpressions": [{"key": "a", "operator": "Has"}]})
        ))
        .unwrap_err()
        .to_string(),
        "\"Has\" is not a valid label selector operator"
    );
    assert!(LabelSelector::from_object(Some(&json!({"matchLabels": []}))).is_err());
}

fn key() -> impl Strategy<Value = String> {
    "([a-z]{1,5}\\.io/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,5}[A-Za-z0-9])?"
}

fn value() -> impl Strategy<Value = String> {
    "([A-Za-z0-9]([A-Za-z0-9_.-]{0,5}[A-Za-z0-9])?)?"
}

fn any_requirement() -> impl Strategy<Value = Requirement> {
    let set = prop::collection::vec(value(), 1..4);
    prop_oneof![
        (
            key(),
            value(),
            prop::sample::select(vec![
                Operator::Equals,
                Operator::DoubleEquals,
                Operator::NotEquals
            ])
        )
            .prop_map(|(k, v, op)| Requirement::new(k, op, [v]).unwrap()),
        (key(), set, prop::bool::ANY).prop_map(|(k, v, negated)| {
            let operator = if negated {
                Operator::NotIn
            } else {
                Operator::In
            };
            Requirement::new(k, operator, v).unwrap()
        }),
        (key(), prop::bool::ANY).prop_map(|(k, negated)| {
            let operator = if negated {
                Operator::DoesNotExist
            } else {
                Operator::Exists
            };
            Requirement::new(k, operator, []).unwrap()
        }),
        (key(), any::<i32>(), prop::bool::ANY).prop_map(|(k, v, above)| {
            let operator = if above {
                Operator::GreaterThan
            } else {
                Operator::LessThan
            };
            Requirement::new(k, operator, [v.unsigned_abs().to_string()]).unwrap()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_shown_is_read_back(requirements in prop::collection::vec(any_requirement(), 0..5)) {
        let mut requirements = requirements;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        let selector = LabelSelector { requirements, nothing: false };
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c =!,()<>in\\\\/.\u{e9}-]{0,40}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}

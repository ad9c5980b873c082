//! Expressions from text to result.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crd::Schema;

fn run_on(text: &str, schema: &Value, value: &Value) -> Result<Val<'static>, String> {
    let schema: &'static Schema = Box::leak(Box::new(Schema::parse(schema).unwrap()));
    let value: &'static Value = Box::leak(Box::new(value.clone()));
    let expr: &'static Expr = Box::leak(Box::new(parse(text).map_err(|error| error.to_string())?));
    check(expr, text, &[("self", Type::of(schema, false))])?;
    let variables = vec![(Cow::Borrowed("self"), of_json(value, Some(schema)))];
    evaluate(expr, variables, 1_000_000)
        .0
        .map_err(|error| error.to_string())
}

fn run(text: &str) -> Result<Val<'static>, String> {
    run_on(text, &json!({"type": "object"}), &json!({}))
}

fn holds(text: &str) {
    match run(text) {
        Ok(Val::Bool(true)) => {}
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_language_means_what_its_specification_says() {
    for text in [
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9 && -7 / 2 == -3 && -7 % 2 == -1",
        "!false || 1 / 0 > 0",
        "true || 1 / 0 > 0",
        "1 / 0 > 0 || true",
        "'a' + \"b\" == 'ab' && 'a\\n'.size() == 2 && r'\\n'.size() == 2",
        "'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.matches('^a.c$')",
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 1)",
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2) == [4, 6] && [1, 2].map(x, x > 1, x) == [2]",
        "2 in [1, 2] && !('x' in {'a': 1}) && {'a': 1}.a == 1 && {'a': 1}['a'] == 1",
        "size([1, 2]) == 2 && size('é') == 1 && [1] + [2] == [1, 2]",
        "(1 < 2 ? 'yes' : 'no') == 'yes'",
        "duration('1h30m').getMinutes() == 90 && duration('90s') < duration('2m')",
        "timestamp('2024-02-29T00:00:00Z').getMonth() == 1 && timestamp('2024-02-29T00:00:00Z') + duration('24h') == timestamp('2024-03-01T00:00:00Z')",
        "int('7') == 7 && string(7) == '7' && double(2) == 2.0 && type(1) == int",
        "[1, 2, 3].isSorted() && [1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [3, 1].max() == 3",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'abc'.substring(1, 2) == 'b' && 'abcb'.lastIndexOf('b') == 3",
        "'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'AbC'.lowerAscii() == 'abc' && 'aXa'.replace('a', 'b') == 'bXb'",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('500m').add(quantity('500m')).asInteger() == 1",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && ip('::1').isLoopback() && !isIP('1.2.3') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "url('https://example.com:80/a?b=c').getHostname() == 'example.com' && isURL('/a') && !isURL('a b')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && !isSemver('1.2')",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1]) && sets.intersects([1], [1, 3])",
        "optional.of(1).hasValue() && optional.none().orValue(3) == 3 && optional.of(2).optMap(x, x + 1).value() == 3",
        "'%s-%d'.format(['a', 3]) == 'a-3' && {'a': 1}.?b.orValue(2) == 2 && [1][?5].hasValue() == false",
        "dyn(1) == dyn(1.0) && b'ab' == b'ab' && 1u + 2u == 3u && 0x10 == 16 && 1e3 == 1000.0",
        "[{'a': 1}].all(i, x, i == 0 && x.a == 1)",
    ] {
        holds(text);
    }
}

#[test]
fn objects_are_read_by_their_schema() {
    let schema = json!({"type": "object", "properties": {
        "count": {"type": "integer"}, "ratio": {"type": "number"}, "name": {"type": "string"},
        "when": {"type": "string", "format": "date-time"}, "namespace": {"type": "string"},
        "a-b": {"type": "string"}, "port": {"x-kubernetes-int-or-string": true},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}}}});
    let value = json!({"count": 2, "ratio": 2, "name": "n", "when": "2024-01-01T00:00:00Z", "namespace": "ns",
        "a-b": "c", "port": "http", "labels": {"a-b": "1"}, "set": ["x", "y"], "list": [{"x": 1}, {}]});
    for text in [
        "self.count == 2 && self.ratio == 2.0 && has(self.name) && !has(self.list[1].x)",
        "self.when > timestamp('2023-01-01T00:00:00Z') && self.__namespace__ == 'ns' && self.a__dash__b == 'c'",
        "type(self.port) == string ? self.port == 'http' : self.port > 0",
        "self.labels['a-b'] == '1' && 'a-b' in self.labels && self.labels.all(k, k.size() == 3)",
        "self.set == ['y', 'x'] && self.list.filter(e, has(e.x)).size() == 1",
    ] {
        assert!(
            matches!(run_on(text, &schema, &value), Ok(Val::Bool(true))),
            "{text}: {:?}",
            run_on(text, &schema, &value)
        );
    }
    let gone = run_on("self.list[1].x == 1", &schema, &value).unwrap_err();
    assert_eq!(gone, "no such key: x");
    assert_eq!(
        run_on("self.list[7].x == 1", &schema, &value).unwrap_err(),
        "index out of bounds: 7"
    );
}

#[test]
fn what_is_wrong_is_refused_before_it_runs() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}, "s": {"type": "string"}}});
    let why = |text: &str| run_on(text, &schema, &json!({})).unwrap_err();
    assert_eq!(
        why("self.z == 100"),
        "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 100\n | ....^"
    );
    assert!(why("self = 42").contains("Syntax error: token recognition error at: '= '"));
    assert!(
        why("self.x == 'a'")
            .contains("found no matching overload for '_==_' applied to '(int, string)'")
    );
    assert!(why("other > 1").contains("undeclared reference to 'other'"));
    assert!(why("self.s.shout()").contains("undeclared reference to 'shout'"));
    assert!(why("self.s.size() && true").contains("expected type 'bool' but found 'int'"));
    assert!(why("has(self)").contains("invalid argument to has() macro"));
    assert!(why("self.x.all(y, true)").contains("cannot be range of a comprehension"));
    for text in [
        "", "(", "1 +", "[1, 2", "'a", "a.", "f(", "1 2", "\u{1}", "{1: }", "for",
    ] {
        assert!(why(text).contains("Syntax error"), "{text}: {}", why(text));
    }
    assert!(why(&"(".repeat(500)).contains("recursion limit"));
    assert!(why(&format!("1{}", "+1".repeat(500))).contains("recursion limit"));
    assert!(why(&format!("{}true", "!".repeat(500))).contains("recursion limit"));
}

#[test]
fn a_run_ends_when_its_budget_does() {
    let expr = parse("l.all(x, l.all(y, x == y))").unwrap();
    let items = vec![json!(1); 1000];
    let value = Value::Array(items);
    let variables = vec![(Cow::Borrowed("l"), of_json(&value, None))];
    let (result, cost) = evaluate(&expr, variables, 10_000);
    assert_eq!(result.unwrap_err(), EvalError::TooCostly);
    assert!(cost < 20_000);
}

#[test]
fn what_is_not_bounded_costs_what_a_request_can_hold() {
    let cost = |schema: Value| {
        let schema: &'static Schema = Box::leak(Box::new(Schema::parse(&schema).unwrap()));
        let text = "self.all(s, s == 'string constant')";
        check(
            &parse(text).unwrap(),
            text,
            &[("self", Type::of(schema, false))],
        )
        .unwrap()
        .cost
    };
    let bounded = cost(json!({"type": "array", "maxItems": 10, "items": {"type": "string"}}));
    let unbounded = cost(json!({"type": "array", "items": {"type": "string"}}));
    assert!(bounded < 100, "{bounded}");
    assert!((1_000_000..10_000_000).contains(&unbounded), "{unbounded}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in r#"[a-c0-9 .()\[\]{}'"+*/%<>=!&|?:,\\xurself-]{0,40}"#) {
        let _ = run(&text);
    }

    #[test]
    fn sums_are_those_of_numbers(a in -1000_i64..1000, b in -1000_i64..1000) {
        let result = run(&format!("{a} + {b} == {} && ({a} < {b}) == {}", a + b, a < b));
        prop_assert!(matches!(result, Ok(Val::Bool(true))));
    }
}

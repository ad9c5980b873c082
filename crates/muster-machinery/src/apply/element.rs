//! One step of a path into an object, in the text form of `FieldsV1`, and the order of such steps.
//!
//! Format: sigs.k8s.io/structured-merge-diff `fieldpath`. Knows nothing of schemas and sets.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use crate::go_quote::quoted;

/// A JSON value that identifies an element of a list, with a total order: numbers (by value, `1` equals `1.0`), strings,
/// booleans, lists, maps, null.
#[derive(Debug, Clone)]
pub struct Literal(pub Value);

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Whether two values are equal when numbers count by their value.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b) == Ordering::Equal
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .zip(b)
            .map(|((a_key, a), (b_key, b))| a_key.cmp(b_key).then_with(|| compare(a, b)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare_numbers(a: &serde_json::Number, b: &serde_json::Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let float = |n: &serde_json::Number| n.as_f64().unwrap_or_default() + 0.0;
            float(a).total_cmp(&float(b))
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A member of a map or struct: `f:name`.
    Field(String),
    /// The element of a list whose key fields have these values, sorted by name: `k:{"name":"a"}`.
    Key(Vec<(String, Literal)>),
    /// An element of a set: `v:"a"`.
    Value(Literal),
    /// An element of an atomic list by its position: `i:0`.
    Index(i64),
}

/// A text that is no step of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    /// No `x:` at the beginning.
    #[error("{0:?} has no type and colon")]
    NoType(String),
    /// What follows the colon is not JSON, no JSON object or no number, as the type asks.
    #[error("{0:?} is not a path element of its type")]
    Malformed(String),
}

impl PathElement {
    /// A step to a member.
    pub fn field(name: impl Into<String>) -> Self {
        Self::Field(name.into())
    }

    /// A step to a list element by its key fields.
    pub fn key<N: Into<String>>(fields: impl IntoIterator<Item = (N, Value)>) -> Self {
        let mut fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| (name.into(), Literal(value)))
            .collect();
        fields.sort();
        Self::Key(fields)
    }

    /// Reads a step; `None` for a type that a later version may know.
    ///
    /// # Errors
    /// When the text has no type, or not what its type asks for.
    pub fn parse(text: &str) -> Result<Option<Self>, ElementError> {
        let malformed = || ElementError::Malformed(text.into());
        let (kind, rest) = text
            .split_at_checked(2)
            .filter(|(kind, _)| kind.ends_with(':'))
            .ok_or_else(|| ElementError::NoType(text.into()))?;
        Ok(Some(match kind {
            "f:" => Self::Field(rest.into()),
            "v:" => Self::Value(Literal(
                serde_json::from_str(rest).map_err(|_| malformed())?,
            )),
            "k:" => match serde_json::from_str(rest) {
                Ok(Value::Object(fields)) => Self::key(fields),
                _ => return Err(malformed()),
            },
            "i:" => Self::Index(rest.parse().map_err(|_| malformed())?),
            _ => return Ok(None),
        }))
    }

    /// The text in `FieldsV1`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(Literal(value)) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, Literal(value))| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", fields.join(","))
            }
        }
    }
}

/// As in messages: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(literal) => write!(f, "[={literal}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => f.write_str(&quoted(text)),
            other => write!(f, "{other}"),
        }
    }
}

/// The way from an object to one of its fields; empty for the object itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// A path of member names.
    #[must_use]
    pub fn fields(names: &[&str]) -> Self {
        Self(names.iter().map(|name| PathElement::field(*name)).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("f:spec", ".spec")]
    #[case("f:a.b/c", ".a.b/c")]
    #[case("f:", ".")]
    #[case(
        r#"k:{"containerPort":80,"protocol":"TCP"}"#,
        r#"[containerPort=80,protocol="TCP"]"#
    )]
    #[case(r#"v:"x\"y""#, r#"[="x\"y"]"#)]
    #[case("v:1", "[=1]")]
    #[case("i:3", "[3]")]
    fn an_element_is_read_and_written(#[case] text: &str, #[case] shown: &str) {
        let element = PathElement::parse(text).unwrap().unwrap();
        assert_eq!(element.to_text(), text);
        assert_eq!(element.to_string(), shown);
    }

    #[test]
    fn keys_are_sorted_and_unknown_types_are_passed_over() {
        let element = PathElement::parse(r#"k:{"protocol":"TCP","port":1}"#).unwrap();
        assert_eq!(
            element.unwrap().to_text(),
            r#"k:{"port":1,"protocol":"TCP"}"#
        );
        assert_eq!(PathElement::parse("z:new").unwrap(), None);
    }

    #[rstest]
    #[case("")]
    #[case("f")]
    #[case("spec")]
    #[case("ä:x")]
    #[case("v:{")]
    #[case("v:1 2")]
    #[case("k:[]")]
    #[case("k:{}x")]
    #[case("i:one")]
    fn a_malformed_element_is_refused(#[case] text: &str) {
        PathElement::parse(text).unwrap_err();
    }

    #[test]
    fn elements_are_ordered_as_upstream_orders_them() {
        let texts = [
            "f:a",
            "f:b",
            r#"k:{"containerPort":80}"#,
            r#"k:{"containerPort":443}"#,
            r#"k:{"name":"a"}"#,
            "v:2",
            "v:10",
            r#"v:"1""#,
            "v:true",
            "i:2",
            "i:10",
        ];
        let elements: Vec<_> = texts
            .iter()
            .map(|t| PathElement::parse(t).unwrap().unwrap())
            .collect();
        assert!(elements.is_sorted(), "{elements:?}");
    }

    #[test]
    fn numbers_count_by_their_value() {
        assert_eq!(Literal(json!(1)), Literal(json!(1.0)));
        assert_eq!(Literal(json!(0.0)), Literal(json!(-0.0)));
        assert!(Literal(json!(u64::MAX)) > Literal(json!(-1)));
        assert!(same(&json!({"a": [1]}), &json!({"a": [1.0]})));
        assert!(!same(&json!([1]), &json!([1, 2])));
    }
}

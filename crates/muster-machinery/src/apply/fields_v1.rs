//! `FieldsV1`: a field set as nested JSON maps, `{"f:spec":{".":{},"f:replicas":{}}}`.
//!
//! Format: `io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1`. Bounded in depth; knows nothing of managers.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::MAX_DEPTH;
use super::element::{ElementError, PathElement};
use super::field_set::{FieldSet, Node};

/// Why a value is no `FieldsV1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A level is neither a map nor null.
    #[error("fields are not nested maps")]
    NotMaps,
    /// The maps nest deeper than objects may.
    #[error("fields nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A key is no path element.
    #[error("a key is no path element")]
    Element(#[source] ElementError),
}

impl FieldSet {
    /// Reads the JSON form. Path elements of unknown types are passed over.
    ///
    /// # Errors
    /// When the value is not nested maps, too deep, or has a malformed key.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsError> {
        Ok(read(fields, MAX_DEPTH)?.below)
    }

    /// The JSON form. Its maps are ordered as [`Map`] orders them; see [`FieldSet::to_fields_v1_text`].
    #[must_use]
    pub fn to_fields_v1(&self) -> Value {
        let members = self.nodes.iter().map(|(element, node)| {
            let mut value = node.below.to_fields_v1();
            if let (true, false, Value::Object(map)) =
                (node.member, node.below.is_empty(), &mut value)
            {
                map.insert(".".into(), Map::new().into());
            }
            (element.to_text(), value)
        });
        Value::Object(members.collect())
    }

    /// The JSON form as compact text in upstream's order: `.` first, then fields, keys, values and indices, numbers by
    /// their value.
    #[must_use]
    pub fn to_fields_v1_text(&self) -> String {
        let mut text = String::new();
        self.write(false, &mut text);
        text
    }

    fn write(&self, with_self: bool, text: &mut String) {
        text.push('{');
        if with_self {
            text.push_str(r#"".":{}"#);
        }
        for (element, node) in &self.nodes {
            if !text.ends_with('{') {
                text.push(',');
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{}:", Value::from(element.to_text()));
            node.below
                .write(node.member && !node.below.is_empty(), text);
        }
        text.push('}');
    }
}

/// Reads one level; a level without children is a member itself.
fn read(value: &Value, depth: usize) -> Result<Node, FieldsError> {
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok(Node::leaf()),
        _ => return Err(FieldsError::NotMaps),
    };
    let depth = depth.checked_sub(1).ok_or(FieldsError::TooDeep)?;
    let mut node = Node::default();
    for (key, value) in map {
        if key == "." {
            node.member = true;
        } else if let Some(element) = PathElement::parse(key).map_err(FieldsError::Element)? {
            node.below.nodes.insert(element, read(value, depth)?);
        }
    }
    Ok(if node.below.is_empty() {
        Node::leaf()
    } else {
        node
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("{}")]
    #[case(r#"{"f:spec":{"f:replicas":{}}}"#)]
    #[case(r#"{"f:metadata":{"f:finalizers":{".":{},"v:\"a\"":{}},"f:labels":{".":{},"f:a":{}}}}"#)]
    #[case(r#"{"f:ports":{"k:{\"containerPort\":80}":{".":{},"f:name":{}},"k:{\"containerPort\":443}":{}}}"#)]
    fn a_set_is_written_as_it_was_read(#[case] text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let set = FieldSet::from_fields_v1(&value).unwrap();
        assert_eq!(set.to_fields_v1_text(), text);
        assert_eq!(set.to_fields_v1(), value);
    }

    #[test]
    fn a_dot_alone_and_an_empty_map_are_the_same() {
        let read = |v| FieldSet::from_fields_v1(&v).unwrap();
        let plain = read(json!({"f:a": {}}));
        assert_eq!(read(json!({"f:a": {".": {}}})), plain);
        assert_eq!(read(json!({"f:a": null})), plain);
        assert_eq!(read(json!({"f:a": {"z:later": {}}})), plain);
        assert!(read(json!({".": {}})).is_empty());
    }

    #[test]
    fn what_is_no_fields_v1_is_refused() {
        let read = |v| FieldSet::from_fields_v1(&v);
        assert_eq!(read(json!([])), Err(FieldsError::NotMaps));
        assert_eq!(read(json!({"f:a": 1})), Err(FieldsError::NotMaps));
        assert!(matches!(
            read(json!({"a": {}})),
            Err(FieldsError::Element(_))
        ));
        let deep = (0..=MAX_DEPTH).fold(json!({}), |inner, _| json!({"f:a": inner}));
        assert_eq!(read(deep), Err(FieldsError::TooDeep));
    }

    pub(in crate::apply) fn any_element() -> impl Strategy<Value = PathElement> {
        prop_oneof![
            "[a-c\"]{0,2}".prop_map(PathElement::Field),
            (0_i64..5).prop_map(|n| PathElement::key([("n", json!(n))])),
            "[ab]".prop_map(|v| PathElement::parse(&format!("v:\"{v}\"")).unwrap().unwrap()),
            (0_i64..12).prop_map(PathElement::Index),
        ]
    }

    fn any_set() -> impl Strategy<Value = FieldSet> {
        let path = prop::collection::vec(any_element(), 1..4);
        prop::collection::vec(path, 0..8).prop_map(|paths| {
            let mut set = FieldSet::new();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_set_comes_back(set in any_set()) {
            prop_assert_eq!(&FieldSet::from_fields_v1(&set.to_fields_v1()).unwrap(), &set);
            let text: Value = serde_json::from_str(&set.to_fields_v1_text()).unwrap();
            prop_assert_eq!(&FieldSet::from_fields_v1(&text).unwrap(), &set);
        }

        #[test]
        fn set_arithmetic_agrees_with_that_of_lists(a in any_set(), b in any_set()) {
            let (in_a, in_b) = (a.paths(), b.paths());
            prop_assert_eq!(a.len(), in_a.len());
            for path in in_a.iter().chain(&in_b) {
                let (is_a, is_b) = (in_a.contains(path), in_b.contains(path));
                prop_assert_eq!(a.union(&b).contains(&path.0), is_a || is_b);
                prop_assert_eq!(a.intersection(&b).contains(&path.0), is_a && is_b);
                prop_assert_eq!(a.difference(&b).contains(&path.0), is_a && !is_b);
                let under_b = in_b.iter().any(|p| path.0.starts_with(&p.0));
                prop_assert_eq!(a.recursive_difference(&b).contains(&path.0), is_a && !under_b);
                let above = in_a.iter().any(|p| p.0.len() > path.0.len() && p.0.starts_with(&path.0));
                prop_assert_eq!(a.leaves().contains(&path.0), is_a && !above);
            }
        }

        #[test]
        fn no_json_makes_the_reader_panic(text in "[fkvi:{}\"a.0,\\\\ ]{0,40}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = FieldSet::from_fields_v1(&value);
            }
            let _ = PathElement::parse(&text);
        }
    }
}

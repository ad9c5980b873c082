//! JSON merge patch, RFC 7386 (`application/merge-patch+json`).
//!
//! Knows no schema: objects merge, `null` removes, everything else replaces.

use serde_json::Value;

use super::PatchError;

/// Applies a merge patch to an object.
///
/// # Errors
/// When the patch is not a JSON object: the RFC would replace the whole object by it, which no API object survives.
pub fn apply(mut object: Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::NotAnObject);
    }
    json_patch::merge(&mut object, patch);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[rstest::rstest]
    #[case(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}))]
    #[case(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}))]
    #[case(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}))]
    #[case(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}))]
    #[case(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}))]
    #[case(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}))]
    #[case(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}))]
    #[case(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}))]
    fn the_examples_of_the_rfc_hold(
        #[case] object: Value,
        #[case] patch: Value,
        #[case] expected: Value,
    ) {
        assert_eq!(apply(object, &patch).expect("applies"), expected);
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        assert!(matches!(
            apply(json!({}), &json!(["c"])),
            Err(PatchError::NotAnObject)
        ));
        assert!(matches!(
            apply(json!({}), &Value::Null),
            Err(PatchError::NotAnObject)
        ));
    }
}

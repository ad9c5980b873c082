//! JSON patch, RFC 6902 (`application/json-patch+json`).
//!
//! Knows no schema. Bounds what a small patch can do: the number of operations, what `copy` and `move` may duplicate or
//! walk over, and the depth they may build.

use json_patch::jsonptr::Pointer;
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::Value;

use super::PatchError;

/// The most operations in one patch, as in kube-apiserver.
pub const MAX_OPERATIONS: usize = 10_000;

/// The most JSON values that the operations of one patch may copy, move or shift together.
pub const MAX_COPIED_VALUES: usize = 200_000;

/// The deepest JSON that a patch may build; `serde_json` reads no deeper text either.
pub const MAX_DEPTH: usize = 128;

/// Applies the operations in turn; all or none.
///
/// # Errors
/// When the patch is no JSON patch, one operation does not apply, or a limit is hit.
pub fn apply(mut object: Value, patch: &[u8]) -> Result<Value, PatchError> {
    let Patch(operations) = serde_json::from_slice(patch).map_err(PatchError::Malformed)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations {
            got: operations.len(),
            limit: MAX_OPERATIONS,
        });
    }
    let mut budget = MAX_COPIED_VALUES;
    for (index, operation) in operations.iter().enumerate() {
        guard(&object, operation, &mut budget).ok_or(PatchError::TooLarge { index })?;
        json_patch::patch(&mut object, std::slice::from_ref(operation)).map_err(|error| {
            PatchError::Operation {
                index,
                path: error.path.to_string(),
                source: error.kind,
            }
        })?;
    }
    Ok(object)
}

/// `None` when the operation would exceed a limit. Operations that do not apply pass: the patch itself reports them.
fn guard(object: &Value, operation: &PatchOperation, budget: &mut usize) -> Option<()> {
    let (path, from) = match operation {
        PatchOperation::Move(op) => (&*op.path, Some(&*op.from)),
        PatchOperation::Copy(op) => (&*op.path, Some(&*op.from)),
        _ => (operation.path(), None),
    };
    for touched in [Some(path), from].into_iter().flatten() {
        *budget = budget.checked_sub(shift_cost(object, touched))?;
    }
    let room = MAX_DEPTH.checked_sub(path.count())?;
    match operation {
        // The patch brings the value along, so its size is paid for; only its depth matters.
        PatchOperation::Add(AddOperation { value, .. })
        | PatchOperation::Replace(ReplaceOperation { value, .. }) => {
            let mut unlimited = usize::MAX;
            measure(value, room, &mut unlimited)
        }
        PatchOperation::Move(_) | PatchOperation::Copy(_) => {
            let value = from.and_then(|from| from.resolve(object).ok());
            value.map_or(Some(()), |value| measure(value, room, budget))
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => Some(()),
    }
}

/// Adding to or removing from a list moves the elements behind; counted in blocks, so that it shows on huge lists only.
fn shift_cost(object: &Value, path: &Pointer) -> usize {
    let list = path
        .parent()
        .and_then(|parent| parent.resolve(object).ok())
        .and_then(Value::as_array);
    list.map_or(0, |list| list.len() / 256)
}

/// Takes one from the budget per value; `None` when it is used up or the value is deeper than `room`.
fn measure(value: &Value, room: usize, budget: &mut usize) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    let room = room.checked_sub(1)?;
    match value {
        Value::Array(list) => list
            .iter()
            .try_for_each(|element| measure(element, room, budget)),
        Value::Object(map) => map
            .values()
            .try_for_each(|member| measure(member, room, budget)),
        // Long strings are copied, too.
        Value::String(text) => {
            *budget = budget.checked_sub(text.len() / 32)?;
            Some(())
        }
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn applied(object: Value, patch: Value) -> Result<Value, PatchError> {
        apply(object, patch.to_string().as_bytes())
    }

    #[rstest::rstest]
    #[case(json!([{"op": "add", "path": "/spec", "value": {}}]), json!({"a": [1, 2], "spec": {}}))]
    #[case(json!([{"op": "add", "path": "/a/-", "value": 3}]), json!({"a": [1, 2, 3]}))]
    #[case(json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2]}))]
    #[case(json!([{"op": "replace", "path": "/a", "value": null}]), json!({"a": null}))]
    #[case(json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": [1, 2]}))]
    #[case(json!([{"op": "copy", "from": "/a/1", "path": "/c~1d"}]), json!({"a": [1, 2], "c/d": 2}))]
    #[case(json!([{"op": "test", "path": "/a/1", "value": 2}]), json!({"a": [1, 2]}))]
    fn each_operation_does_what_the_rfc_says(#[case] patch: Value, #[case] expected: Value) {
        assert_eq!(
            applied(json!({"a": [1, 2]}), patch).expect("applies"),
            expected
        );
    }

    #[test]
    fn a_failing_operation_is_named() {
        let patch = json!([
            {"op": "add", "path": "/b", "value": 1},
            {"op": "test", "path": "/a", "value": 2}
        ]);
        let error = applied(json!({"a": 1}), patch).expect_err("fails");
        assert_eq!(error.http_status(), 422);
        assert!(
            matches!(error, PatchError::Operation { index: 1, ref path, .. } if path == "/a"),
            "{error:?}"
        );
        let error = applied(json!({}), json!([{"op": "remove", "path": "/x"}])).expect_err("fails");
        assert!(matches!(error, PatchError::Operation { index: 0, .. }));
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for text in [
            "",
            "{}",
            "[1]",
            r#"[{"op": "grow", "path": "/a"}]"#,
            r#"[{"op": "add", "path": "a", "value": 1}]"#,
        ] {
            let error = apply(json!({}), text.as_bytes()).expect_err("refused");
            assert_eq!(error.http_status(), 400, "{text}");
        }
    }

    #[test]
    fn ten_thousand_operations_are_allowed_and_one_more_is_not() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let mut patch = vec![test; MAX_OPERATIONS];
        assert!(applied(json!({"a": 1}), json!(patch)).is_ok());
        patch.push(patch[0].clone());
        let error = applied(json!({"a": 1}), json!(patch)).expect_err("too many");
        assert_eq!(error.http_status(), 413);
    }

    #[test]
    fn copies_cannot_blow_up_the_object() {
        let doubling = vec![json!({"op": "copy", "from": "", "path": "/a"}); 200];
        let error = applied(json!({"a": 1}), json!(doubling)).expect_err("too large");
        assert!(matches!(error, PatchError::TooLarge { .. }));
        let insert = vec![json!({"op": "add", "path": "/a/0", "value": 0}); 1_000];
        let error = applied(json!({"a": vec![0; 100_000]}), json!(insert)).expect_err("too large");
        assert!(
            matches!(error, PatchError::TooLarge { .. }),
            "shifting a long list"
        );
        let list = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 60];
        let error = applied(json!({"a": [1, 2, 3, 4]}), json!(list)).expect_err("too large");
        assert_eq!(error.http_status(), 413);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_patch_panics_and_results_can_be_printed(
            operations in prop::collection::vec(
                (
                    prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]),
                    "(/(a|b|0|1|-|~0|~1)){0,4}",
                    "(/(a|b|0|1|-)){0,3}",
                ),
                0..30,
            ),
        ) {
            let patch: Vec<Value> = operations
                .into_iter()
                .map(|(op, path, from)| json!({"op": op, "path": path, "from": from, "value": [{"a": 1}]}))
                .collect();
            if let Ok(result) = applied(json!({"a": [{"b": 1}], "b": {"a": {}}}), json!(patch)) {
                prop_assert!(serde_json::from_str::<Value>(&result.to_string()).is_ok());
            }
        }
    }
}

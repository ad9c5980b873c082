//! Objects from before server-side apply, and from kubectl's apply on the client's side.

use super::*;

fn last_applied(object: &mut Value, config: &Value) {
    object["metadata"]["annotations"] = json!({LAST_APPLIED_ANNOTATION: config.to_string()});
}

#[test]
fn what_was_there_before_belongs_to_a_manager_of_that_name() {
    let mut live = config_map(json!({"a": "1", "b": "2"}));
    live["metadata"]["uid"] = "u".into();
    let config = config_map(json!({"a": "1"}));
    let new = applied(Some(&live), &config, "me", 5);
    assert_eq!(managers(&new), ["me", "before-first-apply"]);
    assert_eq!(
        fields(&new, "before-first-apply"),
        &json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    let config = config_map(json!({"a": "2"}));
    let error = manager(&config, "me", 5).apply(Some(&live), &config, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
}

#[test]
fn kubectl_takes_what_it_applied_on_the_client_s_side() {
    let old = config_map(json!({"a": "1", "b": "2"}));
    let mut object = old.clone();
    last_applied(&mut object, &old);
    let live = created(&object, "kubectl-client-side-apply");
    let config = config_map(json!({"a": "9", "b": "2"}));
    let error = manager(&config, "argo", 1).apply(Some(&live), &config, false);
    assert!(matches!(error, Err(ApplyError::Conflicts(_))));
    let new = applied(Some(&live), &config, "kubectl", 1);
    assert_eq!(new["data"]["a"], "9");
    let annotation = new["metadata"]["annotations"][LAST_APPLIED_ANNOTATION]
        .as_str()
        .unwrap();
    assert!(annotation.ends_with("}\n"));
    let kept: Value = serde_json::from_str(annotation).unwrap();
    assert_eq!(kept, config, "older kubectl can go on");
}

#[test]
fn kubectl_does_not_take_what_changed_since() {
    let old = config_map(json!({"a": "1", "b": "2"}));
    let mut object = old.clone();
    last_applied(&mut object, &old);
    let live = created(&object, "kubectl-client-side-apply");
    let live = updated(&live, "editor", 1, |c| c["data"]["b"] = "3".into());
    let config = config_map(json!({"a": "9", "b": "9"}));
    let error = manager(&config, "kubectl", 2).apply(Some(&live), &config, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.b"
    );
}

#[rstest::rstest]
#[case("")]
#[case("{")]
#[case("[]")]
#[case(r#"{"apiVersion":"v2","kind":"ConfigMap"}"#)]
#[case(r#"{"apiVersion":"v1","kind":"ConfigMap","data":[1]}"#)]
fn an_unreadable_annotation_allows_nothing(#[case] text: &str) {
    let mut object = config_map(json!({"a": "1"}));
    object["metadata"]["annotations"] = json!({LAST_APPLIED_ANNOTATION: text});
    let live = created(&object, "other");
    let config = config_map(json!({"a": "2"}));
    let error = manager(&config, "kubectl", 1).apply(Some(&live), &config, false);
    assert!(matches!(error, Err(ApplyError::Conflicts(_))));
}

#[test]
fn an_annotation_that_would_be_too_large_goes() {
    let mut object = config_map(json!({"a": "1"}));
    last_applied(&mut object, &config_map(json!({})));
    let live = created(&object, "other");
    let config = config_map(json!({"big": "x".repeat(300_000)}));
    let new = applied(Some(&live), &config, "kubectl", 1);
    assert_eq!(new["metadata"]["annotations"], json!({}));
}

#[test]
fn kubectl_s_own_renaming_of_its_entry_is_taken_over() {
    // kubectl patches managedFields so that its client-side entry becomes the apply entry of `kubectl`.
    let old = config_map(json!({"a": "1", "b": "2"}));
    let mut object = old.clone();
    last_applied(&mut object, &old);
    let live = created(&object, "kubectl-client-side-apply");
    let migrated = updated(&live, "kubectl", 1, |c| {
        let entry = &mut c["metadata"]["managedFields"][0];
        entry["manager"] = "kubectl".into();
        entry["operation"] = "Apply".into();
    });
    assert_eq!(managers(&migrated), ["kubectl"]);
    let new = applied(
        Some(&migrated),
        &config_map(json!({"a": "2"})),
        "kubectl",
        2,
    );
    assert_eq!(
        new["data"],
        json!({"a": "2"}),
        "what was applied on the client's side is pruned"
    );
}

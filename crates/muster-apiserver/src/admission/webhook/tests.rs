//! Reading what webhooks say.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    configuration::{Configurations, Hook},
    review::{refusal, verdict},
};
use crate::authz::sample::Objects;

fn hooks(webhooks: Value) -> Arc<Vec<Hook>> {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "c"}, "webhooks": webhooks,
    });
    let reader = Objects::of([configuration]);
    Configurations::of(super::MUTATING).hooks(reader.as_ref())
}

#[test]
fn an_answer_must_be_to_the_question_and_patch_only_where_it_may() {
    let answer = |response: Value| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
        })
    };
    let read = |response: Value, may_patch| verdict(&answer(response), "v1", "u", may_patch);
    assert!(read(json!({"uid": "u", "allowed": true}), true).is_ok_and(|said| said.allowed));
    assert!(read(json!({"uid": "u"}), true).is_ok_and(|said| !said.allowed));
    for (response, may_patch, expected) in [
        (
            json!({"uid": "x"}),
            true,
            "expected response.uid=\"u\", got \"x\"",
        ),
        (
            json!({"uid": "u", "patch": "W10="}),
            false,
            "validating webhook may not return response.patch",
        ),
        (
            json!({"uid": "u", "patch": "W10="}),
            true,
            "webhook returned response.patch but not response.patchType",
        ),
        (
            json!({"uid": "u", "patch": "W10=", "patchType": "Merge"}),
            true,
            "unsupported patch type \"Merge\"",
        ),
    ] {
        assert_eq!(read(response, may_patch).expect_err("refused"), expected);
    }
    let bare = json!({"response": {"uid": "u"}});
    assert_eq!(
        verdict(&bare, "v1", "u", true).expect_err("refused"),
        "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
    );
    assert!(
        verdict(&bare, "v1beta1", "other", true).is_ok(),
        "it never looked"
    );
    assert_eq!(
        verdict(&json!({}), "v1", "u", true).expect_err("refused"),
        "webhook response was absent"
    );
}

#[test]
fn a_refusal_keeps_its_code_from_400_on_and_says_who_refused() {
    let hooks = hooks(json!([{"name": "a.example.com"}]));
    for (status, code, message) in [
        (
            json!({}),
            400,
            "admission webhook \"a.example.com\" denied the request without explanation",
        ),
        (
            json!({"code": 200, "reason": "Because"}),
            400,
            "admission webhook \"a.example.com\" denied the request: Because",
        ),
        (
            json!({"code": 409, "reason": "Because", "message": "no"}),
            409,
            "admission webhook \"a.example.com\" denied the request: no",
        ),
    ] {
        let refused = refusal(&hooks[0], &status);
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
}

#[test]
fn what_a_configuration_leaves_out_has_its_default_and_names_may_repeat() {
    let hooks = hooks(json!([
        {"name": "a.example.com", "clientConfig": {"service": {"name": "s", "namespace": "n"}}},
        {"name": "a.example.com", "timeoutSeconds": 99, "namespaceSelector": {}},
    ]));
    assert_ne!(hooks[0].id, hooks[1].id);
    assert!(hooks[0].meant.equivalent && !hooks[0].ignores_failure && !hooks[0].takes_dry_run);
    assert_eq!(
        (hooks[0].timeout.as_secs(), hooks[1].timeout.as_secs()),
        (10, 30)
    );
    assert!(
        hooks[1].meant.namespaces.is_none(),
        "an empty selector selects everything"
    );
}

//! Each refusal against the bytes of kube-apiserver.

use serde_json::json;

use super::*;
use crate::validation::FieldErrorKind;

const NODES: GroupResource<'_> = GroupResource::new("", "nodes");

#[test]
fn forbidden_reads_as_kube_apiserver_writes_it() {
    let attributes = AccessAttributes {
        user: "system:anonymous",
        verb: "get",
        resource: "nodes",
        name: "x",
        ..AccessAttributes::default()
    };
    let expected = r#"{
  "kind": "Status",
  "apiVersion": "v1",
  "metadata": {},
  "status": "Failure",
  "message": "nodes \"x\" is forbidden: User \"system:anonymous\" cannot get resource \"nodes\" in API group \"\" at the cluster scope",
  "reason": "Forbidden",
  "details": {
    "name": "x",
    "kind": "nodes"
  },
  "code": 403
}"#;
    assert_eq!(
        Status::forbidden(&attributes, "").to_json_pretty(),
        expected
    );
}

#[test]
fn unauthorized_reads_as_kube_apiserver_writes_it() {
    let expected = r#"{
  "kind": "Status",
  "apiVersion": "v1",
  "metadata": {},
  "status": "Failure",
  "message": "Unauthorized",
  "reason": "Unauthorized",
  "code": 401
}"#;
    assert_eq!(Status::unauthorized().to_json_pretty(), expected);
}

#[test]
fn forbidden_names_namespace_subresource_reason_and_path() {
    let mut attributes = AccessAttributes {
        user: "jane",
        verb: "patch",
        group: "apps",
        resource: "deployments",
        subresource: "scale",
        namespace: "default",
        ..AccessAttributes::default()
    };
    assert_eq!(
        Status::forbidden(&attributes, "no RBAC policy matched").message(),
        "deployments.apps is forbidden: User \"jane\" cannot patch resource \"deployments/scale\" in API group \"apps\" in the namespace \"default\": no RBAC policy matched"
    );
    attributes = AccessAttributes {
        user: "jane",
        verb: "get",
        path: "/metrics",
        ..Default::default()
    };
    let status = Status::forbidden(&attributes, "");
    assert_eq!(
        status.message(),
        "forbidden: User \"jane\" cannot get path \"/metrics\""
    );
    assert_eq!(status.to_value()["details"], json!({}));
}

#[test]
fn missing_and_present_objects_are_named_with_their_group() {
    let deployments = GroupResource::new("apps", "deployments");
    assert_eq!(
        Status::not_found(deployments, "web").to_json(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"web\" not found","reason":"NotFound","details":{"name":"web","group":"apps","kind":"deployments"},"code":404}"#
    );
    assert_eq!(
        Status::already_exists(NODES, "a").to_json(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"nodes \"a\" already exists","reason":"AlreadyExists","details":{"name":"a","kind":"nodes"},"code":409}"#
    );
    assert_eq!(
        Status::conflict(NODES, "a").message(),
        "Operation cannot be fulfilled on nodes \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
}

#[test]
fn invalid_joins_several_mistakes_and_drops_repeats() {
    let errors = [
        FieldError::required("spec.x", ""),
        FieldError::required("spec.x", ""),
        FieldError::invalid("metadata.name", json!("A"), "no capitals"),
    ];
    let status = Status::invalid("apps", "Deployment", "A", &errors);
    assert_eq!(
        status.message(),
        "Deployment.apps \"A\" is invalid: [spec.x: Required value, metadata.name: Invalid value: \"A\": no capitals]"
    );
    assert_eq!(status.code(), 422);
    let causes = &status.details().unwrap().causes;
    assert_eq!(causes.len(), 3);
    assert_eq!(causes[2].reason, "FieldValueInvalid");
    assert_eq!(causes[2].field, "metadata.name");
    assert_eq!(
        Status::invalid("", "Pod", "p", &errors[..1]).message(),
        "Pod \"p\" is invalid: spec.x: Required value"
    );
    assert_eq!(errors[0].kind, FieldErrorKind::Required);
}

#[test]
fn internal_errors_repeat_their_text_as_a_cause() {
    assert_eq!(
        Status::internal("disk full").to_json(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: disk full","reason":"InternalError","details":{"causes":[{"message":"disk full"}]},"code":500}"#
    );
}

#[test]
fn a_deletion_answers_success_without_a_code() {
    let status = Status::deleted(NODES, "a", "u-1");
    assert_eq!(
        status.to_json(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"nodes","uid":"u-1"}}"#
    );
    assert_eq!(status.code(), 200);
    assert_eq!(Status::success(201).code(), 201);
}

#[test]
fn retry_after_is_told_only_when_there_is_one() {
    assert_eq!(
        Status::too_many_requests("slow down", 3).retry_after(),
        Some(3)
    );
    assert_eq!(Status::timeout("x", 0).retry_after(), None);
    assert_eq!(Status::bad_request("x").retry_after(), None);
    assert_eq!(
        Status::bad_request("x").with_retry_after(2).retry_after(),
        Some(2)
    );
}

#[test]
fn codes_and_reasons_go_together() {
    for (status, code, reason) in [
        (Status::list_expired(), 410, "Expired"),
        (Status::continue_expired("t".into()), 410, "Expired"),
        (Status::too_old_resource_version(1, 5), 410, "Expired"),
        (Status::gone("x"), 410, "Gone"),
        (Status::too_large_resource_version(9, 5), 504, "Timeout"),
        (
            Status::method_not_supported(NODES, "patch"),
            405,
            "MethodNotAllowed",
        ),
        (Status::method_not_allowed(), 405, "MethodNotAllowed"),
        (
            Status::unsupported_media_type(&["application/json"]),
            415,
            "UnsupportedMediaType",
        ),
        (
            Status::not_acceptable(&["application/json"]),
            406,
            "NotAcceptable",
        ),
        (
            Status::request_entity_too_large("limit is 3145728"),
            413,
            "RequestEntityTooLarge",
        ),
        (
            Status::server_timeout(NODES, "create", 1),
            500,
            "ServerTimeout",
        ),
        (
            Status::service_unavailable("starting"),
            503,
            "ServiceUnavailable",
        ),
        (Status::unknown_resource(), 404, "NotFound"),
        (
            Status::generated_name_exists(NODES, "a-1"),
            409,
            "AlreadyExists",
        ),
    ] {
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(status.reason().as_str(), reason);
        assert_eq!(status.to_value()["reason"], reason);
    }
    assert_eq!(
        Status::method_not_supported(NODES, "patch").message(),
        "patch is not supported on resources of kind \"nodes\""
    );
}

#[test]
fn an_expired_page_says_where_to_go_on() {
    let status = Status::continue_expired("token".to_owned()).to_value();
    assert_eq!(status["metadata"], json!({"continue": "token"}));
    assert_eq!(Status::list_expired().to_value()["metadata"], json!({}));
}

#[test]
fn somebody_elses_refusal_is_passed_on_with_its_own_reason() {
    let details = serde_json::json!({"name": "n", "causes": [{"message": "m"}], "unknown": 1});
    let status = Status::relayed(418, "the reason", "no", Details::read(&details));
    assert_eq!(
        status.to_value(),
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "no", "reason": "the reason", "code": 418,
            "details": {"name": "n", "causes": [{"message": "m"}]},
        })
    );
    let known = Status::relayed(
        403,
        "Forbidden",
        "no",
        Details::read(&serde_json::json!({})),
    );
    assert_eq!((known.reason(), known.details()), (Reason::Forbidden, None));
    assert_eq!(known.to_value()["reason"], "Forbidden");
}

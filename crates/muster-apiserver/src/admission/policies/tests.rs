//! Policies through the whole chain.

use muster_machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{
    Operation,
    harness::{Bench, namespace},
};

fn policy(spec: Value) -> Value {
    let mut whole = json!({
        "matchConstraints": {"resourceRules": [{
            "operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps"], "scope": "*",
        }]},
    });
    let spec = spec.as_object().expect("an object").clone();
    whole.as_object_mut().expect("an object").extend(spec);
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": whole,
    })
}

fn binding(more: Value) -> Value {
    let mut spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    let more = more.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(more);
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"}, "spec": spec,
    })
}

fn map(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "n"}, "data": data,
    })
}

fn bench(spec: Value, bound: Value) -> Bench {
    Bench::new([namespace("n"), policy(spec), binding(bound)])
}

fn write(bench: &Bench, data: Value) -> Result<Value, Box<Status>> {
    bench.create("n/configmaps", map(data))
}

fn refused(bench: &Bench, data: Value) -> (u16, String) {
    let status = write(bench, data).expect_err("refused");
    (status.code(), status.message().to_owned())
}

#[test]
fn what_a_policy_does_not_like_is_denied_in_its_words() {
    let cases = [
        (json!({}), 422, "failed expression: object.data.a == 'good'"),
        (json!({"message": " be good "}), 422, "be good"),
        (
            json!({"messageExpression": "'not ' + object.data.a", "reason": "Forbidden"}),
            403,
            "not bad",
        ),
        (
            json!({"messageExpression": "object.none", "message": "be good"}),
            422,
            "be good",
        ),
    ];
    for (more, code, why) in cases {
        let mut validation = json!({"expression": "object.data.a == 'good'"});
        let more = more.as_object().expect("an object").clone();
        validation.as_object_mut().expect("an object").extend(more);
        let bench = bench(json!({"validations": [validation]}), json!({}));
        assert!(write(&bench, json!({"a": "good"})).is_ok());
        let expected = format!(
            "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {why}"
        );
        assert_eq!(refused(&bench, json!({"a": "bad"})), (code, expected));
    }
}

#[test]
fn a_policy_without_a_binding_and_other_resources_are_left_alone() {
    let never = json!({"validations": [{"expression": "false"}]});
    let unbound = Bench::new([namespace("n"), policy(never.clone())]);
    assert!(write(&unbound, json!({})).is_ok());
    let bench = bench(never, json!({}));
    assert!(write(&bench, json!({})).is_err());
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}});
    assert!(bench.create("n/secrets", secret).is_ok());
}

#[test]
fn bindings_and_conditions_narrow_what_is_meant() {
    let never = json!({"validations": [{"expression": "false"}]});
    let elsewhere = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}});
    assert!(write(&bench(never.clone(), elsewhere), json!({})).is_ok());
    let excluded = json!({"matchResources": {"excludeResourceRules": [{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"],
        "resourceNames": ["m"],
    }]}});
    assert!(write(&bench(never.clone(), excluded), json!({})).is_ok());
    let mut conditional = never;
    conditional["matchConditions"] =
        json!([{"name": "c", "expression": "request.userInfo.username != 'root'"}]);
    assert!(write(&bench(conditional, json!({})), json!({})).is_ok());
}

#[test]
fn an_expression_that_fails_denies_unless_failures_are_ignored() {
    let spec = |failure: &str| json!({"failurePolicy": failure, "validations": [{"expression": "object.data.none == 'x'"}]});
    let (code, why) = refused(&bench(spec("Fail"), json!({})), json!({}));
    assert_eq!(code, 422);
    assert!(
        why.ends_with("denied request: expression 'object.data.none == 'x'' resulted in error: no such key: none"),
        "{why}"
    );
    assert!(write(&bench(spec("Ignore"), json!({})), json!({})).is_ok());
}

#[test]
fn what_costs_too_much_is_ended() {
    let data: serde_json::Map<String, Value> = (0..400)
        .map(|index| (format!("k{index}"), json!("v")))
        .collect();
    let text = "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))";
    let bench = bench(json!({"validations": [{"expression": text}]}), json!({}));
    let (_, why) = refused(&bench, Value::Object(data));
    assert!(why.contains("actual cost limit exceeded"), "{why}");
}

#[test]
fn a_binding_can_warn_and_remark_instead() {
    let spec = json!({
        "validations": [{"expression": "false", "message": "no"}],
        "auditAnnotations": [
            {"key": "who", "valueExpression": "request.userInfo.username + '@' + namespaceObject.metadata.name"},
            {"key": "none", "valueExpression": "null"},
        ],
    });
    let bench = bench(spec, json!({"validationActions": ["Warn", "Audit"]}));
    assert!(write(&bench, json!({})).is_ok());
    assert_eq!(
        bench.warnings(),
        ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"]
    );
    assert_eq!(bench.remark("p/who").as_deref(), Some("root@n"));
    assert_eq!(bench.remark("p/none"), None);
    let failure = bench.remark("validation.policy.admission.k8s.io/validation_failure");
    let failure: Value = serde_json::from_str(&failure.expect("a remark")).expect("JSON");
    assert_eq!(
        failure,
        json!([{"message": "no", "policy": "p", "binding": "b", "expressionIndex": 0, "validationActions": ["Warn", "Audit"]}])
    );
}

#[test]
fn parameters_come_from_objects_and_their_absence_is_decided_by_the_binding() {
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "limit", "expression": "int(params.data.limit)"}],
        "validations": [{
            "expression": "params == null || object.data.size() <= variables.limit",
            "messageExpression": "'at most ' + string(variables.limit)",
        }],
    });
    let limit = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"limit": "1"},
        "metadata": {"name": "limits", "namespace": "n", "labels": {"is": "limit"}},
    });
    let with = |bound: Value| {
        Bench::new([
            namespace("n"),
            policy(spec.clone()),
            binding(bound),
            limit.clone(),
        ])
    };
    for chosen in [
        json!({"name": "limits"}),
        json!({"selector": {"matchLabels": {"is": "limit"}}}),
    ] {
        let mut reference = chosen;
        reference["parameterNotFoundAction"] = "Deny".into();
        let bench = with(json!({"paramRef": reference}));
        assert!(write(&bench, json!({"a": "1"})).is_ok());
        assert!(
            refused(&bench, json!({"a": "1", "b": "2"}))
                .1
                .ends_with("at most 1")
        );
    }
    let missing = |action: &str| {
        with(json!({"paramRef": {"name": "other", "parameterNotFoundAction": action}}))
    };
    assert!(write(&missing("Allow"), json!({"a": "1", "b": "2"})).is_ok());
    let (_, why) = refused(&missing("Deny"), json!({}));
    assert!(
        why.ends_with("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        "{why}"
    );
    assert!(
        write(&with(json!({})), json!({"a": "1", "b": "2"})).is_ok(),
        "no parameter is null"
    );
}

#[test]
fn deletions_are_judged_by_what_is_there() {
    let bench = bench(
        json!({"validations": [{"expression": "object != null || oldObject.data.keep != 'yes'", "message": "kept"}]}),
        json!({}),
    );
    let delete = |keep: &str| {
        let old = map(json!({"keep": keep}));
        bench.run(Operation::Delete, "n/configmaps/m", None, Some(old))
    };
    assert!(delete("no").is_ok());
    assert!(
        delete("yes")
            .expect_err("refused")
            .message()
            .ends_with("denied request: kept")
    );
}

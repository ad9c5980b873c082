//! Every kind of review, from question to answer.

use std::sync::Arc;

use muster_identity::PrivateKey;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    authn::{AuthenticationConfig, signing_key::SigningKey},
    authz::sample::{Objects, grant, node, resource},
    entropy::system_entropy,
};

fn ask(target: &str, spec: Value, user: &UserInfo) -> Result<Value, Box<Status>> {
    let rule = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "data": {
            "token-id": "YWJjZGVm", "token-secret": "MDEyMzQ1Njc4OWFiY2RlZg==",
            "usage-bootstrap-authentication": "dHJ1ZQ==",
        },
    });
    let reader = Objects::of(grant("u", "default", rule).into_iter().chain([token]));
    let key = PrivateKey::generate(&mut system_entropy()).expect("a key");
    let config = AuthenticationConfig {
        issuer: "https://issuer".into(),
        further_audiences: vec![],
        service_account_key: SigningKey::new(&key).expect("usable"),
        further_keys: vec![],
        allow_anonymous: true,
    };
    let authenticator = Authenticator::new(config, reader.clone());
    let authorizer = Arc::new(Authorizer::new(reader));
    let deps = ReviewDeps {
        authenticator: &authenticator,
        authorizer: &authorizer,
        now: Timestamp::UNIX_EPOCH,
    };
    let body = json!({"apiVersion": "x/v1", "kind": "Review", "spec": spec});
    review(&resource(target), &body, user, &deps)
}

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, ["g"])
}

const SELF: &str = "selfsubjectaccessreviews.authorization.k8s.io";
const SUBJECT: &str = "subjectaccessreviews.authorization.k8s.io";
const LOCAL: &str = "default/localsubjectaccessreviews.authorization.k8s.io";
const RULES: &str = "selfsubjectrulesreviews.authorization.k8s.io";
const TOKEN: &str = "tokenreviews.authentication.k8s.io";
const WHO: &str = "selfsubjectreviews.authentication.k8s.io";

fn pods(verb: &str) -> Value {
    json!({"namespace": "default", "verb": verb, "resource": "pods"})
}

#[test]
fn i_may_ask_for_myself_and_get_my_question_back() {
    let answer =
        ask(SELF, json!({"resourceAttributes": pods("get")}), &user("u")).expect("answered");
    assert_eq!(answer["status"], json!({"allowed": true}));
    assert_eq!(answer["spec"]["resourceAttributes"], pods("get"));
    let answer = ask(
        SELF,
        json!({"resourceAttributes": pods("list")}),
        &user("u"),
    )
    .expect("answered");
    assert_eq!(answer["status"], json!({"allowed": false}));
}

#[test]
fn a_path_can_be_asked_about() {
    let spec = json!({"nonResourceAttributes": {"path": "/healthz", "verb": "get"}});
    let answer = ask(SELF, spec, &user("u")).expect("answered");
    assert_eq!(answer["status"]["allowed"], false);
}

#[test]
fn another_user_can_be_asked_about() {
    let spec = json!({"resourceAttributes": pods("get"), "user": "u"});
    assert_eq!(
        ask(SUBJECT, spec, &user("x")).expect("answered")["status"]["allowed"],
        true
    );
    let spec = json!({"resourceAttributes": pods("get"), "groups": ["system:masters"]});
    assert_eq!(
        ask(SUBJECT, spec, &user("x")).expect("answered")["status"]["allowed"],
        true
    );
    let spec = json!({"resourceAttributes": pods("get"), "user": "x"});
    assert_eq!(
        ask(SUBJECT, spec, &user("u")).expect("answered")["status"]["allowed"],
        false
    );
}

#[test]
fn the_reason_of_a_denial_is_told() {
    let spec = json!({
        "resourceAttributes": {"verb": "list", "resource": "nodes"},
        "user": "system:node:n1", "groups": ["system:nodes"],
    });
    let answer = ask(SUBJECT, spec, &user("x")).expect("answered");
    assert_eq!(
        answer["status"]["reason"],
        "node 'n1' cannot read all nodes, only its own Node object"
    );
}

#[rstest]
#[case(json!({"rawSelector": "spec.nodeName=n1"}), true)]
#[case(json!({"rawSelector": "spec.nodeName!=n1"}), false)]
#[case(json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]}), true)]
#[case(json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1", "n2"]}]}), false)]
#[case(json!(null), false)]
fn field_selectors_count(#[case] selector: Value, #[case] allowed: bool) {
    let spec = json!({"resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": selector}});
    let answer = ask(SELF, spec, &node("n1")).expect("answered");
    assert_eq!(answer["status"]["allowed"], allowed);
}

#[test]
fn a_local_review_is_about_its_namespace() {
    let spec = json!({"resourceAttributes": pods("get"), "user": "u"});
    assert_eq!(
        ask(LOCAL, spec, &user("x")).expect("answered")["status"]["allowed"],
        true
    );
    let mut other = pods("get");
    other["namespace"] = "other".into();
    let refused = ask(
        LOCAL,
        json!({"resourceAttributes": other, "user": "u"}),
        &user("x"),
    );
    let refused = refused.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            422,
            ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \"other\": must \
             match metadata.namespace"
        )
    );
    let path = json!({"nonResourceAttributes": {"path": "/", "verb": "get"}, "user": "u"});
    assert_eq!(
        ask(LOCAL, path, &user("x")).expect_err("refused").code(),
        422
    );
}

#[rstest]
#[case(SELF, json!({}), "exactly one of nonResourceAttributes or resourceAttributes must be specified")]
#[case(SELF, json!({"resourceAttributes": {}, "nonResourceAttributes": {}}), "cannot be specified in combination with resourceAttributes")]
#[case(SUBJECT, json!({"resourceAttributes": {}}), "at least one of user or group must be specified")]
#[case(SELF, json!({"resourceAttributes": {"labelSelector": {}}}), "requirements or rawSelector is required")]
#[case(
    SELF,
    json!({"resourceAttributes": {"fieldSelector": {"rawSelector": "a=b", "requirements": [{"key": "a"}]}}}),
    "may not specified at the same time as requirements"
)]
fn a_question_that_contradicts_itself_is_invalid(
    #[case] target: &str,
    #[case] spec: Value,
    #[case] why: &str,
) {
    let refused = ask(target, spec, &user("u")).expect_err("refused");
    assert_eq!(refused.code(), 422);
    assert!(refused.message().contains(why), "{refused}");
}

#[test]
fn my_rules_in_a_namespace_are_listed() {
    let answer = ask(RULES, json!({"namespace": "default"}), &user("u")).expect("answered");
    assert_eq!(
        answer["status"],
        json!({
            "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
            "nonResourceRules": [], "incomplete": false,
        })
    );
    let of_node = ask(RULES, json!({"namespace": "default"}), &node("n1")).expect("answered");
    assert_eq!(of_node["status"]["incomplete"], true);
    assert_eq!(
        ask(RULES, json!({}), &user("u"))
            .expect_err("refused")
            .message(),
        "no namespace on request"
    );
}

#[test]
fn i_can_find_out_who_i_am() {
    let mut me = user("u");
    me.extra.insert("a".into(), vec!["b".into()]);
    let answer = ask(WHO, json!({}), &me).expect("answered");
    assert_eq!(
        answer["status"],
        json!({"userInfo": {"username": "u", "groups": ["g"], "extra": {"a": ["b"]}}})
    );
}

#[test]
fn a_token_is_told_from_a_wrong_one() {
    let good = ask(
        TOKEN,
        json!({"token": "abcdef.0123456789abcdef"}),
        &user("x"),
    )
    .expect("answered");
    assert_eq!(good["status"]["authenticated"], true);
    assert_eq!(
        good["status"]["user"]["username"],
        "system:bootstrap:abcdef"
    );
    assert_eq!(good["status"]["audiences"], json!(["https://issuer"]));
    for spec in [
        json!({"token": "abcdef.0123456789abcde0"}),
        json!({"token": "abcdef.0123456789abcdef", "audiences": ["vault"]}),
    ] {
        let bad = ask(TOKEN, spec, &user("x")).expect("answered");
        assert_eq!(
            bad["status"],
            json!({"user": {}, "error": "invalid bearer token"})
        );
    }
    assert_eq!(
        ask(TOKEN, json!({}), &user("x"))
            .expect_err("refused")
            .code(),
        400
    );
}

#[test]
fn reviews_are_known_by_group_and_name() {
    for target in [SELF, SUBJECT, LOCAL, RULES, TOKEN, WHO] {
        let info = resource(target);
        assert!(is_review(&info.group, &info.resource), "{target}");
    }
    assert!(!is_review("", "pods"));
    assert!(ask("pods", json!({}), &user("u")).is_err());
}

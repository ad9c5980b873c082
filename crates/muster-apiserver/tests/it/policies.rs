//! Demands of a cluster in expressions: policies with their bindings, and the conditions of webhooks.

use serde_json::{Value, json};

use crate::{
    harness::{CONFIG_MAPS, Cluster, config_map},
    webhook_server::{Webhook, configuration},
};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn policy(expression: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "even"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"],
            }]},
            "variables": [{"name": "size", "expression": "object.data.size()"}],
            "validations": [{"expression": expression, "messageExpression": "'not ' + string(variables.size)"}],
        },
    })
}

#[tokio::test]
async fn a_policy_rules_as_soon_as_it_is_bound_and_a_mistaken_one_is_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let refused = admin.post(&policies, &policy("variables.none == 1")).await;
    assert_eq!(refused.code, 422);
    let told = refused.json()["message"].to_string();
    assert!(told.contains("spec.validations[0].expression"), "{told}");
    assert!(
        told.contains("compilation failed: ERROR: <input>:1:10: undefined field 'none'"),
        "{told}"
    );

    let made = admin
        .post(&policies, &policy("variables.size % 2 == 0"))
        .await;
    assert!(!made.headers.contains_key("warning"), "it is enforced");
    made.ok();
    let two = config_map("two");
    assert_eq!(two["data"].as_object().map(serde_json::Map::len), Some(1));
    admin.post(CONFIG_MAPS, &config_map("unbound")).await.ok();
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "everywhere"},
        "spec": {"policyName": "even", "validationActions": ["Deny"], "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        }},
    });
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
    let bound = admin.post(&bindings, &binding).await.ok();
    assert_eq!(bound["spec"]["matchResources"]["matchPolicy"], "Equivalent");

    let denied = admin.post(CONFIG_MAPS, &two).await;
    let status = denied.json();
    assert_eq!(denied.code, 422);
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(
        status["message"],
        "configmaps \"two\" is forbidden: ValidatingAdmissionPolicy 'even' with binding 'everywhere' denied request: not 1"
    );
    let mut fine = two;
    fine["data"]["another"] = "2".into();
    admin.post(CONFIG_MAPS, &fine).await.ok();
    admin
        .delete(&format!("{bindings}/everywhere"), &Value::Null)
        .await
        .ok();
    admin.post(CONFIG_MAPS, &config_map("free")).await.ok();
}

#[tokio::test]
async fn a_webhook_is_asked_only_where_its_conditions_hold() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let webhook = Webhook::start(|_| json!({"allowed": true})).await;
    let mut hook = webhook.hook("some.example.com");
    hook["matchConditions"] = json!([
        {"name": "not-skipped", "expression": "object.metadata.name != 'skip-me'"},
        {"name": "labelled", "expression": "object.metadata.name != 'broken' || object.metadata.labels.x == 'y'"},
    ]);
    let one = configuration("ValidatingWebhookConfiguration", "v", json!([hook]));
    admin
        .post(&format!("{GROUP}/validatingwebhookconfigurations"), &one)
        .await
        .ok();
    admin.post(CONFIG_MAPS, &config_map("skip-me")).await.ok();
    admin.post(CONFIG_MAPS, &config_map("asked")).await.ok();
    let broken = admin.post(CONFIG_MAPS, &config_map("broken")).await;
    assert_eq!(broken.code, 403);
    let told = broken.json()["message"].to_string();
    assert!(
        told.contains("resulted in error: no such key: labels"),
        "{told}"
    );
    let asked = webhook.asked();
    let names: Vec<_> = asked
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["asked"]);
}

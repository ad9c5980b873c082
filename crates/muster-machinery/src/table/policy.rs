//! RBAC bindings, disruption budgets, admission and flow-control configuration.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, count, int, name, text, text_or};
use super::column::{self, AGE, Column, NAME, Printer, integer, wide};
use crate::meta::{at, items, str_at};

const ROLE_BINDING: &[Column] = &[
    NAME,
    column::text(
        "Role",
        "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace.",
    ),
    AGE,
    wide("Users", "Users in the roleBinding"),
    wide("Groups", "Groups in the roleBinding"),
    wide("ServiceAccounts", "ServiceAccounts in the roleBinding"),
];

const CLUSTER_ROLE_BINDING: &[Column] = &[
    NAME,
    column::text(
        "Role",
        "RoleRef can only reference a ClusterRole in the global namespace.",
    ),
    AGE,
    wide("Users", "Users in the clusterRoleBinding"),
    wide("Groups", "Groups in the clusterRoleBinding"),
    wide(
        "ServiceAccounts",
        "ServiceAccounts in the clusterRoleBinding",
    ),
];

const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    column::text(
        "Min Available",
        "The minimum number of pods that must be available.",
    ),
    column::text(
        "Max Unavailable",
        "The maximum number of pods that may be unavailable.",
    ),
    integer(
        "Allowed Disruptions",
        "Calculated number of pods that may be disrupted at this time.",
    ),
    AGE,
];

const WEBHOOKS: &[Column] = &[
    NAME,
    integer(
        "Webhooks",
        "Webhooks indicates the number of webhooks registered in this configuration",
    ),
    AGE,
];

const PARAM_KIND: Column = column::text(
    "ParamKind",
    "ParamKind specifies the kind of resources used to parameterize this policy",
);

const VALIDATING_POLICY: &[Column] = &[
    NAME,
    integer(
        "Validations",
        "Validations indicates the number of validation rules defined in this configuration",
    ),
    PARAM_KIND,
    AGE,
];

const MUTATING_POLICY: &[Column] = &[
    NAME,
    integer(
        "Mutations",
        "Mutation indicates the number of mutations rules defined in this configuration",
    ),
    PARAM_KIND,
    AGE,
];

const POLICY_BINDING: &[Column] = &[
    NAME,
    column::text(
        "PolicyName",
        "PolicyName indicates the policy definition which the policy binding binded to",
    ),
    column::text(
        "ParamRef",
        "ParamRef indicates the param resource which sets the configration param",
    ),
    AGE,
];

const FLOW_SCHEMA: &[Column] = &[
    NAME,
    column::text(
        "PriorityLevel",
        "name is the name of the priority level configuration being referenced.",
    ),
    column::text(
        "MatchingPrecedence",
        "matchingPrecedence is used to choose among the FlowSchemas that match a given request.",
    ),
    column::text(
        "DistinguisherMethod",
        "distinguisherMethod defines how to compute the flow distinguisher for requests that match this schema.",
    ),
    AGE,
    column::text(
        "MissingPL",
        "references a broken or non-existent PriorityLevelConfiguration",
    ),
];

const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    column::text(
        "Type",
        "type indicates whether this priority level is subject to limitation on request execution.",
    ),
    column::text(
        "NominalConcurrencyShares",
        "nominalConcurrencyShares (NCS) contributes to the computation of the NominalConcurrencyLimit of this level.",
    ),
    column::text(
        "Queues",
        "queues is the number of queues for this priority level.",
    ),
    column::text(
        "HandSize",
        "handSize is a small positive number that configures the shuffle sharding of requests into queues.",
    ),
    column::text(
        "QueueLengthLimit",
        "queueLengthLimit is the maximum number of requests allowed to be waiting in a given queue.",
    ),
    AGE,
];

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "RoleBinding" => Printer::new(ROLE_BINDING, binding),
        "ClusterRoleBinding" => Printer::new(CLUSTER_ROLE_BINDING, binding),
        "PodDisruptionBudget" => Printer::new(DISRUPTION_BUDGET, disruption_budget),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            Printer::new(WEBHOOKS, |o, now| {
                vec![name(o), count(o, &["webhooks"]), age_of(o, now)]
            })
        }
        "ValidatingAdmissionPolicy" => Printer::new(VALIDATING_POLICY, |o, now| {
            vec![
                name(o),
                count(o, &["spec", "validations"]),
                param_kind(o).into(),
                age_of(o, now),
            ]
        }),
        "MutatingAdmissionPolicy" => Printer::new(MUTATING_POLICY, |o, now| {
            vec![
                name(o),
                count(o, &["spec", "mutations"]),
                param_kind(o).into(),
                age_of(o, now),
            ]
        }),
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            Printer::new(POLICY_BINDING, |o, now| {
                let policy = text(o, &["spec", "policyName"]);
                vec![name(o), policy, param_ref(o).into(), age_of(o, now)]
            })
        }
        "FlowSchema" => Printer::new(FLOW_SCHEMA, flow_schema),
        "PriorityLevelConfiguration" => Printer::new(PRIORITY_LEVEL, priority_level),
        _ => return None,
    })
}

fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let (mut users, mut groups, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for subject in items(binding, &["subjects"]) {
        let name = str_at(subject, &["name"]).unwrap_or("").to_owned();
        match str_at(subject, &["kind"]) {
            Some("User") => users.push(name),
            Some("Group") => groups.push(name),
            Some("ServiceAccount") => {
                let namespace = str_at(subject, &["namespace"]).unwrap_or("");
                accounts.push(format!("{namespace}/{name}"));
            }
            _ => {}
        }
    }
    let role = |key| str_at(binding, &["roleRef", key]).unwrap_or("");
    vec![
        name(binding),
        format!("{}/{}", role("kind"), role("name")).into(),
        age_of(binding, now),
        users.join(", ").into(),
        groups.join(", ").into(),
        accounts.join(", ").into(),
    ]
}

fn disruption_budget(budget: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |field| match at(budget, &["spec", field]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".into(),
    };
    vec![
        name(budget),
        bound("minAvailable").into(),
        bound("maxUnavailable").into(),
        int(budget, &["status", "disruptionsAllowed"]).into(),
        age_of(budget, now),
    ]
}

fn param_kind(policy: &Value) -> String {
    let field = |key| str_at(policy, &["spec", "paramKind", key]);
    match (field("apiVersion"), field("kind")) {
        (None, None) => "<unset>".into(),
        (api_version, kind) => format!("{}/{}", api_version.unwrap_or(""), kind.unwrap_or("")),
    }
}

fn param_ref(binding: &Value) -> String {
    let field = |key| str_at(binding, &["spec", "paramRef", key]).unwrap_or("");
    match (field("name"), field("namespace")) {
        ("", _) => match at(binding, &["spec", "paramRef", "selector"]) {
            Some(selector) if !selector.is_null() => super::cell::selector(Some(selector)),
            _ => "<unset>".into(),
        },
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    }
}

fn flow_schema(schema: &Value, now: Timestamp) -> Vec<Value> {
    let dangling = items(schema, &["status", "conditions"])
        .iter()
        .find(|condition| str_at(condition, &["type"]) == Some("Dangling"))
        .and_then(|condition| str_at(condition, &["status"]));
    vec![
        name(schema),
        text(schema, &["spec", "priorityLevelConfiguration", "name"]),
        int(schema, &["spec", "matchingPrecedence"]).into(),
        text_or(schema, &["spec", "distinguisherMethod", "type"], "<none>"),
        age_of(schema, now),
        dangling.unwrap_or("?").into(),
    ]
}

fn priority_level(level: &Value, now: Timestamp) -> Vec<Value> {
    let limited = |path: &[&str]| {
        at(level, &["spec", "limited"])
            .and_then(|limited| at(limited, path))
            .filter(|value| !value.is_null())
            .cloned()
            .unwrap_or_else(|| "<none>".into())
    };
    let queuing = |field| limited(&["limitResponse", "queuing", field]);
    vec![
        name(level),
        text(level, &["spec", "type"]),
        limited(&["nominalConcurrencyShares"]),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age_of(level, now),
    ]
}

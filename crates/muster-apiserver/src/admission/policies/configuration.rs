//! The policies of a cluster and their bindings as they are stored, compiled anew whenever one changes.
//!
//! Refuses to know: requests. Policies have been validated when they were written; what is missing has its default.

use std::sync::Arc;

use muster_machinery::{
    cel::Expr,
    meta,
    policy::{Gives, Terms},
    selector::LabelSelector,
};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    super::{
        expressions::{Conditions, Expression},
        webhook::{
            configuration::{GROUP, rule, selector},
            matching::Criteria,
        },
    },
    text,
};
use crate::request::ObjectReader;

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

/// A policy with the bindings that put it to work.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) meant: Criteria,
    pub(super) conditions: Conditions,
    /// `apiVersion` and `kind` of its parameters.
    pub(super) param_kind: Option<(String, String)>,
    /// Whether the request passes where the policy cannot be evaluated.
    pub(super) ignores_failure: bool,
    /// `variables`, in order; or why they cannot be used.
    pub(super) variables: Result<Vec<(String, Expr)>, String>,
    pub(super) validations: Vec<Validation>,
    /// Remarks for the audit log, by key.
    pub(super) remarks: Vec<(String, Expression)>,
    pub(super) bindings: Vec<Binding>,
}

/// One demand of a policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) demand: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    pub(super) reason: &'static str,
}

/// What puts a policy to work.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) meant: Criteria,
    pub(super) actions: Vec<String>,
    pub(super) params: Option<ParamRef>,
}

/// Which objects are a binding's parameters.
#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) selector: Option<LabelSelector>,
    pub(super) denies_without: bool,
}

/// The policies that have bindings, as last read.
#[derive(Default)]
pub(super) struct Configurations {
    read: Mutex<Option<(Generations, Arc<Vec<Policy>>)>>,
}

/// How often policies and bindings had changed.
type Generations = (u64, u64);

impl Configurations {
    pub(super) fn policies(&self, reader: &dyn ObjectReader) -> Arc<Vec<Policy>> {
        let generation = (
            reader.generation(GROUP, POLICIES),
            reader.generation(GROUP, BINDINGS),
        );
        let mut read = self.read.lock();
        if let Some((known, policies)) = &*read
            && *known == generation
        {
            return Arc::clone(policies);
        }
        let bindings = reader.list(GROUP, BINDINGS, None);
        let stored = reader.list(GROUP, POLICIES, None);
        let bound = |policy: &Value| -> Vec<Binding> {
            let own = bindings
                .iter()
                .filter(|binding| text(binding, &["spec", "policyName"]) == meta::name(policy));
            own.map(|one| binding(one)).collect()
        };
        let policies = stored.iter().map(|one| policy(one, bound(one)));
        let policies = Arc::new(policies.filter(|one| !one.bindings.is_empty()).collect());
        *read = Some((generation, Arc::clone(&policies)));
        policies
    }
}

fn criteria(resources: &Value) -> Criteria {
    let rules = |field: &str| meta::items(resources, &[field]).iter().map(rule).collect();
    Criteria {
        rules: rules("resourceRules"),
        excluded: rules("excludeResourceRules"),
        is_open: true,
        namespaces: selector(resources, "namespaceSelector"),
        objects: selector(resources, "objectSelector"),
        equivalent: text(resources, &["matchPolicy"]) != "Exact",
    }
}

fn policy(policy: &Value, bindings: Vec<Binding>) -> Policy {
    let none = Value::Null;
    let spec = policy.get("spec").unwrap_or(&none);
    let kind = spec.get("paramKind").filter(|kind| !kind.is_null());
    let mut terms = Terms::new(kind.is_some());
    let variables = meta::items(spec, &["variables"]).iter().map(|one| {
        let (name, own) = (text(one, &["name"]), text(one, &["expression"]));
        terms.define(name, own).map(|expr| (name.to_owned(), expr))
    });
    let variables = variables.collect();
    let validations = meta::items(spec, &["validations"]).iter();
    let remarks = meta::items(spec, &["auditAnnotations"]).iter();
    Policy {
        name: meta::name(policy).to_owned(),
        meant: criteria(spec.get("matchConstraints").unwrap_or(&none)),
        conditions: Conditions::read(spec, kind.is_some()),
        param_kind: kind.map(|kind| {
            (
                text(kind, &["apiVersion"]).to_owned(),
                text(kind, &["kind"]).to_owned(),
            )
        }),
        ignores_failure: text(spec, &["failurePolicy"]) == "Ignore",
        variables,
        validations: validations.map(|one| validation(&terms, one)).collect(),
        remarks: remarks
            .map(|one| {
                let own = text(one, &["valueExpression"]).trim();
                let expression = Expression::read(&terms, own, Gives::TextOrNull);
                (text(one, &["key"]).to_owned(), expression)
            })
            .collect(),
        bindings,
    }
}

fn validation(terms: &Terms, validation: &Value) -> Validation {
    let of_message = text(validation, &["messageExpression"]);
    Validation {
        demand: Expression::read(terms, text(validation, &["expression"]), Gives::Bool),
        message: text(validation, &["message"]).trim().to_owned(),
        message_expression: (!of_message.trim().is_empty())
            .then(|| Expression::read(terms, of_message, Gives::Text)),
        reason: match text(validation, &["reason"]) {
            "Forbidden" => "Forbidden",
            "RequestEntityTooLarge" => "RequestEntityTooLarge",
            _ => "Invalid",
        },
    }
}

fn binding(binding: &Value) -> Binding {
    let none = Value::Null;
    let spec = binding.get("spec").unwrap_or(&none);
    let actions = meta::items(spec, &["validationActions"]).iter();
    let params = spec.get("paramRef").filter(|params| !params.is_null());
    Binding {
        name: meta::name(binding).to_owned(),
        meant: criteria(spec.get("matchResources").unwrap_or(&none)),
        actions: actions
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        params: params.map(|params| ParamRef {
            namespace: text(params, &["namespace"]).to_owned(),
            name: text(params, &["name"]).to_owned(),
            selector: params
                .get("selector")
                .filter(|one| !one.is_null())
                .map(|one| {
                    LabelSelector::from_object(Some(one))
                        .unwrap_or_else(|_| LabelSelector::nothing())
                }),
            denies_without: text(params, &["parameterNotFoundAction"]) == "Deny",
        }),
    }
}

//! Expressions about a write (CEL): what they can see of it, and conditions that must all hold (`matchConditions`).
//!
//! Refuses to know: who asks for them, and what follows.

use std::borrow::Cow;

use muster_machinery::{
    cel::{self, EvalError, Expr, Session, Val},
    meta,
    policy::{self, BUDGET_OF_CONDITIONS, Gives, PER_EXPRESSION, Terms},
};
use serde_json::{Value, json};

use super::{
    AdmissionRequest,
    webhook::{
        matching::Form,
        review::{self, Objects},
        show,
    },
};

/// What upstream says when a budget is spent.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// What expressions see of one request.
#[derive(Debug)]
pub(super) struct Facts {
    object: Value,
    old: Value,
    request: Value,
    /// The namespace, or null.
    namespace: Value,
}

impl Facts {
    /// The facts of a request, with its objects in the form in which it is meant.
    pub(super) fn of(
        request: &AdmissionRequest<'_>,
        form: &Form,
        (object, old): (Option<&Value>, Option<&Value>),
        namespace: Value,
    ) -> Self {
        let shown = |object: Option<&Value>| object.map(|object| show(request, form, object));
        let (object, old) = (shown(object), shown(old));
        let objects = Objects {
            object: object.as_ref(),
            old: old.as_ref(),
        };
        let mut question = review::question(request, form, &objects, ("v1", ""));
        let mut own = question["request"].take();
        if let Some(own) = own.as_object_mut() {
            for field in ["uid", "object", "oldObject"] {
                own.remove(field);
            }
        }
        Self {
            object: object.unwrap_or_default(),
            old: old.unwrap_or_default(),
            request: own,
            namespace,
        }
    }

    /// An evaluation of expressions about them. `params` is none where the policy has none.
    pub(super) fn session<'a>(
        &'a self,
        params: Option<&'a Value>,
        composed: &'a [(String, Expr)],
    ) -> Session<'a> {
        let namespace = Some(policy::namespace_schema());
        let mut variables = vec![
            (Cow::Borrowed("object"), cel::of_json(&self.object, None)),
            (Cow::Borrowed("oldObject"), cel::of_json(&self.old, None)),
            (
                Cow::Borrowed("request"),
                cel::of_json(&self.request, Some(policy::request_schema())),
            ),
            (
                Cow::Borrowed("namespaceObject"),
                cel::of_json(&self.namespace, namespace),
            ),
        ];
        if let Some(params) = params {
            variables.push((Cow::Borrowed("params"), cel::of_json(params, None)));
        }
        Session::new(variables, composed)
    }
}

/// A namespace as `namespaceObject` has it.
pub(super) fn namespace_object(namespace: &Value) -> Value {
    let own = |field: &str| namespace.get(field).cloned().unwrap_or_else(|| json!({}));
    let mut metadata = own("metadata");
    if let Some(metadata) = metadata.as_object_mut() {
        for field in ["managedFields", "ownerReferences", "selfLink"] {
            metadata.remove(field);
        }
    }
    json!({"metadata": metadata, "spec": own("spec"), "status": own("status")})
}

/// One expression, with its text for messages.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) text: String,
    /// What is wrong with it, where it was stored by somebody who did not look.
    compiled: Result<Expr, String>,
}

/// What an expression came to.
pub(super) enum Worked<'a> {
    /// A value.
    Gives(Val<'a>),
    /// Nothing, for this reason.
    Failed(String),
    /// The budget of all is spent.
    Spent,
}

impl Expression {
    pub(super) fn read(terms: &Terms, text: &str, gives: Gives) -> Self {
        Self {
            compiled: terms.compile(text, gives),
            text: text.to_owned(),
        }
    }

    /// Works it out and takes what it cost off the budget.
    pub(super) fn run<'a>(&'a self, session: &mut Session<'a>, budget: &mut u64) -> Worked<'a> {
        let expr = match &self.compiled {
            Ok(expr) => expr,
            Err(why) => return Worked::Failed(format!("compilation error: {why}")),
        };
        let (result, cost) = session.evaluate(expr, PER_EXPRESSION.min(*budget));
        if cost > *budget {
            return Worked::Spent;
        }
        *budget -= cost;
        match result {
            Ok(value) => Worked::Gives(value),
            Err(error) => Worked::Failed(self.failed(&error)),
        }
    }

    fn failed(&self, error: &EvalError) -> String {
        format!("expression '{}' resulted in error: {error}", self.text)
    }
}

/// `matchConditions`.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Expression>);

impl Conditions {
    /// Those of a webhook, or of a policy's `spec`.
    pub(super) fn read(owner: &Value, has_params: bool) -> Self {
        let terms = Terms::new(has_params);
        let texts = meta::items(owner, &["matchConditions"]).iter();
        let texts = texts.map(|one| meta::str_at(one, &["expression"]).unwrap_or_default());
        Self(
            texts
                .map(|text| Expression::read(&terms, text.trim(), Gives::Bool))
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not decides, also where others fail.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub(super) fn hold(&self, facts: &Facts, params: Option<&Value>) -> Result<bool, String> {
        let mut budget = BUDGET_OF_CONDITIONS;
        let mut session = facts.session(params, &[]);
        let mut failed = Vec::new();
        for condition in &self.0 {
            match condition.run(&mut session, &mut budget) {
                Worked::Gives(Val::Bool(true)) => {}
                Worked::Gives(Val::Bool(false)) => return Ok(false),
                Worked::Gives(_) => failed.push(condition.failed(&EvalError::NoOverload)),
                Worked::Failed(why) => failed.push(why),
                Worked::Spent => return Err(OUT_OF_BUDGET.to_owned()),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [why] => Err(why.clone()),
            all => Err(format!("[{}]", all.join(", "))),
        }
    }
}

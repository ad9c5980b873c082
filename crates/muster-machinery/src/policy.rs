//! Expressions about writes: `matchConditions` of admission webhooks and all that a `ValidatingAdmissionPolicy` says.
//!
//! What they may name follows k8s.io/apiserver `pkg/admission/plugin/cel`: `object`, `oldObject`, `request`,
//! `namespaceObject`, `params` where there are some, and `variables` that a policy defines. Objects have no type here, as
//! upstream when a policy is written. Refuses to know requests, and when an expression is asked for.

use std::sync::LazyLock;

use serde_json::json;

use crate::cel::{self, Composed, Expr, Type};
use crate::crd::Schema;

/// What all expressions of one policy may cost for one request and one parameter (`RuntimeCELCostBudget`).
pub const BUDGET: u64 = 10_000_000;
/// What all match conditions of one webhook or policy may cost (`RuntimeCELCostBudgetMatchConditions`).
pub const BUDGET_OF_CONDITIONS: u64 = BUDGET / 4;
/// What one expression may cost (`PerCallLimit`).
pub const PER_EXPRESSION: u64 = 1_000_000;

/// What an expression must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// Text, or nothing.
    TextOrNull,
}

/// The words that expressions may use.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    has_params: bool,
    composed: Vec<Composed<'static>>,
}

impl Terms {
    /// The words for every request; `params` too where the policy has some.
    #[must_use]
    pub const fn new(has_params: bool) -> Self {
        Self {
            has_params,
            composed: Vec::new(),
        }
    }

    /// Reads and judges an expression.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn compile(&self, text: &str, gives: Gives) -> Result<Expr, String> {
        let (expr, checked) = self.judge(text)?;
        let type_ = checked.type_;
        let fits = match gives {
            _ if type_ == Type::Dyn => true,
            Gives::Bool => type_ == Type::Bool,
            Gives::Text => matches!(type_, Type::Text(_)),
            Gives::TextOrNull => matches!(type_, Type::Text(_) | Type::Null),
        };
        let wanted = match gives {
            Gives::Bool => "bool",
            Gives::Text => "string",
            Gives::TextOrNull => "one of [string null_type]",
        };
        if fits {
            Ok(expr)
        } else {
            Err(format!(
                "must evaluate to {wanted} but got {}",
                type_.name()
            ))
        }
    }

    /// Reads and judges an expression that later ones may name as `variables.NAME`.
    ///
    /// # Errors
    /// As [`Self::compile`]. The name is known then all the same, so that each mistake is told once.
    pub fn define(&mut self, name: &str, text: &str) -> Result<Expr, String> {
        let judged = self.judge(text);
        let (type_, depth) = match &judged {
            Ok((_, checked)) => (checked.type_.clone(), checked.depth),
            Err(_) => (Type::Dyn, 0),
        };
        self.composed.push(Composed {
            name: name.to_owned(),
            type_,
            depth,
        });
        judged.map(|(expr, _)| expr)
    }

    fn judge(&self, text: &str) -> Result<(Expr, cel::Checked<'static>), String> {
        let failed = |why: String| format!("compilation failed: {why}");
        let expr = cel::parse(text).map_err(|error| failed(error.to_string()))?;
        let mut variables = vec![
            ("object", Type::Dyn),
            ("oldObject", Type::Dyn),
            ("namespaceObject", Type::of(&NAMESPACE, false)),
            ("request", Type::of(&REQUEST, false)),
        ];
        if self.has_params {
            variables.push(("params", Type::Dyn));
        }
        let checked =
            cel::check_composed(&expr, text, &variables, &self.composed).map_err(failed)?;
        Ok((expr, checked))
    }
}

fn parsed(schema: &serde_json::Value) -> Schema {
    Schema::parse(schema).expect("a schema that stands in the source, held by test")
}

/// `admission.k8s.io/v1` `AdmissionRequest`, without the objects.
static REQUEST: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let kind =
        json!({"type": "object", "properties": {"group": text, "version": text, "kind": text}});
    let resource =
        json!({"type": "object", "properties": {"group": text, "version": text, "resource": text}});
    parsed(&json!({"type": "object", "properties": {
        "kind": kind, "resource": resource, "subResource": text,
        "requestKind": kind, "requestResource": resource, "requestSubResource": text,
        "name": text, "namespace": text, "operation": text,
        "userInfo": {"type": "object", "properties": {
            "username": text, "uid": text, "groups": texts,
            "extra": {"type": "object", "additionalProperties": texts},
        }},
        "dryRun": {"type": "boolean"},
        "options": {"x-kubernetes-preserve-unknown-fields": true},
    }}))
});

/// A Namespace, as far as expressions see it.
static NAMESPACE: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let by_name = json!({"type": "object", "additionalProperties": text});
    let time = json!({"type": "string", "format": "date-time"});
    parsed(&json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "labels": by_name,
            "annotations": by_name, "UID": text, "creationTimestamp": time,
            "deletionGracePeriodSeconds": {"type": "integer"}, "deletionTimestamp": time,
            "generation": {"type": "integer"}, "resourceVersion": text, "finalizers": texts,
        }},
        "spec": {"type": "object", "properties": {"finalizers": texts}},
        "status": {"type": "object", "properties": {"phase": text}},
    }}))
});

/// The type of `request`, for reading its value.
#[must_use]
pub fn request_schema() -> &'static Schema {
    &REQUEST
}

/// The type of `namespaceObject`, for reading its value.
#[must_use]
pub fn namespace_schema() -> &'static Schema {
    &NAMESPACE
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::Value;

    use super::*;
    use crate::cel::{EvalError, Session, Val};

    #[test]
    fn what_is_not_there_is_refused_and_what_comes_out_is_named() {
        let terms = Terms::new(false);
        for good in [
            "object.spec.replicas > 1",
            "request.operation == 'UPDATE' && 'system:masters' in request.userInfo.groups",
            "namespaceObject.metadata.labels['a'] == 'b'",
            "oldObject == null || has(object.metadata.labels)",
            "request.options.kind == 'CreateOptions' && !request.dryRun",
        ] {
            assert!(terms.compile(good, Gives::Bool).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("request.nothing == ''", "undefined field 'nothing'"),
            ("params.x == 1", "undeclared reference to 'params'"),
            ("variables.x == 1", "undeclared reference to 'variables'"),
            ("1 + 1", "must evaluate to bool but got int"),
            (
                "object.",
                "compilation failed: ERROR: <input>:1:8: Syntax error",
            ),
        ] {
            let told = terms.compile(bad, Gives::Bool).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        assert!(
            Terms::new(true)
                .compile("params.x == 1", Gives::Bool)
                .is_ok()
        );
        assert!(terms.compile("'a' + object.b", Gives::Text).is_ok());
        assert_eq!(
            terms.compile("1", Gives::TextOrNull).unwrap_err(),
            "must evaluate to one of [string null_type] but got int"
        );
    }

    fn composed(terms: &mut Terms, texts: &[(&str, &str)]) -> Vec<(String, Expr)> {
        texts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), terms.define(name, text).unwrap()))
            .collect()
    }

    fn run(texts: &[(&str, &str)], text: &str, object: &Value) -> Result<bool, EvalError> {
        let mut terms = Terms::new(false);
        let composed = composed(&mut terms, texts);
        let expr = terms.compile(text, Gives::Bool).unwrap();
        let variables = vec![(Cow::Borrowed("object"), cel::of_json(object, None))];
        let mut session = Session::new(variables, &composed);
        let (result, _) = session.evaluate(&expr, PER_EXPRESSION);
        result.map(|value| matches!(value, Val::Bool(true)))
    }

    #[test]
    fn variables_are_worked_out_when_they_are_looked_at_and_do_not_see_macros() {
        let object = json!({"n": 3});
        let variables = [
            ("n", "object.n"),
            ("odd", "variables.n % 2 == 1"),
            ("bad", "object.none"),
        ];
        assert_eq!(
            run(&variables, "variables.odd && variables.n > 2", &object),
            Ok(true)
        );
        assert_eq!(
            run(&variables, "variables.odd || variables.bad", &object),
            Ok(true)
        );
        assert_eq!(
            run(&variables, "variables.bad == 1", &object)
                .unwrap_err()
                .to_string(),
            "composited variable \"bad\" fails to evaluate: no such key: none"
        );
        assert_eq!(
            run(
                &variables,
                "[{'n': 9}].all(object, variables.n == 3 && object.n == 9)",
                &object
            ),
            Ok(true)
        );
    }

    #[test]
    fn a_variable_costs_once_and_names_only_those_before_it() {
        let mut terms = Terms::new(false);
        assert!(terms.define("a", "variables.b").is_err());
        let mut terms = Terms::new(false);
        let composed = composed(&mut terms, &[("long", "[1,2,3,4,5,6,7,8].map(x, x * x)")]);
        let expr = terms
            .compile("variables.long.size() == 8", Gives::Bool)
            .unwrap();
        let mut session = Session::new(Vec::new(), &composed);
        let (first, second) = (
            session.evaluate(&expr, 1000).1,
            session.evaluate(&expr, 1000).1,
        );
        assert!(second < first / 4, "{first} {second}");
    }

    #[test]
    fn variables_behind_each_other_do_not_nest_without_end() {
        let mut terms = Terms::new(false);
        terms.define("v0", "object.a").unwrap();
        let refused = (1..300).find_map(|index| {
            let text = format!("variables.v{} + 1", index - 1);
            terms.define(&format!("v{index}"), &text).err()
        });
        assert!(refused.is_some_and(|why| why.contains("recursion limit")));
    }
}

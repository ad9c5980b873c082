//! Rules of schemas (`x-kubernetes-validations`): judged with the definition, enforced on its objects.
//!
//! Upstream: `pkg/apiserver/schema/cel` of k8s.io/apiextensions-apiserver. Each rule and each object have a budget; what
//! exceeds it refuses the object rather than holding up the server.

use std::borrow::Cow;

use serde_json::Value;

use super::schema::{ListType, Rule, Schema, Type};
use super::value::correlated;
use crate::cel::{self, EvalError, Val};
use crate::validation::FieldError;

/// What one rule may cost at most, by estimate.
const MAX_ESTIMATE: u64 = 10_000_000;
/// What all rules of a schema may cost at most, by estimate.
const MAX_TOTAL: u64 = 100_000_000;
/// What one rule may cost when it runs.
const PER_RULE: u64 = 1_000_000;
/// What all rules may cost for one object.
const PER_OBJECT: u64 = 10_000_000;
/// The longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;
/// The largest request, in bytes: what is not bounded otherwise is bounded by it.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// A node of a schema on the way down.
#[derive(Clone)]
struct Place<'p> {
    path: String,
    /// How many values of this node an object has at most.
    times: u64,
    /// Where old and new values can no longer be told to be the same.
    uncorrelated: Option<&'p str>,
}

/// The mistakes in the rules of a schema.
pub(super) fn validate(path: &str, schema: &Schema) -> Vec<FieldError> {
    if !schema.has_rules() {
        return Vec::new();
    }
    let place = Place {
        path: path.to_owned(),
        times: 1,
        uncorrelated: None,
    };
    let mut judge = Judge::default();
    judge.node(schema, true, &place);
    if judge.total > MAX_TOTAL {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        judge.errors.push(FieldError::forbidden(
            path,
            exceeds(what, judge.total, MAX_TOTAL),
        ));
    }
    judge.errors
}

#[derive(Default)]
struct Judge {
    errors: Vec<FieldError>,
    total: u64,
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let times = cost as f64 / limit as f64;
    let factor = match times {
        times if times > 100.0 => "more than 100x".to_owned(),
        times if times < 1.5 => format!("{times:.6}x"),
        times => format!("{times:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

impl Judge {
    fn node(&mut self, schema: &Schema, is_resource: bool, place: &Place<'_>) {
        let is_resource = is_resource || schema.is_resource;
        for (index, rule) in schema.rules.iter().enumerate() {
            let path = format!("{}.x-kubernetes-validations[{index}]", place.path);
            self.rule(schema, rule, is_resource, &path, place);
        }
        for (name, property) in &schema.properties {
            let path = format!("{}.properties[{name}]", place.path);
            self.node(
                property,
                false,
                &Place {
                    path,
                    ..place.clone()
                },
            );
        }
        let times = place.times.saturating_mul(cel::max_elements(schema));
        if let Some(items) = &schema.items {
            let path = format!("{}.items", place.path);
            let lost = (schema.list_type != ListType::Map).then_some(place.path.as_str());
            let uncorrelated = place.uncorrelated.or(lost);
            self.node(
                items,
                false,
                &Place {
                    path,
                    times,
                    uncorrelated,
                },
            );
        }
        if let Some(values) = schema.additional_schema() {
            let path = format!("{}.additionalProperties", place.path);
            self.node(
                values,
                false,
                &Place {
                    path,
                    times,
                    uncorrelated: place.uncorrelated,
                },
            );
        }
    }

    fn rule(
        &mut self,
        schema: &Schema,
        rule: &Rule,
        is_resource: bool,
        path: &str,
        place: &Place<'_>,
    ) {
        let shown = || -> Value { rule.rule.as_str().into() };
        let own = cel::Type::of(schema, is_resource);
        let old = match rule.optional_old_self {
            Some(true) => cel::Type::Optional(Box::new(own.clone())),
            _ => own.clone(),
        };
        let variables = [("self", own), ("oldSelf", old)];
        let compile = |text: &str| {
            let expr = cel::parse(text).map_err(|error| error.to_string())?;
            cel::check(&expr, text, &variables)
        };
        let checked = match compile(&rule.rule) {
            Ok(checked) => checked,
            Err(why) => {
                let why = format!("compilation failed: {why}");
                self.errors
                    .push(FieldError::invalid(format!("{path}.rule"), shown(), why));
                return;
            }
        };
        if !matches!(checked.type_, cel::Type::Bool | cel::Type::Dyn) {
            let why = "cel expression must evaluate to a bool";
            self.errors
                .push(FieldError::invalid(format!("{path}.rule"), shown(), why));
        }
        // No request holds more values of a node than it has room for.
        let smallest = cel::min_size(schema).max(1);
        let times = place.times.min(MAX_REQUEST / smallest).max(1);
        let cost = checked.cost.saturating_mul(times);
        self.total = self.total.saturating_add(cost);
        if cost > MAX_ESTIMATE {
            let why = exceeds("estimated rule cost", cost, MAX_ESTIMATE);
            self.errors
                .push(FieldError::forbidden(format!("{path}.rule"), why));
        }
        self.message(rule, path, &compile);
        if checked.uses_old_self {
            if let Some(lost) = place.uncorrelated {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
                );
                self.errors
                    .push(FieldError::invalid(format!("{path}.rule"), shown(), why));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let why = "may not be set if oldSelf is not used in rule";
            self.errors.push(FieldError::invalid(
                format!("{path}.optionalOldSelf"),
                optional.into(),
                why,
            ));
        }
    }

    fn message<'s>(
        &mut self,
        rule: &Rule,
        path: &str,
        compile: &dyn Fn(&str) -> Result<cel::Checked<'s>, String>,
    ) {
        if rule.message_expression.is_empty() {
            return;
        }
        let why = match compile(&rule.message_expression) {
            Err(why) => format!("messageExpression compilation failed: {why}"),
            Ok(checked) if matches!(checked.type_, cel::Type::Text(_) | cel::Type::Dyn) => return,
            Ok(_) => "messageExpression must evaluate to a string".to_owned(),
        };
        let shown: Value = rule.message_expression.as_str().into();
        self.errors.push(FieldError::invalid(
            format!("{path}.messageExpression"),
            shown,
            why,
        ));
    }
}

/// The rules that an object breaks.
pub(super) fn check(
    path: &str,
    schema: &Schema,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut enforcer = Enforcer {
        errors: Vec::new(),
        budget: PER_OBJECT,
        is_over: false,
    };
    enforcer.node(path, schema, object, old);
    enforcer.errors
}

struct Enforcer {
    errors: Vec<FieldError>,
    budget: u64,
    /// No further rules are tried.
    is_over: bool,
}

impl Enforcer {
    fn node(&mut self, path: &str, schema: &Schema, value: &Value, old: Option<&Value>) {
        if value.is_null() || self.is_over {
            return;
        }
        for rule in &schema.rules {
            self.rule(path, schema, rule, value, old);
            if self.is_over {
                return;
            }
        }
        match value {
            Value::Object(members) => {
                let old = old.and_then(Value::as_object);
                for (name, value) in members {
                    let was = old.and_then(|old| old.get(name));
                    match (schema.properties.get(name), schema.additional_schema()) {
                        (Some(property), _) if path.is_empty() => {
                            self.node(name, property, value, was)
                        }
                        (Some(property), _) => {
                            self.node(&format!("{path}.{name}"), property, value, was)
                        }
                        (None, Some(values)) => {
                            self.node(&format!("{path}[{name}]"), values, value, was)
                        }
                        (None, None) => {}
                    }
                }
            }
            Value::Array(list) => {
                let Some(items) = schema.items.as_deref() else {
                    return;
                };
                let old = old
                    .and_then(Value::as_array)
                    .filter(|_| schema.list_type == ListType::Map);
                for (index, item) in list.iter().enumerate() {
                    let was = old.and_then(|old| correlated(schema, item, old));
                    self.node(&format!("{path}[{index}]"), items, item, was);
                }
            }
            _ => {}
        }
    }

    fn rule(
        &mut self,
        path: &str,
        schema: &Schema,
        rule: &Rule,
        value: &Value,
        old: Option<&Value>,
    ) {
        let place = if path.is_empty() { "<nil>" } else { path };
        let type_ = || -> Value { schema.type_.name().into() };
        let Some((expr, uses_old)) = rule.expression() else {
            let why = "rule compile error".to_owned();
            self.errors.push(FieldError::invalid(place, type_(), why));
            return;
        };
        let is_optional = rule.optional_old_self == Some(true);
        if uses_old && old.is_none() && !is_optional {
            return;
        }
        let variables = || bindings(schema, value, old, is_optional);
        let (result, cost) = cel::evaluate(expr, variables(), PER_RULE.min(self.budget));
        if cost > self.budget {
            let why = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.errors.push(FieldError::invalid(place, type_(), why));
            self.is_over = true;
            return;
        }
        self.budget -= cost;
        let shown = named(rule);
        match result {
            Ok(Val::Bool(true)) => {}
            Ok(_) => self.broken(path, (schema, rule), (value, old), variables()),
            Err(error @ EvalError::TooCostly) => {
                let why = format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                );
                self.errors.push(FieldError::invalid(place, type_(), why));
                self.is_over = true;
            }
            Err(error @ EvalError::NoOverload) => {
                let why = format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                );
                self.errors.push(FieldError::invalid(place, type_(), why));
            }
            Err(error) => {
                let why = format!("{error} evaluating rule: {shown}");
                self.errors.push(FieldError::invalid(place, type_(), why));
            }
        }
    }

    /// What is said of a rule that does not hold.
    fn broken<'a>(
        &mut self,
        path: &str,
        (schema, rule): (&'a Schema, &'a Rule),
        (value, old): (&'a Value, Option<&'a Value>),
        variables: cel::Bindings<'a>,
    ) {
        // What was there before and has not changed may stay; rules that compare with it have their own say.
        let uses_old = rule.expression().is_some_and(|(_, uses_old)| uses_old);
        if !uses_old && old == Some(value) {
            return;
        }
        let blamed = match (path, rule.field_path.as_str()) {
            ("", "") => "<nil>".to_owned(),
            (path, "") => path.to_owned(),
            ("", field) => plain(field).trim_start_matches('.').to_owned(),
            (path, field) => format!("{path}{}", plain(field)),
        };
        let detail = self
            .message(rule, variables)
            .unwrap_or_else(|| match rule.message.trim() {
                "" => format!("failed rule: {}", rule.rule.trim()),
                message => message.to_owned(),
            });
        let invalid = || match schema.type_ {
            Type::Object | Type::Array => FieldError::invalid_whole(blamed.clone(), detail.clone()),
            _ => FieldError::invalid(blamed.clone(), value.clone(), detail.clone()),
        };
        self.errors.push(match rule.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(blamed, detail),
            "FieldValueRequired" => FieldError::required(blamed, detail),
            "FieldValueDuplicate" => FieldError::duplicate(blamed, value.clone()),
            _ => invalid(),
        });
    }

    /// The message that an expression makes, if it makes a good one.
    fn message<'a>(&mut self, rule: &'a Rule, variables: cel::Bindings<'a>) -> Option<String> {
        let expr = rule.message_expression()?;
        let (result, cost) = cel::evaluate(expr, variables, PER_RULE.min(self.budget));
        self.budget = self.budget.saturating_sub(cost);
        let Ok(Val::Text(text)) = result else {
            return None;
        };
        let text = text.trim();
        let is_good = !text.is_empty() && !text.contains('\n') && text.len() <= MAX_MESSAGE;
        is_good.then(|| text.to_owned())
    }
}

fn bindings<'a>(
    schema: &'a Schema,
    value: &'a Value,
    old: Option<&'a Value>,
    optional: bool,
) -> cel::Bindings<'a> {
    let mut variables = vec![(Cow::Borrowed("self"), cel::of_json(value, Some(schema)))];
    let old = old.map(|old| cel::of_json(old, Some(schema)));
    if optional {
        variables.push((Cow::Borrowed("oldSelf"), Val::Optional(old.map(Box::new))));
    } else if let Some(old) = old {
        variables.push((Cow::Borrowed("oldSelf"), old));
    }
    variables
}

/// What a rule is called in messages.
fn named(rule: &Rule) -> &str {
    match rule.message.trim() {
        "" => rule.rule.trim(),
        message => message,
    }
}

/// `.a['b']` as it is written in paths of errors.
fn plain(field_path: &str) -> String {
    field_path.replace("['", ".").replace("']", "")
}

//! `ValidatingAdmissionPolicy` and its binding (`admissionregistration.k8s.io/v1`), and the conditions that webhooks have
//! as well: every expression is read and judged when it is written.

use std::collections::HashSet;

use serde_json::Value;

use super::webhook::rule;
use super::{FieldError, at, is_empty, same};
use crate::cel::WORDS;
use crate::meta;
use crate::policy::{Gives, Terms};
use crate::selector::LabelSelector;
use crate::validation::names::{
    dns_subdomain_problems, path_segment_problems, qualified_name_problems, rfc1035_label_problems,
};

const MAX_CONDITIONS: usize = 64;
const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION: usize = 5 * 1024;

type Errors = Vec<FieldError>;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    meta::str_at(value, &[field]).unwrap_or_default()
}

fn each<'a>(
    value: &'a Value,
    field: &str,
    path: &str,
) -> impl Iterator<Item = (&'a Value, String)> {
    let items = meta::items(value, &[field]).iter().enumerate();
    items.map(move |(index, item)| (item, format!("{path}.{field}[{index}]")))
}

/// `matchConditions`; those that are stored already stay as they are.
pub(super) fn conditions(
    owner: &Value,
    old: Option<&Value>,
    path: &str,
    has_params: bool,
    errors: &mut Errors,
) {
    let field = "matchConditions";
    if old.is_some_and(|old| same(at(old, &[field]), at(owner, &[field]))) {
        return;
    }
    let count = meta::items(owner, &[field]).len();
    if count > MAX_CONDITIONS {
        errors.push(FieldError::too_many(
            format!("{path}.{field}"),
            count,
            MAX_CONDITIONS,
        ));
    }
    let terms = Terms::new(has_params);
    let mut names = HashSet::new();
    for (condition, path) in each(owner, field, path) {
        expression(
            &terms,
            condition,
            "expression",
            &path,
            Gives::Bool,
            "",
            errors,
        );
        let name = text(condition, "name");
        let at = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        for problem in qualified_name_problems(name) {
            errors.push(FieldError::invalid(at.clone(), name.into(), problem));
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(at, name.into()));
        }
    }
}

fn expression(
    terms: &Terms,
    owner: &Value,
    field: &str,
    path: &str,
    gives: Gives,
    missing: &str,
    errors: &mut Errors,
) {
    let own = text(owner, field);
    let path = format!("{path}.{field}");
    if own.trim().is_empty() {
        errors.push(FieldError::required(path, missing));
    } else if let Err(why) = terms.compile(own, gives) {
        errors.push(FieldError::invalid(path, own.into(), why));
    }
}

/// A `ValidatingAdmissionPolicy`.
pub(super) fn policy(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = at(object, &["spec"]);
    let old_spec = old.map(|old| at(old, &["spec"]));
    if old_spec.is_some_and(|old| old == spec) {
        return;
    }
    one_of(spec, "failurePolicy", "spec", &["Fail", "Ignore"], errors);
    let has_params = !at(spec, &["paramKind"]).is_null();
    if has_params {
        param_kind(at(spec, &["paramKind"]), errors);
    }
    let (matched, path) = (at(spec, &["matchConstraints"]), "spec.matchConstraints");
    if matched.is_null() {
        errors.push(FieldError::required(path, ""));
    } else {
        match_resources(matched, path, errors);
        if is_empty(at(matched, &["resourceRules"])) {
            errors.push(FieldError::required(format!("{path}.resourceRules"), ""));
        }
    }
    conditions(spec, old_spec, "spec", has_params, errors);
    let mut terms = Terms::new(has_params);
    for (variable, path) in each(spec, "variables", "spec") {
        self::variable(&mut terms, variable, &path, errors);
    }
    if is_empty(at(spec, &["validations"])) && is_empty(at(spec, &["auditAnnotations"])) {
        for field in ["validations", "auditAnnotations"] {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required(format!("spec.{field}"), why));
        }
    }
    for (validation, path) in each(spec, "validations", "spec") {
        self::validation(&terms, validation, &path, errors);
    }
    annotations(&terms, meta::name(object), spec, errors);
}

fn param_kind(kind: &Value, errors: &mut Errors) {
    let api_version = text(kind, "apiVersion");
    let at = "spec.paramKind.apiVersion";
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if api_version.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else {
        if !group.is_empty() {
            let problems = dns_subdomain_problems(group);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(at, group.into(), problems.join(",")));
            }
        }
        let problems = rfc1035_label_problems(version);
        if version.is_empty() {
            errors.push(FieldError::invalid(
                at,
                api_version.into(),
                "version must be specified",
            ));
        } else if !problems.is_empty() {
            errors.push(FieldError::invalid(at, version.into(), problems.join(",")));
        }
    }
    let (own, at) = (text(kind, "kind"), "spec.paramKind.kind");
    let problems = rfc1035_label_problems(&own.to_lowercase());
    if own.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if !problems.is_empty() {
        let problems = problems.join(",");
        let why = format!("may have mixed case, but should otherwise match: {problems}");
        errors.push(FieldError::invalid(at, own.into(), why));
    }
}

fn match_resources(resources: &Value, path: &str, errors: &mut Errors) {
    one_of(
        resources,
        "matchPolicy",
        path,
        &["Equivalent", "Exact"],
        errors,
    );
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = at(resources, &[field]);
        let path = format!("{path}.{field}");
        if selector.is_null() {
            errors.push(FieldError::required(path, ""));
        } else {
            self::selector(selector, &path, errors);
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (one, path) in each(resources, field, path) {
            let mut names = HashSet::new();
            for (name, path) in each(one, "resourceNames", &path) {
                let own = name.as_str().unwrap_or_default();
                for problem in path_segment_problems(own) {
                    errors.push(FieldError::invalid(path.clone(), own.into(), problem));
                }
                if !names.insert(own) {
                    errors.push(FieldError::duplicate(path, own.into()));
                }
            }
            rule(one, &path, errors);
        }
    }
}

fn selector(selector: &Value, path: &str, errors: &mut Errors) {
    if let Err(error) = LabelSelector::from_object(Some(selector)) {
        errors.push(FieldError::invalid(
            path,
            selector.clone(),
            error.to_string(),
        ));
    }
}

/// A field that must be there and one of a few.
fn one_of(owner: &Value, field: &str, path: &str, supported: &[&str], errors: &mut Errors) {
    let value = at(owner, &[field]);
    let path = format!("{path}.{field}");
    if value.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if !value.as_str().is_some_and(|own| supported.contains(&own)) {
        errors.push(FieldError::not_supported(path, value.clone(), supported));
    }
}

fn variable(terms: &mut Terms, variable: &Value, path: &str, errors: &mut Errors) {
    let name = text(variable, "name");
    let at = format!("{path}.name");
    if name.trim().is_empty() {
        errors.push(FieldError::required(at, "name is not specified"));
    } else if !is_identifier(name) {
        errors.push(FieldError::invalid(
            at,
            name.into(),
            "must be a valid CEL identifier",
        ));
    }
    let own = text(variable, "expression");
    let at = format!("{path}.expression");
    if own.trim().is_empty() {
        errors.push(FieldError::required(at, "expression is not specified"));
    } else if let Err(why) = terms.define(name, own) {
        errors.push(FieldError::invalid(at, own.into(), why));
    }
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|one| one == '_' || one.is_ascii_alphabetic());
    begins && letters.all(|one| one == '_' || one.is_ascii_alphanumeric()) && !WORDS.contains(&name)
}

fn validation(terms: &Terms, validation: &Value, path: &str, errors: &mut Errors) {
    let missing = "expression is not specified";
    expression(
        terms,
        validation,
        "expression",
        path,
        Gives::Bool,
        missing,
        errors,
    );
    let (message, by_expression) = (
        text(validation, "message"),
        text(validation, "messageExpression"),
    );
    let must = "must be non-empty if specified";
    if !by_expression.is_empty() {
        if by_expression.trim().is_empty() {
            let at = format!("{path}.messageExpression");
            errors.push(FieldError::invalid(at, by_expression.into(), must));
        } else {
            expression(
                terms,
                validation,
                "messageExpression",
                path,
                Gives::Text,
                "",
                errors,
            );
        }
    }
    let mut mind = |why: &str| {
        errors.push(FieldError::invalid(
            format!("{path}.message"),
            message.into(),
            why,
        ));
    };
    if !message.is_empty() && message.trim().is_empty() {
        mind(must);
    } else if message.trim().contains(['\n', '\r']) {
        mind("must not contain line breaks");
    }
    let reason = at(validation, &["reason"]);
    let known = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    if !reason.is_null() && !reason.as_str().is_some_and(|own| known.contains(&own)) {
        let at = format!("{path}.reason");
        errors.push(FieldError::not_supported(at, reason.clone(), &known));
    }
}

fn annotations(terms: &Terms, name: &str, spec: &Value, errors: &mut Errors) {
    let all = at(spec, &["auditAnnotations"]);
    if meta::items(spec, &["auditAnnotations"]).len() > MAX_ANNOTATIONS {
        let why = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(
            "spec.auditAnnotations",
            all.clone(),
            why,
        ));
    }
    let mut keys = HashSet::new();
    for (annotation, path) in each(spec, "auditAnnotations", "spec") {
        let key = text(annotation, "key");
        let of_key = format!("{path}.key");
        if name.is_empty() {
            let why = "requires metadata.name be non-empty";
            errors.push(FieldError::invalid(of_key.clone(), key.into(), why));
        } else {
            let full = format!("{name}/{key}");
            for problem in qualified_name_problems(&full) {
                errors.push(FieldError::invalid(
                    of_key.clone(),
                    full.as_str().into(),
                    problem,
                ));
            }
        }
        if text(annotation, "valueExpression").trim().len() > MAX_ANNOTATION {
            let why = format!("must not exceed {MAX_ANNOTATION} bytes in length");
            errors.push(FieldError::required(format!("{path}.valueExpression"), why));
        } else {
            let missing = "valueExpression is not specified";
            let gives = Gives::TextOrNull;
            expression(
                terms,
                annotation,
                "valueExpression",
                &path,
                gives,
                missing,
                errors,
            );
        }
        if !keys.insert(key) {
            errors.push(FieldError::duplicate(of_key, key.into()));
        }
    }
}

/// A `ValidatingAdmissionPolicyBinding`.
pub(super) fn binding(object: &Value, errors: &mut Errors) {
    let spec = at(object, &["spec"]);
    let name = text(spec, "policyName");
    if name.is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    for problem in dns_subdomain_problems(name)
        .into_iter()
        .filter(|_| !name.is_empty())
    {
        errors.push(FieldError::invalid("spec.policyName", name.into(), problem));
    }
    param_ref(at(spec, &["paramRef"]), errors);
    let matched = at(spec, &["matchResources"]);
    if !matched.is_null() {
        match_resources(matched, "spec.matchResources", errors);
    }
    actions(spec, errors);
}

fn param_ref(param: &Value, errors: &mut Errors) {
    if param.is_null() {
        return;
    }
    let path = "spec.paramRef";
    let (name, own) = (text(param, "name"), at(param, &["selector"]));
    for problem in path_segment_problems(name)
        .into_iter()
        .filter(|_| !name.is_empty())
    {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            name.into(),
            problem,
        ));
    }
    if !own.is_null() {
        selector(own, &format!("{path}.selector"), errors);
    }
    match (name.is_empty(), own.is_null()) {
        (false, false) => {
            for field in ["name", "selector"] {
                let why = "name and selector are mutually exclusive";
                errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
            }
        }
        (true, true) => {
            errors.push(FieldError::required(
                path,
                "one of name or selector must be specified",
            ));
        }
        _ => {}
    }
    one_of(
        param,
        "parameterNotFoundAction",
        path,
        &["Deny", "Allow"],
        errors,
    );
}

fn actions(spec: &Value, errors: &mut Errors) {
    let path = "spec.validationActions";
    let known = ["Audit", "Deny", "Warn"];
    let mut seen = HashSet::new();
    for (action, path) in each(spec, "validationActions", "spec") {
        let own = action.as_str().unwrap_or_default();
        if !known.contains(&own) {
            errors.push(FieldError::not_supported(
                path.clone(),
                action.clone(),
                &known,
            ));
        }
        if !seen.insert(own) {
            errors.push(FieldError::duplicate(path, action.clone()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        let all = at(spec, &["validationActions"]);
        errors.push(FieldError::invalid(path, all.clone(), why));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(
            path,
            "at least one validation action is required",
        ));
    }
}

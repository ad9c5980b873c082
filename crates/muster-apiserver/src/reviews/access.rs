//! The access reviews: may a user do something, may the caller, and what may the caller do at all.
//!
//! Refuses to know: how the decision is made.

use muster_machinery::{
    meta::{at, items, str_at},
    selector::FieldSelector,
    status::Status,
    validation::FieldError,
};
use serde_json::{Value, json};

use super::{AUTHORIZATION, ReviewDeps};
use crate::{
    authz::{Decision, UserRules},
    request::{RequestInfo, ResourceRequest, UserInfo, Verb},
};

const RESOURCE: &str = "resourceAttributes";
const NON_RESOURCE: &str = "nonResourceAttributes";

pub(super) fn of_self(
    body: &Value,
    user: &UserInfo,
    deps: &ReviewDeps<'_>,
) -> Result<Value, Box<Status>> {
    let asked = question(body, Vec::new())?;
    Ok(answer(&deps.authorizer.authorize(user, &asked)))
}

pub(super) fn of_subject(body: &Value, deps: &ReviewDeps<'_>) -> Result<Value, Box<Status>> {
    let (user, errors) = subject(body);
    let asked = question(body, errors)?;
    Ok(answer(&deps.authorizer.authorize(&user, &asked)))
}

pub(super) fn of_subject_in(
    namespace: Option<&str>,
    body: &Value,
    deps: &ReviewDeps<'_>,
) -> Result<Value, Box<Status>> {
    let (user, mut errors) = subject(body);
    if let Some(path) = given(body, NON_RESOURCE) {
        let why = "disallowed on this kind of request";
        let field = format!("spec.{NON_RESOURCE}");
        errors.push(FieldError::invalid(field, shown_path(path), why));
    }
    let wanted = given(body, RESOURCE).and_then(|asked| str_at(asked, &["namespace"]));
    let wanted = wanted.unwrap_or_default();
    if given(body, RESOURCE).is_some() && wanted != namespace.unwrap_or_default() {
        let field = format!("spec.{RESOURCE}.namespace");
        let why = "must match metadata.namespace";
        errors.push(FieldError::invalid(field, wanted.into(), why));
    }
    let asked = question(body, errors)?;
    Ok(answer(&deps.authorizer.authorize(&user, &asked)))
}

pub(super) fn rules_of_self(
    body: &Value,
    user: &UserInfo,
    deps: &ReviewDeps<'_>,
) -> Result<Value, Box<Status>> {
    let namespace = str_at(body, &["spec", "namespace"]).filter(|namespace| !namespace.is_empty());
    let Some(namespace) = namespace else {
        return Err(Box::new(Status::bad_request("no namespace on request")));
    };
    let UserRules { rules, errors } = deps.authorizer.rules_for(user, Some(namespace));
    let (paths, resources): (Vec<_>, Vec<_>) = rules
        .into_iter()
        .partition(|rule| !rule.non_resource_urls.is_empty());
    let mut status = json!({
        "resourceRules": resources,
        "nonResourceRules": paths,
        "incomplete": !errors.is_empty(),
    });
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn answer(decision: &Decision) -> Value {
    match decision {
        Decision::Allow => json!({"allowed": true}),
        Decision::Deny { reason } if reason.is_empty() => json!({"allowed": false}),
        Decision::Deny { reason } => json!({"allowed": false, "reason": reason}),
    }
}

fn given<'a>(body: &'a Value, attributes: &str) -> Option<&'a Value> {
    at(body, &["spec", attributes]).filter(|attributes| !attributes.is_null())
}

/// The user that the review is about.
fn subject(body: &Value) -> (UserInfo, Vec<FieldError>) {
    let strings = |values: &[Value]| -> Vec<String> {
        values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let text = |field| {
        str_at(body, &["spec", field])
            .unwrap_or_default()
            .to_owned()
    };
    let extra = at(body, &["spec", "extra"]).and_then(Value::as_object);
    let user = UserInfo {
        name: text("user"),
        uid: text("uid"),
        groups: strings(items(body, &["spec", "groups"])),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, values)| {
                let values = values.as_array().map_or(&[][..], Vec::as_slice);
                (key.to_lowercase(), strings(values))
            })
            .collect(),
    };
    let mut errors = Vec::new();
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", "".into(), why));
    }
    (user, errors)
}

/// What the review asks about; `errors` are those found before.
fn question(body: &Value, mut errors: Vec<FieldError>) -> Result<RequestInfo, Box<Status>> {
    let asked = match (given(body, RESOURCE), given(body, NON_RESOURCE)) {
        (Some(resource), None) => {
            check_selectors(resource, &mut errors);
            Some(about_resource(resource))
        }
        (None, Some(path)) => Some(about_path(path)),
        (None, None) => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(
                format!("spec.{RESOURCE}"),
                Value::Null,
                why,
            ));
            None
        }
        (Some(_), Some(path)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(
                format!("spec.{NON_RESOURCE}"),
                shown_path(path),
                why,
            ));
            None
        }
    };
    match asked {
        Some(asked) if errors.is_empty() => Ok(asked),
        // Upstream names no kind here.
        _ => Err(Box::new(Status::invalid(AUTHORIZATION, "", "", &errors))),
    }
}

/// A path and verb as upstream's errors show them.
fn shown_path(attributes: &Value) -> Value {
    let text = |field| str_at(attributes, &[field]).unwrap_or_default();
    json!({"Path": text("path"), "Verb": text("verb")})
}

/// A selector is given as a text or as requirements.
fn check_selectors(resource: &Value, errors: &mut Vec<FieldError>) {
    for selector in ["fieldSelector", "labelSelector"] {
        let Some(given) = at(resource, &[selector]).filter(|given| !given.is_null()) else {
            continue;
        };
        let field = format!("spec.{RESOURCE}.{selector}");
        let raw = str_at(given, &["rawSelector"]).unwrap_or_default();
        let requirements = items(given, &["requirements"]);
        if raw.is_empty() && requirements.is_empty() {
            let why = format!("when {field} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(format!("{field}.requirements"), why));
        } else if !raw.is_empty() && !requirements.is_empty() {
            let why = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(
                format!("{field}.rawSelector"),
                raw.into(),
                why,
            ));
        }
    }
}

fn about_path(attributes: &Value) -> RequestInfo {
    let text = |field| str_at(attributes, &[field]).unwrap_or_default();
    RequestInfo {
        verb: Verb::from(text("verb")),
        path: text("path").to_owned(),
        resource: None,
    }
}

fn about_resource(attributes: &Value) -> RequestInfo {
    let text = |field| str_at(attributes, &[field]).unwrap_or_default();
    let some = |field| Some(text(field).to_owned()).filter(|text| !text.is_empty());
    let resource = ResourceRequest {
        group: text("group").to_owned(),
        version: text("version").to_owned(),
        resource: text("resource").to_owned(),
        subresource: some("subresource"),
        namespace: some("namespace"),
        name: some("name"),
        pinned_fields: pinned_fields(attributes),
    };
    RequestInfo {
        verb: Verb::from(text("verb")),
        path: String::new(),
        resource: Some(resource),
    }
}

/// The fields that `fieldSelector` pins, from its text or its parsed requirements.
fn pinned_fields(attributes: &Value) -> Vec<(String, String)> {
    let raw = str_at(attributes, &["fieldSelector", "rawSelector"]).unwrap_or_default();
    if !raw.is_empty() {
        let selector = FieldSelector::parse(raw).unwrap_or_default();
        let equal = selector.requirements().iter().filter(|term| !term.negated);
        return equal
            .map(|term| (term.field.clone(), term.value.clone()))
            .collect();
    }
    let pin = |requirement: &Value| match items(requirement, &["values"]) {
        [one] if str_at(requirement, &["operator"]) == Some("In") => {
            let key = str_at(requirement, &["key"])?;
            Some((key.to_owned(), one.as_str()?.to_owned()))
        }
        _ => None,
    };
    let requirements = items(attributes, &["fieldSelector", "requirements"]);
    requirements.iter().filter_map(pin).collect()
}

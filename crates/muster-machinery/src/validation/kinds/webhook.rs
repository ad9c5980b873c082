//! Configurations of admission webhooks (`admissionregistration.k8s.io/v1`): a mistake in one could lock a whole
//! cluster up, so all of upstream's rules are here.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::admission_policy::conditions;
use super::{FieldError, at};
use crate::meta;
use crate::selector::LabelSelector;
use crate::validation::names::{dns_subdomain_problems, rfc1035_label_problems};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const FORM: &str = "; desired format: https://host[/path]";

pub(super) fn configuration(
    object: &Value,
    old: Option<&Value>,
    mutating: bool,
    errors: &mut Vec<FieldError>,
) {
    let mut names = HashSet::new();
    for (index, hook) in meta::items(object, &["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{index}]");
        webhook(hook, &path, mutating, errors);
        let name = meta::str_at(hook, &["name"]).unwrap_or("");
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name.into()));
        }
        let old = old.and_then(|old| meta::items(old, &["webhooks"]).get(index));
        conditions(hook, old, &path, false, errors);
    }
}

fn webhook(hook: &Value, path: &str, mutating: bool, errors: &mut Vec<FieldError>) {
    fully_qualified(hook, &format!("{path}.name"), errors);
    for (index, rule) in meta::items(hook, &["rules"]).iter().enumerate() {
        self::rule(rule, &format!("{path}.rules[{index}]"), errors);
    }
    let mut one_of = |field: &str, supported: &[&str]| {
        let value = at(hook, &[field]);
        if !value.is_null() && !value.as_str().is_some_and(|text| supported.contains(&text)) {
            let field = format!("{path}.{field}");
            errors.push(FieldError::not_supported(field, value.clone(), supported));
        }
    };
    one_of("failurePolicy", &["Fail", "Ignore"]);
    one_of("matchPolicy", &["Equivalent", "Exact"]);
    one_of("sideEffects", &["None", "NoneOnDryRun"]);
    if mutating {
        one_of("reinvocationPolicy", &["IfNeeded", "Never"]);
    }
    if at(hook, &["sideEffects"]).is_null() {
        errors.push(FieldError::required(
            format!("{path}.sideEffects"),
            "must specify one of None, NoneOnDryRun",
        ));
    }
    let timeout = at(hook, &["timeoutSeconds"]);
    if !timeout.is_null()
        && !timeout
            .as_i64()
            .is_some_and(|time| (1..=30).contains(&time))
    {
        errors.push(FieldError::invalid(
            format!("{path}.timeoutSeconds"),
            timeout.clone(),
            "the timeout value must be between 1 and 30 seconds",
        ));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = at(hook, &[field]);
        if let Err(error) = LabelSelector::from_object(Some(selector)) {
            let field = format!("{path}.{field}");
            errors.push(FieldError::invalid(
                field,
                selector.clone(),
                error.to_string(),
            ));
        }
    }
    client(
        at(hook, &["clientConfig"]),
        &format!("{path}.clientConfig"),
        errors,
    );
    versions(hook, &format!("{path}.admissionReviewVersions"), errors);
}

fn fully_qualified(hook: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = meta::str_at(hook, &["name"]).unwrap_or("");
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let problems = dns_subdomain_problems(name);
    if !problems.is_empty() {
        errors.push(FieldError::invalid(path, name.into(), problems.join(",")));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name.into(), detail));
    }
}

pub(super) fn rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (field, what) in [
        ("operations", "operations"),
        ("apiGroups", "API groups"),
        ("apiVersions", "API versions"),
    ] {
        let items = meta::items(rule, &[field]);
        let at = format!("{path}.{field}");
        if items.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if items.len() > 1 && items.iter().any(|item| item == "*") {
            let detail = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(at, items.into(), detail));
        }
    }
    for (index, operation) in meta::items(rule, &["operations"]).iter().enumerate() {
        if !operation
            .as_str()
            .is_some_and(|one| OPERATIONS.contains(&one))
        {
            let at = format!("{path}.operations[{index}]");
            errors.push(FieldError::not_supported(
                at,
                operation.clone(),
                &OPERATIONS,
            ));
        }
    }
    for (index, version) in meta::items(rule, &["apiVersions"]).iter().enumerate() {
        if version == "" {
            errors.push(FieldError::required(
                format!("{path}.apiVersions[{index}]"),
                "",
            ));
        }
    }
    resources(
        meta::items(rule, &["resources"]),
        &format!("{path}.resources"),
        errors,
    );
    let scope = at(rule, &["scope"]);
    if !scope.is_null() && !scope.as_str().is_some_and(|scope| SCOPES.contains(&scope)) {
        let at = format!("{path}.scope");
        errors.push(FieldError::not_supported(at, scope.clone(), &SCOPES));
    }
}

fn resources(items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if items.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_subs, mut all_of_sub) = (HashSet::new(), HashSet::new());
    for (index, item) in items.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let text = item.as_str().unwrap_or("");
        if text.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            continue;
        };
        if all_subs.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {text}");
            errors.push(FieldError::invalid(at.clone(), item.clone(), detail));
        }
        if all_of_sub.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {text}");
            errors.push(FieldError::invalid(at, item.clone(), detail));
        }
        if sub == "*" {
            all_subs.insert(resource);
        }
        if resource == "*" {
            all_of_sub.insert(sub);
        }
    }
    let texts = || items.iter().filter_map(Value::as_str);
    if items.len() > 1 && texts().any(|text| text == "*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, items.into(), detail));
    }
    if texts().any(|text| text == "*") && texts().any(|text| text != "*" && !text.contains('/')) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, items.into(), detail));
    }
}

fn client(config: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (url, service) = (at(config, &["url"]), at(config, &["service"]));
    match (url.as_str(), service.is_object()) {
        (Some(url), false) => self::url(url, &format!("{path}.url"), errors),
        (None, true) => self::service(service, &format!("{path}.service"), errors),
        _ => errors.push(FieldError::required(
            path,
            "exactly one of url or service is required",
        )),
    }
    let bundle = at(config, &["caBundle"]);
    if !bundle.is_null() && !bundle.as_str().is_some_and(is_pem) {
        errors.push(FieldError::invalid(
            format!("{path}.caBundle"),
            "<not shown>".into(),
            "unable to load root certificates: unable to parse bytes as PEM block",
        ));
    }
}

/// Whether this is PEM in base64, as far as its beginning tells.
fn is_pem(bundle: &str) -> bool {
    bundle.is_empty()
        || STANDARD.decode(bundle).is_ok_and(|bytes| {
            String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----")
        })
}

fn url(url: &str, path: &str, errors: &mut Vec<FieldError>) {
    let mut invalid = |value: &str, detail: String| {
        errors.push(FieldError::invalid(path, value.into(), detail));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        invalid(
            scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        );
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or("");
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || scheme.is_empty() {
        invalid(host, format!("host must be specified{FORM}"));
    }
    if !user.is_empty() {
        invalid(
            user,
            "user information is not permitted in the URL".to_owned(),
        );
    }
    if !fragment.is_empty() {
        invalid(
            fragment,
            "fragments are not permitted in the URL".to_owned(),
        );
    }
    if !query.is_empty() {
        invalid(
            query,
            "query parameters are not permitted in the URL".to_owned(),
        );
    }
}

fn service(service: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["name", "namespace"] {
        if meta::str_at(service, &[field]).unwrap_or("").is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
    let port = at(service, &["port"]);
    if !port.is_null()
        && !port
            .as_i64()
            .is_some_and(|port| (1..=65535).contains(&port))
    {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(
            format!("{path}.port"),
            port.clone(),
            detail,
        ));
    }
    let url_path = meta::str_at(service, &["path"]).unwrap_or("");
    if matches!(url_path, "" | "/") {
        return;
    }
    let field = format!("{path}.path");
    let mut invalid = |detail: String| {
        errors.push(FieldError::invalid(field.clone(), url_path.into(), detail));
    };
    if url_path == "//" {
        return invalid("segment[0] may not be empty".to_owned());
    }
    if !url_path.starts_with('/') {
        invalid("must start with a '/'".to_owned());
    }
    let steps = url_path.strip_prefix('/').unwrap_or(url_path);
    let steps = steps.strip_suffix('/').unwrap_or(steps).split('/');
    for (index, step) in steps.enumerate() {
        if step.is_empty() {
            invalid(format!("segment[{index}] may not be empty"));
            continue;
        }
        for problem in dns_subdomain_problems(step) {
            invalid(format!("segment[{index}]: {problem}"));
        }
    }
}

fn versions(hook: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let versions = meta::items(hook, &["admissionReviewVersions"]);
    if versions.is_empty() {
        let detail = "must specify one of v1, v1beta1";
        return errors.push(FieldError::required(path, detail));
    }
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let text = version.as_str().unwrap_or("");
        let at = format!("{path}[{index}]");
        if !seen.insert(text) {
            errors.push(FieldError::invalid(
                at,
                version.clone(),
                "duplicate version",
            ));
            continue;
        }
        for problem in rfc1035_label_problems(text) {
            errors.push(FieldError::invalid(at.clone(), version.clone(), problem));
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, versions.into(), detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook() -> Value {
        json!({
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:8443/mutate"},
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            }],
            "namespaceSelector": {}, "objectSelector": {},
        })
    }

    fn told(hooks: Value) -> Vec<String> {
        let mut errors = Vec::new();
        configuration(&json!({"webhooks": hooks}), None, true, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_usual_configuration_is_accepted() {
        let mut service = hook();
        service["name"] = "b.example.com".into();
        service["clientConfig"] =
            json!({"service": {"name": "s", "namespace": "n", "path": "/a/b/", "port": 443}});
        assert_eq!(told(json!([hook(), service])), [""; 0]);
    }

    #[test]
    fn each_mistake_is_named() {
        for (field, value, expected) in [
            (
                "name",
                json!("short"),
                "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
            ),
            (
                "sideEffects",
                Value::Null,
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                "sideEffects",
                json!("Some"),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                "timeoutSeconds",
                json!(31),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                "admissionReviewVersions",
                json!(["v2"]),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ),
            (
                "clientConfig",
                json!({}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                "clientConfig",
                json!({"url": "http://a/"}),
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                "clientConfig",
                json!({"url": "https://a/?b=c"}),
                "webhooks[0].clientConfig.url: Invalid value: \"b=c\": query parameters are not permitted in the URL",
            ),
            (
                "clientConfig",
                json!({"service": {"name": "s", "namespace": "n", "path": "a"}}),
                "webhooks[0].clientConfig.service.path: Invalid value: \"a\": must start with a '/'",
            ),
            (
                "rules",
                json!([{"operations": ["*", "CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]),
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            ),
            (
                "rules",
                json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "pods"]}]),
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
            ),
            (
                "matchConditions",
                json!([{"name": "c", "expression": "true"}, {"name": "c", "expression": "1"}]),
                "webhooks[0].matchConditions[1].expression: Invalid value: \"1\": must evaluate to bool but got int | webhooks[0].matchConditions[1].name: Duplicate value: \"c\"",
            ),
        ] {
            let mut hook = hook();
            hook[field] = value;
            assert_eq!(told(json!([hook])).join(" | "), expected, "{field}");
        }
        assert_eq!(
            told(json!([hook(), hook()])),
            ["webhooks[1].name: Duplicate value: \"a.example.com\""]
        );
    }
}

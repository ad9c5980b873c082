//! Whether a CustomResourceDefinition may say what it says, and what its strategy makes of a new or changed one.
//!
//! Upstream: `ValidateCustomResourceDefinition` and the strategy of customresourcedefinitions. What all versions say alike is
//! spoken of as upstream does: once, at the top level of the spec.

mod default_values;
mod openapi;
mod paths;
mod structural;

use serde_json::{Map, Value, json};

use self::paths::{column, selectable_fields, subresources};
use super::approval::{APPROVED_ANNOTATION, Approval, approval_of, is_protected_group};
use super::schema::Schema;
use super::{format, rules};
use crate::meta::{self, items, str_at};
use crate::validation::names::{dns_subdomain_problems, rfc1035_label_problems};
use crate::validation::{
    FieldError, validate_metadata, validate_metadata_update, without_rules_of_built_in_kinds,
};

/// Gives a new definition its first status.
pub fn prepare_definition(object: &mut Value) {
    let stored: Vec<&str> = storage_version(object).into_iter().collect();
    let status = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": stored});
    object["status"] = status;
}

/// Adds the storage version of a changed definition to those in which objects may be stored.
pub fn prepare_definition_update(object: &mut Value) {
    let Some(storage) = storage_version(object).map(str::to_owned) else {
        return;
    };
    if items(object, &["status", "storedVersions"])
        .iter()
        .any(|stored| *stored == *storage)
    {
        return;
    }
    if let Some(status) = meta::map_mut(object, "status") {
        let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
        if let Some(list) = stored.as_array_mut() {
            list.push(storage.into());
        }
    }
}

fn storage_version(object: &Value) -> Option<&str> {
    let versions = items(object, &["spec", "versions"]);
    let storage = versions
        .iter()
        .find(|version| version.get("storage") == Some(&Value::Bool(true)))?;
    str_at(storage, &["name"])
}

/// Every mistake in a new definition.
#[must_use]
pub fn validate_definition(
    resource: &crate::resources::Resource,
    object: &Value,
) -> Vec<FieldError> {
    let mut errors = without_rules_of_built_in_kinds(validate_metadata(resource, object));
    let text = |path: &[&str]| str_at(object, path).unwrap_or_default();
    let required = format!(
        "{}.{}",
        text(&["spec", "names", "plural"]),
        text(&["spec", "group"])
    );
    if meta::name(object) != required && !meta::name(object).is_empty() {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            meta::name(object).into(),
            why,
        ));
    }
    check_object(object, &mut errors);
    errors.extend(check_approval(object, None));
    if meta::at(object, &["spec", "preserveUnknownFields"]) == Some(&Value::Bool(true)) {
        errors.push(preserving());
    }
    errors
}

/// Every mistake in a changed definition.
#[must_use]
pub fn validate_definition_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = without_rules_of_built_in_kinds(validate_metadata_update(object, old));
    check_object(object, &mut errors);
    let is_established = super::Definition::parse(old).is("Established");
    let mut fixed: Vec<&[&str]> = vec![&["spec", "group"], &["spec", "names", "plural"]];
    if is_established {
        fixed.extend([&["spec", "scope"] as &[&str], &["spec", "names", "kind"]]);
    }
    for path in fixed {
        let new = meta::at(object, path).unwrap_or(&Value::Null);
        if new != meta::at(old, path).unwrap_or(&Value::Null) {
            errors.push(FieldError::immutable(path.join("."), new.clone()));
        }
    }
    errors.extend(check_approval(object, Some(old)));
    let preserves = |object: &Value| {
        meta::at(object, &["spec", "preserveUnknownFields"]) == Some(&Value::Bool(true))
    };
    if preserves(object) && !preserves(old) {
        errors.push(preserving());
    }
    errors
}

/// Every mistake in a changed status.
#[must_use]
pub fn validate_definition_status(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = without_rules_of_built_in_kinds(validate_metadata_update(object, old));
    if let Some(accepted) = meta::at(object, &["status", "acceptedNames"]) {
        check_names(accepted, "status.acceptedNames", &mut errors);
    }
    errors
}

/// What to warn of in a new or changed definition, as far as it is new.
#[must_use]
pub fn definition_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let known = old.map(unknown_formats).unwrap_or_default();
    let mut warnings: Vec<String> = unknown_formats(object)
        .into_iter()
        .filter(|format| !known.contains(format))
        .map(|format| format!("unrecognized format {}", crate::go_quote::quoted(&format)))
        .collect();
    let webhook =
        |object: &Value| str_at(object, &["spec", "conversion", "strategy"]) == Some("Webhook");
    if webhook(object) && !old.is_some_and(webhook) {
        warnings.push("spec.conversion.strategy: this server calls no conversion webhooks; objects are served in the version in which they were stored and in no other".to_owned());
    }
    warnings
}

fn unknown_formats(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in items(object, &["spec", "versions"]) {
        if let Some(schema) = meta::at(version, &["schema", "openAPIV3Schema"]) {
            openapi::each_schema(schema, &mut |schema| {
                let text =
                    |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
                let format = text("format");
                if !format.is_empty() && !format::is_known(text("type"), format) {
                    found.push(format.to_owned());
                }
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

fn preserving() -> FieldError {
    let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    FieldError::invalid("spec.preserveUnknownFields", true.into(), why)
}

fn check_approval(object: &Value, old: Option<&Value>) -> Option<FieldError> {
    let group = str_at(object, &["spec", "group"]).unwrap_or_default();
    let approval = approval_of(object);
    let same = |old: &Value| {
        std::mem::discriminant(&approval_of(old)) == std::mem::discriminant(&approval)
    };
    if !is_protected_group(group) || old.is_some_and(same) {
        return None;
    }
    let path = format!("metadata.annotations[{APPROVED_ANNOTATION}]");
    match approval {
        Approval::Missing(why) => Some(FieldError::required(path, why)),
        Approval::Invalid(why) => {
            let value = meta::annotation(object, APPROVED_ANNOTATION).unwrap_or_default();
            Some(FieldError::invalid(path, value.into(), why))
        }
        Approval::Approved(_) | Approval::Bypassed(_) => None,
    }
}

fn check_object(object: &Value, errors: &mut Vec<FieldError>) {
    let empty = Map::new();
    let spec = meta::at(object, &["spec"])
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    check_spec(spec, errors);
    if let Some(accepted) = meta::at(object, &["status", "acceptedNames"]) {
        check_names(accepted, "status.acceptedNames", errors);
    }
    check_stored_versions(object, errors);
}

fn check_spec(spec: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let text = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
    check_group(text("group"), errors);
    match text("scope") {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            other.into(),
            &["Cluster", "Namespaced"],
        )),
    }
    let versions = spec
        .get("versions")
        .and_then(Value::as_array)
        .map_or(&[] as &[Value], Vec::as_slice);
    check_versions(versions, errors);
    let names = spec.get("names").unwrap_or(&Value::Null);
    for name in ["plural", "singular", "kind", "listKind"] {
        if str_at(names, &[name]).unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("spec.names.{name}"), ""));
        }
    }
    check_names(names, "spec.names", errors);
    check_conversion(spec.get("conversion"), errors);
}

fn check_group(group: &str, errors: &mut Vec<FieldError>) {
    let problems = dns_subdomain_problems(group);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !problems.is_empty() {
        errors.push(FieldError::invalid(
            "spec.group",
            group.into(),
            problems.join(","),
        ));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", group.into(), why));
    }
}

/// The value that all versions share at a path, if they do.
fn shared<'a>(versions: &'a [Value], path: &[&str]) -> Option<&'a Value> {
    let first = meta::at(versions.first()?, path).filter(|value| !value.is_null())?;
    versions
        .iter()
        .all(|version| meta::at(version, path) == Some(first))
        .then_some(first)
}

fn check_versions(versions: &[Value], errors: &mut Vec<FieldError>) {
    for (index, version) in versions.iter().enumerate() {
        if meta::at(version, &["schema", "openAPIV3Schema"]).is_none_or(Value::is_null) {
            let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
            errors.push(FieldError::required(path, ""));
        }
    }
    let schema = shared(versions, &["schema", "openAPIV3Schema"]);
    let subs = shared(versions, &["subresources"]);
    let columns = shared(versions, &["additionalPrinterColumns"]);
    let selectable = shared(versions, &["selectableFields"]);
    let mut seen = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = str_at(version, &["name"]).unwrap_or_default();
        seen.push(name);
        let problems = rfc1035_label_problems(name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name.into(),
                problems.join(","),
            ));
        }
        check_deprecation(version, &path, errors);
        let own = meta::at(version, &["schema", "openAPIV3Schema"]);
        let has_status = has_status(version.get("subresources"));
        if let (Some(own), None) = (own, schema) {
            check_schema(
                own,
                &format!("{path}.schema.openAPIV3Schema"),
                has_status,
                errors,
            );
        }
        if let (Some(own), None) = (version.get("subresources"), subs) {
            subresources(own, &format!("{path}.subresources"), errors);
        }
        if columns.is_none() {
            check_columns(version, &path, errors);
        }
        if selectable.is_none() {
            let fields = items(version, &["selectableFields"]);
            selectable_fields(fields, own, &format!("{path}.selectableFields"), errors);
        }
    }
    if let Some(schema) = schema {
        let has_status = versions
            .iter()
            .any(|version| has_status(version.get("subresources")));
        check_schema(
            schema,
            "spec.validation.openAPIV3Schema",
            has_status,
            errors,
        );
    }
    if let Some(subs) = subs {
        subresources(subs, "spec.subresources", errors);
    }
    if let (Some(_), Some(first)) = (columns, versions.first()) {
        check_columns(first, "spec", errors);
    }
    if let (Some(_), Some(first)) = (selectable, versions.first()) {
        let fields = items(first, &["selectableFields"]);
        let schema = meta::at(first, &["schema", "openAPIV3Schema"]);
        selectable_fields(fields, schema, "spec.selectableFields", errors);
    }
    let all = || Value::Array(versions.iter().map(summary).collect());
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != count {
        errors.push(FieldError::invalid(
            "spec.versions",
            all(),
            "must contain unique version names",
        ));
    }
    let storing = versions
        .iter()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)));
    if storing.count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", all(), why));
    }
}

/// A version without its schema, which would make messages endless.
fn summary(version: &Value) -> Value {
    let part = |name: &str| version.get(name).cloned().unwrap_or_default();
    json!({"name": part("name"), "served": part("served"), "storage": part("storage")})
}

fn has_status(subresources: Option<&Value>) -> bool {
    let status = subresources.and_then(|subresources| subresources.get("status"));
    status.is_some_and(|status| !status.is_null())
}

fn check_columns(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, own) in items(version, &["additionalPrinterColumns"])
        .iter()
        .enumerate()
    {
        column(
            own,
            &format!("{path}.additionalPrinterColumns[{index}]"),
            errors,
        );
    }
}

fn check_deprecation(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = str_at(version, &["deprecationWarning"]) else {
        return;
    };
    let mut refuse = |why: String| {
        errors.push(FieldError::invalid(
            format!("{path}.deprecationWarning"),
            warning.into(),
            why,
        ));
    };
    if version.get("deprecated") != Some(&Value::Bool(true)) {
        return refuse("can only be set for deprecated versions".to_owned());
    }
    if warning.len() > 256 {
        refuse("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        refuse("must not be an empty string".to_owned());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        refuse(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// Judges a schema: its words, its structure, its defaults, its rules.
fn check_schema(schema: &Value, path: &str, has_status: bool, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    let parsed = match Schema::parse(schema) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(FieldError::invalid(path, "".into(), error.to_string()));
            return;
        }
    };
    openapi::check_root(schema, path, has_status, errors);
    let structural = structural::check(schema, path);
    let is_structural = structural.is_empty();
    errors.extend(structural);
    if is_structural {
        errors.extend(default_values::check(path, &parsed));
    }
    openapi::check(schema, path, errors);
    if errors.len() == before {
        errors.extend(rules::validate(path, &parsed));
    }
}

fn check_names(names: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |name: &str| str_at(names, &[name]).unwrap_or_default();
    for name in ["plural", "singular", "kind", "listKind"] {
        let own = text(name);
        let mixed = matches!(name, "kind" | "listKind");
        let problems = rfc1035_label_problems(&if mixed {
            own.to_lowercase()
        } else {
            own.to_owned()
        });
        if own.is_empty() || problems.is_empty() {
            continue;
        }
        let hint = if mixed {
            "may have mixed case, but should otherwise match: "
        } else {
            ""
        };
        let why = format!("{hint}{}", problems.join(","));
        errors.push(FieldError::invalid(
            format!("{path}.{name}"),
            own.into(),
            why,
        ));
    }
    let lists = |list: &str, errors: &mut Vec<FieldError>| {
        for (index, name) in items(names, &[list]).iter().enumerate() {
            let problems = rfc1035_label_problems(name.as_str().unwrap_or_default());
            if !problems.is_empty() {
                let path = format!("{path}.{list}[{index}]");
                errors.push(FieldError::invalid(path, name.clone(), problems.join(",")));
            }
        }
    };
    lists("shortNames", errors);
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(
            format!("{path}.listKind"),
            text("listKind").into(),
            why,
        ));
    }
    lists("categories", errors);
}

fn check_stored_versions(object: &Value, errors: &mut Vec<FieldError>) {
    let path = "status.storedVersions";
    let stored = items(object, &["status", "storedVersions"]);
    let list = || Value::Array(stored.to_vec());
    if stored.is_empty() {
        errors.push(FieldError::invalid(
            path,
            list(),
            "must have at least one stored version",
        ));
        return;
    }
    if let Some(storage) = storage_version(object)
        && !stored.iter().any(|own| own == storage)
    {
        errors.push(FieldError::invalid(
            path,
            list(),
            format!("must have the storage version {storage}"),
        ));
    }
    let versions = items(object, &["spec", "versions"]);
    for (index, own) in stored.iter().enumerate() {
        if !versions
            .iter()
            .any(|version| version.get("name") == Some(own))
        {
            let own = own.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {own} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {own} and removes {own} from status.storedVersions"
            );
            errors.push(FieldError::invalid(
                format!("{path}[{index}]"),
                own.into(),
                why,
            ));
        }
    }
}

fn check_conversion(conversion: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(conversion) = conversion.filter(|conversion| !conversion.is_null()) else {
        return;
    };
    let webhook = conversion
        .get("webhook")
        .filter(|webhook| !webhook.is_null());
    let client = webhook
        .and_then(|webhook| webhook.get("clientConfig"))
        .filter(|client| !client.is_null());
    let reviews = webhook
        .map(|webhook| items(webhook, &["conversionReviewVersions"]))
        .unwrap_or_default();
    let client_path = "spec.conversion.webhookClientConfig";
    let reviews_path = "spec.conversion.conversionReviewVersions";
    match str_at(conversion, &["strategy"]).unwrap_or_default() {
        "" => errors.push(FieldError::required("spec.conversion.strategy", "")),
        "Webhook" => {
            match client {
                None => errors.push(FieldError::required(
                    client_path,
                    "required when strategy is set to Webhook",
                )),
                Some(client) => {
                    let has = |name: &str| client.get(name).is_some_and(|value| !value.is_null());
                    if has("url") == has("service") {
                        let why = "exactly one of url or service is required";
                        errors.push(FieldError::required(client_path, why));
                    }
                }
            }
            if reviews.is_empty() {
                errors.push(FieldError::required(reviews_path, ""));
            } else if !reviews
                .iter()
                .any(|version| version == "v1" || version == "v1beta1")
            {
                let why = "must include at least one of v1, v1beta1";
                errors.push(FieldError::invalid(
                    reviews_path,
                    Value::Array(reviews.to_vec()),
                    why,
                ));
            }
        }
        strategy => {
            if strategy != "None" {
                let known = &["None", "Webhook"];
                errors.push(FieldError::not_supported(
                    "spec.conversion.strategy",
                    strategy.into(),
                    known,
                ));
            }
            let why = "should not be set when strategy is not set to Webhook";
            if client.is_some() {
                errors.push(FieldError::forbidden(client_path, why));
            }
            if !reviews.is_empty() {
                errors.push(FieldError::forbidden(reviews_path, why));
            }
        }
    }
}

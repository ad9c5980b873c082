//! Whether a value is what its schema says: types, limits, patterns, formats, alternatives.
//!
//! A port of kube-openapi's validator with its paths, texts and oddities (an alternative's error has no path). On an
//! update, errors in parts that have not changed are forgiven where old and new can be told to be the same part.

use serde_json::{Map, Value};

use super::schema::{Additional, Checks, ListType, Schema, Type};
use super::{format, go_float};
use crate::go_quote::quoted;
use crate::validation::FieldError;

/// The path of an error that has none, as Go prints it.
const NO_PATH: &str = "<nil>";

/// What is found in a value, and how much was looked at: alternatives are told apart by it.
#[derive(Default)]
struct Found {
    errors: Vec<Error>,
    matches: usize,
}

/// An error with a path that begins at the validated value.
enum Error {
    At(FieldError),
    Nowhere(String),
}

impl Found {
    fn take(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.matches += other.matches;
    }

    fn add(&mut self, error: FieldError) {
        self.errors.push(Error::At(error));
    }

    fn nowhere(&mut self, text: String) {
        self.errors.push(Error::Nowhere(text));
    }
}

/// How errors are forgiven.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// There was nothing before, or nobody can tell what it was: nothing is forgiven.
    Unknown,
    /// The value that this one replaces.
    Was(&'a Value),
}

/// The mistakes in a value. Paths begin with `root`, which may be empty.
pub(super) fn check(
    root: &str,
    value: &Value,
    schema: &Schema,
    before: Before<'_>,
) -> Vec<FieldError> {
    let found = node("", value, schema, before);
    let place = |field: &str| match (root, field.trim_start_matches('.')) {
        ("", "") => NO_PATH.to_owned(),
        (root, "") => root.to_owned(),
        ("", field) => field.to_owned(),
        (root, field) if field.starts_with('[') => format!("{root}{field}"),
        (root, field) => format!("{root}.{field}"),
    };
    let errors = found.errors.into_iter().map(|error| match error {
        Error::At(mut error) => {
            error.field = place(&error.field);
            error
        }
        Error::Nowhere(text) => {
            let path = if root.is_empty() { NO_PATH } else { root };
            FieldError::invalid(path, "".into(), text)
        }
    });
    errors.collect()
}

/// A node whose old value may be known: unchanged parts are forgiven.
fn node(path: &str, value: &Value, schema: &Schema, before: Before<'_>) -> Found {
    let mut found = judge(path, value, schema, before);
    if let Before::Was(old) = before
        && !found.errors.is_empty()
        && old == value
    {
        found.errors.clear();
    }
    found
}

fn judge(path: &str, value: &Value, schema: &Schema, before: Before<'_>) -> Found {
    let mut found = Found::default();
    check_type(path, value, schema, &mut found);
    let checks = schema.checks.as_deref();
    if value.is_null() {
        if let Some(checks) = checks {
            check_enum(path, value, checks, &mut found);
        }
        return found;
    }
    if let Some(checks) = checks {
        check_alternatives(path, value, checks, before, &mut found);
    }
    found.matches += 1;
    match value {
        Value::String(text) => {
            if let Some(checks) = checks {
                check_text(path, text, checks, &mut found);
                check_format(path, text, schema, checks, &mut found);
            }
        }
        Value::Number(_) => check_number(path, value, schema, checks, &mut found),
        Value::Array(list) => check_list(path, list, schema, before, &mut found),
        _ => {}
    }
    if let Some(checks) = checks {
        check_enum(path, value, checks, &mut found);
    }
    if let Value::Object(map) = value {
        check_map(path, map, schema, before, &mut found);
    }
    found
}

fn named(path: &str, text: &str) -> String {
    format!("{path} in body {text}")
}

/// The JSON type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_type(path: &str, value: &Value, schema: &Schema, found: &mut Found) {
    let names: &[&str] = match schema.type_ {
        _ if schema.is_int_or_string => &["integer", "string"],
        Type::Any => &[],
        ref given => std::slice::from_ref(match given {
            Type::Object => &"object",
            Type::Array => &"array",
            Type::String => &"string",
            Type::Integer => &"integer",
            Type::Number => &"number",
            Type::Boolean | Type::Any => &"boolean",
        }),
    };
    found.matches += 1;
    if names.is_empty() || (value.is_null() && schema.nullable) {
        return;
    }
    let actual = type_of(value);
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = names.contains(&actual)
        || (actual == "number" && whole && names.contains(&"integer"))
        || (actual == "integer" && names.contains(&"number"));
    if fits {
        return;
    }
    let format = schema
        .checks
        .as_deref()
        .map_or("", |checks| &*checks.format);
    if !value.is_string()
        && !value.is_array()
        && !value.is_null()
        && format::is_known(schema.type_.name(), format)
    {
        let own = match actual {
            "number" => "float64",
            "integer" => "int64",
            _ => "",
        };
        let text = named(path, &format!("must be of type {format}: {}", quoted(own)));
        found.add(FieldError::wrong_type(path, own.into(), text));
    } else {
        let text = named(
            path,
            &format!("must be of type {}: {}", names.join(","), quoted(actual)),
        );
        found.add(FieldError::wrong_type(path, actual.into(), text));
    }
}

fn check_enum(path: &str, value: &Value, checks: &Checks, found: &mut Found) {
    if checks.allowed.is_empty() || checks.allowed.iter().any(|allowed| same(allowed, value)) {
        return;
    }
    let texts: Vec<String> = checks
        .allowed
        .iter()
        .map(|allowed| match allowed {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    found.add(FieldError::not_supported(path, value.clone(), &texts));
}

/// Equality that does not tell `1` from `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

fn check_text(path: &str, text: &str, checks: &Checks, found: &mut Found) {
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = checks.max_length
        && length() > max
    {
        return found.add(FieldError::too_long(
            path,
            usize::try_from(max).unwrap_or(0),
        ));
    }
    if let Some(min) = checks.min_length
        && length() < min
    {
        let why = named(path, &format!("should be at least {min} chars long"));
        return found.add(FieldError::invalid(path, text.into(), why));
    }
    if checks.pattern.is_empty() {
        return;
    }
    if !checks.regex().is_some_and(|regex| regex.is_match(text)) {
        let why = named(path, &format!("should match '{}'", checks.pattern));
        found.add(FieldError::invalid(path, text.into(), why));
    }
}

fn check_format(path: &str, text: &str, schema: &Schema, checks: &Checks, found: &mut Found) {
    if !matches!(schema.type_, Type::String | Type::Any) || schema.is_int_or_string {
        return;
    }
    if format::is_valid(&checks.format, text) == Some(false) {
        let why = named(
            path,
            &format!("must be of type {}: {}", checks.format, quoted(text)),
        );
        found.add(FieldError::wrong_type(path, text.into(), why));
    }
}

fn check_number(
    path: &str,
    value: &Value,
    schema: &Schema,
    checks: Option<&Checks>,
    found: &mut Found,
) {
    let Some(checks) = checks else {
        return;
    };
    check_range(path, value, schema, checks, found);
    let number = value.as_f64().unwrap_or(0.0);
    if let Some(factor) = checks.multiple_of
        && !is_multiple(value, factor)
    {
        let why = format!("should be a multiple of {}", go_float::text(factor));
        found.add(FieldError::invalid(path, value.clone(), named(path, &why)));
    }
    let limit = |limit: f64| match value.as_i64() {
        // Whole numbers are compared with whole limits.
        Some(_) => (limit.trunc(), format!("{}", limit.trunc())),
        None => (limit, go_float::text(limit)),
    };
    if let Some(max) = checks.maximum {
        let (max, text) = limit(max);
        if number > max || (checks.exclusive_maximum && number == max) {
            let than = if checks.exclusive_maximum {
                "less than"
            } else {
                "less than or equal to"
            };
            let why = named(path, &format!("should be {than} {text}"));
            found.add(FieldError::invalid(path, value.clone(), why));
        }
    }
    if let Some(min) = checks.minimum {
        let (min, text) = limit(min);
        if number < min || (checks.exclusive_minimum && number == min) {
            let than = if checks.exclusive_minimum {
                "greater than"
            } else {
                "greater than or equal to"
            };
            let why = named(path, &format!("should be {than} {text}"));
            found.add(FieldError::invalid(path, value.clone(), why));
        }
    }
}

/// Whether the number fits the format of its type.
fn check_range(path: &str, value: &Value, schema: &Schema, checks: &Checks, found: &mut Found) {
    let number = value.as_f64().unwrap_or(0.0);
    let fits = match (schema.type_, &*checks.format) {
        (Type::Integer, "int32") => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number),
        (Type::Integer, _) => value.as_i64().is_some() || number.abs() < 9.3e18,
        (Type::Number, "float") => number.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !fits {
        let format = match &*checks.format {
            "" => "(default format)".to_owned(),
            format => format!("with format {format}"),
        };
        let type_ = schema.type_.name();
        found.nowhere(format!(
            "Checked value must be of type {type_} {format} in {path}"
        ));
    }
}

fn is_multiple(value: &Value, factor: f64) -> bool {
    if let Some(number) = value.as_i64() {
        let factor = factor as i64;
        return factor > 0 && number % factor == 0;
    }
    let number = value.as_f64().unwrap_or(0.0);
    let times = if factor < 1.0 {
        1.0 / factor * number
    } else {
        number / factor
    };
    factor > 0.0 && (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
}

fn check_list(path: &str, list: &[Value], schema: &Schema, before: Before<'_>, found: &mut Found) {
    if let Some(items) = &schema.items {
        let old = match before {
            Before::Was(Value::Array(old)) if schema.list_type == ListType::Map => Some(old),
            _ => None,
        };
        for (index, item) in list.iter().enumerate() {
            let was = old.and_then(|old| correlated(schema, item, old));
            let before = was.map_or(Before::Unknown, Before::Was);
            found.take(node(&format!("{path}[{index}]"), item, items, before));
        }
    }
    found.matches += 1;
    let Some(checks) = schema.checks.as_deref() else {
        return;
    };
    let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if let Some(min) = checks.min_items
        && size < min
    {
        let why = named(path, &format!("should have at least {min} items"));
        found.add(FieldError::invalid(path, size.into(), why));
    }
    if let Some(max) = checks.max_items
        && size > max
    {
        found.add(FieldError::too_many(
            path,
            list.len(),
            usize::try_from(max).unwrap_or(0),
        ));
    }
}

/// The element with the same keys before.
pub(super) fn correlated<'a>(schema: &Schema, item: &Value, old: &'a [Value]) -> Option<&'a Value> {
    let items = schema.items.as_deref()?;
    let key = |item: &'_ Value, name: &str| -> Option<Value> {
        let default = || items.properties.get(name)?.default.as_deref().cloned();
        item.get(name).cloned().or_else(default)
    };
    let mut same = old.iter().filter(|old| {
        old.is_object()
            && schema
                .list_keys
                .iter()
                .all(|name| key(old, name) == key(item, name))
    });
    same.next()
}

fn check_map(
    path: &str,
    map: &Map<String, Value>,
    schema: &Schema,
    before: Before<'_>,
    found: &mut Found,
) {
    let checks = schema.checks.as_deref();
    let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
    if let Some(min) = checks.and_then(|checks| checks.min_properties)
        && size < min
    {
        let why = named(path, &format!("should have at least {min} properties"));
        found.add(FieldError::invalid(path, size.into(), why));
    }
    if let Some(max) = checks.and_then(|checks| checks.max_properties)
        && size > max
    {
        found.add(FieldError::too_many(
            path,
            map.len(),
            usize::try_from(max).unwrap_or(0),
        ));
    }
    let old = match before {
        Before::Was(Value::Object(old)) if !schema.is_atomic_map => Some(old),
        _ => None,
    };
    let was = |name: &str| match old.and_then(|old| old.get(name)) {
        // Both are written in the same version, so a difference there would never be seen.
        Some(_) if path.is_empty() && matches!(name, "kind" | "apiVersion") => Before::Unknown,
        Some(old) => Before::Was(old),
        None => Before::Unknown,
    };
    for (name, value) in map {
        match (schema.properties.get(name), &schema.additional) {
            (Some(_), _) => {}
            (None, Some(Additional::Allowed(false))) => {
                let why = format!("{path}.{name} in body is a forbidden property");
                found.add(FieldError::invalid(path, name.as_str().into(), why));
            }
            (None, Some(Additional::Schema(schema))) => {
                found.take(node(&format!("{path}.{name}"), value, schema, was(name)));
            }
            (None, _) => {}
        }
    }
    for (name, schema) in &schema.properties {
        if let Some(value) = map.get(name) {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            found.take(node(&path, value, schema, was(name)));
        }
    }
    for name in checks.into_iter().flat_map(|checks| &checks.required) {
        if !map.contains_key(name) {
            found.add(FieldError::required(format!("{path}.{name}"), ""));
        }
    }
    found.matches += 1;
}

fn check_alternatives(
    path: &str,
    value: &Value,
    checks: &Checks,
    before: Before<'_>,
    found: &mut Found,
) {
    let try_one = |schema: &Schema| judge(path, value, schema, before);
    let quoted_path = quoted(path);
    if !checks.any_of.is_empty() {
        let mut tried: Vec<Found> = Vec::new();
        let mut held = None;
        for schema in &checks.any_of {
            let result = try_one(schema);
            if result.errors.is_empty() {
                held = Some(result);
                break;
            }
            tried.push(result);
        }
        match held {
            Some(result) => found.take(result),
            None => {
                found.nowhere(format!(
                    "{quoted_path} must validate at least one schema (anyOf)"
                ));
                found.take(best(tried));
            }
        }
    }
    if !checks.one_of.is_empty() {
        let (held, failed): (Vec<_>, Vec<_>) = checks
            .one_of
            .iter()
            .map(try_one)
            .partition(|result| result.errors.is_empty());
        if held.len() == 1 {
            held.into_iter().for_each(|result| found.take(result));
        } else {
            let how_many = match held.len() {
                0 => "Found none valid".to_owned(),
                count => format!("Found {count} valid alternatives"),
            };
            found.nowhere(format!(
                "{quoted_path} must validate one and only one schema (oneOf). {how_many}"
            ));
            if held.is_empty() {
                found.take(best(failed));
            }
        }
    }
    if !checks.all_of.is_empty() {
        let mut held = 0;
        for schema in &checks.all_of {
            let result = try_one(schema);
            held += usize::from(result.errors.is_empty());
            found.take(result);
        }
        if held != checks.all_of.len() {
            let none = if held == 0 { ". None validated" } else { "" };
            found.nowhere(format!(
                "{quoted_path} must validate all the schemas (allOf){none}"
            ));
        }
    }
    if let Some(not) = &checks.not
        && try_one(not).errors.is_empty()
    {
        found.nowhere(format!("{quoted_path} must not validate the schema (not)"));
    }
    found.matches += 1;
}

/// Of failed alternatives, the first of those that got farthest.
fn best(tried: Vec<Found>) -> Found {
    let mut best = Found::default();
    let mut first = true;
    for result in tried {
        if std::mem::take(&mut first) || result.matches > best.matches {
            best = result;
        }
    }
    best
}

//! The paths that a definition names: of columns, of replicas, of selectable fields.

use serde_json::Value;

use crate::meta::str_at;
use crate::validation::FieldError;

/// The most fields that objects of a version can be selected by.
const MAX_SELECTABLE: usize = 8;
const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 9] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
    "binary",
];

fn child(path: &str, name: &str) -> String {
    format!("{path}.{name}")
}

/// Judges a printer column.
pub(super) fn column(column: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |name: &str| str_at(column, &[name]).unwrap_or_default();
    if text("name").is_empty() {
        errors.push(FieldError::required(child(path, "name"), ""));
    }
    let listed = format!("must be one of {}", TYPES.join(","));
    match text("type") {
        "" => errors.push(FieldError::required(child(path, "type"), listed)),
        type_ if TYPES.contains(&type_) => {}
        type_ => errors.push(FieldError::invalid(
            child(path, "type"),
            type_.into(),
            listed,
        )),
    }
    let format = text("format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        let mut sorted = FORMATS;
        sorted.sort_unstable();
        let why = format!("must be one of {}", sorted.join(","));
        errors.push(FieldError::invalid(
            child(path, "format"),
            format.into(),
            why,
        ));
    }
    match text("jsonPath") {
        "" => errors.push(FieldError::required(child(path, "JSONPath"), "")),
        own => errors.extend(simple(own, child(path, "JSONPath"))),
    }
}

/// A path begins with a dot.
fn simple(own: &str, path: String) -> Option<FieldError> {
    let why = "must be a simple json path starting with .";
    (!own.starts_with('.')).then(|| FieldError::invalid(path, own.into(), why))
}

/// Judges the subresources of a version.
pub(super) fn subresources(subresources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(scale) = subresources.get("scale").filter(|scale| !scale.is_null()) else {
        return;
    };
    let required = [
        ("specReplicasPath", ".spec.", ".spec"),
        ("statusReplicasPath", ".status.", ".status"),
    ];
    for (name, prefix, place) in required {
        let path = format!("{path}.scale.{name}");
        match str_at(scale, &[name]).unwrap_or_default() {
            "" => errors.push(FieldError::required(path, "")),
            own => errors.extend(simple(own, path.clone()).or_else(|| {
                let why = format!("should be a json path under {place}");
                (!own.starts_with(prefix)).then(|| FieldError::invalid(path, own.into(), why))
            })),
        }
    }
    let own = str_at(scale, &["labelSelectorPath"]).unwrap_or_default();
    if !own.is_empty() {
        let path = format!("{path}.scale.labelSelectorPath");
        errors.extend(simple(own, path.clone()).or_else(|| {
            let why = "should be a json path under either .spec or .status";
            let fits = own.starts_with(".spec.") || own.starts_with(".status.");
            (!fits).then(|| FieldError::invalid(path, own.into(), why))
        }));
    }
}

/// Judges the fields by which objects of a version can be selected.
pub(super) fn selectable_fields(
    fields: &[Value],
    schema: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let path = format!("{path}[{index}].jsonPath");
        let own = str_at(field, &["jsonPath"]).unwrap_or_default();
        if own.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let refuse = |why: String| FieldError::invalid(path.clone(), own.into(), why);
        let found = match find(own, schema) {
            Ok(found) => found,
            Err(why) => {
                errors.push(refuse(format!("is an invalid path: {why}")));
                continue;
            }
        };
        if own.starts_with(".metadata") {
            errors.push(refuse("must not point to fields in metadata".to_owned()));
        }
        if !matches!(
            str_at(found, &["type"]),
            Some("string" | "boolean" | "integer")
        ) {
            errors.push(refuse("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.".to_owned()));
        }
        if seen.contains(&own) {
            errors.push(FieldError::duplicate(path, own.into()));
        } else {
            seen.push(own);
        }
    }
    if seen.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(path, seen.len(), MAX_SELECTABLE));
    }
}

/// The schema behind a path of plain names.
fn find<'a>(path: &str, schema: Option<&'a Value>) -> Result<&'a Value, String> {
    let names = path
        .strip_prefix('.')
        .ok_or_else(|| "path must start with .".to_owned())?;
    if path.contains('[') {
        return Err("array notation is not allowed".to_owned());
    }
    let mut found = schema.ok_or_else(|| "no schema is given".to_owned())?;
    for name in names.split('.') {
        let next = found
            .get("properties")
            .and_then(|properties| properties.get(name));
        found = next.ok_or_else(|| format!("does not refer to a valid field: {name}"))?;
    }
    Ok(found)
}

/// Whether a path such as `.a.b['c'].d` leads somewhere in the schema.
pub(super) fn leads_somewhere(path: &str, schema: &Value) -> bool {
    let Some(rest) = path.strip_prefix('.') else {
        return false;
    };
    let plain = rest.replace("['", ".").replace("']", "");
    let mut found = schema;
    for name in plain.split('.') {
        let property = found
            .get("properties")
            .and_then(|properties| properties.get(name));
        let other = || {
            found
                .get("additionalProperties")
                .filter(|schema| schema.is_object())
        };
        match property.or_else(other) {
            Some(next) => found = next,
            None => return false,
        }
    }
    true
}

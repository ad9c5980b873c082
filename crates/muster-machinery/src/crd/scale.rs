//! Where a custom resource has its replicas and its selector, and whether what stands there can be scaled by.

use serde_json::{Map, Value};

use crate::validation::FieldError;

/// `subresources.scale` of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScalePaths {
    /// Where the wanted count stands, such as `.spec.replicas`.
    pub spec_replicas: String,
    /// Where the present count stands.
    pub status_replicas: String,
    /// Where the selector of what is counted stands, as text.
    pub selector: Option<String>,
}

/// The parts of a path such as `.spec.replicas`.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    parts(path).try_fold(object, |value, name| value.get(name))
}

impl ScalePaths {
    /// Reads `subresources.scale`.
    #[must_use]
    pub fn parse(scale: &Value) -> Self {
        let text = |name: &str| scale.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            spec_replicas: text("specReplicasPath").unwrap_or_default(),
            status_replicas: text("statusReplicasPath").unwrap_or_default(),
            selector: text("labelSelectorPath").filter(|path| !path.is_empty()),
        }
    }

    /// The wanted count; `None` when the object does not say.
    #[must_use]
    pub fn wanted(&self, object: &Value) -> Option<i64> {
        at(object, &self.spec_replicas).and_then(Value::as_i64)
    }

    /// The present count; 0 when the object does not say.
    #[must_use]
    pub fn present(&self, object: &Value) -> i64 {
        at(object, &self.status_replicas)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }

    /// The selector as text; empty when there is none.
    #[must_use]
    pub fn selector<'a>(&self, object: &'a Value) -> &'a str {
        let selector = self.selector.as_deref().and_then(|path| at(object, path));
        selector.and_then(Value::as_str).unwrap_or_default()
    }

    /// Writes the wanted count. Nothing happens where a part of the way is no object.
    pub fn set_wanted(&self, object: &mut Value, replicas: i64) {
        let names: Vec<&str> = parts(&self.spec_replicas).collect();
        let Some((last, way)) = names.split_last() else {
            return;
        };
        let mut place = object;
        for name in way {
            let Some(map) = place.as_object_mut() else {
                return;
            };
            place = map
                .entry(*name)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        if let Some(map) = place.as_object_mut() {
            map.insert((*last).to_owned(), replicas.into());
        }
    }

    pub(super) fn check_spec(&self, object: &Value) -> Option<FieldError> {
        count(object, &self.spec_replicas)
    }

    pub(super) fn check_status(&self, object: &Value) -> Vec<FieldError> {
        let mut errors: Vec<FieldError> =
            count(object, &self.status_replicas).into_iter().collect();
        if let Some(path) = &self.selector
            && let Some(selector) = at(object, path)
            && !selector.is_string()
        {
            let why = accessor_error(path, selector, "string");
            errors.push(FieldError::invalid(path, "".into(), why));
        }
        errors
    }
}

fn accessor_error(path: &str, value: &Value, expected: &str) -> String {
    let actual = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let shown = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{path} accessor error: {shown} is of the type {actual}, expected {expected}")
}

fn count(object: &Value, path: &str) -> Option<FieldError> {
    let value = at(object, path)?;
    let Some(number) = value.as_i64() else {
        let why = accessor_error(path, value, "int64");
        return Some(FieldError::invalid(path, 0.into(), why));
    };
    if number < 0 {
        return Some(FieldError::invalid(
            path,
            number.into(),
            "should be a non-negative integer",
        ));
    }
    let max = i64::from(i32::MAX);
    let why = format!("should be less than or equal to {max}");
    (number > max).then(|| FieldError::invalid(path, number.into(), why))
}

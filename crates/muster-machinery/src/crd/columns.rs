//! Printer columns of a custom resource: the columns that its version declares, and the cells of an object.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::json_path::JsonPath;
use crate::duration_text::age;
use crate::meta;
use crate::rfc3339;
use crate::table::{CREATED, NAME};

/// Definition of a column (`metav1.TableColumnDefinition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomColumn {
    /// Header, which clients show in capitals.
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub type_: String,
    /// OpenAPI format; `name` for the object's name.
    pub format: String,
    /// Text for people.
    pub description: String,
    /// 0 is always shown, more with `-o wide`.
    pub priority: i32,
}

/// The columns of one version.
#[derive(Debug, Clone)]
pub struct Columns {
    columns: Vec<CustomColumn>,
    paths: Vec<JsonPath>,
}

impl Columns {
    /// Reads `additionalPrinterColumns`; a version without any shows ages.
    #[must_use]
    pub fn parse(declared: &[Value]) -> Self {
        let mut columns = vec![CustomColumn {
            name: NAME.name.to_owned(),
            type_: NAME.type_.to_owned(),
            format: NAME.format.to_owned(),
            description: NAME.description.to_owned(),
            priority: 0,
        }];
        let mut paths = Vec::new();
        if declared.is_empty() {
            columns.push(CustomColumn {
                name: "Age".to_owned(),
                type_: "date".to_owned(),
                format: String::new(),
                description: CREATED.to_owned(),
                priority: 0,
            });
            paths.extend(JsonPath::parse(".metadata.creationTimestamp"));
        }
        for column in declared {
            let text = |name: &str| meta::str_at(column, &[name]).unwrap_or_default().to_owned();
            let path = text("jsonPath");
            // A path that cannot be read ends the list, as upstream.
            let Ok(parsed) = JsonPath::parse(&path) else {
                break;
            };
            let description = match text("description") {
                none if none.is_empty() => {
                    format!("Custom resource definition column (in JSONPath format): {path}")
                }
                some => some,
            };
            let priority = column.get("priority").and_then(Value::as_i64).unwrap_or(0);
            columns.push(CustomColumn {
                name: text("name"),
                type_: text("type"),
                format: text("format"),
                description,
                priority: i32::try_from(priority).unwrap_or(0),
            });
            paths.push(parsed);
        }
        Self { columns, paths }
    }

    /// The definitions, the name's first.
    #[must_use]
    pub fn columns(&self) -> &[CustomColumn] {
        &self.columns
    }

    /// The cells of an object.
    #[must_use]
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![meta::name(object).into()];
        let declared = self.columns.iter().skip(1).zip(&self.paths);
        cells.extend(declared.map(|(column, path)| {
            let found = path.find(object);
            found
                .first()
                .map_or(Value::Null, |value| cell(&column.type_, value, now))
        }));
        cells
    }
}

fn cell(type_: &str, value: &Value, now: Timestamp) -> Value {
    match (type_, value) {
        ("string", Value::Null) => "<nil>".into(),
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => {
            let whole = number
                .as_i64()
                .or_else(|| number.as_f64().map(|number| number as i64));
            whole.map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(number)) => number.as_f64().map_or(Value::Null, Value::from),
        ("boolean", Value::Bool(flag)) => (*flag).into(),
        ("date", Value::String(text)) => match rfc3339::parse(text) {
            Some(time) => age(Some(time), now).into(),
            None if text.is_empty() || text == "null" => "<unknown>".into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_have_the_types_of_their_columns() {
        let columns = Columns::parse(&[
            json!({"name": "A", "type": "string", "jsonPath": ".spec.a"}),
            json!({"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1}),
            json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
            json!({"name": "Gone", "type": "string", "jsonPath": ".spec.gone"}),
            json!({"name": "Wrong", "type": "boolean", "jsonPath": ".spec.a"}),
        ]);
        let now: Timestamp = "2024-01-01T01:00:00Z".parse().unwrap();
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"a": {"b": 1}, "n": 3.0}});
        assert_eq!(
            columns.cells(&object, now),
            [
                json!("x"),
                json!("{\"b\":1}"),
                json!(3),
                json!("60m"),
                json!(null),
                json!(null)
            ]
        );
        assert_eq!(columns.columns()[2].priority, 1);
        let none = Columns::parse(&[]);
        assert_eq!(none.cells(&object, now), [json!("x"), json!("60m")]);
        assert_eq!(none.columns()[1].type_, "date");
    }
}

//! Whether a schema is structural: every field has a type outside of alternatives, and alternatives only restrict values.
//!
//! Upstream: `ValidateStructural` of k8s.io/apiextensions-apiserver.

use serde_json::{Map, Value, json};

use super::super::pattern;
use crate::validation::FieldError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The mistakes, sorted by their texts.
pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut checker = Checker { errors: Vec::new() };
    if let Some(schema) = schema.as_object() {
        checker.invariants(schema, Level::Root, path);
        checker.completeness(schema, Some(schema), path, path);
    }
    let mut errors = checker.errors;
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

struct Checker {
    errors: Vec<FieldError>,
}

type Schema = Map<String, Value>;

fn text<'a>(schema: &'a Schema, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Schema, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn below<'a>(schema: &'a Schema, name: &str) -> Option<&'a Schema> {
    schema.get(name).and_then(Value::as_object)
}

fn list<'a>(schema: &'a Schema, name: &str) -> impl Iterator<Item = (usize, &'a Schema)> {
    let list = schema
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    list.enumerate()
        .filter_map(|(index, schema)| Some((index, schema.as_object()?)))
}

fn properties(schema: &Schema) -> impl Iterator<Item = (&String, &Schema)> {
    let all = below(schema, "properties").into_iter().flatten();
    all.filter_map(|(name, schema)| Some((name, schema.as_object()?)))
}

fn is_int_or_string(alternatives: Option<&Value>) -> bool {
    alternatives == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

impl Checker {
    fn required(&mut self, path: String, why: &str) {
        self.errors.push(FieldError::required(path, why));
    }

    fn forbidden(&mut self, path: String, why: &str) {
        self.errors.push(FieldError::forbidden(path, why));
    }

    fn invalid(&mut self, path: String, value: impl Into<Value>, why: &str) {
        self.errors
            .push(FieldError::invalid(path, value.into(), why));
    }

    fn invariants(&mut self, schema: &Schema, level: Level, path: &str) {
        let items = below(schema, "items");
        if text(schema, "type") == "array" && items.is_none() {
            self.required(format!("{path}.items"), "must be specified");
        }
        if let Some(items) = items {
            self.invariants(items, Level::Item, &format!("{path}.items"));
        }
        for (name, property) in properties(schema) {
            self.invariants(
                property,
                Level::Field,
                &format!("{path}.properties[{name}]"),
            );
        }
        let additional = schema
            .get("additionalProperties")
            .filter(|value| !value.is_null());
        if additional.is_some() && level == Level::Root {
            self.forbidden(
                format!("{path}.additionalProperties"),
                "must not be used at the root",
            );
        }
        if let Some(additional) = additional.and_then(Value::as_object) {
            self.invariants(
                additional,
                Level::Field,
                &format!("{path}.additionalProperties"),
            );
        }
        self.extensions(schema, path);
        let first = list(schema, "allOf").next().map(|(_, first)| first);
        let skips_first = first.is_some_and(|first| is_int_or_string(first.get("anyOf")));
        self.value_validation(
            schema,
            (is_int_or_string(schema.get("anyOf")), skips_first),
            path,
        );
        self.type_of(schema, level, path);
        self.resource(schema, level, path);
    }

    fn extensions(&mut self, schema: &Schema, path: &str) {
        for other in [PRESERVE, EMBEDDED] {
            if flag(schema, INT_OR_STRING) && flag(schema, other) {
                let why = "must be false if x-kubernetes-int-or-string is true";
                self.invalid(format!("{path}.{other}"), true, why);
            }
        }
    }

    fn type_of(&mut self, schema: &Schema, level: Level, path: &str) {
        let type_ = text(schema, "type");
        let place = || format!("{path}.type");
        if flag(schema, EMBEDDED) && type_ != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            if type_.is_empty() {
                self.required(place(), why);
            } else {
                self.invalid(place(), type_, why);
            }
        } else if type_.is_empty() && !flag(schema, INT_OR_STRING) && !flag(schema, PRESERVE) {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.required(place(), why);
        }
        if level == Level::Root && !type_.is_empty() && type_ != "object" {
            self.invalid(place(), type_, "must be object at the root");
        }
    }

    fn resource(&mut self, schema: &Schema, level: Level, path: &str) {
        let embedded = flag(schema, EMBEDDED);
        let has_additional = schema
            .get("additionalProperties")
            .is_some_and(|value| !value.is_null());
        if embedded && has_additional {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            self.forbidden(format!("{path}.additionalProperties"), why);
        }
        let checks_meta = level == Level::Root || embedded;
        for (name, property) in properties(schema) {
            let place = format!("{path}.properties[{name}]");
            match name.as_str() {
                "kind" | "apiVersion" if checks_meta && text(property, "type") != "string" => {
                    self.invalid(
                        format!("{place}.type"),
                        text(property, "type"),
                        "must be string",
                    );
                }
                "metadata" => self.metadata(property, checks_meta, level, &place),
                _ => {}
            }
        }
        if embedded && !flag(schema, PRESERVE) && properties(schema).next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.required(format!("{path}.properties"), why);
        }
    }

    fn metadata(&mut self, schema: &Schema, checks_meta: bool, level: Level, path: &str) {
        if checks_meta && text(schema, "type") != "object" {
            self.invalid(
                format!("{path}.type"),
                text(schema, "type"),
                "must be object",
            );
        }
        if level != Level::Root {
            return;
        }
        let only_names =
            properties(schema).all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
        let silent = |name: &String, value: &Value| match name.as_str() {
            "type" | "default" => true,
            "properties" => only_names,
            _ => value.is_null() || matches!(value, Value::Bool(false)) || value == "",
        };
        if !schema.iter().all(|(name, value)| silent(name, value)) {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.forbidden(path.to_owned(), why);
        }
    }

    fn value_validation(
        &mut self,
        schema: &Schema,
        (skip_any, skip_first): (bool, bool),
        path: &str,
    ) {
        if !skip_any {
            for (index, one) in list(schema, "anyOf") {
                self.nested(one, false, &format!("{path}.anyOf[{index}]"));
            }
        }
        for (index, one) in list(schema, "allOf") {
            self.nested(
                one,
                skip_first && index == 0,
                &format!("{path}.allOf[{index}]"),
            );
        }
        for (index, one) in list(schema, "oneOf") {
            self.nested(one, false, &format!("{path}.oneOf[{index}]"));
        }
        if let Some(not) = below(schema, "not") {
            self.nested(not, false, &format!("{path}.not"));
        }
        let pattern = text(schema, "pattern");
        if !pattern.is_empty()
            && let Err(error) = pattern::compile(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.invalid(format!("{path}.pattern"), pattern, &why);
        }
    }

    fn nested(&mut self, schema: &Schema, skip_any: bool, path: &str) {
        self.value_validation(schema, (skip_any, false), path);
        if let Some(items) = below(schema, "items") {
            self.nested(items, false, &format!("{path}.items"));
        }
        for (name, property) in properties(schema) {
            self.nested(property, false, &format!("{path}.properties[{name}]"));
        }
        for name in ["type", "title", "description"] {
            if !text(schema, name).is_empty() {
                self.forbidden(format!("{path}.{name}"), "must be empty to be structural");
            }
        }
        let is_given = |name: &str| schema.get(name).is_some_and(|value| !value.is_null());
        let additional = schema.get("additionalProperties");
        if additional.is_some_and(|value| !value.is_null() && value != &Value::Bool(false)) {
            self.forbidden(
                format!("{path}.additionalProperties"),
                "must be undefined to be structural",
            );
        }
        for name in ["default", "x-kubernetes-list-type", "x-kubernetes-map-type"] {
            if is_given(name) {
                self.forbidden(
                    format!("{path}.{name}"),
                    "must be undefined to be structural",
                );
            }
        }
        for name in ["nullable", PRESERVE, EMBEDDED, INT_OR_STRING] {
            if flag(schema, name) {
                self.forbidden(format!("{path}.{name}"), "must be false to be structural");
            }
        }
        for name in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
            if schema
                .get(name)
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty())
            {
                self.forbidden(format!("{path}.{name}"), "must be empty to be structural");
            }
        }
        if below(schema, "properties").is_some_and(|all| all.contains_key("metadata")) {
            let place = format!("{path}.properties[metadata]");
            self.forbidden(place, "must not be specified in a nested context");
        }
    }

    /// Every value that alternatives speak of has a type of its own. `own` is where the types are.
    fn completeness(&mut self, schema: &Schema, own: Option<&Schema>, own_path: &str, path: &str) {
        for word in ["allOf", "anyOf", "oneOf"] {
            for (index, one) in list(schema, word) {
                self.nested_completeness(one, own, own_path, &format!("{path}.{word}[{index}]"));
            }
        }
        if let Some(not) = below(schema, "not") {
            self.nested_completeness(not, own, own_path, &format!("{path}.not"));
        }
    }

    fn nested_completeness(
        &mut self,
        schema: &Schema,
        own: Option<&Schema>,
        own_path: &str,
        path: &str,
    ) {
        let Some(typed) = own else {
            self.required(
                own_path.to_owned(),
                &format!("because it is defined in {path}"),
            );
            return;
        };
        self.completeness(schema, own, own_path, path);
        if let Some(items) = below(schema, "items") {
            let place = format!("{own_path}.items");
            self.nested_completeness(
                items,
                below(typed, "items"),
                &place,
                &format!("{path}.items"),
            );
        }
        let own_properties = below(typed, "properties");
        for (name, property) in properties(schema) {
            let place = format!("{own_path}.properties[{name}]");
            let path = format!("{path}.properties[{name}]");
            match own_properties
                .and_then(|all| all.get(name))
                .and_then(Value::as_object)
            {
                Some(typed) => self.nested_completeness(property, Some(typed), &place, &path),
                None => self.required(place, &format!("because it is defined in {path}")),
            }
        }
    }
}

//! A structural schema as a typed value: what an OpenAPI v3 schema of a CustomResourceDefinition says, without its prose.
//!
//! Reads `JSONSchemaProps` (apiextensions.k8s.io/v1). Whether what it says is allowed is judged elsewhere; this only
//! refuses nesting that nobody could follow. Patterns and rules are compiled when they are first used.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::pattern;
use crate::cel;

/// Schemas may nest this deep.
pub(super) const MAX_DEPTH: usize = 100;

/// The schema cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Ask for less nesting.
    #[error("the schema nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Make it an object.
    #[error("a schema is not an object")]
    NotAnObject,
}

/// `type` of a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Type {
    /// None is given, or one that does not exist.
    #[default]
    Any,
    /// A map or struct.
    Object,
    /// A list.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl Type {
    /// Reads the name of a type.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The name as in a schema; empty for none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole; also when nothing is said.
    #[default]
    Atomic,
    /// Elements are unique.
    Set,
    /// Elements are identified by keys.
    Map,
}

/// `additionalProperties`.
#[derive(Debug, Clone, PartialEq)]
pub enum Additional {
    /// Allowed or not, with nothing said of the values.
    Allowed(bool),
    /// What the values must be.
    Schema(Box<Schema>),
}

/// One entry of `x-kubernetes-validations`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The CEL expression.
    pub rule: String,
    /// What to say when it does not hold; empty for none.
    pub message: String,
    /// A CEL expression that makes the message; empty for none.
    pub message_expression: String,
    /// The `reason` of the cause; empty for the usual one.
    pub reason: String,
    /// The field that is blamed; empty for the value itself.
    pub field_path: String,
    /// Whether the rule is also tried without an old value.
    pub optional_old_self: Option<bool>,
    pub(super) parsed: Parsed,
}

/// The expressions of a rule, read when they are first used.
#[derive(Default)]
pub(super) struct Parsed {
    rule: OnceLock<Option<(cel::Expr, bool)>>,
    message: OnceLock<Option<cel::Expr>>,
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parsed")
    }
}

impl Clone for Parsed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Parsed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Parsed {}

impl Rule {
    /// The rule's expression, and whether it names `oldSelf`; `None` when it is none.
    #[must_use]
    pub fn expression(&self) -> Option<(&cel::Expr, bool)> {
        let read = || {
            let expr = cel::parse(&self.rule).ok()?;
            let uses_old_self = cel::mentions(&expr, "oldSelf");
            Some((expr, uses_old_self))
        };
        let parsed = self.parsed.rule.get_or_init(read).as_ref();
        parsed.map(|(expr, uses_old_self)| (expr, *uses_old_self))
    }

    /// The expression that makes the message, if there is one.
    #[must_use]
    pub fn message_expression(&self) -> Option<&cel::Expr> {
        let read = || match self.message_expression.as_str() {
            "" => None,
            text => cel::parse(text).ok(),
        };
        self.parsed.message.get_or_init(read).as_ref()
    }
}

/// What values must be beyond their type.
#[derive(Debug, Default)]
pub struct Checks {
    /// `format`; empty for none.
    pub format: Box<str>,
    /// `pattern`; empty for none.
    pub pattern: Box<str>,
    compiled: OnceLock<Option<Regex>>,
    /// `enum`.
    pub allowed: Vec<Value>,
    /// `maximum`.
    pub maximum: Option<f64>,
    /// `minimum`.
    pub minimum: Option<f64>,
    /// `exclusiveMaximum`.
    pub exclusive_maximum: bool,
    /// `exclusiveMinimum`.
    pub exclusive_minimum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `maxLength`, in characters.
    pub max_length: Option<i64>,
    /// `minLength`, in characters.
    pub min_length: Option<i64>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `required`.
    pub required: Vec<String>,
    /// `allOf`.
    pub all_of: Vec<Schema>,
    /// `anyOf`.
    pub any_of: Vec<Schema>,
    /// `oneOf`.
    pub one_of: Vec<Schema>,
    /// `not`.
    pub not: Option<Box<Schema>>,
}

impl Checks {
    /// The pattern, compiled; `None` when there is none or it does not compile.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| match &*self.pattern {
                "" => None,
                text => pattern::compile(text).ok(),
            })
            .as_ref()
    }
}

impl Clone for Checks {
    fn clone(&self) -> Self {
        Self {
            format: self.format.clone(),
            pattern: self.pattern.clone(),
            compiled: OnceLock::new(),
            allowed: self.allowed.clone(),
            required: self.required.clone(),
            all_of: self.all_of.clone(),
            any_of: self.any_of.clone(),
            one_of: self.one_of.clone(),
            not: self.not.clone(),
            ..*self
        }
    }
}

impl PartialEq for Checks {
    fn eq(&self, other: &Self) -> bool {
        let limits = |c: &Self| (c.maximum, c.minimum, c.multiple_of);
        let sizes = |c: &Self| {
            let items = (c.max_items, c.min_items, c.max_properties, c.min_properties);
            (c.max_length, c.min_length, items)
        };
        let flags = |c: &Self| (c.exclusive_maximum, c.exclusive_minimum);
        (limits(self), sizes(self), flags(self)) == (limits(other), sizes(other), flags(other))
            && (&self.format, &self.pattern, &self.allowed, &self.required)
                == (
                    &other.format,
                    &other.pattern,
                    &other.allowed,
                    &other.required,
                )
            && (&self.all_of, &self.any_of, &self.one_of, &self.not)
                == (&other.all_of, &other.any_of, &other.one_of, &other.not)
    }
}

/// One node of a structural schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// `type`.
    pub type_: Type,
    /// `nullable`.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub is_resource: bool,
    /// `x-kubernetes-int-or-string`.
    pub is_int_or_string: bool,
    /// `x-kubernetes-map-type: atomic`.
    pub is_atomic_map: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: ListType,
    /// `x-kubernetes-list-map-keys`.
    pub list_keys: Box<[String]>,
    /// `default`.
    pub default: Option<Box<Value>>,
    /// `properties`.
    pub properties: BTreeMap<String, Self>,
    /// `additionalProperties`.
    pub additional: Option<Additional>,
    /// `items`.
    pub items: Option<Box<Self>>,
    /// Everything that is checked of values; `None` when that is nothing.
    pub checks: Option<Box<Checks>>,
    /// `x-kubernetes-validations`.
    pub rules: Box<[Rule]>,
}

impl Schema {
    /// Reads an `openAPIV3Schema`.
    ///
    /// # Errors
    /// When it is no object or nests too deep.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        parse(schema, MAX_DEPTH)
    }

    /// What `additionalProperties` says of values.
    #[must_use]
    pub fn additional_schema(&self) -> Option<&Self> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    /// The schema of a member: its property, else that of all other members.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or_else(|| self.additional_schema())
    }

    /// Whether this or anything below has a default.
    #[must_use]
    pub fn has_defaults(&self) -> bool {
        self.any(&mut |schema| schema.default.is_some())
    }

    /// Whether this or anything structural below has rules.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.any(&mut |schema| !schema.rules.is_empty())
    }

    /// Whether the predicate holds for this or a structural schema below: items, properties, additional properties.
    pub fn any(&self, predicate: &mut dyn FnMut(&Self) -> bool) -> bool {
        predicate(self)
            || self
                .items
                .as_ref()
                .is_some_and(|items| items.any(predicate))
            || self.additional_schema().is_some_and(|s| s.any(predicate))
            || self.properties.values().any(|s| s.any(predicate))
    }
}

fn parse(schema: &Value, depth: usize) -> Result<Schema, SchemaError> {
    let depth = depth.checked_sub(1).ok_or(SchemaError::TooDeep)?;
    let map = schema.as_object().ok_or(SchemaError::NotAnObject)?;
    let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let items = match map.get("items") {
        Some(items @ Value::Object(_)) => Some(Box::new(parse(items, depth)?)),
        _ => None,
    };
    let additional = match map.get("additionalProperties") {
        Some(Value::Bool(allowed)) => Some(Additional::Allowed(*allowed)),
        Some(schema @ Value::Object(_)) => {
            Some(Additional::Schema(Box::new(parse(schema, depth)?)))
        }
        _ => None,
    };
    let mut properties = BTreeMap::new();
    for (name, property) in map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        properties.insert(name.clone(), parse(property, depth)?);
    }
    Ok(Schema {
        type_: Type::parse(text("type")).unwrap_or_default(),
        nullable: flag("nullable"),
        preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        is_resource: flag("x-kubernetes-embedded-resource"),
        is_int_or_string: flag("x-kubernetes-int-or-string"),
        is_atomic_map: text("x-kubernetes-map-type") == "atomic",
        list_type: match text("x-kubernetes-list-type") {
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Atomic,
        },
        list_keys: texts(map, "x-kubernetes-list-map-keys").into(),
        default: map
            .get("default")
            .filter(|d| !d.is_null())
            .cloned()
            .map(Box::new),
        properties,
        additional,
        items,
        checks: checks(map, depth)?,
        rules: rules(map),
    })
}

fn texts(map: &Map<String, Value>, name: &str) -> Vec<String> {
    let list = map
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The words of which [`Checks`] are made.
const CHECKED: [&str; 20] = [
    "format",
    "pattern",
    "enum",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
    "required",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "uniqueItems",
];

fn checks(map: &Map<String, Value>, depth: usize) -> Result<Option<Box<Checks>>, SchemaError> {
    if !CHECKED.iter().any(|word| map.contains_key(*word)) {
        return Ok(None);
    }
    let text = |name: &str| {
        map.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into()
    };
    let number = |name: &str| map.get(name).and_then(Value::as_f64);
    let count = |name: &str| map.get(name).and_then(Value::as_i64);
    let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
    let schemas = |name: &str| -> Result<Vec<Schema>, SchemaError> {
        let list = map
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        list.map(|schema| parse(schema, depth)).collect()
    };
    let not = match map.get("not") {
        Some(not @ Value::Object(_)) => Some(Box::new(parse(not, depth)?)),
        _ => None,
    };
    Ok(Some(Box::new(Checks {
        format: text("format"),
        pattern: text("pattern"),
        compiled: OnceLock::new(),
        allowed: map
            .get("enum")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        maximum: number("maximum"),
        minimum: number("minimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: number("multipleOf"),
        max_length: count("maxLength"),
        min_length: count("minLength"),
        max_items: count("maxItems"),
        min_items: count("minItems"),
        max_properties: count("maxProperties"),
        min_properties: count("minProperties"),
        required: texts(map, "required"),
        all_of: schemas("allOf")?,
        any_of: schemas("anyOf")?,
        one_of: schemas("oneOf")?,
        not,
    })))
}

fn rules(map: &Map<String, Value>) -> Box<[Rule]> {
    let list = map
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let rules = list.into_iter().flatten().map(|rule| {
        let text = |name: &str| {
            rule.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool),
            parsed: Parsed::default(),
        }
    });
    rules.collect()
}

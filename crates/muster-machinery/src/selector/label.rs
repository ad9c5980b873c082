//! Label selectors: `app=web,tier in (a,b),!canary`.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::go_quote::quoted;
use crate::meta;
use crate::validation::names::{label_key_problems, label_value_problems};

mod parser;

/// Longest selector text that is read, in bytes; more than any URL can carry.
const MAX_LENGTH: usize = 256 * 1024;

/// What is asked of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`
    DoubleEquals,
    /// `key!=value`; true also when the label is absent.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`; true also when the label is absent.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`: the label is an integer above.
    GreaterThan,
    /// `key<1`: the label is an integer below.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

/// Why a label selector was refused. The text is upstream's; answer it with a bad request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelSelectorError {
    /// The text does not follow the grammar.
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    /// The text does not start with a requirement.
    #[error("found '{found}', expected: !, identifier, or 'end of string'")]
    Unexpected {
        /// The offending text.
        found: String,
    },
    /// Something follows a requirement that is no comma.
    #[error("found '{found}', expected: ',' or 'end of string'")]
    Unseparated {
        /// The offending text.
        found: String,
    },
    /// A comma is not followed by a requirement.
    #[error("found '{found}', expected: identifier after ','")]
    DanglingComma {
        /// The offending text; empty at the end.
        found: String,
    },
    /// A key or value is no label key or value, or the number of values is wrong.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    /// A `LabelSelector` object names an operator that does not exist.
    #[error("{0:?} is not a valid label selector operator")]
    UnknownOperator(String),
    /// The object is no `LabelSelector`.
    #[error("label selector is malformed at {0}")]
    Shape(&'static str),
    /// The text is absurdly long.
    #[error("label selector is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

impl Requirement {
    /// Checks key, operator and values as upstream's `NewRequirement`.
    ///
    /// # Errors
    /// When key or values are malformed or their number does not fit the operator.
    pub fn new(
        key: impl Into<String>,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, LabelSelectorError> {
        let requirement = Self {
            key: key.into(),
            operator,
            values: values.into_iter().collect(),
        };
        requirement
            .check()
            .map_err(LabelSelectorError::Requirement)?;
        Ok(requirement)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(problem) = label_key_problems(&self.key).into_iter().next() {
            return Err(format!(
                "key: Invalid value: {}: {problem}",
                quoted(&self.key)
            ));
        }
        self.check_value_count()?;
        for (i, value) in self.values.iter().enumerate() {
            if let Some(problem) = label_value_problems(value).into_iter().next() {
                return Err(format!(
                    "values[{i}][{}]: Invalid value: {}: {problem}",
                    self.key,
                    quoted(value)
                ));
            }
        }
        Ok(())
    }

    fn check_value_count(&self) -> Result<(), String> {
        let listed = self
            .values
            .iter()
            .map(|v| format!("{v:?}"))
            .collect::<Vec<_>>()
            .join(",");
        let problem = match self.operator {
            Operator::In | Operator::NotIn if self.values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if self.values.len() != 1 =>
            {
                "exact-match compatibility requires one single value"
            }
            Operator::Exists | Operator::DoesNotExist if !self.values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            Operator::GreaterThan | Operator::LessThan if self.values.len() != 1 => {
                "for 'Gt', 'Lt' operators, exactly one value is required"
            }
            Operator::GreaterThan | Operator::LessThan
                if self
                    .values
                    .iter()
                    .any(|value| value.parse::<i64>().is_err()) =>
            {
                return Err(format!(
                    "values[0]: Invalid value: [{listed}]: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
            _ => return Ok(()),
        };
        Err(format!("values: Invalid value: [{listed}]: {problem}"))
    }

    /// The label key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted; empty for [`Operator::Exists`] and its opposite.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Whether the label, if there is one, satisfies the requirement.
    #[must_use]
    pub fn matches(&self, label: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        match (self.operator, label) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, Some(value)) => {
                self.values.contains(value)
            }
            (Operator::NotEquals | Operator::NotIn, Some(value)) => !self.values.contains(value),
            (Operator::NotEquals | Operator::NotIn | Operator::DoesNotExist, None)
            | (Operator::Exists, Some(_)) => true,
            (Operator::GreaterThan | Operator::LessThan, Some(value)) => {
                let bound = self.values.first().and_then(|bound| number(bound));
                match (number(value), bound) {
                    (Some(value), Some(bound)) if self.operator == Operator::GreaterThan => {
                        value > bound
                    }
                    (Some(value), Some(bound)) => value < bound,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || {
            self.values
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={}", values()),
            Operator::DoubleEquals => write!(f, "{key}=={}", values()),
            Operator::NotEquals => write!(f, "{key}!={}", values()),
            Operator::In => write!(f, "{key} in ({})", values()),
            Operator::NotIn => write!(f, "{key} notin ({})", values()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", values()),
            Operator::LessThan => write!(f, "{key}<{}", values()),
        }
    }
}

/// A conjunction of requirements; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Matches every object.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: false,
        }
    }

    /// Matches no object: the meaning of an absent `LabelSelector` object in most specs.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Parses the text of a `labelSelector` query parameter. Requirements are sorted by key.
    ///
    /// # Errors
    /// With upstream's text when the selector is malformed.
    pub fn parse(text: &str) -> Result<Self, LabelSelectorError> {
        if text.len() > MAX_LENGTH {
            return Err(LabelSelectorError::TooLong);
        }
        let mut requirements = parser::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// Reads a `metav1.LabelSelector` object. Null or absent matches nothing, `{}` everything.
    ///
    /// # Errors
    /// When an operator is unknown, a key or value is malformed, or the shape is wrong.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, LabelSelectorError> {
        let Some(selector) = selector.filter(|value| !value.is_null()) else {
            return Ok(Self::nothing());
        };
        let mut requirements = match selector.get("matchLabels") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(labels)) => equalities(labels)?,
            Some(_) => return Err(LabelSelectorError::Shape("matchLabels")),
        };
        match selector.get("matchExpressions") {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for item in items {
                    requirements.push(expression(item)?);
                }
            }
            Some(_) => return Err(LabelSelectorError::Shape("matchExpressions")),
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// Reads a plain map of labels, as in a Service's or ReplicationController's `spec.selector`.
    ///
    /// # Errors
    /// When a key or value is malformed.
    pub fn from_map(labels: &Map<String, Value>) -> Result<Self, LabelSelectorError> {
        Ok(Self {
            requirements: equalities(labels)?,
            nothing: false,
        })
    }

    /// Whether every object matches.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The requirements, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object's labels match.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.is_everything() || self.matches_labels(meta::labels(object))
    }

    /// Whether a map of labels matches.
    #[must_use]
    pub fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|requirement| {
                let label = labels.and_then(|map| map.get(&requirement.key)?.as_str());
                requirement.matches(label)
            })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

fn equalities(labels: &Map<String, Value>) -> Result<Vec<Requirement>, LabelSelectorError> {
    labels
        .iter()
        .map(|(key, value)| {
            let value = value
                .as_str()
                .ok_or(LabelSelectorError::Shape("matchLabels"))?;
            Requirement::new(key, Operator::Equals, [value.to_owned()])
        })
        .collect()
}

fn expression(item: &Value) -> Result<Requirement, LabelSelectorError> {
    const SHAPE: LabelSelectorError = LabelSelectorError::Shape("matchExpressions");
    let key = item.get("key").and_then(Value::as_str).unwrap_or("");
    let operator = match item.get("operator").and_then(Value::as_str).ok_or(SHAPE)? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(LabelSelectorError::UnknownOperator(other.to_owned())),
    };
    let values = meta::items(item, &["values"])
        .iter()
        .map(|value| value.as_str().map(str::to_owned).ok_or(SHAPE))
        .collect::<Result<Vec<_>, _>>()?;
    Requirement::new(key, operator, values)
}

#[cfg(test)]
mod tests;

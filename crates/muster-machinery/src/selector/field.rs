//! Field selectors: `spec.nodeName=a,status.phase!=Failed`.

use std::fmt;

use serde_json::Value;

use super::supported::{UnsupportedField, check_field, field_value};

/// Longest selector text that is read, in bytes.
const MAX_LENGTH: usize = 256 * 1024;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldRequirement {
    /// Dotted path, such as `spec.nodeName`.
    pub field: String,
    /// Value to compare with.
    pub value: String,
    /// Whether the field must differ.
    pub negated: bool,
}

/// Why a field selector was refused. The text is upstream's; answer it with a bad request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldSelectorError {
    /// A term has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole text.
        selector: String,
        /// The part that is no condition.
        term: String,
    },
    /// A backslash stands before something that needs none, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A comma or equals sign in a value is not escaped.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
    /// The text is absurdly long.
    #[error("field selector is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

/// A conjunction of field requirements; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Matches every object.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            requirements: Vec::new(),
        }
    }

    /// Matches objects with this value of a field.
    #[must_use]
    pub fn equals(field: &str, value: &str) -> Self {
        let requirement = FieldRequirement {
            field: field.into(),
            value: value.into(),
            negated: false,
        };
        Self {
            requirements: vec![requirement],
        }
    }

    /// Parses the text of a `fieldSelector` query parameter. Conditions are sorted.
    ///
    /// # Errors
    /// With upstream's text when the selector is malformed.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        if text.len() > MAX_LENGTH {
            return Err(FieldSelectorError::TooLong);
        }
        let mut requirements = split_terms(text)
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| requirement(text, term))
            .collect::<Result<Vec<_>, _>>()?;
        requirements.sort();
        Ok(Self { requirements })
    }

    /// Refuses fields that this kind does not offer.
    ///
    /// # Errors
    /// Naming the first such field: answer with a bad request.
    pub fn check(&self, group: &str, kind: &str) -> Result<(), UnsupportedField> {
        self.requirements
            .iter()
            .try_for_each(|r| check_field(group, kind, &r.field))
    }

    /// Whether every object matches.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The single conditions.
    #[must_use]
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The value that a field must have, when one condition demands exactly that.
    ///
    /// Lets a list of one object (`metadata.name=x`) become a get.
    #[must_use]
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.field == field && !r.negated)
            .map(|r| r.value.as_str())
    }

    /// Whether an object matches; absent fields read as the empty string.
    #[must_use]
    pub fn matches(&self, group: &str, kind: &str, object: &Value) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = field_value(group, kind, object, &requirement.field);
            (value == requirement.value) != requirement.negated
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            i,
            FieldRequirement {
                field,
                value,
                negated,
            },
        ) in self.requirements.iter().enumerate()
        {
            let comma = if i > 0 { "," } else { "" };
            let operator = if *negated { "!=" } else { "=" };
            write!(f, "{comma}{field}{operator}{}", escape(value))?;
        }
        Ok(())
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Cuts a term at its first operator; the field itself cannot be escaped.
fn requirement(text: &str, term: &str) -> Result<FieldRequirement, FieldSelectorError> {
    for (i, _) in term.char_indices() {
        for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = term[i..].strip_prefix(operator) {
                return Ok(FieldRequirement {
                    field: term[..i].to_owned(),
                    value: unescape(value)?,
                    negated,
                });
            }
        }
    }
    Err(FieldSelectorError::Term {
        selector: text.to_owned(),
        term: term.to_owned(),
    })
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                Some(next) => return Err(FieldSelectorError::Escape(format!("\\{next}"))),
                None => return Err(FieldSelectorError::Escape("\\".into())),
            },
            ',' | '=' => return Err(FieldSelectorError::Unescaped(c)),
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;

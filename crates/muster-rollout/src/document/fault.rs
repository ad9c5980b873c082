//! What is wrong with a text: where, which field, what, and what to do about it.
//!
//! It refuses to know files and screens.

use super::Position;
use super::nearest::{listed, nearest};
use std::fmt;

/// More faults than anybody reads at once.
const MOST: usize = 20;
/// Separates what is wrong from its cure in serde's errors, which have one text.
const CURE: char = '\u{1f}';

/// One thing that is wrong in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// The field, such as `hosts[2].ssh.port`; empty: the whole text.
    pub field: String,
    /// What is wrong, without full stop.
    pub what: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.position.line > 0 {
            write!(
                f,
                "line {}, column {}: ",
                self.position.line, self.position.column
            )?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.what, self.cure)
    }
}

/// Why a fleet file or an inventory cannot be used. All of it is for whoever wrote the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The text is larger than any fleet; split it.
    #[error("the text has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is read at most.
        limit: usize,
    },
    /// At least one thing is wrong with it; each is named with its cure.
    #[error("{}", lines(.faults, *.more))]
    Faults {
        /// What is wrong, in the order of the text; at least one.
        faults: Vec<Fault>,
        /// How many more there are than are listed.
        more: usize,
    },
}

fn lines(faults: &[Fault], more: usize) -> String {
    let mut lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

impl FileError {
    /// The faults; none if the text was not looked at.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::TooLarge { .. } => &[],
            Self::Faults { faults, .. } => faults,
        }
    }
}

impl From<Fault> for FileError {
    fn from(fault: Fault) -> Self {
        Self::Faults {
            faults: vec![fault],
            more: 0,
        }
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// One more.
    pub(crate) fn push(
        &mut self,
        position: Position,
        field: impl Into<String>,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) {
        if self.found.len() >= MOST {
            self.more += 1;
            return;
        }
        self.found.push(Fault {
            position,
            field: field.into(),
            what: what.into(),
            cure: cure.into(),
        });
    }

    /// Nothing was found, or all of it.
    pub(crate) fn end<T>(mut self, value: T) -> Result<T, FileError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|fault| fault.position);
        Err(FileError::Faults {
            faults: self.found,
            more: self.more,
        })
    }
}

/// The text of a serde error that has a cure.
pub(crate) fn with_cure(what: impl fmt::Display, cure: impl fmt::Display) -> String {
    format!("{what}{CURE}{cure}")
}

/// A fault on its way out of serde: its place is added by the first that knows it.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) fault: Box<Fault>,
    pub(super) placed: bool,
}

impl Located {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            fault: Box::new(Fault {
                position: Position::default(),
                field: String::new(),
                what: what.into(),
                cure: cure.into(),
            }),
            placed: false,
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Located {}

impl serde::de::Error for Located {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once(CURE) {
            Some((what, cure)) => Self::new(what, cure),
            None => Self::new(text, "see docs/reference/fleet.md"),
        }
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        use serde::de::Unexpected;
        let scalar = matches!(
            found,
            Unexpected::Bool(_)
                | Unexpected::Signed(_)
                | Unexpected::Unsigned(_)
                | Unexpected::Float(_)
        );
        let expected = expected.to_string();
        let cure = match found {
            _ if scalar && expected.contains("string") => "put it in quotes".to_owned(),
            Unexpected::Unit => "give it a value or take the line out".to_owned(),
            Unexpected::Str(_) if expected.contains("sequence") => {
                "write a list: [ONE, ANOTHER]".to_owned()
            }
            _ => format!("write {}", plain(&expected)),
        };
        Self::new(
            format!("expected {}, found {}", plain(&expected), kind(found)),
            cure,
        )
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let expected = expected.to_string();
        Self::new(
            format!("{} will not do", kind(found)),
            format!("write {}", plain(&expected)),
        )
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("field", field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("choice", variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(
            format!("the field {field} is missing"),
            format!("add {field}: …"),
        )
    }
}

impl Located {
    fn unknown(what: &str, word: &str, known: &[&str]) -> Self {
        let word: String = word.chars().take(64).collect();
        let cure = match nearest(&word, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", listed(known)),
        };
        Self::new(format!("there is no {what} {word} here"), cure)
    }
}

/// serde's words for people who write YAML.
fn plain(expected: &str) -> String {
    match expected {
        "a sequence" => "a list".to_owned(),
        "a map" => "a block of fields".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other if other.starts_with("struct ") => "a block of fields".to_owned(),
        other => other.to_owned(),
    }
}

/// What was found, without its text: it could be a secret at the wrong place.
fn kind(found: serde::de::Unexpected<'_>) -> String {
    use serde::de::Unexpected;
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Str(_) => "a text".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a block of fields".to_owned(),
        other => other.to_string(),
    }
}

//! The walk over a JSON document beside its type.
//!
//! Works on serde's events, because a parsed value has already forgotten repeated members. Never fails by itself: only
//! the JSON parser can.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Findings, MAX_FINDINGS};
use crate::schema::{self, Field, Form, Kind, Message, Shape};

/// What the schema wants at one place.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    shape: Shape,
    kind: Option<Kind>,
    message: Option<&'static Message>,
}

impl Expected {
    /// Anything goes, but repeated members are still found.
    const ANY: Self = Self {
        shape: Shape::One,
        kind: None,
        message: None,
    };
    const STRING: Self = Self {
        shape: Shape::One,
        kind: Some(Kind::String),
        message: None,
    };

    pub(super) fn object(message: Option<&'static Message>) -> Self {
        Self {
            message,
            ..Self::ANY
        }
    }

    fn field(field: &'static Field) -> Self {
        let message = schema::table().message_of(field);
        Self {
            shape: field.shape(),
            kind: Some(field.kind()),
            message,
        }
    }

    fn element(self) -> Self {
        Self {
            shape: Shape::One,
            ..self
        }
    }

    fn form(self) -> Option<Form> {
        self.message
            .map(Message::form)
            .filter(|_| self.shape == Shape::One)
    }

    /// Whether the value is kept as it is, whatever is in it.
    fn is_raw(self) -> bool {
        self.form() == Some(Form::Raw)
    }

    /// What the elements of a list here are, if a list is right here.
    fn elements(self) -> Option<Self> {
        match (self.shape, self.form()) {
            (Shape::List, _) => Some(self.element()),
            (Shape::One, Some(Form::Items | Form::SchemaOrStrings)) => Some(Self::STRING),
            (Shape::One, Some(Form::SchemaOrArray)) => Some(self.schema()),
            (Shape::One, None) if self.kind.is_none() => Some(Self::ANY),
            _ => None,
        }
    }

    /// What an object here is, if one is right here.
    fn members(self) -> Option<Members> {
        match (self.shape, self.form()) {
            (Shape::Map, _) => Some(Members::Of(self.element())),
            (Shape::One, Some(Form::Object)) => self.message.map(Members::Struct),
            (
                Shape::One,
                Some(Form::SchemaOrArray | Form::SchemaOrBool | Form::SchemaOrStrings),
            ) => self.schema().message.map(Members::Struct),
            (Shape::One, None) if self.kind.is_none() => Some(Members::Of(Self::ANY)),
            _ => None,
        }
    }

    fn schema(self) -> Self {
        let fields = self.message.map_or(&[] as &[Field], Message::fields);
        fields
            .iter()
            .find(|field| field.name() == "schema")
            .map_or(Self::ANY, |field| Self::field(field).element())
    }

    /// The type as Go names it.
    fn go_type(self) -> String {
        let one = match (self.kind, self.message) {
            (_, Some(message)) => {
                let package = message.name().rsplit('.').nth(1).unwrap_or_default();
                format!("{package}.{}", message.short_name())
            }
            (Some(Kind::Bool), _) => "bool".to_owned(),
            (Some(Kind::Int32), _) => "int32".to_owned(),
            (Some(Kind::Int64), _) => "int64".to_owned(),
            (Some(Kind::Double), _) => "float64".to_owned(),
            (Some(Kind::Bytes), _) => "[]uint8".to_owned(),
            _ => "string".to_owned(),
        };
        match self.shape {
            Shape::One => one,
            Shape::List => format!("[]{one}"),
            Shape::Map => format!("map[string]{one}"),
        }
    }
}

/// What the members of an object are.
#[derive(Clone, Copy)]
enum Members {
    Struct(&'static Message),
    Of(Expected),
}

impl Members {
    /// `None` for a member that the struct does not have.
    fn member(self, name: &str) -> Option<Expected> {
        match self {
            Self::Of(expected) => Some(expected),
            Self::Struct(message) => match schema::table().field(message, name) {
                Some(field) => Some(Expected::field(field)),
                None if message.kind().is_some() && matches!(name, "apiVersion" | "kind") => {
                    Some(Expected::STRING)
                }
                None => None,
            },
        }
    }
}

/// The walk: where it is, what it wants there and what it found so far.
pub(super) struct Seed {
    expected: Expected,
    /// The struct that holds the current member, for the wording of mismatches.
    holder: &'static str,
    /// Where the walk is, with list indices and map keys.
    path: String,
    /// The same with struct fields only, as Go words mismatches.
    fields: String,
    findings: Findings,
}

/// One step down the document.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl Seed {
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            holder: "",
            path: String::new(),
            fields: String::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn by_ref(&mut self) -> SeedRef<'_> {
        SeedRef(self)
    }

    pub(super) fn into_findings(self) -> Findings {
        self.findings
    }

    fn find(&mut self, what: &str, member: &str) {
        if self.findings.strict.len() < MAX_FINDINGS {
            let dot = if self.path.is_empty() { "" } else { "." };
            let (path, member) = (shortened(&self.path), shortened(member));
            self.findings
                .strict
                .push(format!("{what} field \"{path}{dot}{member}\""));
        }
    }

    fn mismatch(&mut self, found: &str) {
        let wanted = self.expected.go_type();
        self.refuse(|seed| {
            let into = match seed.fields.as_str() {
                "" => "Go value".to_owned(),
                path => format!("Go struct field {}.{path}", seed.holder),
            };
            format!("json: cannot unmarshal {found} into {into} of type {wanted}")
        });
    }

    fn refuse(&mut self, reason: impl FnOnce(&Self) -> String) {
        if self.findings.mismatch.is_none() {
            self.findings.mismatch = Some(reason(self));
        }
    }

    /// Walks one step down, and back.
    fn below<R>(
        &mut self,
        expected: Expected,
        step: Step<'_>,
        walk: impl FnOnce(SeedRef<'_>) -> R,
    ) -> R {
        let (here, path, fields) = (self.expected, self.path.len(), self.fields.len());
        match step {
            Step::Index(index) => self.path += &format!("[{index}]"),
            Step::Key(name) => push_name(&mut self.path, name),
            Step::Field(name) => {
                push_name(&mut self.path, name);
                push_name(&mut self.fields, name);
            }
        }
        self.expected = expected;
        let result = walk(SeedRef(self));
        self.path.truncate(path);
        self.fields.truncate(fields);
        self.expected = here;
        result
    }

    fn number(&mut self, integer: Option<i64>, text: &dyn fmt::Display) {
        let fits = match (
            self.expected.shape,
            self.expected.kind,
            self.expected.form(),
        ) {
            (Shape::One, _, Some(Form::Quantity)) => true,
            (Shape::One, _, Some(Form::IntOrString)) => {
                integer.is_some_and(|n| i32::try_from(n).is_ok())
            }
            (Shape::One, Some(Kind::Int32), _) => integer.is_some_and(|n| i32::try_from(n).is_ok()),
            (Shape::One, Some(Kind::Int64), _) => integer.is_some(),
            (Shape::One, kind, None) => matches!(kind, Some(Kind::Double) | None),
            _ => false,
        };
        let wants_number = matches!(self.expected.kind, Some(Kind::Int32 | Kind::Int64));
        match (fits, wants_number && self.expected.shape == Shape::One) {
            (true, _) => {}
            (false, true) => self.mismatch(&format!("number {text}")),
            (false, false) => self.mismatch("number"),
        }
    }

    fn text(&mut self, text: &str) {
        match (
            self.expected.shape,
            self.expected.kind,
            self.expected.form(),
        ) {
            (Shape::One, _, Some(Form::IntOrString))
            | (Shape::One, Some(Kind::String) | None, None) => {}
            (Shape::One, _, Some(Form::Time | Form::MicroTime))
                if crate::rfc3339::parse(text).is_none() =>
            {
                self.refuse(|_| {
                    format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": not a time")
                });
            }
            (Shape::One, _, Some(Form::Quantity)) if !is_quantity(text) => self.refuse(|_| {
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                    .to_owned()
            }),
            (Shape::One, Some(Kind::Bytes), _) if STANDARD.decode(text).is_err() => {
                self.refuse(|seed| format!("illegal base64 data in {}", seed.fields));
            }
            (Shape::One, _, Some(Form::Time | Form::MicroTime | Form::Quantity)) => {}
            (Shape::One, Some(Kind::Bytes), _) => {}
            _ => self.mismatch("string"),
        }
    }
}

/// Member names may be as long as the body; a finding quotes the end of a path and no more than this of it.
const MAX_QUOTED: usize = 1024;

fn shortened(text: &str) -> &str {
    let start = text.len().saturating_sub(MAX_QUOTED);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    start.and_then(|start| text.get(start..)).unwrap_or(text)
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// `100m`, `2Gi`, `1e3`, `.5`: a decimal number, then a suffix or an exponent.
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let (number, suffix) = unsigned.split_at(digits);
    let is_number = number.bytes().filter(|b| *b == b'.').count() <= 1
        && number.bytes().any(|b| b.is_ascii_digit());
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    is_number
        && match suffix {
            "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" => true,
            "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => true,
            _ => suffix.strip_prefix(['e', 'E']).is_some_and(is_exponent),
        }
}

/// The walk as serde wants it: a seed per value and a visitor.
pub(super) struct SeedRef<'a>(&'a mut Seed);

impl<'de> DeserializeSeed<'de> for SeedRef<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.expected.is_raw() {
            deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for SeedRef<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        match (
            self.0.expected.shape,
            self.0.expected.kind,
            self.0.expected.form(),
        ) {
            (Shape::One, Some(Kind::Bool) | None, None)
            | (Shape::One, _, Some(Form::SchemaOrBool)) => {}
            _ => self.0.mismatch("bool"),
        }
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.number(Some(number), &number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.number(i64::try_from(number).ok(), &number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.number(None, &number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some(elements) = self.0.expected.elements() else {
            self.0.mismatch("array");
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        for index in 0.. {
            if self
                .0
                .below(elements, Step::Index(index), |seed| {
                    list.next_element_seed(seed)
                })?
                .is_none()
            {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(members) = self.0.expected.members() else {
            self.0.mismatch("object");
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let outer = self.0.holder;
        if let Members::Struct(message) = members {
            self.0.holder = message.short_name();
        }
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                self.0.find("duplicate", &name);
            }
            match members.member(&name) {
                Some(expected) => {
                    let step = match members {
                        Members::Struct(_) => Step::Field(&name),
                        Members::Of(_) => Step::Key(&name),
                    };
                    self.0
                        .below(expected, step, |seed| map.next_value_seed(seed))?;
                }
                None => {
                    if !seen.contains(&name) {
                        self.0.find("unknown", &name);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.insert(name);
        }
        self.0.holder = outer;
        Ok(())
    }
}

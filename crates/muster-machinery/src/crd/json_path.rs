//! JSONPath as kubectl and printer columns write it: `.spec.ports[0].name`, `.status.conditions[?(@.type=="Ready")].status`.
//!
//! Fields, escaped dots, indices, slices, wildcards, recursive descent, unions and filters are understood; missing keys
//! find nothing. Upstream: `k8s.io/client-go/util/jsonpath`.

use serde_json::Value;

/// The most values that a path finds.
const MAX_FOUND: usize = 1024;
/// The longest path that is read, in bytes.
const MAX_LENGTH: usize = 4096;

/// What cannot be read as a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(String);

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    All,
    Deep,
    Union(Vec<JsonPath>),
    Filter(Operand, String, Operand),
    Exists(JsonPath),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

fn refuse(why: impl Into<String>) -> PathError {
    PathError(why.into())
}

impl JsonPath {
    /// Reads a path without its braces.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_LENGTH {
            return Err(refuse("the path is too long"));
        }
        let chars: Vec<char> = text.trim().chars().collect();
        let mut parser = Parser {
            chars,
            at: 0,
            depth: 0,
        };
        let path = parser.path()?;
        if parser.at < parser.chars.len() {
            return Err(refuse(format!(
                "unrecognized character in action: {:?}",
                parser.chars[parser.at]
            )));
        }
        Ok(path)
    }

    /// What the path finds, in order.
    #[must_use]
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.take(value, &mut next);
                next.truncate(MAX_FOUND);
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match self {
            Self::Field(name) => found.extend(value.get(name)),
            Self::Index(index) => found.extend(
                value
                    .as_array()
                    .and_then(|list| list.get(place(*index, list.len())?)),
            ),
            Self::Slice(from, to, step) => {
                let Some(list) = value.as_array() else {
                    return;
                };
                let bound = |at: i64| {
                    usize::try_from(if at < 0 { at + list.len() as i64 } else { at }).unwrap_or(0)
                };
                let from = from.map_or(0, bound);
                let to = to.map_or(list.len(), bound).min(list.len());
                let step = usize::try_from(*step).unwrap_or(1).max(1);
                found.extend(list.iter().take(to).skip(from).step_by(step));
            }
            Self::All => match value {
                Value::Array(list) => found.extend(list),
                Value::Object(map) => found.extend(map.values()),
                _ => {}
            },
            Self::Deep => deep(value, found),
            Self::Union(paths) => paths.iter().for_each(|path| found.extend(path.find(value))),
            Self::Exists(path) => {
                found.extend(elements(value).filter(|item| !path.find(item).is_empty()));
            }
            Self::Filter(left, operator, right) => {
                found.extend(elements(value).filter(|item| holds(item, left, operator, right)));
            }
        }
    }
}

fn elements(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index).ok()
}

fn deep<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if found.len() >= MAX_FOUND {
        return;
    }
    found.push(value);
    elements(value).for_each(|below| deep(below, found));
}

fn holds(item: &Value, left: &Operand, operator: &str, right: &Operand) -> bool {
    let of = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(path) => path.find(item).first().map(|value| Value::clone(value)),
    };
    let (Some(left), Some(right)) = (of(left), of(right)) else {
        return false;
    };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match operator {
        "==" => left == right || order == Some(std::cmp::Ordering::Equal),
        "!=" => left != right && order != Some(std::cmp::Ordering::Equal),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = wanted
            .chars()
            .enumerate()
            .all(|(n, c)| self.chars.get(self.at + n) == Some(&c));
        if found {
            self.at += wanted.chars().count();
        }
        found
    }

    fn path(&mut self) -> Result<JsonPath, PathError> {
        self.depth += 1;
        if self.depth > 16 {
            return Err(refuse("the path nests too deep"));
        }
        let mut steps = Vec::new();
        if !self.eat("@") {
            self.eat("$");
        }
        loop {
            match self.peek() {
                Some('.') if self.eat("..") => {
                    steps.push(Step::Deep);
                    steps.extend(self.field());
                }
                Some('.') => {
                    self.at += 1;
                    steps.extend(self.field());
                }
                Some('[') => {
                    self.at += 1;
                    steps.push(self.brackets()?);
                }
                Some(c) if steps.is_empty() && (c.is_alphanumeric() || c == '_') => {
                    steps.extend(self.field())
                }
                _ => break,
            }
        }
        self.depth -= 1;
        Ok(JsonPath(steps))
    }

    /// A name, in which a backslash takes the next character as it is.
    fn field(&mut self) -> Option<Step> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    name.extend(self.peek());
                }
                '.' | '[' | ']' | ')' | '(' | ' ' | ',' | '=' | '!' | '<' | '>' | '"' | '\'' => {
                    break;
                }
                c => name.push(c),
            }
            self.at += 1;
        }
        match name.as_str() {
            "" => None,
            "*" => Some(Step::All),
            _ => Some(Step::Field(name)),
        }
    }

    /// What stands between this bracket and its partner.
    fn brackets(&mut self) -> Result<Step, PathError> {
        if self.eat("?(") {
            return self.filter();
        }
        let mut parts = vec![self.subscript()?];
        while self.eat(",") {
            parts.push(self.subscript()?);
        }
        if !self.eat("]") {
            return Err(refuse("unterminated array"));
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            Some(last) => {
                parts.push(last);
                Ok(Step::Union(
                    parts.into_iter().map(|step| JsonPath(vec![step])).collect(),
                ))
            }
            None => Err(refuse("invalid array index")),
        }
    }

    fn subscript(&mut self) -> Result<Step, PathError> {
        self.spaces();
        if let Some(quote) = self.peek().filter(|c| matches!(c, '\'' | '"')) {
            let name = self.quoted(quote)?;
            return Ok(Step::Field(name));
        }
        if self.eat("*") {
            return Ok(Step::All);
        }
        let text = self.until(|c| matches!(c, ']' | ','));
        if let Some((from, rest)) = text.split_once(':') {
            let (to, step) = rest.split_once(':').unwrap_or((rest, "1"));
            let number = |text: &str| match text.trim() {
                "" => Ok(None),
                text => text
                    .parse()
                    .map(Some)
                    .map_err(|_| refuse(format!("invalid array index {text}"))),
            };
            return Ok(Step::Slice(
                number(from)?,
                number(to)?,
                number(step)?.unwrap_or(1),
            ));
        }
        match text.trim().parse() {
            Ok(index) => Ok(Step::Index(index)),
            Err(_) => Err(refuse(format!("invalid array index {text}"))),
        }
    }

    fn filter(&mut self) -> Result<Step, PathError> {
        let left = self.operand()?;
        self.spaces();
        let operator = ["==", "!=", "<=", ">=", "<", ">"]
            .into_iter()
            .find(|operator| self.eat(operator));
        let step = match (operator, left) {
            (Some(operator), left) => {
                let right = self.operand()?;
                Step::Filter(left, operator.to_owned(), right)
            }
            (None, Operand::Path(path)) => Step::Exists(path),
            (None, Operand::Literal(_)) => return Err(refuse("invalid filter")),
        };
        self.spaces();
        if !self.eat(")") || !self.eat("]") {
            return Err(refuse("unterminated filter"));
        }
        Ok(step)
    }

    fn operand(&mut self) -> Result<Operand, PathError> {
        self.spaces();
        match self.peek() {
            Some('@' | '$' | '.') => self.path().map(Operand::Path),
            Some(quote @ ('\'' | '"')) => Ok(Operand::Literal(self.quoted(quote)?.into())),
            _ => {
                let text = self.until(|c| matches!(c, ')' | ' ' | '=' | '!' | '<' | '>'));
                serde_json::from_str(&text)
                    .map(Operand::Literal)
                    .map_err(|_| refuse(format!("unrecognized operand {text}")))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                c if c == quote => return Ok(text),
                c => text.push(c),
            }
        }
        Err(refuse("unterminated quoted string"))
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| !end(c)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_find_what_kubectl_finds() {
        let object = json!({"spec": {"a": 1, "list": [{"n": "x"}, {"n": "y"}], "b.c": true},
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        let find = |path: &str| -> Vec<Value> {
            JsonPath::parse(path)
                .unwrap()
                .find(&object)
                .into_iter()
                .cloned()
                .collect()
        };
        assert_eq!(find(".spec.a"), [json!(1)]);
        assert_eq!(find("spec.a"), [json!(1)]);
        assert_eq!(find(".spec.list[*].n"), [json!("x"), json!("y")]);
        assert_eq!(find(".spec.list[-1].n"), [json!("y")]);
        assert_eq!(find(".spec.list[0:1].n"), [json!("x")]);
        assert_eq!(
            find(r#".status.conditions[?(@.type=="Ready")].status"#),
            [json!("True")]
        );
        assert_eq!(
            find(r".status.conditions[?(@.type == 'Other')].status"),
            [json!("False")]
        );
        assert_eq!(
            find(r".metadata.labels.app\.kubernetes\.io/name"),
            [json!("web")]
        );
        assert_eq!(
            find(".metadata.labels['app.kubernetes.io/name']"),
            [json!("web")]
        );
        assert_eq!(find(".spec['b.c']"), [json!(true)]);
        assert_eq!(find("..n"), [json!("x"), json!("y")]);
        assert_eq!(find(".missing.a"), Vec::<Value>::new());
        for bad in [".a[", ".a[x]", ".a[?(@.b", ".a]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_path_makes_it_panic(path in r#"[.\[\]?()@a'"=*:,0-9$\\ -]{0,40}"#) {
            if let Ok(path) = JsonPath::parse(&path) {
                let _ = path.find(&json!({"a": [{"a": "b"}, [1, 2, {"a": 3}]]}));
            }
        }
    }
}
